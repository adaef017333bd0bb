"""Work on arrays shared among threads: NumPy lets others run while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

FEWEST = 4  # pieces of work that are worth threads


def spread(work: Callable, pieces: Iterable, threads: int = 1, fewest: int = FEWEST) -> list:
    """``work`` of each piece, in their order; 0 threads: as many as ``usable``. Of less than ``fewest`` pieces without threads."""
    pieces = list(pieces)
    threads = threads or usable()
    if threads == 1 or len(pieces) < fewest:
        return [work(piece) for piece in pieces]
    with ThreadPoolExecutor(threads) as pool:  # each in a copy of this context: NumPy's errstate is part of it
        return [future.result() for future in [pool.submit(copy_context().run, work, piece) for piece in pieces]]


def usable() -> int:
    """OMP_NUM_THREADS, as other libraries have it; else the processors that this process may use."""
    return stated() or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def stated() -> int:
    """OMP_NUM_THREADS, 0 without it: for what has threads of its own and does not heed it."""
    number = os.environ.get("OMP_NUM_THREADS", "")
    return int(number) if number.isdigit() else 0
