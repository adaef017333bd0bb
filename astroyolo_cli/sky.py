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
    sample = counts[::step, ::step]
    distance = nearest(boxes / step, sample.shape)
    distance[~np.isfinite(sample)] = 0
    moved = np.full(background.sky_mesh.shape, np.nan)
    for place, cell in mesh_cells(sample.shape, moved.shape):
        pixels = free_pixels(sample[cell], distance[cell])
        if pixels is not None:
            moved[place] = sky_and_noise(pixels.astype(np.float64))[0] - background.sky_mesh[place]
    usual = np.nanmedian(moved) if np.isfinite(moved).any() else 0.0
    return replace(background, sky_mesh=background.sky_mesh + np.where(np.isfinite(moved), moved, usual))


def nearest(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) float32: elliptical distance to the nearest detection, as far as the largest of ``REACHES``."""
    least = np.full(shape[0] * shape[1], REACHES[0], np.float32)
    for _, pixel, distance in ellipses(boxes, np.arange(len(boxes)), REACHES[0], shape):
        np.minimum.at(least, pixel, distance)
    return least.reshape(shape)


def free_pixels(pixels: np.ndarray, distance: np.ndarray) -> np.ndarray | None:
    """Those beyond the largest reach that leaves enough of them; None if none does."""
    for reach in REACHES:
        free = distance >= np.float32(reach)
        if free.sum() >= max(LEAST * free.size, 20):
            return pixels[free]
    return None
