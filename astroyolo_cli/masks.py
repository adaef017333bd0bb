"""Masks opened and grown: a few shifted copies each, so that a small frame need not wait for SciPy's import."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

MASK_ROWS = 512  # that are worked on at once: of a huge frame a mask alone is large


def in_strips(function: Callable[[np.ndarray], np.ndarray], image: np.ndarray, reach: int) -> np.ndarray:
    """(H, W) bool: a function of the image that looks ``reach`` rows around each, some rows at a time."""
    found = np.empty(image.shape, bool)
    for first in range(0, len(image), MASK_ROWS):
        low, stop = max(first - reach, 0), first + MASK_ROWS
        found[first:stop] = function(image[low : stop + reach])[first - low :][:MASK_ROWS]
    return found


def opened(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: the union of the squares of 3 x 3 pixels that the mask holds whole; beyond the edge there is none."""
    return along_both(np.logical_or, along_both(np.logical_and, mask))


def grown(mask: np.ndarray, times: int) -> np.ndarray:
    """(H, W) bool: the mask and, so many times, the four neighbours of each of its pixels."""
    for _ in range(times):
        mask = along(np.logical_or, mask, 0) | along(np.logical_or, mask, 1)
    return mask


def most_around(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: five or more of the 3 x 3 pixels around are in the mask, the median of them; edges are repeated outwards."""
    number = np.pad(mask.astype(np.int8), 1, mode="edge")
    number = number[:-2] + number[1:-1] + number[2:]
    return number[:, :-2] + number[:, 1:-1] + number[:, 2:] >= 5


def along_both(combine: np.ufunc, mask: np.ndarray) -> np.ndarray:
    return along(combine, along(combine, mask, 0), 1)


def along(combine: np.ufunc, mask: np.ndarray, axis: int) -> np.ndarray:
    """Each pixel combined with the one before and the one behind it along an axis; beyond the edge is False."""
    edge = np.zeros_like(np.take(mask, [0], axis))
    before = np.concatenate([edge, np.delete(mask, -1, axis)], axis)
    behind = np.concatenate([np.delete(mask, 0, axis), edge], axis)
    return combine(combine(before, mask), behind)
