"""The sky that photometry subtracts, from pixels far from all that was found.

The sky that the network's stretch takes needs no catalog, so that the wings of the sources are in it: in simulated DECam-like
fields 0.07 to 0.2 of the noise too much, which is the flux error of a whole aperture. Here it is measured again beside the detections.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .stamps import ellipses
from .stretch import Background, mesh_cells, sample_step, sky_and_noise

REACHES = 2.5, 2.0, 1.5  # half sides of their boxes within which sources' light is left out; less where too little sky remains
LEAST = 0.08  # part of a cell that must remain


def sky_between(background: Background, counts: np.ndarray, boxes: np.ndarray) -> Background:
    """The background with the sky of pixels beside the boxes (n, 4) of all detections; its noise stays.

    A cell of the mesh without enough such pixels is moved as the others are in the median. Follows ``a * counts + b`` exactly.
    """
    step = sample_step(counts.shape)
    shape = tuple(-(-n // step) for n in counts.shape)
    beyond = reaches_left(boxes / step, shape)
    moved = np.full(background.sky_mesh.shape, np.nan)
    for (i, j), (rows, columns) in mesh_cells(shape, moved.shape):
        if j == 0:
            strip = counts[rows.start * step : rows.stop * step : step, ::step]
        pixels = free_pixels(strip[:, columns], beyond[rows, columns])
        if pixels is not None:
            moved[i, j] = sky_and_noise(pixels.astype(np.float64))[0] - background.sky_mesh[i, j]
    usual = np.nanmedian(moved) if np.isfinite(moved).any() else 0.0
    return replace(background, sky_mesh=background.sky_mesh + np.where(np.isfinite(moved), moved, usual))


def reaches_left(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8: how many of ``REACHES`` end before a pixel, seen from the detection that is nearest to it."""
    least = np.full(shape[0] * shape[1], len(REACHES), np.uint8)
    for _, pixel, distance in ellipses(boxes, np.arange(len(boxes)), REACHES[0], shape):
        np.minimum.at(least, pixel, sum((distance >= np.float32(reach)).astype(np.uint8) for reach in REACHES))
    return least.reshape(shape)


def free_pixels(pixels: np.ndarray, beyond: np.ndarray) -> np.ndarray | None:
    """The good ones beyond the largest reach that leaves enough of them; None if none does."""
    good = np.isfinite(pixels)
    for number in range(len(REACHES), 0, -1):
        free = good & (beyond >= number)
        if free.sum() >= max(LEAST * free.size, 20):
            return pixels[free]
    return None
