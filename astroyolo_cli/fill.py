"""Values that stand where there is no signal: a frame's edges, gaps between detectors."""

from __future__ import annotations

from functools import partial

import numpy as np

from .sections import Rows, of, strips

MOST_SAMPLED = 1_000_000  # pixels among which a fill value is looked for
FILL = 0.01  # a value repeated exactly over more than this part of the frame is a fill value
NEIGHBOURS = 0.5  # part of a fill value's pixels whose next pixel, along x or along y, holds it too, at least


def without_fill(counts: np.ndarray | Rows, saturation: float | None = None):
    """NaN where one exact value covers more than 1 % of the frame: no sky repeats itself like that.

    Args:
        saturation: level of saturated pixels: what lies there, and up to twice as high, is stars' and stays.
    """
    value = fill_value(counts)
    if value is None or (saturation is not None and saturation <= value <= 2 * saturation):
        return counts
    return of(partial(without_value, value), counts)


def without_value(value: float, counts: np.ndarray) -> np.ndarray:
    return np.where(counts == value, np.float32(np.nan), counts)


def fill_value(counts: np.ndarray | Rows) -> float | None:
    """The value that stands where there is no signal, if there is one.

    Coarse integers repeat too, but then many values do; and what compression sets to 0 here and there lies scattered, while a fill
    value lies in areas.
    """
    pixels = counts.shape[0] * counts.shape[1]
    step = max(3, int(np.ceil(np.sqrt(pixels / MOST_SAMPLED)))) if pixels > 10_000 else 1
    sample = counts[::step, ::step]
    values, number = np.unique(sample[np.isfinite(sample)], return_counts=True)
    if len(values) < 3:
        return None
    common = number.argmax()
    if number[common] <= FILL * sample.size:
        return None
    others = np.delete(number, common)
    if others.max() * 5 > number[common]:  # many values repeat: the counts are quantised
        return None
    return values[common] if lies_in_areas(values[common], counts) else None


def lies_in_areas(value: float, counts: np.ndarray | Rows) -> bool:
    """Whether most pixels that hold the value have a next one, along x or along y, that does."""
    number, along_x, along_y = 0, 0, 0
    above = np.zeros(counts.shape[1], bool)
    for strip in strips(counts):
        filled = strip == value
        number += filled.sum()
        along_x += (filled[:, 1:] & filled[:, :-1]).sum()
        along_y += (filled[1:] & filled[:-1]).sum() + (filled[0] & above).sum()
        above = filled[-1]
    return max(along_x, along_y) > NEIGHBOURS * number
