"""Smooth or disk, as far as the frame resolves the galaxy: colour alone is no morphology."""

from __future__ import annotations

import numpy as np
from astropy.table import Table

from .columns import MORPHOLOGY_UNSURE
from .detections import MORPHOLOGIES, with_evidence

UNRESOLVED, RESOLVED = 0.25, 1.25  # half-light radius without the PSF, in FWHM, up to which and from which on shape tells nothing and all
LEAST = 0.1  # of what the network says that always counts: its guess stays the class
UNSURE = 0.1  # from a half: p_disk within is no answer


def resolved(r50: np.ndarray, star_r50: float, fwhm: float) -> np.ndarray:
    """(n,) from ``LEAST``, nothing but the PSF is seen, to 1, where shape may be believed, by half-light radii in pixels; 1 where unknown.

    >>> resolved(np.array([2.0, 4.0, 10.0, np.nan]), 2.2, 4.0).round(2).tolist()
    [0.1, 0.59, 1.0, 1.0]
    """
    own = np.sqrt(np.maximum(r50**2 - star_r50**2, 0)) / fwhm
    return np.nan_to_num(np.clip((own - UNRESOLVED) / (RESOLVED - UNRESOLVED), LEAST, 1), nan=1.0)


def unsure(p_galaxy: np.ndarray, p_disk: np.ndarray) -> np.ndarray:
    """(n,) int32, the bit of galaxies that are neither smooth nor disk for sure."""
    return np.where((p_galaxy > 0.5) & (np.abs(p_disk - 0.5) < UNSURE), MORPHOLOGY_UNSURE, 0).astype(np.int32)


def morphologies(p_galaxy: np.ndarray, p_disk: np.ndarray) -> np.ndarray:
    """(n,) words, "" for stars."""
    return np.where(np.asarray(p_galaxy) > 0.5, np.array(MORPHOLOGIES)[(np.asarray(p_disk) > 0.5).astype(int)], "")


def believe_shapes_alone(catalog: Table, prior_disk: float) -> None:
    """Draw p_disk of galaxies that the frame does not resolve to the prior, in place; as it is in frames whose PSF is unknown."""
    if not catalog.meta["stars"]:
        return
    r50 = np.ma.filled(np.ma.asarray(catalog["r50"], float), np.nan)
    told = resolved(r50, catalog.meta["star_r50"], catalog.meta["frame_fwhm"])
    p_disk = with_evidence(np.asarray(catalog["p_disk"], float), prior_disk, told).astype(np.float32)
    catalog["p_disk"][:], catalog["p_smooth"][:] = p_disk, 1 - p_disk  # the columns stay, with their UCDs and meanings
    words = morphologies(catalog["p_galaxy"], p_disk)
    catalog["morphology"][words != ""] = words[words != ""]
    catalog["flags"] &= ~MORPHOLOGY_UNSURE
    catalog["flags"] |= unsure(catalog["p_galaxy"], p_disk)
