"""Bands on other pixels than the reference's, moved onto it by their WCS."""

from __future__ import annotations

import warnings

import numpy as np
from astropy.wcs import WCS

TOLERANCE = 0.02  # pixels: grids that differ by less are the same
KNOTS = 32  # pixels between the points whose places are computed exactly


def same_grid(a: WCS | None, b: WCS | None, shape_a: tuple[int, int], shape_b: tuple[int, int]) -> bool:
    """Whether two bands share their pixels; without a WCS, equal shapes are taken as aligned."""
    if shape_a != shape_b:
        return False
    if a is None or b is None:
        return True
    height, width = shape_a
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], float)
    return bool(np.nanmax(np.abs(pixel_places(a, b, *corners.T) - corners.T)) < TOLERANCE)


def pixel_places(reference: WCS, other: WCS, x, y) -> np.ndarray:
    """(2, ...) x, y in ``other`` of reference pixels; both count from 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sky = reference.pixel_to_world(x, y)
        return np.array(other.world_to_pixel(sky.transform_to("icrs")), float)


def pixel_map(reference: WCS, other: WCS, shape: tuple[int, int]) -> np.ndarray:
    """(2, H, W) x, y in ``other`` of every reference pixel; exact on a coarse mesh, linear between."""
    from scipy.ndimage import map_coordinates

    height, width = shape
    rows, columns = (np.linspace(0, n - 1, max(2, -(-n // KNOTS) + 1)) for n in shape)
    knots = pixel_places(reference, other, *np.meshgrid(columns, rows))
    y = np.arange(height) * (len(rows) - 1) / max(height - 1, 1)
    x = np.arange(width) * (len(columns) - 1) / max(width - 1, 1)
    where = np.meshgrid(y, x, indexing="ij")
    return np.stack([map_coordinates(k, where, order=1, mode="nearest") for k in knots])


def align(counts: np.ndarray, wcs: WCS, reference: WCS, shape: tuple[int, int]) -> np.ndarray:
    """One band on the reference's pixels, by cubic splines; NaN where it has no good pixel nearby.

    Counts are brightnesses a pixel: on grids of another pixel area they are scaled, so that fluxes hold.
    """
    from scipy.ndimage import map_coordinates

    x, y = pixel_map(reference, wcs, shape)
    bad = ~np.isfinite(counts)
    sky = np.median(counts[~bad]) if (~bad).any() else 0.0
    moved = map_coordinates(np.where(bad, sky, counts).astype(np.float32), [y, x], order=3, mode="nearest")
    lost = map_coordinates(bad.astype(np.float32), [y, x], order=1, mode="constant", cval=1.0) > 0.01
    moved *= np.float32(pixel_area(x, y))
    moved[lost] = np.nan
    return moved


def pixel_area(x: np.ndarray, y: np.ndarray) -> float:
    """Pixels of the other grid in one of the reference, from the middle of the map."""
    i, j = (n // 2 for n in x.shape)
    i, j = max(i, 1), max(j, 1)
    if min(x.shape) < 2:
        return 1.0
    along_x = x[i, j] - x[i, j - 1], y[i, j] - y[i, j - 1]
    along_y = x[i, j] - x[i - 1, j], y[i, j] - y[i - 1, j]
    return abs(along_x[0] * along_y[1] - along_x[1] * along_y[0])
