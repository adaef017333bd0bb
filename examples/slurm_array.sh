#!/usr/bin/env bash
#SBATCH --job-name=astroyolo
#SBATCH --array=1-8
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=02:00:00
#SBATCH --output=astroyolo-%A-%a.log
#
# Many frames on a cluster: each task of the array does its part. Submitted again, what is whole is kept.
#
#   sbatch examples/slurm_array.sh catalogs @frames.txt
#
# Without Slurm, one task after another:
#   for k in 1 2; do SLURM_ARRAY_TASK_ID=$k NJOBS=2 bash examples/slurm_array.sh catalogs examples/field/img_*.fits.fz; done
#
# To do some tasks alone, say how many parts there are: NJOBS=8 sbatch --array=3,5 examples/slurm_array.sh catalogs @frames.txt
set -euo pipefail
if [ $# -lt 2 ] || [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
    echo "usage: sbatch slurm_array.sh FOLDER FRAME...; by hand with SLURM_ARRAY_TASK_ID and NJOBS set" >&2
    exit 2
fi
folder=$1
shift
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-${OMP_NUM_THREADS:-1}}
astroyolo detect "$@" -o "$folder" --job "$SLURM_ARRAY_TASK_ID" --njobs "${NJOBS:-${SLURM_ARRAY_TASK_COUNT:-1}}" --resume --quiet
