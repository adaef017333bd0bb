"""Galaxies wider than a tile can hold, looked for on the frame binned 2, 4, 8 ... times, where light is that wide.

The network knows galaxies of 20 to 150 pixels best; a spiral of a thousand pixels is so wide 8 times binned. Only around bright
light of 96 pixels and more is anything binned, so that a frame without it costs no more than the search for it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from .detections import Detections, areas, centers, concatenate, iou
from .frame import Frame
from .stretch import COARSE, Background, Stretch, block_means, empty_sky, lupton_rgb, three_channels

WIDE = 96  # pixels: from this width on light is looked at as a whole; narrower sources are whole in a tile
USUAL = 100  # pixels to which what is wide is binned, about
BRIGHT = 0.5  # times the noise of a pixel, in the mean of all bands, that wide light has
SIDE = 512  # pixels of the window that the network sees
LEAST = 0.4  # part of the light's width that an accepted galaxy has at least
HALO = 1.5  # half sides of the galaxy's box within which its pieces lie: the box ends at 8 % of the peak
FRAGMENT = 0.5  # part of the galaxy's area below which a galaxy's box in its halo is a piece of it
SAME = 0.3  # IoU from which a box is the galaxy itself


def with_large_galaxies(found: Detections, frame: Frame, background: dict[str, Background], look, stretch: Stretch) -> Detections:
    """The detections with one row for each large galaxy in place of its fragments; stars before it stay.

    Args:
        look: (1, 3, side, side) RGB -> Detections of it, sure enough to count.
        stretch: of the network.
    """
    for region in wide_light(frame, background):
        seen = large_galaxy(frame, background, region, look, stretch)
        if seen is not None:
            found = replaced(found, seen)
    return found.sorted()


def wide_light(frame: Frame, background: dict[str, Background]) -> list[tuple[float, float, float, float]]:
    """Boxes x0, y0, x1, y1 of bright light without gaps that is ``WIDE`` pixels wide, widest first."""
    rows, columns = (n // COARSE for n in frame.shape)
    if min(rows, columns) * COARSE < WIDE:
        return []
    mean = sum(coarse_signal(frame.counts[band], background[band]) for band in frame.bands) / len(frame.bands)
    labels, _ = ndimage.label(ndimage.binary_opening(ndimage.median_filter(mean, 3) > BRIGHT, np.ones((3, 3))))
    boxes = [
        (x.start * COARSE - 0.5, y.start * COARSE - 0.5, x.stop * COARSE - 0.5, y.stop * COARSE - 0.5)
        for y, x in ndimage.find_objects(labels)
        if max(y.stop - y.start, x.stop - x.start) * COARSE >= WIDE
    ]
    return sorted(boxes, key=lambda box: box[0] + box[1] - box[2] - box[3])


def coarse_signal(counts, background: Background) -> np.ndarray:
    """(h, w) means of blocks above the sky, in units of a pixel's noise; 0 where all is bad."""
    means = block_means(counts)
    coarse = Background(background.sky_mesh, background.noise_mesh, means.shape)
    return np.nan_to_num((means - coarse.sky) / coarse.noise, nan=0.0)


def large_galaxy(frame: Frame, background, region, look, stretch: Stretch) -> Detections | None:
    """The one galaxy that the light of a region is, in frame pixels; None if the network sees no such galaxy."""
    x0, y0, x1, y1 = region
    width = max(x1 - x0, y1 - y0)
    factor = 2 ** max(1, round(np.log2(width / USUAL)))
    left, top = (round((low + high + 1) / 2 - factor * SIDE / 2) for low, high in ((x0, x1), (y0, y1)))
    seen = look(binned_rgb(frame, background, left, top, factor, stretch)[None])
    boxes = (seen.xyxy + 0.5) * factor - 0.5 + np.array([left, top, left, top], np.float32)
    last = np.array([frame.shape[1], frame.shape[0]] * 2, np.float32) - 0.5
    seen = replace(seen, xyxy=np.clip(boxes, -0.5, last).astype(np.float32))
    middle, sides = centers(seen.xyxy), seen.xyxy[:, 2:] - seen.xyxy[:, :2]
    inside = (middle > [x0, y0]).all(axis=1) & (middle < [x1, y1]).all(axis=1)
    rows = np.flatnonzero(inside & (seen.p_galaxy > 0.5) & (sides.max(axis=1) >= max(LEAST * width, WIDE / 2)))
    if not len(rows):
        return None
    best = rows[areas(seen.xyxy[rows]).argmax()]
    return seen.take(np.array([best]))


def binned_rgb(frame: Frame, background, left: int, top: int, factor: int, stretch: Stretch) -> np.ndarray:
    """(3, 512, 512) RGB of a window of the frame, binned; what lies beyond the frame is empty sky."""
    height, width = frame.shape
    rows, columns = (slice(max(first, 0), min(first + SIDE * factor, n)) for first, n in ((top, height), (left, width)))
    place = rows.start - top, columns.start - left
    bands = [
        binned(frame.counts[band], None if frame.stretched else background[band], rows, columns, place, factor) for band in frame.bands
    ]
    if not frame.stretched:
        return lupton_rgb(three_channels([band * np.float32(factor) for band in bands]), stretch)  # white noise falls by the factor
    rgb = np.stack(bands)
    empty = ~np.any(rgb, axis=0)
    rgb[:, empty] = empty_sky(frame, rgb[:, ~empty].reshape(3, 1, -1), stretch)[:, None]
    return rgb


def binned(counts, background: Background | None, rows: slice, columns: slice, place: tuple[int, int], factor: int) -> np.ndarray:
    """(512, 512) float32 block means of a section that begins at ``place`` of the window; above the sky in units of the noise."""
    part = counts[rows, columns].astype(np.float32)
    if background is not None:
        part = (part - background.section(background.sky_mesh, rows, columns)) / background.section(background.noise_mesh, rows, columns)
    whole = np.zeros((SIDE * factor, SIDE * factor), np.float32)
    whole[place[0] : place[0] + part.shape[0], place[1] : place[1] + part.shape[1]] = np.nan_to_num(part, nan=0.0, posinf=0.0, neginf=0.0)
    return whole.reshape(SIDE, factor, SIDE, factor).mean(axis=(1, 3))


def replaced(found: Detections, galaxy: Detections) -> Detections:
    """The galaxy in place of the rows that are it or a piece of it: galaxies' boxes with their middle in its halo, small beside it."""
    box = galaxy.xyxy[0]
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    within = (((centers(found.xyxy) - middle) / (HALO * half)) ** 2).sum(axis=1) < 1
    piece = within & (found.p_galaxy > 0.5) & (areas(found.xyxy) < FRAGMENT * areas(galaxy.xyxy)[0])
    same = iou(found.xyxy, galaxy.xyxy)[:, 0] > SAME
    if same.any() and areas(found.xyxy[same]).max() >= areas(galaxy.xyxy)[0]:
        return found.take(~piece | same)
    return concatenate([found.take(~piece & ~same), galaxy])
