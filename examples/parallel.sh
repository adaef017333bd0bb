#!/usr/bin/env bash
# Many frames by GNU parallel, each job a part of them: on this machine, or on several that share a file system. Run again, what is
# whole is kept.
#
#   examples/parallel.sh catalogs examples/field/img_*.fits.fz
#   JOBS=8 examples/parallel.sh catalogs @frames.txt
#   JOBS=64 PARALLEL='--sshlogin 8/node1,8/node2 --workdir .' examples/parallel.sh catalogs @frames.txt
#
# Without GNU parallel the parts run one after the other, by plain bash.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: parallel.sh FOLDER FRAME..." >&2
    exit 2
fi
folder=$1
shift
jobs=${JOBS:-2}
mkdir -p "$folder"
command=(astroyolo detect "$@" -o "$folder" --njobs "$jobs" --resume --quiet --job)
if command -v parallel > /dev/null; then
    seq "$jobs" | OMP_NUM_THREADS=1 parallel --quote "${command[@]}"
else
    failed=0
    for k in $(seq "$jobs"); do
        "${command[@]}" "$k" || failed=1
    done
    exit "$failed"
fi
