"""What the C library's allocator does with the memory of arrays that are no more."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

MMAP_THRESHOLD = -3  # glibc's name of the option, <malloc.h>
APART = 8 * 2**20  # bytes: arrays from this size on are the system's again at once


@cache
def return_large_arrays() -> bool:
    """From now on the memory of large arrays goes back to the system as soon as they are gone; whether the allocator took the word.

    glibc raises by itself, up to 32 MiB, the size from which it maps memory for one array alone; smaller ones lie in its heaps, whose
    holes stay with the process: 0.7 GB after a frame 60,000 pixels wide. Elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        return ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, APART) == 1
    except (OSError, AttributeError):  # musl has no such option
        return False
