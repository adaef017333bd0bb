"""Stamps around detections, neighbours taken out; centroids, moments and radii measured on them.

Neighbours: a pixel belongs to the detection in whose box it lies deepest (elliptical distance in units of the half box).
In a source's aperture a neighbour's pixel is replaced by the one opposite the source's centre, or by empty sky where that
is a neighbour's too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .detections import Detections

KRON = 2.5  # Kron radii of the total aperture (Kron 1980, ApJS 43, 305)
LEAST = 1.6  # of the total aperture in units of a, at least
REACH = 2.2  # half sides of a stamp, in half sides of the box
LARGEST = 400  # pixels: half side of the largest stamp


@dataclass(frozen=True)
class Stamp:
    """The surroundings of one source on one band.

    Attributes:
        data: (h, w) float64 counts above the sky, neighbours replaced; 0 where bad.
        variance: (h, w) float64 of the sky alone.
        x, y: (1, w) and (h, 1), pixel coordinates in the frame.
    """

    data: np.ndarray
    variance: np.ndarray
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Shape:
    """Centroid, its errors, rms axes (pixels), angle (radians) and Kron radius in units of ``a``."""

    x: float
    y: float
    x_err: float
    y_err: float
    a: float
    b: float
    theta: float
    kron: float
    centered: bool


def owners(found: Detections, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) int32: the row of the detection to which a pixel belongs; -1 outside of all boxes."""
    depth, owner = np.ones(shape, np.float32), np.full(shape, -1, np.int32)
    for i, box in enumerate(found.xyxy):
        rows, columns = window(box, 1.0, shape)
        distance = elliptical_distance(box, rows, columns)
        mine = distance < depth[rows, columns]
        depth[rows, columns][mine], owner[rows, columns][mine] = distance[mine], i
    return owner


def window(box: np.ndarray, reach: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns around a box, ``reach`` half sides out from its middle, cut at the frame."""
    middle, half = (box[:2] + box[2:]) / 2, np.minimum((box[2:] - box[:2]) / 2 * reach, LARGEST) + (2 if reach > 1 else 0)
    x0, y0 = np.maximum(np.ceil(middle - half), 0).astype(int)
    x1, y1 = np.minimum(np.floor(middle + half), [shape[1] - 1, shape[0] - 1]).astype(int)
    return slice(y0, max(y1, y0) + 1), slice(x0, max(x1, x0) + 1)


def elliptical_distance(box, rows: slice, columns: slice) -> np.ndarray:
    """(h, w): 0 in the middle of the box, 1 on the ellipse that it frames."""
    middle, half = (box[:2] + box[2:]) / 2, np.maximum((box[2:] - box[:2]) / 2, 0.5)
    x = (np.arange(columns.start, columns.stop) - middle[0]) / half[0]
    y = (np.arange(rows.start, rows.stop) - middle[1]) / half[1]
    return np.hypot(x[None], y[:, None]).astype(np.float32)


def stamp_of(light, box, owner: np.ndarray, row: int) -> Stamp:
    """The surroundings of source ``row``, with its neighbours' pixels replaced by those opposite its centre."""
    data, noise = light
    rows, columns = window(box, REACH, data.shape)
    own = data[rows, columns].astype(np.float64)
    others = (owner[rows, columns] >= 0) & (owner[rows, columns] != row)
    if others.any():
        own = mirrored(own, others, (box[:2] + box[2:]) / 2 - [columns.start, rows.start])
    x, y = np.arange(columns.start, columns.stop, dtype=float)[None], np.arange(rows.start, rows.stop, dtype=float)[:, None]
    return Stamp(own, noise[rows, columns].astype(np.float64) ** 2, x, y)


def mirrored(data: np.ndarray, others: np.ndarray, middle) -> np.ndarray:
    """Where ``others``, the value opposite ``middle`` (x, y), 0 where that lies outside or is another's too."""
    y, x = np.nonzero(others)
    opposite_x, opposite_y = np.rint(2 * middle[0] - x).astype(int), np.rint(2 * middle[1] - y).astype(int)
    inside = (opposite_x >= 0) & (opposite_x < data.shape[1]) & (opposite_y >= 0) & (opposite_y < data.shape[0])
    inside[inside] = ~others[opposite_y[inside], opposite_x[inside]]
    filled = data.copy()
    filled[y, x] = 0.0
    filled[y[inside], x[inside]] = data[opposite_y[inside], opposite_x[inside]]
    return filled


def all_bands_light(light: dict) -> tuple[np.ndarray, np.ndarray]:
    """All bands together, each over its noise: a source is placed and shaped where it was found; (H, W) each, noise 1."""
    total = sum(data / noise for data, noise in light.values()) / np.sqrt(len(light))
    return total, np.ones_like(total)


def window_sigmas(found: Detections) -> np.ndarray:
    """(n,) sigma in pixels of the window in which each source is centred, from its box.

    A star's box reaches to 0.5 % of the peak, some 5 sigma out for a Moffat profile; a galaxy's to 8 %, 2.25 sigma
    of a Gaussian. Taken from the box and not from the light, it doesn't grow with the noise.
    """
    side = (found.xyxy[:, 2:] - found.xyxy[:, :2]).min(axis=1)
    sigma = side * (found.p_galaxy / 4.5 + (1 - found.p_galaxy) / 10.1)
    stars = (found.p_galaxy < 0.5) & (found.score > 0.5)
    point = np.median(sigma[stars]) if stars.sum() >= 3 else 0.0
    # What is hardly larger than a star gets a star's window, whatever the box's jitter.
    return np.clip(np.where(sigma < 1.6 * point, point, sigma), 0.7, LARGEST / 8)


def shape_of(stamp: Stamp, box: np.ndarray, sigma: float) -> Shape | None:
    """Windowed centroid, moments and Kron radius; None where there is no light."""
    middle, half = (box[:2] + box[2:]).astype(float) / 2, (box[2:] - box[:2]).astype(float) / 2
    bright = bright_region(stamp, middle, half)
    if bright is None:
        return None
    a, b, theta = moments(stamp, bright, half)
    x, y, x_err, y_err, centered = windowed_centroid(stamp, middle, half, sigma)
    kron = kron_radius(stamp, x, y, a, b, theta)
    return Shape(x, y, x_err, y_err, a, b, theta, kron, centered)


def bright_region(stamp: Stamp, middle, half) -> np.ndarray | None:
    """(h, w) bool: pixels above 1.5 sigma of the sky that hang together with the brightest near the middle of the box.

    All positive pixels of the box where nothing stands out; None without light.
    """
    from scipy.ndimage import label

    distance = np.hypot((stamp.x - middle[0]) / half[0], (stamp.y - middle[1]) / half[1])
    core = np.where(distance <= 0.6, stamp.data, -np.inf)
    peak = np.unravel_index(core.argmax(), core.shape)
    if not (np.isfinite(core[peak]) and core[peak] > 0):
        return None
    regions, _ = label((stamp.data > 1.5 * np.sqrt(stamp.variance)) & (distance <= 1.2))
    if regions[peak]:
        return regions == regions[peak]
    return (distance <= 1) & (stamp.data > 0)


def moments(stamp: Stamp, bright: np.ndarray, half) -> tuple[float, float, float]:
    """rms along major and minor axis, and the angle of the major axis, of the bright pixels' light."""
    weight = np.where(bright, stamp.data, 0.0)
    total = weight.sum()
    x, y = (weight * stamp.x).sum() / total, (weight * stamp.y).sum() / total
    xx = (weight * (stamp.x - x) ** 2).sum() / total
    yy = (weight * (stamp.y - y) ** 2).sum() / total
    xy = (weight * (stamp.x - x) * (stamp.y - y)).sum() / total
    mean, difference = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    least = 1 / 12  # of a single pixel
    a, b = np.sqrt(max(mean + difference, least)), np.sqrt(max(mean - difference, least))
    return float(min(a, half.max())), float(min(b, half.max())), float(0.5 * np.arctan2(2 * xy, xx - yy))


def windowed_centroid(stamp: Stamp, middle, half, sigma: float):
    """Centroid under a Gaussian window that follows it, as SExtractor's XWIN_IMAGE; errors from the sky noise.

    Returns x, y, x_err, y_err and whether it stayed near the middle of the box; if not, that middle.
    """
    x, y = middle
    for _ in range(60):
        w = np.exp(-((stamp.x - x) ** 2 + (stamp.y - y) ** 2) / (2 * sigma**2))
        light = w * stamp.data
        total = light.sum()
        if not total > 0:
            break
        dx, dy = 2 * (light * (stamp.x - x)).sum() / total, 2 * (light * (stamp.y - y)).sum() / total
        step = min(1.0, sigma / max(np.hypot(dx, dy), 1e-9))  # faint light asks for leaps; the peak is nearer
        x, y = x + step * dx, y + step * dy
        if np.hypot((x - middle[0]) / max(half[0], 2), (y - middle[1]) / max(half[1], 2)) > 0.7:
            break
        if np.hypot(dx, dy) < 1e-3:
            spread = [2 * np.sqrt((w**2 * stamp.variance * d**2).sum()) / total for d in (stamp.x - x, stamp.y - y)]
            return x, y, spread[0], spread[1], True
    return float(middle[0]), float(middle[1]), np.nan, np.nan, False


def kron_radius(stamp: Stamp, x: float, y: float, a: float, b: float, theta: float) -> float:
    """First moment of the light over the elliptical radius, in units of ``a``, within 6 of them."""
    radius = elliptical_radius(stamp, x, y, a, b, theta)
    inside = radius <= 6
    total = stamp.data[inside].sum()
    if not total > 0:
        return LEAST / KRON
    first = (radius * stamp.data)[inside].sum() / total
    return float(np.clip(first, LEAST / KRON, 2.4))


def elliptical_radius(stamp: Stamp, x: float, y: float, a: float, b: float, theta: float) -> np.ndarray:
    dx, dy = stamp.x - x, stamp.y - y
    along, across = dx * np.cos(theta) + dy * np.sin(theta), -dx * np.sin(theta) + dy * np.cos(theta)
    return np.hypot(along / a, across / b)


def coverage(stamp: Stamp, x: float, y: float, a: float, b: float, theta: float) -> np.ndarray:
    """(h, w) exact part of each pixel in an ellipse, by photutils."""
    from photutils.geometry import elliptical_overlap_grid

    height, width = stamp.data.shape
    left, low = stamp.x[0, 0] - 0.5 - x, stamp.y[0, 0] - 0.5 - y
    return elliptical_overlap_grid(left, left + width, low, low + height, width, height, a, b, theta, 1, 1)


def half_light_radius(stamp: Stamp, shape: Shape, total: float) -> float:
    """Radius of the circle that holds half of ``total``; by the light sorted by radius, each pixel spread over its area."""
    radius = np.hypot(stamp.x - shape.x, stamp.y - shape.y).ravel()
    order = np.argsort(radius)
    growth = np.cumsum(stamp.data.ravel()[order])
    beyond = np.flatnonzero(growth >= total / 2)
    if not len(beyond):
        return np.nan
    # up to this pixel the circle has the area of so many pixels
    return float(np.sqrt((beyond[0] + 0.5) / np.pi))
