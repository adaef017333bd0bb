"""Processes that work for another one end when it does, also when it was killed and could tell nobody."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import wait

KILLED = 1  # exit status of a process whose parent is gone


def end_with_parent() -> None:
    """Call once in a child process: a thread waits for the parent's end. Nothing in a process without a parent of this kind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent.sentinel,), daemon=True).start()


def _wait_and_end(sentinel: int) -> None:
    wait([sentinel])
    os._exit(KILLED)  # what was being written has a temporary name
