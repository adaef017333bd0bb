"""Boxes by D_sg's rule, with what the whole frame tells of its stars: they all have the size of its PSF.

A star's box ends at 0.5 % of its own peak, so that bright and faint ones have the same; the network sees that size well on bright
stars only, and the PSF's wings not at all. So stars first share the size that it gives the sure ones; once the frame's
profile is measured, that gives the size, and the measured position the middle. A box holds whole pixels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .detections import MASK_BLUR, MASK_ENDS, Detections, centers
from .photometry import Moffat
from .profiles import core_radius

SURE_STAR, SURE = 0.9, 0.5  # p_star and score of the stars that give the size
FEWEST = 5  # of them; with less, boxes stay as they are
ALIKE = 1.5  # times larger or smaller than that size, beyond which a box is left alone
FEW = 2  # stars of which the profile weighs as much as the network's own size


def with_shared_size(found: Detections, shape: tuple[int, int]) -> Detections:
    """Boxes drawn to the median size of the frame's sure stars, on a log scale, by the square of p_star; their middles stay.

    Boxes that end at the frame's edge, (H, W), neither give nor take.
    """
    usual = size_of_stars(found, shape)
    return found if usual is None else drawn_to(found, usual, centers(found.xyxy), whole(found.xyxy, shape))


def with_size_of_profile(found: Detections, place: np.ndarray, sound: np.ndarray, star: Moffat, shape: tuple[int, int]) -> Detections:
    """Boxes drawn to where the stars' profile ends, and to their measured places, by the square of p_star.

    Args:
        place: (n, 2) x, y.
        sound: (n,) bool, whose place can be trusted and whose light is not cut off.
        star: of the bluest band, whose light the masks of D_sg are of.
    """
    usual = size_of_stars(found, shape)
    if usual is None or star.stars == 0:
        return found
    weight = star.stars**2 / (star.stars**2 + FEW**2)
    usual = usual * (side_of_star(star) / np.sqrt(usual.prod())) ** weight
    return drawn_to(found, usual, place, whole(found.xyxy, shape) & sound)


def side_of_star(star: Moffat) -> float:
    """Pixels across the mask of a star; a blur of the mask draws in an edge of that curvature."""
    radius = core_radius(star.fwhm, star.beta) * np.sqrt(MASK_ENDS["star"] ** (-1 / star.beta) - 1)
    return float(2 * radius - MASK_BLUR**2 / radius)


def size_of_stars(found: Detections, shape: tuple[int, int]) -> np.ndarray | None:
    """Median width and height of the sure stars' boxes; None with too few of them."""
    sure = whole(found.xyxy, shape) & (1 - found.p_galaxy > SURE_STAR) & (found.score > SURE)
    return np.median(sides_of(found.xyxy[sure]), axis=0) if sure.sum() >= FEWEST else None


def drawn_to(found: Detections, usual: np.ndarray, place: np.ndarray, may: np.ndarray) -> Detections:
    """The boxes that ``may`` and are about as large, drawn to a size and their places by the square of p_star."""
    far = np.log(sides_of(found.xyxy) / usual)
    weight = np.where(may & (np.abs(far).max(axis=1) < np.log(ALIKE)), (1 - found.p_galaxy) ** 2, 0)[:, None]
    middle = centers(found.xyxy)
    middle = middle + weight * np.where(weight > 0, place - middle, 0)
    half = usual * np.exp(far * (1 - weight)) / 2
    boxes = np.concatenate([middle - half, middle + half], axis=1)
    return replace(found, xyxy=np.where(weight > 0, boxes, found.xyxy).astype(np.float32))


def in_whole_pixels(xyxy: np.ndarray) -> np.ndarray:
    """(n, 4) edges of the pixels whose centres the boxes hold, as those of masks are; boxes that hold none stay.

    >>> in_whole_pixels(np.array([[9.7, 4.1, 19.4, 4.6], [9.3, 4.1, 19.6, 5.0]])).tolist()
    [[9.7, 4.1, 19.4, 4.6], [9.5, 4.5, 19.5, 5.5]]
    """
    low, high = np.ceil(xyxy[:, :2]) - 0.5, np.floor(xyxy[:, 2:]) + 0.5
    some = (high > low).all(axis=1)[:, None]
    return np.where(some, np.concatenate([low, high], axis=1), xyxy).astype(xyxy.dtype)


def whole(xyxy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(n,) bool, boxes that do not end at the edge of the frame (H, W)."""
    last = np.array([shape[1], shape[0]]) - 1
    return (xyxy[:, :2] > 0).all(axis=1) & (xyxy[:, 2:] < last).all(axis=1)


def sides_of(xyxy: np.ndarray) -> np.ndarray:
    """(n, 2) widths and heights."""
    return xyxy[:, 2:] - xyxy[:, :2]
