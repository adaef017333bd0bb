"""What NumPy and PyTorch call differently, so that the rules for boxes are written once: a GPU follows those of the processor.

What both call the same (``stack``, ``where``, ``clip``, ``exp`` ...) is a function of ``library(array)``. PyTorch is never imported here.
"""

from __future__ import annotations

import sys

import numpy as np

NUMPY = np.ndarray, np.generic  # arrays and single numbers


def library(array):
    """The module ``numpy`` or ``torch``, whichever made the array."""
    return np if isinstance(array, NUMPY) else sys.modules["torch"]


def count_up(n: int, like):
    """(n,) 0 to n - 1, where ``like`` is."""
    return np.arange(n) if isinstance(like, np.ndarray) else library(like).arange(n, device=like.device)


def order_by(*keys):
    """(n,) rows in rising order of the first key, (n,); equal ones by the next key, at last as they stand."""
    if isinstance(keys[0], np.ndarray):
        return np.lexsort(keys[::-1])
    order = count_up(len(keys[0]), keys[0])
    for key in keys[::-1]:
        order = order[library(key).argsort(key[order], stable=True)]
    return order


def rows_where(mask):
    """(m,) rows of a mask (n,) that are True."""
    return np.flatnonzero(mask) if isinstance(mask, np.ndarray) else mask.nonzero()[:, 0]


def repeated(values, times):
    """Each of the values (n,) so many times, (n,)."""
    return np.repeat(values, times) if isinstance(values, np.ndarray) else values.repeat_interleave(times)


def raise_at(values, rows, least) -> None:
    """``values[rows]`` become at least ``least``, in place; a row may be named often."""
    if isinstance(values, np.ndarray):
        np.maximum.at(values, rows, least)
    else:
        values.scatter_reduce_(0, rows, least, "amax")


def lower_at(values, rows, most) -> None:
    """``values[rows]`` become at most ``most``, in place; a row may be named often."""
    if isinstance(values, np.ndarray):
        np.minimum.at(values, rows, most)
    else:
        values.scatter_reduce_(0, rows, most, "amin")


def sums_at(rows, values, n: int):
    """(n,) float64 sums of the values that name each row; a GPU adds them in any order, which then does not show in float32."""
    if isinstance(rows, np.ndarray):
        return np.bincount(rows, values, n)
    return values.new_zeros(n, dtype=library(values).float64).index_add_(0, rows, values.double())


def as_float32(values):
    return values.astype(np.float32, copy=False) if isinstance(values, NUMPY) else values.float()
