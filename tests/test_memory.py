"""Memory of arrays that are gone, as the system counts it for a process of its own."""

import os
import platform
import subprocess
import sys

import pytest

HOLES = """
import sys
import numpy as np
from astroyolo_cli.memory import return_large_arrays

def held():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1])

if sys.argv[1] == "returned":
    assert return_large_arrays() and return_large_arrays()
for _ in range(3):
    np.ones(3_800_000)  # from now on glibc keeps arrays of 30 MB in its heap
large, small = [], []
for _ in range(20):
    large.append(np.ones(1_500_000))
    small.append(np.ones(1_000))
before = held()
del large
print((before - held()) / 1024)
"""


def freed(how: str) -> float:
    """MiB that are the system's again when arrays of 229 MiB are gone, each of which lay before one that stays."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}  # Dask's tests leave such settings
    return float(subprocess.run([sys.executable, "-c", HOLES, how], check=True, capture_output=True, text=True, env=usual).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_holes_between_arrays_are_the_systems_again():
    assert freed("kept") < 60
    assert freed("returned") > 220


def test_other_systems_are_left_alone(monkeypatch):
    from astroyolo_cli import memory

    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.return_large_arrays.__wrapped__()
