"""Bands on pixels of their own, measured in the apertures of the reference band, which the WCS moves onto them.

Interpolation correlates the noise of neighbouring pixels and widens stars; here no pixel is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .align import PixelMap
from .detections import centers
from .shapes import principal_axes
from .stamps import LARGEST, TIE, Light, Stamps, cut_out, without_foreign
from .stretch import Background

FINEST = 3  # pixels in one of the reference's, along an axis, up to which the largest stamps reach as far as the reference's


@dataclass(frozen=True)
class NativeLight:
    """A part of a band on its own pixels: the methods of ``Light``, to which places are given in pixels of the reference.

    Attributes:
        data: (h, w) float32 counts above the sky, NaN where bad.
        variance: (h, w) float32 of the sky alone.
        aligned: the same part of the band on the reference's pixels, which say to whom a place belongs.
        grid: where pixels of the reference lie on these.
        gain, scale: as of ``Light``.
        origin: x and y in the band of the first pixel.
    """

    data: np.ndarray
    variance: np.ndarray
    aligned: Light
    grid: PixelMap
    gain: float = np.inf
    scale: float = 1.0
    origin: tuple[int, int] = (0, 0)

    @cached_property
    def largest(self) -> int:
        """Half side of the largest stamp."""
        return largest_on(self.grid)

    def on_pixels(self, place, a, b, theta) -> tuple[np.ndarray, ...]:
        return moved_ellipses(self.grid, place, a, b, theta)

    def stamps(self, rows: np.ndarray, place: np.ndarray, half: int) -> Stamps:
        """Stamps of ``2 * half + 1`` pixels of the band."""
        at, jacobian = within_reach(*self.grid.at(place))
        x, y = (np.rint(at[:, i] - TIE).astype(int) for i in (0, 1))
        left, top = x - half - self.origin[0], y - half - self.origin[1]
        data = cut_out(self.data, top, left, 2 * half + 1, np.float32(np.nan))
        span = np.arange(-half, half + 1)
        owner = self._owners(place, jacobian, x[:, None] + span - at[:, :1], y[:, None] + span - at[:, 1:])
        bad = np.isnan(data)
        data[bad] = 0
        foreign = bad | ((owner != rows[:, None, None]) & (owner != -1))
        height, width = self.data.shape
        middle = np.clip(top + half, 0, height - 1), np.clip(left + half, 0, width - 1)
        variance = self.variance[middle].astype(np.float64) * self.scale**2
        return without_foreign(data, variance, x, y, foreign, at)

    def _owners(self, place, jacobian, dx, dy) -> np.ndarray:
        """(n, s, s) rows of the detections to whom the pixels at distances ``dx`` and ``dy`` (n, s) from the places belong."""
        back, (height, width) = np.linalg.inv(jacobian), self.aligned.owner.shape
        first = place - self.aligned.origin + 0.5
        along_x = [(first[:, i, None] + back[:, i, :1] * dx).astype(np.float32)[:, None, :] for i in (0, 1)]
        along_y = [(back[:, i, 1:] * dy).astype(np.float32)[:, :, None] for i in (0, 1)]
        column, row = (one + other for one, other in zip(along_x, along_y))
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        column, row = np.where(inside, column, 0).astype(np.int32), np.where(inside, row, 0).astype(np.int32)
        return np.where(inside, self.aligned.owner[row, column], np.int32(-2))


def native_light(counts, sky: Background, grid: PixelMap, aligned: Light, rows: slice, columns: slice) -> NativeLight:
    """The band's own pixels around a section of the reference, of which ``aligned`` is."""
    there = grid.around(rows, columns, counts.shape)
    if any(part.start == part.stop for part in there):
        nothing = np.full((1, 1), np.nan, np.float32)
        return NativeLight(nothing, np.ones_like(nothing), aligned, grid, aligned.gain, origin=(-(10**6), -(10**6)))
    data = counts[there] - sky.section(sky.sky_mesh, *there)
    variance = np.square(sky.section(sky.noise_mesh, *there))
    return NativeLight(data, variance, aligned, grid, aligned.gain, origin=(there[1].start, there[0].start))


def within_reach(at: np.ndarray, jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places and derivatives; where the WCS knows none, a place far outside of any frame."""
    known = np.isfinite(at).all(axis=1) & np.isfinite(jacobian).all(axis=(1, 2)) & (np.abs(np.linalg.det(np.nan_to_num(jacobian))) > 1e-9)
    return np.where(known[:, None], np.clip(at, -1e6, 1e6), -1e6), np.where(known[:, None, None], jacobian, np.eye(2))


def moved_ellipses(grid: PixelMap, place, a, b, theta) -> tuple[np.ndarray, ...]:
    """Places (n, 2), semi-axes and angles (n,) on the other grid of ellipses on the reference's; semi-axes of half a pixel and more."""
    at, jacobian = within_reach(*grid.at(place))
    c, s = np.cos(theta), np.sin(theta)
    half = jacobian @ np.stack([np.stack([a * c, -b * s], -1), np.stack([a * s, b * c], -1)], axis=1)  # columns: the semi-axes
    xx, yy, xy = (half[:, 0] ** 2).sum(-1), (half[:, 1] ** 2).sum(-1), (half[:, 0] * half[:, 1]).sum(-1)
    *squares, theta = principal_axes(xx, yy, xy)
    most = largest_on(grid) - 2.0
    a, b = (np.clip(np.sqrt(np.maximum(v, 0)), 0.5, most) for v in squares)
    return at, a, b, theta


def largest_on(grid: PixelMap) -> int:
    """Half side in pixels of the largest stamp on the other grid."""
    return int(np.ceil(LARGEST * np.clip(np.sqrt(grid.area()), 1, FINEST)))


def moved_boxes(grid: PixelMap, boxes: np.ndarray) -> np.ndarray:
    """(n, 4) boxes on the other grid around the ellipses that boxes on the reference's frame."""
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    at, jacobian = within_reach(*grid.at(centers(boxes)))
    half = np.sqrt(((jacobian * half[:, None, :]) ** 2).sum(axis=2))
    return np.concatenate([at - half, at + half], axis=1)
