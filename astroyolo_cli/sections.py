"""Planes of pixels that are read in parts, as they are asked for: frames larger than memory.

All of them are used like arrays: ``shape``, and ``plane[rows, columns]`` with slices, which gives float32 with NaN where bad.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import numpy as np

ROWS = 128  # of the blocks that are read at once, all their columns
KEPT = 16  # blocks that are remembered: a row of tiles and what it shares with the next, or a row of what is measured at once


class Rows:
    """A plane made block by block of rows, the last of which are remembered; not those of what is asked of the whole plane at once.

    Args:
        shape: (H, W).
        read: rows -> (h, W) of them.
    """

    def __init__(self, shape: tuple[int, int], read: Callable[[slice], np.ndarray]):
        self.shape, self._read = shape, read
        self._blocks: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __getitem__(self, section: tuple[slice, slice]) -> np.ndarray:
        rows, columns = section
        wanted = range(*rows.indices(self.shape[0]))
        numbers = range(wanted.start // ROWS, wanted[-1] // ROWS + 1) if len(wanted) else range(0)
        found, done = np.empty((len(wanted), len(range(*columns.indices(self.shape[1])))), np.float32), 0
        for number in numbers:  # a copy: a view would hold every block until all are read
            part = self._block(number, len(numbers) <= KEPT)[self._within(number, wanted), columns]
            found[done : done + len(part)] = part
            done += len(part)
        return found

    def forget(self) -> None:
        with self._lock:
            self._blocks.clear()

    def _within(self, number: int, wanted: range) -> slice:
        """The rows of a block that are wanted, counted in the block."""
        first = number * ROWS
        start = wanted.start - first
        return slice(start if start >= 0 else start % wanted.step, min(wanted.stop - first, ROWS), wanted.step)

    def _block(self, number: int, remembered: bool) -> np.ndarray:
        with self._lock:
            if number not in self._blocks:
                block = self._read(slice(number * ROWS, min((number + 1) * ROWS, self.shape[0])))
                if not remembered:
                    return block
                self._blocks[number] = block
            self._blocks.move_to_end(number)
            while len(self._blocks) > KEPT:
                self._blocks.popitem(last=False)
            return self._blocks[number]


class Derived:
    """A plane computed from others, pixel by pixel, when it is asked for."""

    def __init__(self, function: Callable[..., np.ndarray], *planes):
        self.shape, self._function, self.planes = planes[0].shape, function, planes

    def __getitem__(self, section: tuple[slice, slice]) -> np.ndarray:
        return self._function(*(plane[section] for plane in self.planes))


def forget(plane) -> None:
    """Frees what a plane that is read in parts remembers; it is read again where it is asked for."""
    if isinstance(plane, Rows):
        plane.forget()
    elif isinstance(plane, Derived):
        for one in plane.planes:
            forget(one)


def sampled(plane, most: int = 1_000_000) -> np.ndarray:
    """Pixels from all over a plane (H, W), which may be read in parts: about ``most`` of them, along both axes every so many."""
    step = max(1, int(np.sqrt(plane.shape[0] * plane.shape[1] / most)))
    return plane[::step, ::step]


def is_bad(counts: np.ndarray) -> np.ndarray:
    return ~np.isfinite(counts)


def blanked(counts: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """NaN where bad."""
    return np.where(bad, np.float32(np.nan), counts)


def of(function: Callable[..., np.ndarray], *planes):
    """``function`` of whole arrays at once; of planes that are read in parts, in parts."""
    return function(*planes) if all(isinstance(plane, np.ndarray) for plane in planes) else Derived(function, *planes)


def strips(plane):
    """The plane's rows, a block of them at a time, none of which is remembered."""
    for first in range(0, plane.shape[0], ROWS):
        part = plane[first : first + ROWS, :]
        forget(plane)
        yield part
