"""Which detection is which true source: one to one, nearest first, within a radius."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from .catalogs import Found
from .truth import SAME, Truth

NONE, OUTSIDE = -1, -2


@dataclass(frozen=True)
class Match:
    """The outcome for one field.

    Attributes:
        mate: (n of truth,) the row of ``found`` that is each source, -1 for none.
        verdict: (n of found,) the true source that each detection is; -1 for a false one, -2 for one that counts
            neither way because it is, or lies on, something that is ignored.
    """

    mate: np.ndarray
    verdict: np.ndarray


def match_field(found: Found, truth: Truth, radius: float) -> Match:
    """Counted sources first, so that what is ignored takes no detection away from them."""
    counted = np.flatnonzero(~truth.ignore)
    verdict = nearest_first(found.xy, truth.xy[counted], radius)
    verdict[verdict >= 0] = counted[verdict[verdict >= 0]]
    left = np.flatnonzero(verdict == NONE)
    verdict[left[on_ignored(found.xy[left], truth, radius)]] = OUTSIDE
    mate = np.full(len(truth), NONE)
    mate[verdict[verdict >= 0]] = np.flatnonzero(verdict >= 0)
    return Match(mate, verdict)


def nearest_first(found: np.ndarray, truth: np.ndarray, radius: float) -> np.ndarray:
    """(n,) row of ``truth`` (m, 2) that each of ``found`` (n, 2) is, -1 for none; positions that are not finite are none."""
    source = np.full(len(found), NONE)
    sound = np.flatnonzero(np.isfinite(found).all(axis=1))
    if len(sound) == 0 or len(truth) == 0:
        return source
    near = cKDTree(found[sound]).sparse_distance_matrix(cKDTree(truth), radius, output_type="ndarray")
    taken = np.zeros(len(truth), bool)
    for pair in np.lexsort((near["j"], near["i"], near["v"])):
        i, j = sound[near["i"][pair]], near["j"][pair]
        if source[i] == NONE and not taken[j]:
            source[i], taken[j] = j, True
    return source


def on_ignored(xy: np.ndarray, truth: Truth, radius: float) -> np.ndarray:
    """(n,) bool: in the box of an ignored source, or within the radius of one."""
    boxes, places = truth.boxes[truth.ignore], truth.xy[truth.ignore]
    inside = ((xy[:, None] >= boxes[None, :, :2]) & (xy[:, None] <= boxes[None, :, 2:])).all(axis=2)
    near = np.hypot(*(xy[:, None] - places[None]).transpose(2, 0, 1)) <= radius
    return (inside | near).any(axis=1)


def radius_of(truth: Truth, without_fwhm: float) -> float:
    """Pixels: half the FWHM, else what the user says."""
    return SAME * truth.fwhm if np.isfinite(truth.fwhm) else without_fwhm
