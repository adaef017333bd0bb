"""Bands on other pixels than the reference's, moved onto it by their WCS."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from .sections import Rows, sampled

if TYPE_CHECKING:
    from astropy.wcs import WCS

TOLERANCE = 0.02  # pixels: grids that differ by less are the same
KNOTS = 32  # pixels between the points whose places are computed exactly
SPLINE = 24  # pixels beyond which a cubic spline does not feel another value


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


class PixelMap:
    """Where the pixels of a reference of shape (H, W) lie on another grid: exact on a coarse mesh, linear between."""

    def __init__(self, reference: WCS, other: WCS, shape: tuple[int, int]):
        self._shape = shape
        rows, columns = (np.linspace(0, max(n - 1, 1), max(2, -(-n // KNOTS) + 1)) for n in shape)
        self._knots = pixel_places(reference, other, *np.meshgrid(columns, rows))

    def section(self, rows: slice, columns: slice) -> np.ndarray:
        """(2, h, w) x, y in the other grid of the pixels of a section."""
        from scipy.ndimage import map_coordinates

        at = [
            np.arange(*part.indices(n)) * (knots - 1) / max(n - 1, 1)
            for part, n, knots in zip((rows, columns), self._shape, self._knots.shape[1:])
        ]
        where = np.meshgrid(*at, indexing="ij")
        return np.stack([map_coordinates(k, where, order=1, mode="nearest") for k in self._knots])

    def at(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 2) x, y in the other grid of places (n, 2) on the reference's pixels or near them, and (n, 2, 2) their derivatives."""
        (rows, columns), (height, width) = self._knots.shape[1:], self._shape
        per_x, per_y = (columns - 1) / max(width - 1, 1), (rows - 1) / max(height - 1, 1)  # knots a pixel
        u, v = place[:, 0] * per_x, place[:, 1] * per_y
        j, i = (np.clip(np.nan_to_num(w).astype(int), 0, n - 2) for w, n in ((u, columns), (v, rows)))
        u, v = u - j, v - i
        low, high, low_next, high_next = (self._knots[:, i + di, j + dj] for dj in (0, 1) for di in (0, 1))
        along_x, along_y = (low_next - low) * (1 - v) + (high_next - high) * v, (high - low) * (1 - u) + (high_next - low_next) * u
        there = low + (low_next - low) * u + along_y * v
        return there.T, np.stack([along_x * per_x, along_y * per_y], axis=-1).transpose(1, 0, 2)

    def around(self, rows: slice, columns: slice, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of the other grid, of this shape, that hold a section of the reference; perhaps none."""
        edge = np.linspace(0, 1, 9)
        x, y = (part.start - 0.5 + edge * (part.stop - part.start) for part in (columns, rows))
        there = self.at(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2))[0]
        there = there[np.isfinite(there).all(axis=1)]
        low, high = (np.floor(there.min(axis=0)), np.ceil(there.max(axis=0)) + 1) if len(there) else np.zeros((2, 2))
        x, y = (slice(int(np.clip(low[i], 0, shape[1 - i])), int(np.clip(high[i], 0, shape[1 - i]))) for i in (0, 1))
        return y, x

    def area(self) -> float:
        """Pixels of the other grid in one of the reference, in the middle of the frame."""
        (i, j), (height, width) = (max(n // 2, 1) for n in self._shape), self._shape
        if min(height, width) < 2:
            return 1.0
        x, y = self.section(slice(i - 1, i + 1), slice(j - 1, j + 1))
        return abs((x[1, 1] - x[1, 0]) * (y[1, 1] - y[0, 1]) - (x[1, 1] - x[0, 1]) * (y[1, 1] - y[1, 0]))


def align(counts, wcs: WCS, reference: WCS, shape: tuple[int, int]):
    """One band on the reference's pixels, by cubic splines; NaN where it has no good pixel nearby.

    Counts are brightnesses a pixel: on grids of another pixel area they are scaled, so that fluxes hold. A plane that is read in
    parts is aligned in parts.
    """
    places = PixelMap(reference, wcs, shape)
    area, sky = places.area(), typical(counts)
    if isinstance(counts, np.ndarray):
        return resampled(counts, sky, area, places.section(slice(None), slice(None)), (0, 0))
    return Rows(shape, lambda rows: rows_moved(counts, sky, area, places.section(rows, slice(None))))


def typical(counts) -> float:
    """The median of a sample of the good pixels, 0 without any."""
    sample = sampled(counts)
    good = sample[np.isfinite(sample)]
    return float(np.median(good)) if len(good) else 0.0


def rows_moved(counts, sky: float, area: float, places: np.ndarray) -> np.ndarray:
    """Of a plane in parts: reads what lies around the places alone."""
    x, y = places
    reach = [(np.floor(np.nanmin(v)) - SPLINE, np.ceil(np.nanmax(v)) + SPLINE + 1) if np.isfinite(v).any() else (0, 0) for v in (y, x)]
    rows, columns = (slice(int(np.clip(low, 0, n)), int(np.clip(high, 0, n))) for (low, high), n in zip(reach, counts.shape))
    part = counts[rows, columns]
    if not part.size:
        return np.full(x.shape, np.nan, np.float32)
    return resampled(part, sky, area, places, (rows.start, columns.start))


def resampled(counts: np.ndarray, sky: float, area: float, places: np.ndarray, first: tuple[int, int]) -> np.ndarray:
    """Values at ``places`` (2, h, w) of an image whose first pixel has row and column ``first``; ``sky`` stands in for bad pixels."""
    from scipy.ndimage import map_coordinates

    at = [places[1] - first[0], places[0] - first[1]]
    bad = ~np.isfinite(counts)
    moved = map_coordinates(np.where(bad, np.float32(sky), counts).astype(np.float32), at, order=3, mode="nearest")
    lost = map_coordinates(bad.astype(np.float32), at, order=1, mode="constant", cval=1.0) > 0.01
    moved *= np.float32(area)
    moved[lost] = np.nan
    return moved
