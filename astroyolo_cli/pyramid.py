"""Galaxies wider than a tile can hold, looked for on the frame binned 2, 4, 8 ... times, where light is that wide.

The network knows galaxies of 10 to 60 pixels best; a spiral of a thousand pixels is so wide 32 times binned. Only bright light of 96
pixels and more is looked at, and only where the sources that were found do not account for it, as those of a crowd do: a frame without
such light costs no more than the search for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np

from .detections import Detections, areas, centers, concatenate, iou
from .frame import Frame
from .masks import in_strips, most_around, opened
from .stretch import COARSE, Background, Stretch, coarse_blocks, coarse_shape, empty_sky, lupton_rgb, three_channels

WIDE = 96  # pixels: from this width on light is looked at as a whole; narrower sources are whole in a tile
SHOWN = (15, 80)  # pixels to which wide light is binned, from the least to the most
BRIGHT = 0.5  # times the noise of a pixel, in the mean of all bands, that wide light has
SAMPLED = 4  # pixels along each axis of a block whose median is taken
SIDE = 256  # pixels of the window that the network sees
NARROW = {"star": 1 / 3, "galaxy": 1 / 5}  # parts of the light's width up to which sources are a crowd; wider galaxies may be pieces
UNEXPLAINED = 0.5  # part of the light outside of their boxes, over what chance would leave there, below which it is theirs alone
AROUND = 2.0  # pixels beyond its box in which a source's light is its own
LEAST = 0.35  # part of the light's width that an accepted galaxy has at least
HALO = 1.5  # half sides of the galaxy's box within which its pieces lie: the box ends at 8 % of the peak
FRAGMENT = 0.5  # part of the galaxy's area below which a galaxy's box in its halo is a piece of it
SAME = 0.3  # IoU from which a box is the galaxy itself

Region = tuple[float, float, float, float]  # x0, y0, x1, y1


def with_large_galaxies(found: Detections, frame: Frame, background: dict[str, Background], look, stretch: Stretch) -> Detections:
    """The detections with one row for each large galaxy in place of its fragments; stars before it stay.

    Args:
        look: (1, 3, side, side) RGB -> Detections of it, sure enough to count.
        stretch: of the network.
    """
    signal = coarse_frame(frame, background)
    for region in wide_light(signal):
        if unexplained(found, signal, region) > UNEXPLAINED:
            seen = large_galaxy(frame, background, region, look, stretch)
            found = found if seen is None else replaced(found, seen)
    return found.sorted()


def coarse_frame(frame: Frame, background: dict[str, Background]) -> np.ndarray:
    """(H // 8, W // 8) medians of blocks, in the mean of all bands, above the sky in units of a pixel's noise."""
    first, *others = frame.bands
    total = coarse_signal(frame.counts[first], background[first])
    for band in others:
        total += coarse_signal(frame.counts[band], background[band])
    total /= len(frame.bands)
    return total


def wide_light(signal: np.ndarray) -> list[Region]:
    """Boxes of bright light without gaps that is ``WIDE`` pixels wide, in pixels of the frame, widest first."""
    if min(signal.shape) * COARSE < WIDE:
        return []
    bright = in_strips(lambda part: opened(most_around(part > BRIGHT)), signal, reach=3)
    boxes = [
        (x.start * COARSE - 0.5, y.start * COARSE - 0.5, x.stop * COARSE - 0.5, y.stop * COARSE - 0.5)
        for y, x in objects_of(bright)
        if max(y.stop - y.start, x.stop - x.start) * COARSE >= WIDE
    ]
    return sorted(boxes, key=lambda box: box[0] + box[1] - box[2] - box[3])


def objects_of(mask: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of everything that hangs together, from the first row on; one run of rows that hold anything at a time."""
    edges = np.flatnonzero(np.diff(mask.any(axis=1), prepend=False, append=False))
    if not len(edges):
        return
    from scipy import ndimage

    for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist()):
        for y, x in ndimage.find_objects(ndimage.label(mask[first:stop])[0]):
            yield slice(y.start + first, y.stop + first), x


def unexplained(found: Detections, signal: np.ndarray, region: Region) -> float:
    """The part of a region's light that lies outside of the boxes of sources much narrower than it, over what chance would leave there.

    In a frame full of sources a part of any light lies in their boxes.
    """
    x0, y0, x1, y1 = region
    narrow = max(x1 - x0, y1 - y0) * np.where(found.p_galaxy > 0.5, NARROW["galaxy"], NARROW["star"])
    boxes = found.xyxy[(found.xyxy[:, 2:] - found.xyxy[:, :2]).max(axis=1) < narrow]
    boxes = boxes + np.float32([-AROUND, -AROUND, AROUND, AROUND])
    by_chance = np.exp(-areas(boxes).sum() / (signal.size * COARSE**2))
    boxes = boxes[(boxes[:, 2:] > [x0, y0]).all(axis=1) & (boxes[:, :2] < [x1, y1]).all(axis=1)]
    middles = (boxes + 0.5) / COARSE - 0.5  # in blocks; those whose middle lies in a box are covered
    first, last = np.ceil(middles[:, :2]).clip(0).astype(int), np.floor(middles[:, 2:]).astype(int) + 1
    rows, columns = (slice(round((low + 0.5) / COARSE), round((high + 0.5) / COARSE)) for low, high in ((y0, y1), (x0, x1)))
    light = np.where(signal[rows, columns] > BRIGHT, signal[rows, columns], 0)
    covered, here = np.zeros(light.shape, bool), [columns.start, rows.start]
    for (left, bottom), (right, top) in zip((first - here).clip(0), (last - here).clip(0)):
        covered[bottom:top, left:right] = True
    return float((light * ~covered).sum() / max(light.sum(), 1e-9) / by_chance)


def coarse_signal(counts, background: Background) -> np.ndarray:
    """(H // 8, W // 8) medians of blocks above the sky in units of a pixel's noise, so that narrow sources vanish; 0 where all is bad."""
    shape, done = coarse_shape(counts.shape), 0
    coarse, found = Background(background.sky_mesh, background.noise_mesh, shape), np.empty(shape, np.float32)
    for blocks in coarse_blocks(counts):
        rows = slice(done, done + len(blocks))
        found[rows] = medians_of(blocks)
        found[rows] -= coarse.section(coarse.sky_mesh, rows, slice(None))
        found[rows] /= coarse.section(coarse.noise_mesh, rows, slice(None))
        done = rows.stop
    return np.nan_to_num(found, copy=False, nan=0.0)


def medians_of(blocks: np.ndarray) -> np.ndarray:
    """(h, w) of blocks (h, n, w, n); a bad pixel counts as brighter than all, where half are bad the median is NaN."""
    n = blocks.shape[1]
    pixels = [np.ascontiguousarray(blocks[:, row, :, column]) for row in range(n) for column in range(n)]
    for i, j in sorting_pairs(len(pixels)):
        pixels[i], pixels[j] = np.fmin(pixels[i], pixels[j]), np.maximum(pixels[i], pixels[j])  # NaN last
    middle = len(pixels) // 2
    return (pixels[middle - 1] + pixels[middle]) / 2


@cache
def sorting_pairs(n: int) -> tuple[tuple[int, int], ...]:
    """Places to compare, and to exchange where the first holds more, one after the other, until n values are sorted; n a power of two.

    Batcher's odd-even merge sort (1968, AFIPS 32, 307): of many short lists at once it takes a fifth of the time of sorting each.
    """
    pairs = []
    for length in (2**k for k in range(n.bit_length() - 1)):
        for step in (length >> k for k in range(length.bit_length())):
            for i in range(step % length, n - step):
                same_list = i // (2 * length) == (i + step) // (2 * length)
                if same_list and (i - step % length) // step % 2 == 0:
                    pairs.append((i, i + step))
    return tuple(pairs)


def large_galaxy(frame: Frame, background, region: Region, look, stretch: Stretch) -> Detections | None:
    """The one galaxy that the light of a region is, in frame pixels: the surest at any binning; None if the network sees no such galaxy."""
    seen = concatenate([galaxies_in(frame, background, region, factor, look, stretch) for factor in factors(region)])
    return seen.take(np.array([(seen.score * seen.p_galaxy).argmax()])) if len(seen) else None


def factors(region: Region) -> list[int]:
    """By which the light of a region is binned to be looked at: powers of two."""
    width = max(region[2] - region[0], region[3] - region[1])
    first = 2 ** max(0, int(np.ceil(np.log2(width / SHOWN[1]))))
    return [factor for factor in (first, 2 * first, 4 * first) if width / factor >= SHOWN[0]]


def galaxies_in(frame: Frame, background, region: Region, factor: int, look, stretch: Stretch) -> Detections:
    """Galaxies about as wide as the light of the region, in it, that the network sees when the frame is binned by ``factor``."""
    x0, y0, x1, y1 = region
    left, top = (round((low + high + 1) / 2 - factor * SIDE / 2) for low, high in ((x0, x1), (y0, y1)))
    seen = look(binned_rgb(frame, background, left, top, factor, stretch)[None])
    boxes = (seen.xyxy + 0.5) * factor - 0.5 + np.array([left, top, left, top], np.float32)
    last = np.array([frame.shape[1], frame.shape[0]] * 2, np.float32) - 0.5
    seen = replace(seen, xyxy=np.clip(boxes, -0.5, last).astype(np.float32))
    middle, sides = centers(seen.xyxy), seen.xyxy[:, 2:] - seen.xyxy[:, :2]
    inside = (middle > [x0, y0]).all(axis=1) & (middle < [x1, y1]).all(axis=1)
    wide = sides.max(axis=1) >= max(LEAST * max(x1 - x0, y1 - y0), WIDE / 2)
    return seen.take(np.flatnonzero(inside & wide & (seen.p_galaxy > 0.5)))


def binned_rgb(frame: Frame, background, left: int, top: int, factor: int, stretch: Stretch) -> np.ndarray:
    """(3, SIDE, SIDE) RGB of a window of the frame, binned; what lies beyond the frame is empty sky.

    Light is as bright over a pixel's noise as it was; the noise itself is less.
    """
    height, width = frame.shape
    rows, columns = (slice(max(first, 0), min(first + SIDE * factor, n)) for first, n in ((top, height), (left, width)))
    place = rows.start - top, columns.start - left
    bands = [
        binned(frame.counts[band], None if frame.stretched else background[band], rows, columns, place, factor) for band in frame.bands
    ]
    if not frame.stretched:
        return lupton_rgb(three_channels(bands), stretch)
    rgb = np.stack(bands)
    empty = ~np.any(rgb, axis=0)
    rgb[:, empty] = empty_sky(frame, rgb[:, ~empty].reshape(3, 1, -1), stretch)[:, None]
    return rgb


def binned(counts, background: Background | None, rows: slice, columns: slice, place: tuple[int, int], factor: int) -> np.ndarray:
    """(SIDE, SIDE) float32 blocks of a section that begins at ``place`` of the window, above the sky in units of the noise.

    The median of 16 pixels of each block, evenly spread, so that what is narrow against the block vanishes; by 2 the mean.
    """
    step = max(factor // SAMPLED, 1)
    rows, columns = (slice(part.start + -into % step, part.stop, step) for part, into in zip((rows, columns), place))
    top, left = (-(-into // step) for into in place)
    part = counts[rows, columns].astype(np.float32)
    if background is not None:
        part = (part - background.section(background.sky_mesh, rows, columns)) / background.section(background.noise_mesh, rows, columns)
    n = factor // step
    whole = np.zeros((SIDE * n, SIDE * n), np.float32)
    whole[top : top + part.shape[0], left : left + part.shape[1]] = np.nan_to_num(part, nan=0.0, posinf=0.0, neginf=0.0)
    blocks = whole.reshape(SIDE, n, SIDE, n)
    return medians_of(blocks) if n == SAMPLED else blocks.mean(axis=(1, 3))


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
