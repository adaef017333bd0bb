"""Counts to the RGB that the network sees: sky, noise and the asinh stretch.

Training and detection both come through here, so that a network never sees another stretch than the one
it learned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache

import numpy as np

from .align import PixelMap
from .arrays import library
from .errors import InputError
from .frame import Frame
from .masks import MASK_ROWS, grown, in_strips, opened
from .sections import forget
from .threads import spread

MESH = 256  # pixels a mesh cell, at least; DESIGN.md, "Stretch"
SAMPLE = 3  # every third pixel along both axes is enough for sky and noise
MOST_NOISE = 1e18  # a pixel, in the image's unit
MOST_SAMPLED = 64_000_000  # of larger frames fewer pixels are taken
ENOUGH = 1_000_000  # pixels for the sky and noise of a frame as a whole
STRIP = 32  # rows that are stretched at once: what lies between counts and RGB stays in the processor's cache
PIECE = 1024  # columns: a mesh is interpolated in products so small that BLAS starts no threads, which would wait for the network's
COARSE = 8  # pixels a bin when big sources are looked for


@dataclass(frozen=True)
class Stretch:
    """Constants of Lupton's asinh RGB, for bands in units of their noise; they travel in the weight file.

    Attributes:
        minimum: noise units below the sky that become black.
        stretch: noise units at which the curve bends.
        Q: how strongly bright sources are compressed.
    """

    minimum: float = -2.0
    stretch: float = 25.0
    Q: float = 6.0

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Background:
    """Sky and noise of one band as a smooth mesh over the frame.

    Attributes:
        sky_mesh, noise_mesh: (h, w) float64, at the middles of equal cells; in counts.
        shape: (H, W) of the frame.
        native: the same on the band's own pixels, where it was aligned.
    """

    sky_mesh: np.ndarray
    noise_mesh: np.ndarray
    shape: tuple[int, int]
    native: Background | None = None

    @cached_property
    def sky(self) -> np.ndarray:
        """(H, W) float32 counts."""
        return self.section(self.sky_mesh, slice(0, self.shape[0]), slice(0, self.shape[1]))

    @cached_property
    def noise(self) -> np.ndarray:
        """(H, W) float32 counts, > 0: the standard deviation of one pixel of empty sky."""
        return self.section(self.noise_mesh, slice(0, self.shape[0]), slice(0, self.shape[1]))

    def section(self, mesh: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Bilinear between the middles of the cells, constant beyond the outermost; float32."""
        rows, columns = (range(*part.indices(n)) for part, n in zip((rows, columns), self.shape))
        found = np.empty((len(rows), len(columns)), np.float32)
        for y in range(0, len(rows), STRIP):
            near_y, along_y = mesh_weights(mesh.shape[0], self.shape[0], rows[y : y + STRIP])
            for x in range(0, len(columns), PIECE):
                near_x, along_x = mesh_weights(mesh.shape[1], self.shape[1], columns[x : x + PIECE])
                found[y : y + STRIP, x : x + PIECE] = along_y @ mesh[near_y, near_x] @ along_x.T
        return found

    def at(self, mesh: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The same at single pixels, (n,)."""
        y, x = (cell_of(cells, n, at) for cells, n, at in zip(mesh.shape, self.shape, (rows, columns)))
        i, j = y.astype(int), x.astype(int)
        below, right = np.minimum(i + 1, mesh.shape[0] - 1), np.minimum(j + 1, mesh.shape[1] - 1)
        v, u = y - i, x - j
        upper, lower = (mesh[row, j] * (1 - u) + mesh[row, right] * u for row in (i, below))
        return (upper * (1 - v) + lower * v).astype(np.float32)


def cell_of(cells: int, pixels: int, at: np.ndarray) -> np.ndarray:
    """Where pixels lie among equal cells: 0 up to the middle of the first one, cells - 1 from that of the last one on."""
    return np.clip((at + 0.5) * cells / pixels - 0.5, 0, cells - 1)


@lru_cache(maxsize=256)
def mesh_weights(cells: int, pixels: int, part: range) -> tuple[slice, np.ndarray]:
    """The cells near a part of the pixels, and (n, near) float64 weights of linear interpolation between the middles of equal cells."""
    position = cell_of(cells, pixels, np.asarray(part))
    near = slice(int(position.min(initial=cells)), int(np.ceil(position.max(initial=0))) + 1)
    distance = np.abs(position[:, None] - np.arange(near.start, near.stop)[None])
    return near, np.clip(1 - distance, 0, None)


def estimate_background(counts: np.ndarray) -> Background:
    """Sky and noise of one band from a sample of its pixels.

    The cost a pixel is the same for every frame size. Big sources are masked; what remains is clipped
    at 3 sigma. All steps follow ``a * counts + b`` (a > 0) exactly.

    Args:
        counts: (H, W), an array or a plane in parts; NaN marks bad pixels.

    Raises:
        InputError: without any good pixel, or when the image is constant.
    """
    height, width = counts.shape
    step = sample_step(counts.shape)
    sample = counts[::step, ::step]
    good = np.isfinite(sample)
    if not good.any():
        raise InputError("no good pixel: all are NaN, infinite or masked; is this the image?")
    sky, noise = sky_and_noise(thinned(sample, good))
    if not noise > 0:
        raise InputError(f"constant image: all good pixels are {sky:g}, so nothing can be found; is this the image?")
    good &= ~_big_sources(counts, sky, noise, step, sample.shape)
    cells = max(1, height // MESH), max(1, width // MESH)
    return Background(*_meshes(sample, good, cells, (sky, noise)), counts.shape)


def thinned(sample: np.ndarray, good: np.ndarray) -> np.ndarray:
    """(n,) float64 of the good pixels, evenly taken; as many as tell the sky and noise of a frame as a whole."""
    every, seen, taken = -(-np.count_nonzero(good) // ENOUGH), 0, []
    for first in range(0, len(sample), MASK_ROWS):
        pixels = sample[first : first + MASK_ROWS][good[first : first + MASK_ROWS]]
        taken.append(pixels[-seen % every :: every])
        seen += len(pixels)
    return np.concatenate(taken).astype(np.float64)


def sample_step(shape: tuple[int, int]) -> int:
    """Pixels between those that tell sky and noise, along both axes."""
    if min(shape) < 32:
        return 1
    return max(SAMPLE, int(np.ceil(np.sqrt(shape[0] * shape[1] / MOST_SAMPLED))))


def _meshes(sample, good, cells, fallback) -> tuple[np.ndarray, np.ndarray]:
    """Sky and noise of each cell; cells almost without good pixels take the median of the others."""
    sky, noise = np.full(cells, np.nan), np.full(cells, np.nan)
    for place, cell in mesh_cells(sample.shape, cells):
        pixels = sample[cell][good[cell]]
        if len(pixels) > 0.1 * good[cell].size:
            sky[place], noise[place] = sky_and_noise(pixels.astype(np.float64))
    for mesh, value in ((sky, fallback[0]), (noise, fallback[1])):
        known = np.isfinite(mesh) & (noise > 0)
        mesh[~known] = np.median(mesh[known]) if known.any() else value
    return sky, noise


def mesh_cells(shape: tuple[int, int], cells: tuple[int, int]) -> Iterator[tuple[tuple[int, int], tuple[slice, slice]]]:
    """Row and column of each cell of a mesh over an image of this shape, and its pixels."""
    rows, columns = (np.array_split(np.arange(n), m) for n, m in zip(shape, cells))
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            yield (i, j), np.s_[r[0] : r[-1] + 1, c[0] : c[-1] + 1]


def sky_and_noise(pixels: np.ndarray) -> tuple[float, float]:
    """Sky level and its standard deviation where sources are in the minority.

    Clipped at 3 sigma around the median, with sigma from the pixels below it, which sources hardly reach;
    then SExtractor's estimate of the mode, 2.5 median - 1.5 mean (Bertin & Arnouts 1996, A&AS 117, 393),
    where the two lie close together.
    """
    kept = np.sort(pixels)
    for _ in range(20):
        middle = _sorted_median(kept)
        lower = kept[: np.searchsorted(kept, middle)]
        sigma = np.sqrt(np.mean((lower - middle) ** 2)) if len(lower) else kept.std()
        low, high = np.searchsorted(kept, [middle - 3 * sigma, middle + 3 * sigma])
        if high - low == len(kept) or sigma == 0:
            break
        kept = kept[low:high]
    mean, middle = kept.mean(), _grouped_median(kept)
    mode = 2.5 * middle - 1.5 * mean if abs(mean - middle) < 0.3 * kept.std() else middle
    below = kept[kept < mode]
    # Coarse integers put many pixels exactly at the median: half a distribution is ill defined there.
    coarse = np.mean(kept == _sorted_median(kept)) > 0.05
    noise = kept.std() if coarse or len(below) <= 10 else np.sqrt(np.mean((below - mode) ** 2))
    return float(mode), float(noise)


def _sorted_median(values: np.ndarray) -> float:
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2


def _grouped_median(values: np.ndarray) -> float:
    """The median of sorted values that may be rounded: those equal to it lie evenly between the middles to the next ones.

    Rounded to integers, the plain median is off by up to half a count, and the mode by more.
    """
    median, n = _sorted_median(values), len(values)
    first, end = np.searchsorted(values, median), np.searchsorted(values, median, side="right")
    if end - first < 2 or first == 0 or end == n:
        return median
    low, high = (values[first - 1] + median) / 2, (median + values[end]) / 2
    return low + (high - low) * (n / 2 - first) / (end - first)


def _big_sources(counts, sky, noise, step, shape) -> np.ndarray:
    """Bool mask on the sampled grid: objects of more than about 25 pixels across, and their outskirts."""
    height, width = (n // COARSE for n in counts.shape)
    if min(height, width) < 4:
        return np.zeros(shape, bool)
    bright = np.concatenate([np.nan_to_num(strip, copy=False, nan=sky) > sky + 1.5 * noise for strip in block_means(counts)])
    big = in_strips(lambda part: grown(opened(part), 3), bright, reach=5)
    if big.mean() > 0.7:  # more source than sky: what is called big here is the sky itself
        return np.zeros(shape, bool)
    rows = np.minimum(np.arange(shape[0]) * step // COARSE, height - 1)
    columns = np.minimum(np.arange(shape[1]) * step // COARSE, width - 1)
    return big[rows[:, None], columns[None]]


def block_means(counts) -> Iterator[np.ndarray]:
    """(H // 8, W // 8) float32, some rows at a time: of each block of 8 x 8 pixels the mean of every fourth, as far as they are good; else
    NaN."""
    for blocks in coarse_blocks(counts):
        good = np.isfinite(blocks)
        if good.all():
            yield (block_sums(blocks) / blocks[0, :, 0].size).astype(np.float32)
            continue
        number, total = block_sums(good), block_sums(np.where(good, blocks, 0))
        yield np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0).astype(np.float32)


def coarse_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """(H // 8, W // 8) of the binned frame."""
    return shape[0] // COARSE, shape[1] // COARSE


def block_sums(blocks: np.ndarray) -> np.ndarray:
    """(h, w) float64 of blocks (h, n, w, n); column by column of them, which is faster than along short axes."""
    rows = blocks.sum(axis=1, dtype=np.float64)
    return sum(rows[:, :, column] for column in range(rows.shape[2]))


def coarse_blocks(counts, strip: int = 64) -> Iterator[np.ndarray]:
    """Strips (h, 4, W // 8, 4) of the frame's blocks of 8 x 8 pixels, of which every fourth pixel is taken."""
    rows, columns = coarse_shape(counts.shape)
    for first in range(0, rows, strip):
        last = min(first + strip, rows)
        half = counts[first * COARSE : last * COARSE : 2, : columns * COARSE : 2]
        forget(counts)
        yield half.reshape(last - first, COARSE // 2, columns, COARSE // 2)


def backgrounds(frame: Frame, threads: int = 1) -> dict[str, Background]:
    """Sky and noise of each band; a picture's too, for its photometry.

    Interpolation averages neighbouring pixels, so that the noise of an aligned band is measured on the
    pixels it had before, and scaled as their counts were to the area of the reference's.

    Args:
        threads: that share the bands; 0 for as many as there are processors.

    Raises:
        InputError: naming the file, for a band without signal.
    """
    try:
        found = spread(lambda band: background_of_band(frame, band), frame.bands, threads, fewest=2)
    except InputError as error:
        raise InputError(f"{frame.sources[0]}: {error}" if frame.sources else str(error)) from error
    return dict(zip(frame.bands, found))


def background_of_band(frame: Frame, band: str) -> Background:
    found = estimate_background(frame.counts[band])
    if not 1 / MOST_NOISE < (noise := np.median(found.noise_mesh)) < MOST_NOISE:
        limits = f"between {1 / MOST_NOISE:g} and {MOST_NOISE:g}, so that 32-bit numbers hold its square"
        raise InputError(f"noise of {noise:g} a pixel in {band}, must be {limits}; multiply the image by a power of ten")
    if band not in frame.native:
        return found
    native = estimate_background(frame.native[band])
    area = PixelMap(frame.wcs, frame.native_wcs[band], frame.shape).area()
    ratio = area * np.median(native.noise_mesh) / np.median(found.noise_mesh)
    return Background(found.sky_mesh, found.noise_mesh * ratio, found.shape, native)


def signal(counts: np.ndarray, background: Background, rows=slice(None), columns=slice(None)) -> np.ndarray:
    """Counts of a section above the sky, in units of the noise; bad pixels become 0, empty sky. float32."""
    rows = slice(*rows.indices(counts.shape[0]))
    columns = slice(*columns.indices(counts.shape[1]))
    sky = background.section(background.sky_mesh, rows, columns)
    noise = background.section(background.noise_mesh, rows, columns)
    found = counts[rows, columns] - sky
    found /= noise
    good = np.isfinite(found)
    if not good.all():
        found[~good] = 0.0
    return found


def three_channels(bands: list):
    """(3, H, W) from one band (thrice), two (their mean between them) or three, reddest first; NumPy's or PyTorch's."""
    stack = library(bands[0]).stack
    if len(bands) == 1:
        return stack(bands * 3)
    if len(bands) == 2:
        return stack([bands[0], (bands[0] + bands[1]) / 2, bands[1]])
    if len(bands) == 3:
        return stack(bands)
    raise ValueError(f"one to three bands make an RGB, got {len(bands)}")


def lupton_rgb(signals, stretch: Stretch):
    """Lupton's asinh RGB: intensity compressed, colour kept (Lupton et al. 2004, PASP 116, 133).

    Args:
        signals: (3, H, W) float32, reddest first, in units of the noise, 0 on empty sky; (1, H, W) where all three are the same.
            NumPy's or PyTorch's.

    Returns:
        As many, float32 in [0, 1]. The same as astropy's ``make_lupton_rgb``.
    """
    xp = library(signals)
    above = signals - stretch.minimum
    intensity = above.mean(axis=0) if len(above) > 1 else above[0]
    # the slope near 0 is that of astropy's LuptonAsinhStretch: a tenth of the linear image's
    slope = 0.1 / math.asinh(0.1 * stretch.Q)
    factor = intensity * (stretch.Q / stretch.stretch)
    xp.arcsinh(factor, out=factor)
    factor *= slope
    factor /= xp.where(intensity > 0, intensity, math.inf)
    rgb = xp.clip(above * factor, 0, None)
    rgb /= xp.clip(xp.amax(rgb, 0), 1, None)
    return rgb


def empty_sky(frame: Frame, rgb: np.ndarray, stretch: Stretch) -> np.ndarray:
    """(3,) float32 RGB of sky without noise; of a picture the median of ``rgb``, a section of it."""
    sky = np.median(rgb, axis=(1, 2)) if frame.stretched else lupton_rgb(np.zeros((3, 1, 1), np.float32), stretch).ravel()
    return sky.astype(np.float32)


def section_rgb(
    frame: Frame, background: dict[str, Background], stretch: Stretch, rows=slice(None), columns=slice(None), into: np.ndarray | None = None
) -> np.ndarray:
    """(3, h, w) float32 in [0, 1] of a section of the frame, with the whole frame's sky and noise; written ``into`` where that is given."""
    rows, columns = (range(*part.indices(n)) for part, n in zip((rows, columns), frame.shape))
    rgb = np.empty((3, len(rows), len(columns)), np.float32) if into is None else into
    for first in range(0, len(rows), STRIP):
        part = as_slice(rows[first : first + STRIP]), as_slice(columns)
        rgb[:, first : first + STRIP] = strip_rgb(frame, background, stretch, part)
    return rgb


def as_slice(part: range) -> slice:
    return slice(part.start, part.stop, part.step)


def strip_rgb(frame: Frame, background: dict[str, Background], stretch: Stretch, part: tuple[slice, slice]) -> np.ndarray:
    """(3, h, w) float32, or (1, h, w) where the three are the same."""
    if frame.stretched:
        return np.stack([np.nan_to_num(frame.counts[band][part]) for band in frame.bands])
    bands = [signal(frame.counts[band], background[band], *part) for band in frame.bands]
    return lupton_rgb(bands[0][None] if len(bands) == 1 else three_channels(bands), stretch)


def window_rgb(frame: Frame, background: dict, x: float, y: float, stretch: Stretch, side: int) -> np.ndarray:
    """(3, side, side) RGB with the pixel nearest to x, y just beyond the middle; what lies beyond the frame is empty sky."""
    left, top = round(x) - side // 2, round(y) - side // 2
    rows, columns = (slice(max(first, 0), min(first + side, n)) for first, n in ((top, frame.shape[0]), (left, frame.shape[1])))
    rgb = section_rgb(frame, background, stretch, rows, columns)
    image = np.tile(empty_sky(frame, rgb, stretch)[:, None, None], (1, side, side))
    image[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = rgb
    return image
