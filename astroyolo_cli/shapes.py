"""Centroids, moments and Kron radii of detections, measured on stamps of many at once (stamps.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .detections import centers
from .stamps import LARGEST, Light, Stamps, groups, mirror, total
from .threads import spread

REACH = 1.8, 2.5, 5.0  # half sides of the stamp on which a shape is measured, in half sides of the box: a star's, a galaxy's, and
# where light goes on beyond these
INNER = 0.6  # part of the reach within which pixels count for a shape; beyond it they tell whether light goes on
NARROW = 1.3  # times a star's: sigma of the widest window that places a source; wider ones are drawn to neighbours and arms
ADAPT = 15  # S/N from which the window of the centroid takes its width from the light, not from the box
LEASH = 0.3, 0.15  # of a star's FWHM, and of a box's longer half side: how far from the middle of the box a centroid may be
SLACK = 0.25  # part of the leash before and behind its end, over which belief in a centroid falls from 1 to 0
BRIGHT, ALONE = 60, 0.05  # S/N from which the light is believed farther from it, if less than this part of it lies on others' pixels
REST = 0.02  # pixels: last step of a centroid that has come to rest; one that wanders ends anywhere
FWHM_OF_SIGMA = 2.3548200450309493
LEAST_KRON = 1.4  # 3.5 of a over 2.5 (Bertin & Arnouts 1996, A&AS 117, 393)


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

    def take(self, rows: np.ndarray) -> Shapes:
        return Shapes(**{name: values[rows] for name, values in vars(self).items()})


def window_sigmas(half: np.ndarray, p_galaxy: np.ndarray) -> np.ndarray:
    """(n,) sigma in pixels of a Gaussian in such a box.

    A star's box reaches to 0.5 % of the peak, some 5 sigma out for a Moffat profile; a galaxy's to 8 %, 2.25 sigma
    of a Gaussian. What is hardly larger than a star gets a star's, whatever the box's jitter.
    """
    sigma = half.min(axis=1) * (p_galaxy / 2.25 + (1 - p_galaxy) / 5)
    stars = p_galaxy < 0.5
    point = np.median(sigma[stars]) if stars.sum() >= 3 else 0.0
    return np.clip(np.where(sigma < 1.6 * point, point, sigma), 0.7, LARGEST / 8)


def star_width(boxes: np.ndarray, p_galaxy: np.ndarray) -> float:
    """FWHM in pixels that the boxes of the stars, or without stars of all, suggest."""
    return FWHM_OF_SIGMA * Windows.of_boxes(boxes, p_galaxy).star if len(boxes) else 1.0


@dataclass(frozen=True)
class Windows:
    """What the boxes of a frame suggest before its light is looked at, in pixels.

    Attributes:
        sigma: (n,) of each source.
        star: sigma of the frame's stars.
        leash: (n,) how far from the middle of its box a faint source can be: boxes are centred to a tenth of the FWHM, and a centroid
            that is farther away has gone over to a neighbour.
    """

    sigma: np.ndarray
    star: float
    leash: np.ndarray

    @classmethod
    def of_boxes(cls, boxes: np.ndarray, p_galaxy: np.ndarray, cut: np.ndarray | bool = False) -> Windows:
        """``cut``: (n,) bool, boxes that were guessed beyond the edge of the frame."""
        half = (boxes[:, 2:] - boxes[:, :2]) / 2
        sigma, stars = window_sigmas(half, p_galaxy), p_galaxy < 0.5
        star = float(np.median(sigma[stars] if stars.any() else sigma)) if len(boxes) else 1.0
        leash = np.maximum(LEASH[0] * FWHM_OF_SIGMA * star, LEASH[1] * half.max(axis=1, initial=0))
        return cls(sigma, star, np.where(cut, np.inf, leash))


def nothing_known(n: int) -> Shapes:
    return Shapes(**{name: np.full(n, np.nan) for name in Shapes.__dataclass_fields__})


def fill_shapes(
    result: Shapes, light: Light, mine: np.ndarray, boxes: np.ndarray, windows: Windows, p_galaxy: np.ndarray, threads: int = 1
) -> None:
    """Centroids and shapes of the rows ``mine`` into ``result``; where there is no light the box gives the place and a star's size.

    Sources whose light goes on beyond their stamp are measured again on the next larger one: a galaxy's box ends at 8 % of its peak.

    Args:
        boxes, windows, p_galaxy: of all detections of the frame.
    """
    middle, half = centers(boxes), (boxes[:, 2:] - boxes[:, :2]) / 2
    guess, leash, narrow = windows.sigma, windows.leash, NARROW * windows.star
    todo, galaxies = mine[p_galaxy[mine] <= 0.5], mine[p_galaxy[mine] > 0.5]
    for number, reach in enumerate(REACH):

        def measured(group, rows=todo, reach=reach):
            mine = rows[group[0]]
            return mine, *shapes_in_group(light, mine, middle[mine], half[mine], guess[mine], leash[mine], narrow, group[1], reach)

        more = [galaxies] if number == 0 else [todo[:0]]
        sides = np.ceil(reach * half[todo].max(axis=1, initial=0.5)) + 2
        for rows, part, goes_on in spread(measured, groups(sides), threads):
            more.append(rows[goes_on & (p_galaxy[rows] > 0.5)])
            for name, values in part.items():
                getattr(result, name)[rows] = values
        todo = np.concatenate(more)


def shapes_in_group(
    light: Light, rows, middle, half, guess, leash, narrow: float, side: int, reach: float
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Shapes of sources on stamps of one size, and (n,) bool: the light goes on at the stamp's edge."""
    stamps = light.stamps(rows, middle, side)
    place, sigma, error = follow(stamps, middle, half, guess, leash, narrow, light.gain)
    again = np.flatnonzero(mirror(stamps, place, before=middle))  # with the neighbours' pixels mirrored at the place found
    if len(again):
        start = place[again], sigma[again]
        follows = follow(stamps.take(again), middle[again], half[again], guess[again], leash[again], narrow, light.gain, start)
        before = place.copy()
        place[again], sigma[again], error[again] = follows
        mirror(stamps, place, before)
    distance = stamps.radii(middle, *half.T, np.zeros(len(rows)))
    near = distance < INNER * reach
    a, b, theta = moments(stamps, place, near, sigma)
    names = ("x", "y", "x_err", "y_err", "fwhm", "a", "b", "theta", "kron")
    values = (*place.T, *error.T, FWHM_OF_SIGMA * sigma, a, b, theta, kron_radius(stamps, place, a, b, theta))
    ring = (distance < reach) & ~near
    goes_on = total(ring, stamps.data) > 5 * np.sqrt(ring.sum(axis=(1, 2)) * stamps.variance)
    return dict(zip(names, values)), goes_on


def follow(stamps: Stamps, middle, half, guess, leash, narrow: float, gain: float, start: tuple[np.ndarray, np.ndarray] | None = None):
    """Centroid under a Gaussian window, as SExtractor's XWIN_IMAGE, whose width becomes that of the light below it.

    The matched filter of a Gaussian source (adaptive moments; Bernstein & Jarvis 2002, AJ 123, 583). Faint sources keep
    the window that their box suggests, for theirs would follow the noise. What is wider than a star is placed anew by a narrow
    window, its nucleus: a wide one is drawn to neighbours and spiral arms.

    Args:
        narrow: sigma of the widest window that places a source, pixels.
        start: place (n, 2) and sigma (n,) to start from, in place of ``middle`` and ``guess``.

    Returns:
        place (n, 2), sigma of the light (n,), errors (n, 2). Where the window finds no light of 2 sigma, never comes to rest, or
        leaves the box's inner part, and if it is faint its leash: the middle of the box, the sigma guessed, NaN.
    """
    place, sigma = (v.copy() for v in start or (middle, guess))
    shift = settle(stamps, place, sigma, guess, np.maximum(half.max(axis=1), 1.0))
    place, error, good = trusted(stamps, place, sigma, shift, middle, half, leash, gain)
    sigma = np.where(good, sigma, guess)
    if len(wide := np.flatnonzero(sigma > narrow)):
        place[wide], error[wide] = nucleus(stamps.take(wide), middle[wide], half[wide], leash[wide], sigma[wide], narrow, gain)
    return place, sigma, error


def nucleus(stamps: Stamps, middle, half, leash, light, narrow: float, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Place and errors, both (n, 2), under a window of sigma ``narrow`` of light of sigma ``light`` (n,), which feels a shift less."""
    place, sigma = middle.copy(), np.full(len(middle), narrow)
    shift = settle(stamps, place, sigma)
    place, error, _ = trusted(stamps, place, sigma, shift, middle, half, leash, gain)
    return place, error * (1 + (light / narrow) ** 2)[:, None] / 2


def trusted(stamps: Stamps, place, sigma, shift, middle, half, leash, gain: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places and their errors (n, 2) of centroids whose last steps were ``shift``, and (n,) bool where they are some good.

    Elsewhere the middle of the box, and NaN. About the end of the leash they go over to the middle: nothing hangs on the last digit.
    """
    window = Window(stamps.x, stamps.y, place, sigma)
    inside = window.moments(stamps.data)[0]
    noise, spread = window.noises(stamps, gain)
    away = place - middle
    belief = np.clip((1 + SLACK - np.hypot(*away.T) / leash) / (2 * SLACK), 0, 1)
    if len(bright := np.flatnonzero((belief < 1) & (inside > BRIGHT * noise))):
        theirs = Window(stamps.x[bright], stamps.y[bright], place[bright], sigma[bright]).part(stamps.foreign[bright])
        belief[bright] = np.where(theirs < ALONE, 1, belief[bright])
    good = (shift < REST) & (inside > 2 * noise) & (belief > 0) & (np.abs(away) <= np.maximum(half * 0.5, 2.0)).all(axis=1)
    doubt = np.where(belief < 1, (1 - belief) * np.where(np.isfinite(leash), leash, 0) / 2, 0)
    error = np.hypot(2 * spread / inside[:, None], doubt[:, None])
    return np.where(good[:, None], middle + belief[:, None] * away, middle), np.where(good[:, None], error, np.nan), good


def settle(stamps: Stamps, place, sigma, guess=None, most=None) -> np.ndarray:
    """Move ``place`` and widen ``sigma``, in place, each until it stays, or 40 times; (n,) the last steps, pixels.

    Args:
        guess, most: (n,) sigma of faint sources, and the largest of any; without them ``sigma`` stays what it is.
    """
    step, rows = np.full(len(place), np.nan), np.arange(len(place))
    data, x, y, variance = stamps.data, stamps.x, stamps.y, stamps.variance
    for _ in range(40):
        at, width = place[rows], sigma[rows]
        window = Window(x, y, at, width)
        inside, first, second = window.moments(data)
        shift = 2 * first / inside[:, None]
        step[rows] = length = np.hypot(*shift.T)
        leap = np.minimum(1, width / np.maximum(length, 1e-9))  # faint light asks for leaps; the peak is nearer
        place[rows] = at + np.nan_to_num(shift * leap[:, None])
        if guess is None:
            new = width
        else:
            wanted = np.minimum(width_of_light(width, inside, first, second), most[rows])
            sigma[rows] = new = np.where(inside > ADAPT * window.noise(variance), wanted, guess[rows])
        moving = (length > 1e-4) | (np.abs(new / width - 1) > 1e-3)
        if not moving.any():
            break
        if not moving.all():
            rows, data, x, y, variance = (part[moving] for part in (rows, data, x, y, variance))
    return step


def width_of_light(sigma, inside, first, second) -> np.ndarray:
    """(n,) sigma of Gaussian sources that have such moments under windows of ``sigma``."""
    spread = second / inside - (first**2).sum(axis=1) / inside**2 / 2
    share = np.minimum(np.maximum(spread / sigma**2, 0.1), 0.85)  # of a source as wide as the window: a half
    return np.maximum(sigma * np.sqrt(share / (1 - share)), 0.5)


class Window:
    """Round Gaussian windows on n stamps: each is a product of one in x and one in y, so that sums below it are of vectors.

    Args:
        x, y: (n, s) pixel coordinates of the stamps' columns and rows.
        place, sigma: (n, 2) and (n,), pixels.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, place: np.ndarray, sigma: np.ndarray):
        self.dx, self.dy = x - place[:, :1], y - place[:, 1:]
        narrow = -0.5 / sigma[:, None] ** 2
        self.in_x, self.in_y = (np.exp(narrow * d * d) for d in (self.dx, self.dy))

    def moments(self, data: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Total (n,), first moments (n, 2) and mean second moment (n,) of the light (n, s, s)."""
        by_x = (self.in_y.astype(np.float32)[:, None, :] @ data)[:, 0] * self.in_x
        by_y = (data @ self.in_x.astype(np.float32)[:, :, None])[:, :, 0] * self.in_y
        first = np.stack([np.vecdot(by_x, self.dx), np.vecdot(by_y, self.dy)], axis=1)
        second = (np.vecdot(by_x, self.dx**2) + np.vecdot(by_y, self.dy**2)) / 2
        return by_x.sum(axis=1), first, second

    def part(self, pixels: np.ndarray) -> np.ndarray:
        """(n,) share of the window that lies on these pixels, (n, s, s) bool."""
        return self.moments(pixels.astype(np.float32))[0] / (self.in_x.sum(axis=1) * self.in_y.sum(axis=1))

    def noise(self, variance: np.ndarray) -> np.ndarray:
        """(n,) sd of the total on a sky of this variance (n,)."""
        return np.sqrt(variance * np.vecdot(self.in_x, self.in_x) * np.vecdot(self.in_y, self.in_y))

    def noises(self, stamps: Stamps, gain: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
        """sd of the total (n,) and of the first moments (n, 2), of sky and photons."""
        wx, wy = self.in_x**2, self.in_y**2
        across, down = wx * self.dx**2, wy * self.dy**2
        sky = np.stack([wx.sum(1) * wy.sum(1), across.sum(1) * wy.sum(1), wx.sum(1) * down.sum(1)], axis=1)
        photons = np.zeros_like(sky)
        if np.isfinite(gain):
            by_y = stamps.data @ np.stack([wx, across], axis=2, dtype=np.float32)
            photons = np.stack([np.vecdot(wy, by_y[:, :, 0]), np.vecdot(wy, by_y[:, :, 1]), np.vecdot(down, by_y[:, :, 0])], axis=1)
        noise = np.sqrt(sky * stamps.variance[:, None] + np.maximum(photons, 0) / gain)
        return noise[:, 0], noise[:, 1:]


def moments(stamps: Stamps, place, near, sigma) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rms along major and minor axis, and the angle of the major axis, of the light above the noise ``near`` the box.

    A pixel counts where the mean of the nine around it is above 3 of its own sigma. Without any: a round source of ``sigma``.
    """
    bright = near & (mean_of_nine(stamps.data) > np.sqrt(stamps.variance).astype(np.float32)[:, None, None])
    light = np.where(bright, stamps.data, np.float32(0))
    by_x, by_y = light.sum(axis=1, dtype=np.float64), light.sum(axis=2, dtype=np.float64)
    whole = by_x.sum(axis=1)
    x, y = stamps.x - place[:, :1], stamps.y - place[:, 1:]
    mean_x, mean_y = (by_x * x).sum(1) / whole, (by_y * y).sum(1) / whole
    xx, yy = (by_x * x**2).sum(1) / whole - mean_x**2, (by_y * y**2).sum(1) / whole - mean_y**2
    xy = ((light @ x[:, :, None].astype(np.float32))[:, :, 0] * y).sum(1) / whole - mean_x * mean_y
    *squares, theta = principal_axes(xx, yy, xy)
    least = 1 / 12  # of a single pixel
    a, b = (np.sqrt(np.clip(v, least, None)) for v in squares)
    seen = (whole > 0) & np.isfinite(a) & np.isfinite(b)
    return np.where(seen, a, sigma), np.where(seen, b, sigma), np.where(seen, theta, 0.0)


def principal_axes(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) larger and smaller eigenvalue of the symmetric matrices ((xx, xy), (xy, yy)), and the angle of the larger one's axis."""
    mean, difference = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return mean + difference, mean - difference, 0.5 * np.arctan2(2 * xy, xx - yy)


def mean_of_nine(data: np.ndarray) -> np.ndarray:
    """Of each pixel and the eight around it; pixels beyond the stamp are 0."""
    padded = np.pad(data, ((0, 0), (1, 1), (1, 1)))
    in_x = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    return (in_x[:, :-2] + in_x[:, 1:-1] + in_x[:, 2:]) / 9


def kron_radius(stamps: Stamps, place, a, b, theta) -> np.ndarray:
    """First moment of the light over the elliptical radius, in units of ``a``, within 6 of them (Kron 1980, ApJS 43, 305)."""
    radius = stamps.radii(place, a, b, theta)
    light = np.where(radius <= 6, stamps.data, np.float32(0))
    kron = total(radius, light) / light.sum(axis=(1, 2))
    return np.where(np.isfinite(kron), np.clip(kron, LEAST_KRON, 4), LEAST_KRON)
