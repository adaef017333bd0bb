"""Worker processes do not outlive a process that was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc tells which processes run")
POOL = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from astroyolo_cli.orphans import end_with_parent

if __name__ == "__main__":
    with ProcessPoolExecutor(2, get_context("spawn"), end_with_parent) as pool:
        futures = [pool.submit(os.getpid)] + [pool.submit(time.sleep, 600) for _ in range(2)]
        print(*pool._processes, flush=True)
        futures[-1].result()
"""


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    (tmp_path / "pool.py").write_text(POOL)
    with subprocess.Popen([sys.executable, tmp_path / "pool.py"], stdout=subprocess.PIPE, text=True) as parent:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        time.sleep(2)
        assert len(workers) == 2 and all(map(is_running, workers))
        os.kill(parent.pid, signal.SIGKILL)
    until = time.monotonic() + 60
    while any(map(is_running, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(is_running, workers))
