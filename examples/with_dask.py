"""Catalogs of many frames on a Dask cluster, one that is there or one of this machine's processes (pip install 'astroyolo[cluster]').

python examples/with_dask.py catalogs examples/field/img_*.fits.fz
python examples/with_dask.py catalogs @frames.txt --scheduler tcp://head:8786

On Slurm, dask_jobqueue.SLURMCluster(cores=2, memory="4GB") in place of LocalCluster starts the workers as jobs.
"""

import subprocess
import sys

from distributed import LocalCluster


def detect(folder: str, frames: list[str], address: str) -> int:
    command = ["astroyolo", "detect", *frames, "-o", folder, "--resume", "--scheduler", address]
    return subprocess.run(command).returncode


def main(folder: str, *frames: str) -> int:
    if "--scheduler" in frames:
        at = frames.index("--scheduler")
        return detect(folder, [*frames[:at], *frames[at + 2 :]], frames[at + 1])
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        return detect(folder, list(frames), cluster.scheduler_address)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
