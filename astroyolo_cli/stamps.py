"""Pixels around detections: whose they are, and stamps with the neighbours taken out.

Sources of similar size are cut out as one (n, side, side) array and measured together, so that no step loops over sources.

Neighbours: a pixel belongs to the detection whose box is nearest, in units of that box's half sides (elliptical distance), up to
``OWN`` of them. Pixels of neighbours, bad ones and those outside of the frame take the value opposite the source's centre, or of
empty sky where that one is a neighbour's, bad or outside too (SExtractor's MASK_TYPE CORRECT).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np

from .threads import spread

OWN = 1.5  # half sides of its box up to which a detection owns pixels
LARGEST = 400  # pixels: half side of the largest stamp
NEAR_EDGE = 1.5  # pixels: a box that ends so near the frame's edge is of a source that may go on beyond it
TIE = 1e-3  # pixels: boxes end on half pixels, and which pixel is nearest to one must not hang on the last digit
CHUNK = 250_000  # pixels cut out at once: what the processor's cache holds
STRIP = 1_000_000  # pixels whose owners are found at once, for the same reason
STRIP_ROWS = 256  # of a part of the frame that are made at once


@dataclass(frozen=True)
class Light:
    """One band of a part of the frame, ready to be measured. All places are pixels of the frame.

    Attributes:
        data: (h, w) float32 counts above the sky, 0 where bad.
        variance: (h, w) float32 of the sky alone, or what gives it where it is asked for.
        owner: (h, w) int32 row of the detection to which a pixel belongs, -1 for none, -2 for bad pixels.
        gain: electrons a count; infinite where unknown, which leaves photon noise out.
        scale: true standard deviation of apertures on the sky over that of white noise.
        origin: x and y in the frame of the first pixel.
    """

    data: np.ndarray
    variance: np.ndarray
    owner: np.ndarray
    gain: float = np.inf
    scale: float = 1.0
    origin: tuple[int, int] = (0, 0)
    largest = LARGEST

    def stamps(self, rows: np.ndarray, place: np.ndarray, half: int) -> Stamps:
        """Stamps of ``2 * half + 1`` pixels around ``place`` (n, 2), neighbours and bad pixels replaced.

        Args:
            rows: (n,) the detections; -1 for places that are nobody's.
        """
        x, y = (np.rint(place[:, i] - TIE).astype(int) for i in (0, 1))
        left, top = x - half - self.origin[0], y - half - self.origin[1]
        owner = cut_out(self.owner, top, left, 2 * half + 1, -2)
        foreign = (owner != rows[:, None, None]) & (owner != -1)
        data = cut_out(self.data, top, left, 2 * half + 1, 0)
        height, width = self.data.shape
        at = np.clip(top + half, 0, height - 1), np.clip(left + half, 0, width - 1)
        variance = self.variance[at].astype(np.float64) * self.scale**2
        return without_foreign(data, variance, x, y, foreign, place)

    def on_pixels(self, place, a, b, theta) -> tuple[np.ndarray, ...]:
        """Places (n, 2) and ellipses in the reference's pixels on these pixels, which are the same."""
        return place, a, b, theta

    def is_free(self, place: np.ndarray, half: int) -> np.ndarray:
        """(n,) bool: no pixel of the stamp is anybody's, bad or outside."""
        left, top = (np.rint(place[:, i]).astype(int) - half - self.origin[i] for i in (0, 1))
        return (cut_out(self.owner, top, left, 2 * half + 1, -2) == -1).all(axis=(1, 2))


@dataclass(frozen=True)
class Stamps:
    """The surroundings of n sources of similar size.

    Attributes:
        data: (n, s, s) float32 counts above the sky.
        variance: (n,) of the sky in a pixel.
        x, y: (n, s) pixel coordinates in the frame, of the columns and of the rows.
        foreign: (n, s, s) bool, pixels of neighbours, bad ones and those outside of the frame.
        foreign_at: (m,) flat indices of these.
        foreign_light: (m,) counts that were there.
    """

    data: np.ndarray
    variance: np.ndarray
    x: np.ndarray
    y: np.ndarray
    foreign: np.ndarray
    foreign_at: np.ndarray
    foreign_light: np.ndarray

    def take(self, rows: np.ndarray) -> Stamps:
        """Those of these rows, ascending."""
        size = self.data.shape[1] * self.data.shape[2]
        number = np.full(len(self.data), -1)
        number[rows] = np.arange(len(rows))
        row, pixel = np.divmod(self.foreign_at, size)
        kept = number[row] >= 0
        at, light = number[row[kept]] * size + pixel[kept], self.foreign_light[kept]
        return Stamps(self.data[rows], self.variance[rows], self.x[rows], self.y[rows], self.foreign[rows], at, light)

    def inner(self, half: int) -> Stamps:
        """The middle ``2 * half + 1`` pixels of each; all where there are no more."""
        side = self.data.shape[1]
        cut = side // 2 - half
        if cut <= 0:
            return self
        middle = slice(cut, side - cut)
        row, pixel = np.divmod(self.foreign_at, side * side)
        y, x = np.divmod(pixel, side)
        kept = (y >= cut) & (y < side - cut) & (x >= cut) & (x < side - cut)
        at, light = (((row * (side - 2 * cut) + y - cut) * (side - 2 * cut)) + x - cut)[kept], self.foreign_light[kept]
        data, foreign = (np.ascontiguousarray(part[:, middle, middle]) for part in (self.data, self.foreign))
        return Stamps(data, self.variance, self.x[:, middle], self.y[:, middle], foreign, at, light)

    def offsets(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 1, s) and (n, s, 1) distances in x and y from ``place`` (n, 2)."""
        return (self.x - place[:, :1])[:, None, :], (self.y - place[:, 1:])[:, :, None]

    def radii(self, place: np.ndarray, a: np.ndarray, b: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """(n, s, s) float32 elliptical distances from ``place`` (n, 2), 1 on the ellipse of semi-axes ``a``, ``b`` at ``theta`` (n,)."""
        dx, dy = (d.astype(np.float32) for d in self.offsets(place))
        c, s = np.cos(theta), np.sin(theta)
        terms = (c / a) ** 2 + (s / b) ** 2, (s / a) ** 2 + (c / b) ** 2, 2 * c * s * (1 / a**2 - 1 / b**2)
        in_x, in_y, in_both = (term.astype(np.float32)[:, None, None] for term in terms)
        squared = in_x * dx**2 + in_y * dy**2
        if in_both.any():
            squared += (in_both * dx) * dy
        return np.sqrt(np.maximum(squared, 0, out=squared), out=squared)


def without_foreign(data: np.ndarray, variance: np.ndarray, x: np.ndarray, y: np.ndarray, foreign: np.ndarray, place: np.ndarray) -> Stamps:
    """Stamps of ``data`` (n, s, s) around pixels ``x``, ``y`` (n,); ``foreign`` ones are replaced in place by those opposite ``place``."""
    half = data.shape[1] // 2
    span, foreign_at = np.arange(-half, half + 1.0), np.flatnonzero(foreign)
    stamps = Stamps(data, variance, x[:, None] + span, y[:, None] + span, foreign, foreign_at, data.ravel()[foreign_at])
    mirror(stamps, place)
    return stamps


def all_bands(light: list[Light], noise: list[float], threads: int = 1) -> Light:
    """All bands together, each over its noise: a source is placed and shaped where it was found. Noise 1 a pixel.

    A pixel that is bad in any band is bad here. The gain is that of bands that are equally deep, which is near enough for
    the errors of positions.

    Args:
        noise: of a pixel in each band, typical of the frame.
    """
    if len(light) == 1:
        return light[0]
    data = np.zeros_like(light[0].data)

    def add(first: int) -> None:
        rows = slice(first, first + STRIP_ROWS)
        for one in light:
            data[rows] += one.data[rows] / np.sqrt(one.variance[rows])
        data[rows] /= np.float32(np.sqrt(len(light)))

    spread(add, range(0, len(data), STRIP_ROWS), threads)
    owner = reduce(np.minimum, [one.owner for one in light])  # bands differ where a pixel is bad, -2
    gain = np.sqrt(len(light)) * np.mean([one.gain * typical for one, typical in zip(light, noise)])
    return Light(data, np.broadcast_to(np.float32(1), data.shape), owner, gain, origin=light[0].origin)


def at_edges(boxes: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) bool each, x and y: whether a box ends at the frame's first column or row, and at its last, as near as boxes are known."""
    return boxes[:, :2] <= NEAR_EDGE - 0.5, boxes[:, 2:] >= np.array([shape[1], shape[0]]) - 0.5 - NEAR_EDGE


def over_edges(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Boxes that end at an edge of the frame, extended over it until they are square, to twice their side at most.

    The middle of what can be seen of a source is not its own.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    missing = np.clip(sides[:, ::-1] - sides, 0, sides)
    low, high = at_edges(boxes, shape)
    return boxes + np.concatenate([-missing * (low & ~high), missing * (high & ~low)], axis=1)


def owners(boxes: np.ndarray, rows: np.ndarray, shape: tuple[int, int], threads: int = 1) -> np.ndarray:
    """(H, W) int32: the row of the detection to which a pixel belongs, one of ``rows``; -1 far from all of them."""
    owner = np.empty(shape, np.int32)
    middle, reach = (boxes[rows, 1] + boxes[rows, 3]) / 2, OWN * np.maximum((boxes[rows, 3] - boxes[rows, 1]) / 2, 0.5) + 1
    height = max(STRIP // max(shape[1], 1), 16)

    def fill(first: int) -> None:
        strip = owner[first : first + height]
        near = (middle + reach >= first) & (middle - reach <= first + height)
        fill_owners(strip, boxes - [0, first, 0, first], rows[near])

    spread(fill, range(0, shape[0], height), threads)
    return owner


def fill_owners(owner: np.ndarray, boxes: np.ndarray, rows: np.ndarray) -> None:
    """The same in place, without strips. Of detections at one distance the smaller has the pixel, then the first."""
    nearest, flat = np.full(owner.size, OWN, np.float32), owner.ravel()  # a view
    flat[:] = -1
    for row, pixel, distance in ellipses(boxes, rows, OWN, owner.shape):
        closer = distance < nearest[pixel]
        row, pixel, distance = row[closer], pixel[closer], distance[closer]
        np.minimum.at(nearest, pixel, distance)
        mine = (distance == nearest[pixel])[::-1]
        flat[pixel[::-1][mine]] = row[::-1][mine]


def ellipses(boxes: np.ndarray, rows: np.ndarray, reach: float, shape: tuple[int, int]) -> Iterator[tuple[np.ndarray, ...]]:
    """The pixels of an image within ``reach`` times the ellipses that boxes frame, some rows at a time.

    Yields:
        (m,) each: row of the box, flat index of the pixel, elliptical distance: 0 in the middle of the box, 1 on the ellipse.
    """
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum((boxes[:, 2:] - boxes[:, :2]) / 2, 0.5)
    sides = np.ceil(reach * half[rows].max(axis=1, initial=0.5)) + 1
    yield from (one_ellipse(row, middle[row], half[row], reach, shape) for row in rows[sides > LARGEST])
    rows, sides = rows[sides <= LARGEST], sides[sides <= LARGEST]
    for part, side in groups(sides):
        these = rows[part]
        span = np.arange(-side, side + 1)
        x, y = (np.rint(middle[these, i]).astype(int)[:, None] + span for i in (0, 1))
        away_x, away_y = (
            np.where((p >= 0) & (p < n), ((p - middle[these, i : i + 1]) / half[these, i : i + 1]) ** 2, np.inf).astype(np.float32)
            for i, (p, n) in enumerate(((x, shape[1]), (y, shape[0])))
        )
        distance = away_x[:, None, :] + away_y[:, :, None]
        near = distance <= reach**2
        pixel = (y * shape[1])[:, :, None] + x[:, None, :]
        yield np.repeat(these, np.count_nonzero(near, axis=(1, 2))), pixel[near], np.sqrt(distance[near])


def one_ellipse(row: int, middle: np.ndarray, half: np.ndarray, reach: float, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """What ``ellipses`` yields, of one that may be larger than the image."""
    low, high = (np.clip(middle + sign * reach * half, -1, shape[::-1]) for sign in (-1, 1))
    x, y = (np.arange(max(int(low[i]), 0), min(int(high[i]) + 2, shape[1 - i])) for i in (0, 1))
    distance = (((y - middle[1]) / half[1]) ** 2).astype(np.float32)[:, None] + (((x - middle[0]) / half[0]) ** 2).astype(np.float32)
    i, j = np.nonzero(distance <= reach**2)
    return np.full(len(i), row), y[i] * shape[1] + x[j], np.sqrt(distance[i, j])


def groups(half: np.ndarray, largest: int = LARGEST) -> Iterator[tuple[np.ndarray, int]]:
    """Rows whose stamps are cut together, and the half side of their stamps: the next of 4, 5, 6, 7, 8, 10, 12 ... pixels."""
    half = np.clip(np.nan_to_num(half), 4, largest)
    step = np.ceil(4 * np.log2(half / 4) - 1e-9)
    for level in np.unique(step):
        side = min(int(np.ceil(4 * 2 ** (level / 4))), largest)
        rows = np.flatnonzero(step == level)
        yield from ((part, side) for part in np.array_split(rows, np.ceil(len(rows) * (2 * side + 1) ** 2 / CHUNK)))


def cut_out(image: np.ndarray, top: np.ndarray, left: np.ndarray, side: int, beyond) -> np.ndarray:
    """(n, side, side) parts of an image whose first pixels are ``top`` and ``left`` (n,); ``beyond`` outside of it."""
    parts = np.empty((len(top), side, side), image.dtype)
    whole = (top >= 0) & (left >= 0) & (top + side <= image.shape[0]) & (left + side <= image.shape[1])
    if whole.any():
        parts[whole] = np.lib.stride_tricks.sliding_window_view(image, (side, side))[top[whole], left[whole]]
    span = np.arange(side)
    y, x = (start[~whole, None] + span for start in (top, left))
    row, column = np.clip(y, 0, image.shape[0] - 1), np.clip(x, 0, image.shape[1] - 1)
    outside = (y != row)[:, :, None] | (x != column)[:, None, :]
    parts[~whole] = np.where(outside, beyond, image[row[:, :, None], column[:, None, :]])
    return parts


def mirror(stamps: Stamps, place: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """Replace foreign pixels, in place, by those opposite ``place`` (n, 2); by 0 where these are foreign or out of the stamp.

    Args:
        before: (n, 2) places at which they are mirrored already.

    Returns:
        (n,) bool, the stamps that this changed.
    """
    side, corner = stamps.data.shape[1], np.stack([stamps.x[:, 0], stamps.y[:, 0]], axis=1)
    twice = np.rint(2 * (place - corner)).astype(int)
    new = np.ones(len(place), bool) if before is None else (twice != np.rint(2 * (before - corner))).any(axis=1)
    i = stamps.foreign_at // (side * side)
    at, i = stamps.foreign_at[new[i]], i[new[i]]
    row, column = np.divmod(at - i * (side * side), side)
    row, column = twice[i, 1] - row, twice[i, 0] - column
    inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    opposite = np.where(inside, (i * side + row) * side + column, at)
    data = stamps.data.ravel()  # a view: stamps are contiguous
    data[at] = np.where(stamps.foreign.ravel()[opposite], 0, data[opposite])
    return np.bincount(i, minlength=len(place)) > 0


def total(weight: np.ndarray, data: np.ndarray) -> np.ndarray:
    """(n,) weighted sums of (n, s, s) stamps."""
    n, size = len(data), data.shape[1] * data.shape[2]
    product = weight.reshape(n, 1, size).astype(np.float32, copy=False) @ data.reshape(n, size, 1)
    return product[:, 0, 0].astype(np.float64)
