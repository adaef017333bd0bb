"""Stamps around detections, neighbours taken out; centroids, moments and Kron radii measured on them.

Sources of similar size are cut out as one (n, side, side) array and measured together, so that no step loops over sources.

Neighbours: a pixel belongs to the detection whose box is nearest, in units of that box's half sides (elliptical distance), up to
``OWN`` of them. Pixels of neighbours, bad ones and those outside of the frame take the value opposite the source's centre, or of
empty sky where that one is a neighbour's, bad or outside too (SExtractor's MASK_TYPE CORRECT).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .detections import centers

OWN = 1.5  # half sides of its box up to which a detection owns pixels
REACH = 2.5, 5.0  # half sides of the stamp on which a shape is measured, in half sides of the box; then where light goes on
LARGEST = 400  # pixels: half side of the largest stamp
CHUNK = 1_000_000  # pixels cut out at once; bounds memory
ADAPT = 15  # S/N from which the window of the centroid takes its width from the light, not from the box
REST = 0.02  # pixels: last step of a centroid that has come to rest; one that wanders ends anywhere
FWHM_OF_SIGMA = 2.3548200450309493
LEAST_KRON = 1.4  # 3.5 of a over 2.5 (Bertin & Arnouts 1996, A&AS 117, 393)


@dataclass(frozen=True)
class Light:
    """One band, ready to be measured.

    Attributes:
        data: (H, W) float32 counts above the sky, 0 where bad.
        variance: (H, W) float32 of the sky alone.
        owner: (H, W) int32 row of the detection to which a pixel belongs, -1 for none, -2 for bad pixels.
        gain: electrons a count; infinite where unknown, which leaves photon noise out.
        scale: true standard deviation of apertures on the sky over that of white noise.
    """

    data: np.ndarray
    variance: np.ndarray
    owner: np.ndarray
    gain: float = np.inf
    scale: float = 1.0


@dataclass(frozen=True)
class Stamps:
    """The surroundings of n sources of similar size.

    Attributes:
        data: (n, s, s) float64 counts above the sky.
        variance: (n,) of the sky in a pixel.
        x, y: (n, s) pixel coordinates in the frame, of the columns and of the rows.
        foreign: (n, s, s) bool, pixels of neighbours, bad ones and those outside of the frame.
    """

    data: np.ndarray
    variance: np.ndarray
    x: np.ndarray
    y: np.ndarray
    foreign: np.ndarray

    def offsets(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 1, s) and (n, s, 1) distances in x and y from ``place`` (n, 2)."""
        return (self.x - place[:, :1])[:, None, :], (self.y - place[:, 1:])[:, :, None]


@dataclass(frozen=True)
class Shapes:
    """What the light says of n sources, each (n,): centroid, its errors (NaN where it failed), FWHM, rms axes (pixels), their
    angle (radians) and the Kron radius in units of ``a``."""

    x: np.ndarray
    y: np.ndarray
    x_err: np.ndarray
    y_err: np.ndarray
    fwhm: np.ndarray
    a: np.ndarray
    b: np.ndarray
    theta: np.ndarray
    kron: np.ndarray

    @property
    def place(self) -> np.ndarray:
        return np.stack([self.x, self.y], axis=1)


def all_bands(light: list[Light]) -> Light:
    """All bands together, each over its noise: a source is placed and shaped where it was found. Noise 1 a pixel.

    A pixel that is bad in any band is bad here. The gain is that of bands that are equally deep, which is near enough for
    the errors of positions.
    """
    if len(light) == 1:
        return light[0]
    noise = [np.sqrt(one.variance) for one in light]
    data = sum(one.data / n for one, n in zip(light, noise)) / np.float32(np.sqrt(len(light)))
    owner = np.minimum.reduce([np.where(one.owner == -2, -2, one.owner) for one in light])
    gain = np.sqrt(len(light)) * np.mean([one.gain * np.median(n) for one, n in zip(light, noise)])
    return Light(data, np.ones_like(data), owner, gain)


def owners(boxes: np.ndarray, usable: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) int32: the row of the detection to which a pixel belongs, -1 far from all of them."""
    nearest, owner = np.full(shape, OWN, np.float32), np.full(shape, -1, np.int32)
    for i in np.flatnonzero(usable):
        rows, columns = window(boxes[i], OWN, shape)
        distance = elliptical_distance(boxes[i], rows, columns)
        mine = distance < nearest[rows, columns]
        nearest[rows, columns][mine] = distance[mine]
        owner[rows, columns][mine] = i
    return owner


def at_edges(boxes: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) bool each, x and y: whether a box ends at the frame's first column or row, and at its last."""
    return boxes[:, :2] <= -0.4, boxes[:, 2:] >= np.array([shape[1], shape[0]]) - 0.6


def over_edges(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Boxes that end at an edge of the frame, extended over it until they are square, to twice their side at most.

    The middle of what can be seen of a source is not its own.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    missing = np.clip(sides[:, ::-1] - sides, 0, sides)
    low, high = at_edges(boxes, shape)
    return boxes + np.concatenate([-missing * (low & ~high), missing * (high & ~low)], axis=1)


def window(box: np.ndarray, reach: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the pixels up to ``reach`` half sides from a box's middle, cut at the frame; one pixel at least."""
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * reach
    last = np.array([shape[1] - 1, shape[0] - 1])
    x0, y0 = np.clip(np.ceil(middle - half), 0, last).astype(int)
    x1, y1 = np.clip(np.floor(middle + half), [x0, y0], last).astype(int)
    return slice(y0, y1 + 1), slice(x0, x1 + 1)


def elliptical_distance(box: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """(h, w): 0 in the middle of the box, 1 on the ellipse that it frames."""
    middle, half = (box[:2] + box[2:]) / 2, np.maximum((box[2:] - box[:2]) / 2, 0.5)
    x = ((np.arange(columns.start, columns.stop) - middle[0]) / half[0]) ** 2
    y = ((np.arange(rows.start, rows.stop) - middle[1]) / half[1]) ** 2
    return np.sqrt(x[None] + y[:, None], dtype=np.float32)


def groups(half: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Rows whose stamps are cut together, and the half side of their stamps: the next of 4, 6, 8, 11, 16 ... pixels."""
    half = np.clip(np.nan_to_num(half), 4, LARGEST)
    step = np.ceil(2 * np.log2(half / 4) - 1e-9)
    for level in np.unique(step):
        side = min(int(np.ceil(4 * 2 ** (level / 2))), LARGEST)
        rows = np.flatnonzero(step == level)
        yield from ((part, side) for part in np.array_split(rows, np.ceil(len(rows) * (2 * side + 1) ** 2 / CHUNK)))


def cut(light: Light, rows: np.ndarray, place: np.ndarray, half: int) -> Stamps:
    """Stamps of ``2 * half + 1`` pixels around ``place`` (n, 2), neighbours and bad pixels replaced.

    Args:
        rows: (n,) the detections; -1 for places that are nobody's.
    """
    height, width = light.data.shape
    span = np.arange(-half, half + 1)
    x, y = (np.rint(place[:, i]).astype(int)[:, None] + span for i in (0, 1))
    column, row = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    where = row[:, :, None] * width + column[:, None, :]
    outside = (y != row)[:, :, None] | (x != column)[:, None, :]
    owner = light.owner.ravel()[where]
    foreign = ((owner != rows[:, None, None]) & (owner != -1)) | outside
    data = light.data.ravel()[where].astype(np.float64)
    variance = light.variance[row[:, half], column[:, half]].astype(np.float64) * light.scale**2
    stamps = Stamps(data, variance, x.astype(float), y.astype(float), foreign)
    mirror(stamps, place)
    return stamps


def mirror(stamps: Stamps, place: np.ndarray) -> None:
    """Replace foreign pixels, in place, by those opposite ``place``; by 0 where these are foreign or out of the stamp."""
    some = np.flatnonzero(stamps.foreign.any(axis=(1, 2)))
    if not len(some):
        return
    n = stamps.data.shape[1]
    column = np.rint(2 * (place[some, :1] - stamps.x[some, :1])).astype(int) - np.arange(n)
    row = np.rint(2 * (place[some, 1:] - stamps.y[some, :1])).astype(int) - np.arange(n)
    opposite = some[:, None, None], np.clip(row, 0, n - 1)[:, :, None], np.clip(column, 0, n - 1)[:, None, :]
    inside = ((row >= 0) & (row < n))[:, :, None] & ((column >= 0) & (column < n))[:, None, :]
    good = inside & ~stamps.foreign[opposite]
    stamps.data[some] = np.where(stamps.foreign[some], np.where(good, stamps.data[opposite], 0), stamps.data[some])


def window_sigmas(half: np.ndarray, p_galaxy: np.ndarray) -> np.ndarray:
    """(n,) sigma in pixels of a Gaussian in such a box.

    A star's box reaches to 0.5 % of the peak, some 5 sigma out for a Moffat profile; a galaxy's to 8 %, 2.25 sigma
    of a Gaussian. What is hardly larger than a star gets a star's, whatever the box's jitter.
    """
    sigma = half.min(axis=1) * (p_galaxy / 2.25 + (1 - p_galaxy) / 5)
    stars = p_galaxy < 0.5
    point = np.median(sigma[stars]) if stars.sum() >= 3 else 0.0
    return np.clip(np.where(sigma < 1.6 * point, point, sigma), 0.7, LARGEST / 8)


def shapes_of(light: Light, boxes: np.ndarray, p_galaxy: np.ndarray) -> Shapes:
    """Centroids and shapes; where there is no light the box gives the place and a star's size.

    Sources whose light goes on beyond their stamp are measured again on one twice as wide: a galaxy's box ends at 8 % of its peak.
    """
    result = {name: np.full(len(boxes), np.nan) for name in Shapes.__dataclass_fields__}
    middle, half = centers(boxes), (boxes[:, 2:] - boxes[:, :2]) / 2
    guess = window_sigmas(half, p_galaxy)
    todo = np.arange(len(boxes))
    for reach in REACH:
        more = [todo[:0]]
        for group, side in groups(np.ceil(reach * half[todo].max(axis=1, initial=0.5)) + 2):
            rows = todo[group]
            part, goes_on = shapes_in_group(light, rows, middle[rows], half[rows], guess[rows], side, reach)
            more.append(rows[goes_on])
            for name, values in part.items():
                result[name][rows] = values
        todo = np.concatenate(more)
    return Shapes(**result)


def shapes_in_group(light: Light, rows, middle, half, guess, side: int, reach: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Shapes of sources on stamps of one size, and (n,) bool: the light goes on at the stamp's edge."""
    stamps = cut(light, rows, middle, side)
    for _ in range(2):  # again with the neighbours' pixels mirrored at the place found
        place, sigma, error = follow(stamps, middle, half, guess, light.gain)
        mirror(stamps, place)
    distance = np.hypot(*(d / h[:, None, None] for d, h in zip(stamps.offsets(middle), half.T)))
    a, b, theta = moments(stamps, place, distance < OWN / REACH[0] * reach, sigma)
    names = ("x", "y", "x_err", "y_err", "fwhm", "a", "b", "theta", "kron")
    values = (*place.T, *error.T, FWHM_OF_SIGMA * sigma, a, b, theta, kron_radius(stamps, place, a, b, theta))
    ring = (distance > OWN / REACH[0] * reach) & (distance < reach)
    goes_on = (ring * stamps.data).sum(axis=(1, 2)) > 5 * np.sqrt(ring.sum(axis=(1, 2)) * stamps.variance)
    return dict(zip(names, values)), goes_on


def follow(stamps: Stamps, middle, half, guess, gain: float):
    """Centroid under a Gaussian window, as SExtractor's XWIN_IMAGE, whose width becomes that of the light below it.

    The matched filter of a Gaussian source (adaptive moments; Bernstein & Jarvis 2002, AJ 123, 583). Faint sources keep
    the window that their box suggests, for theirs would follow the noise.

    Returns:
        place (n, 2), sigma (n,), errors (n, 2). Where the window finds no light of 2 sigma, never comes to rest, or leaves
        the box's inner part: the middle of the box, the sigma guessed, NaN.
    """
    place, sigma = middle.copy(), guess.copy()
    most = np.maximum(half.max(axis=1), 1.0)
    for _ in range(40):
        total, first, second, noise, _ = window_moments(stamps.data, stamps, place, sigma)
        shift = 2 * first / total[:, None]
        spread = second / total - (first**2).sum(axis=1) / total**2 / 2
        share = np.clip(spread / sigma**2, 0.1, 0.85)  # of a Gaussian source as wide as the window: a half
        wanted = np.clip(sigma * np.sqrt(share / (1 - share)), 0.5, most)
        leap = np.minimum(1, sigma / np.maximum(np.hypot(*shift.T), 1e-9))  # faint light asks for leaps; the peak is nearer
        place = place + np.nan_to_num(shift * leap[:, None])
        new = np.where(total > ADAPT * noise, wanted, guess)
        settled = np.nanmax(np.abs(shift), initial=0) < 1e-4 and np.abs(new / sigma - 1).max(initial=0) < 1e-3
        sigma = new
        if settled:
            break
    total, _, _, noise, spread = window_moments(stamps.data, stamps, place, sigma, gain)
    allowed = np.maximum(half * 0.5, 2.0)
    at_rest = np.hypot(*shift.T) < REST
    good = at_rest & (total > 2 * noise) & (np.abs(place - middle) <= allowed).all(axis=1)
    error = np.where(good[:, None], 2 * spread / total[:, None], np.nan)
    return np.where(good[:, None], place, middle), np.where(good, sigma, guess), error


def window_moments(data, stamps: Stamps, place, sigma, gain: float = np.inf):
    """Light below a round Gaussian window, as products of vectors, for the window is a product of x and y.

    Returns:
        total (n,), first moments (n, 2), mean second moment (n,); of their noise: the sd of the total (n,) and of the
        first moments (n, 2).
    """
    dx, dy = stamps.x - place[:, :1], stamps.y - place[:, 1:]
    in_x, in_y = (np.exp(-0.5 * (d / sigma[:, None]) ** 2) for d in (dx, dy))
    by_row = data @ np.stack([in_x, in_x * dx, in_x * dx**2], axis=2)  # (n, s, 3)
    flat, along_x, along_x2 = ((in_y * by_row[:, :, i]).sum(axis=1) for i in range(3))
    along_y, along_y2 = ((in_y * dy**power * by_row[:, :, 0]).sum(axis=1) for power in (1, 2))
    first, second = np.stack([along_x, along_y], axis=1), (along_x2 + along_y2) / 2
    wx, wy = in_x**2, in_y**2
    photons = np.zeros((len(data), 3))
    if np.isfinite(gain):
        by_row = data @ np.stack([wx, wx * dx**2], axis=2)
        photons = np.stack([(wy * by_row[:, :, 0]).sum(1), (wy * by_row[:, :, 1]).sum(1), (wy * dy**2 * by_row[:, :, 0]).sum(1)], axis=1)
        photons = np.maximum(photons, 0) / gain
    sky = np.stack([wx.sum(1) * wy.sum(1), (wx * dx**2).sum(1) * wy.sum(1), wx.sum(1) * (wy * dy**2).sum(1)], axis=1)
    noise = np.sqrt(sky * stamps.variance[:, None] + photons)
    return flat, first, second, noise[:, 0], noise[:, 1:]


def moments(stamps: Stamps, place, near, sigma) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rms along major and minor axis, and the angle of the major axis, of the light above the noise ``near`` the box.

    A pixel counts where the mean of the nine around it is above 3 of its own sigma. Without any: a round source of ``sigma``.
    """
    bright = near & (mean_of_nine(stamps.data) > np.sqrt(stamps.variance)[:, None, None])
    light = np.where(bright, stamps.data, 0)
    total, by_x, by_y = light.sum(axis=(1, 2)), light.sum(axis=1), light.sum(axis=2)
    x, y = stamps.x - place[:, :1], stamps.y - place[:, 1:]
    mean_x, mean_y = (by_x * x).sum(1) / total, (by_y * y).sum(1) / total
    xx, yy = (by_x * x**2).sum(1) / total - mean_x**2, (by_y * y**2).sum(1) / total - mean_y**2
    xy = ((light @ x[:, :, None])[:, :, 0] * y).sum(1) / total - mean_x * mean_y
    mean, difference = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    least = 1 / 12  # of a single pixel
    a, b = (np.sqrt(np.clip(v, least, None)) for v in (mean + difference, mean - difference))
    seen = (total > 0) & np.isfinite(a) & np.isfinite(b)
    return np.where(seen, a, sigma), np.where(seen, b, sigma), np.where(seen, 0.5 * np.arctan2(2 * xy, xx - yy), 0.0)


def mean_of_nine(data: np.ndarray) -> np.ndarray:
    """Of each pixel and the eight around it; pixels beyond the stamp are 0."""
    padded = np.pad(data, ((0, 0), (1, 1), (1, 1)))
    in_x = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    return (in_x[:, :-2] + in_x[:, 1:-1] + in_x[:, 2:]) / 9


def kron_radius(stamps: Stamps, place, a, b, theta) -> np.ndarray:
    """First moment of the light over the elliptical radius, in units of ``a``, within 6 of them (Kron 1980, ApJS 43, 305)."""
    radius = elliptical_radius(*stamps.offsets(place), a, b, theta)[0]
    light = np.where(radius <= 6, stamps.data, 0)
    kron = (radius * light).sum(axis=(1, 2)) / light.sum(axis=(1, 2))
    return np.where(np.isfinite(kron), np.clip(kron, LEAST_KRON, 4), LEAST_KRON)


def elliptical_radius(dx, dy, a, b, theta):
    """(n, s, s) radius in units of the ellipse, and the coordinates along and across its major axis."""
    c, s = np.cos(theta)[:, None, None], np.sin(theta)[:, None, None]
    along, across = dx * c + dy * s, dy * c - dx * s
    return np.sqrt((along / a[:, None, None]) ** 2 + (across / b[:, None, None]) ** 2), along, across
