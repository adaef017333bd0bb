"""A frame whose detections are measured block by block, so that memory is bounded by the block and not by the frame.

A block is held with as many pixels around it as the largest stamp reaches: what is measured does not depend on the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from .align import PixelMap
from .detections import centers
from .frame import Frame
from .native import NativeLight, moved_ellipses, native_light
from .sections import KEPT, ROWS, sampled
from .stamps import LARGEST, OWN, STRIP_ROWS, Light, Stamps, all_bands, owners
from .stretch import Background
from .threads import spread

MOST = 48_000_000  # numbers that are held of a block, with its margin, of a frame read in parts
BESIDE = 3  # of them a pixel beside its bands: counts while they are read, whose it is, all bands together
MOST_WHOLE = (
    64_000_000  # pixels of all bands of a block of a frame that is in memory: few blocks, whose margins are measured twice, cost less
)
LEAST_HALF = 16  # pixels around a place that is measured for itself, so that the next radius finds it at hand
MARGIN = LARGEST + 8  # pixels around a block: a centroid may lie a little outside of it


@dataclass(frozen=True)
class Block:
    """A part of the frame: rows and columns that are held, and the core x0, y0, x1, y1 whose detections are measured there."""

    rows: slice
    columns: slice
    core: tuple[float, float, float, float]

    def holds(self, middle: np.ndarray) -> np.ndarray:
        """(m,) rows of the places (n, 2) in the core."""
        x0, y0, x1, y1 = self.core
        return np.flatnonzero((middle >= [x0, y0]).all(axis=1) & (middle < [x1, y1]).all(axis=1))


def blocks_of(shape: tuple[int, int], bands: float, most: int, most_rows: float = np.inf) -> list[Block]:
    """Equal blocks that cover the frame (H, W), row by row, of ``most`` pixels of all bands; one where all of it may be held at once.

    Args:
        most_rows: of a block with its margins: what is read in rows is then read once for all blocks beside each other.
    """
    if shape[0] * shape[1] * bands <= most:
        return [Block(slice(0, shape[0]), slice(0, shape[1]), (-np.inf, -np.inf, np.inf, np.inf))]
    high = min(np.sqrt(most / bands), most_rows)
    down, across = (parts_of(n, -(-n // (int(side) - 2 * MARGIN))) for n, side in zip(shape, (high, most / bands / high)))
    return [Block(rows, columns, (x0, y0, x1, y1)) for rows, y0, y1 in down for columns, x0, x1 in across]


def parts_of(length: int, count: int) -> list[tuple[slice, float, float]]:
    """``count`` parts of one axis: what is held, and the first and last edge of the core, infinite at the ends of the axis."""
    edges = [round(i * length / count) for i in range(count + 1)]
    return [
        (
            slice(max(low - MARGIN, 0), min(high + MARGIN, length)),
            -np.inf if low == 0 else low - 0.5,
            np.inf if high == length else high - 0.5,
        )
        for low, high in zip(edges, edges[1:])
    ]


@dataclass(frozen=True)
class SkyVariance:
    """(h, w) float32 of a part of the frame, used like an array: mostly it is asked for the pixels in the middles of sources alone."""

    sky: Background
    rows: slice
    columns: slice

    def __getitem__(self, at: slice | tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Some rows, or single pixels."""
        if isinstance(at, slice):
            first, end, _ = at.indices(self.rows.stop - self.rows.start)
            rows = slice(self.rows.start + first, self.rows.start + end)
            return np.square(self.sky.section(self.sky.noise_mesh, rows, self.columns))
        return np.square(self.sky.at(self.sky.noise_mesh, at[0] + self.rows.start, at[1] + self.columns.start))


class Scene:
    """What is measured: a frame, the sky of its bands, and the boxes of all detections.

    Args:
        grids: band -> where the reference's pixels lie on the band's own, for bands that were aligned: they are measured there.
        boxes: (n, 4) float64, finite.
        usable: (n,) bool, boxes that own pixels.
        threads: that share the work.
    """

    def __init__(
        self,
        frame: Frame,
        sky: dict[str, Background],
        boxes: np.ndarray,
        usable: np.ndarray,
        grids: dict[str, PixelMap],
        threads: int = 1,
    ):
        self.threads, self.frame, self.sky, self.boxes, self.usable, self.grids = threads, frame, sky, boxes, usable, grids
        whole = all(isinstance(counts, np.ndarray) for counts in frame.counts.values())
        finer = [grid.area() for grid in grids.values()]
        bands = len(frame.bands) + sum(finer)
        most = (MOST_WHOLE, np.inf) if whole else (MOST * bands / (bands + BESIDE), (KEPT - 1) * ROWS)
        self.blocks = blocks_of(frame.shape, bands, *most)
        self._around = max([1.0] + [1.5 / np.sqrt(area) for area in finer])  # pixels of the reference in one of a band, and to its corners
        self._kept: tuple[Block | None, dict[str, Light]] = (None, {})
        self._kept_together: tuple[Block | None, Light | None] = (None, None)
        self._kept_own: tuple[Block | None, dict[str, Light | NativeLight]] = (None, {})
        self._places: dict[tuple[int, int], tuple[int, dict[str, Light], dict[str, Light | NativeLight]]] = {}

    @cached_property
    def _owned(self) -> np.ndarray:
        """(4, n) edges x0, y0, x1, y1 within which a detection owns pixels."""
        middle, reach = centers(self.boxes), OWN * np.maximum((self.boxes[:, 2:] - self.boxes[:, :2]) / 2, 0.5) + 1
        return np.ascontiguousarray(np.concatenate([middle - reach, middle + reach], axis=1).T)

    @cached_property
    def _variance_of_weight(self) -> dict[str, float]:
        """band -> variance of a pixel of weight 1: of relative weights, the usual one has the frame's usual noise."""
        if not self.frame.weights_are_relative:
            return dict.fromkeys(self.frame.weights, 1.0)
        noise = {band: float(np.median(self.sky[band].noise_mesh)) for band in self.frame.weights}
        return {band: noise[band] ** 2 * median_above_zero(plane) for band, plane in self.frame.weights.items()}

    def light(self, block: Block) -> dict[str, Light]:
        """Every band of a block; the last one is kept."""
        if self._kept[0] is not block:
            self._kept, self._kept_together, self._kept_own = (None, {}), (None, None), (None, {})  # free before the next is made
            self._kept = (block, self.section(block.rows, block.columns))
        return self._kept[1]

    def own_light(self, block: Block) -> dict[str, Light | NativeLight]:
        """Every band of a block on its own pixels; the last one is kept."""
        if self._kept_own[0] is not block:
            self._kept_own = (block, self.on_own_pixels(self.light(block), block.rows, block.columns))
        return self._kept_own[1]

    def on_own_pixels(self, light: dict[str, Light], rows: slice, columns: slice) -> dict[str, Light | NativeLight]:
        """The light of a part of the frame with the bands that were aligned on their own pixels."""
        native = {
            band: native_light(self.frame.native[band], self.sky[band].native, grid, light[band], rows, columns)
            for band, grid in self.grids.items()
        }
        return light | native

    def light_together(self, block: Block) -> Light:
        """All bands of a block as one; the last one is kept."""
        if self._kept_together[0] is not block:
            self._kept_together = (block, self.together(self.light(block)))
        return self._kept_together[1]

    def together(self, light: dict[str, Light]) -> Light:
        noise = [float(np.median(self.sky[band].noise_mesh)) for band in light]
        return all_bands(list(light.values()), noise, self.threads)

    def section(self, rows: slice, columns: slice, bands: tuple[str, ...] | None = None) -> dict[str, Light]:
        """The light of a part of the frame."""
        owner = self.owner(rows, columns)
        return {band: self._light_of(band, owner, rows, columns) for band in bands or self.frame.bands}

    def owner(self, rows: slice, columns: slice) -> np.ndarray:
        """(h, w) int32 row of the detection to which a pixel of a part of the frame belongs, -1 for none."""
        (x0, y0, x1, y1), here = self._owned, np.array([columns.start, rows.start] * 2)
        near = np.flatnonzero((x1 >= columns.start) & (x0 < columns.stop) & (y1 >= rows.start) & (y0 < rows.stop) & self.usable)
        shape = rows.stop - rows.start, columns.stop - columns.start
        if len(near) == len(self.boxes):
            return owners(self.boxes - here, near, shape, self.threads)
        number = owners(self.boxes[near] - here, np.arange(len(near)), shape, self.threads)
        return np.append(near, -1).astype(np.int32)[number]

    def _light_of(self, band: str, owner: np.ndarray, rows: slice, columns: slice) -> Light:
        counts, sky = self.frame.counts[band][rows, columns], self.sky[band]
        data = np.empty(owner.shape, np.float32)

        def fill(first: int) -> bool:
            strip, here = slice(first, first + STRIP_ROWS), slice(rows.start + first, min(rows.start + first + STRIP_ROWS, rows.stop))
            np.subtract(counts[strip], sky.section(sky.sky_mesh, here, columns), out=data[strip])
            return bool(np.isfinite(data[strip]).all())  # counts are not, where the frame says bad

        if not all(spread(fill, range(0, len(owner), STRIP_ROWS), self.threads)):
            bad = ~np.isfinite(data)
            data[bad] = 0
            owner = np.where(bad, np.int32(-2), owner)
        variance = SkyVariance(sky, rows, columns)
        if band in self.frame.weights:
            weight = self.frame.weights[band][rows, columns]
            variance = np.where(weight > 0, self._variance_of_weight[band] / np.where(weight > 0, weight, 1), variance[:])
        gain = self.frame.gain.get(band) or np.inf
        return Light(data, variance, owner, gain, origin=(columns.start, rows.start))

    def anywhere(self) -> tuple[dict[str, Light | Scattered], Light | Scattered]:
        """The bands, each on its own pixels, and all together, for a few places all over the frame."""
        if len(self.blocks) == 1:
            return self.own_light(self.blocks[0]), self.light_together(self.blocks[0])
        gain = {band: self.frame.gain.get(band) or np.inf for band in self.frame.bands}
        return {band: Scattered(self, band, gain[band]) for band in self.frame.bands}, Scattered(self)

    def near(self, place: np.ndarray, half: int) -> tuple[dict[str, Light], dict[str, Light | NativeLight]]:
        """Every band of the square around a place, on the reference's pixels and on its own.

        The same places are asked for with every band and radius, and are remembered.

        Args:
            half: pixels of any band.
        """
        x, y = np.rint(place).astype(int).tolist()
        half = int(np.ceil(half * self._around))
        known, light, own = self._places.get((x, y), (0, {}, {}))
        if known < half:
            known = max(half, LEAST_HALF)
            section = square(x, y, known, self.frame.shape)
            light = self.section(*section)
            own = self.on_own_pixels(light, *section)
            self._places[x, y] = known, light, own
        return light, own


def median_above_zero(plane) -> float:
    """Of a sample of the pixels (H, W) of an array or a plane that is read in parts; 1 without any above 0."""
    sample = sampled(plane)
    return float(np.median(sample[sample > 0])) if (sample > 0).any() else 1.0


def square(x: int, y: int, half: int, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a square of 2 half + 1 pixels, as far as the image reaches."""
    rows, columns = (slice(max(middle - half, 0), min(middle + half + 1, n)) for middle, n in ((y, shape[0]), (x, shape[1])))
    return rows, columns


@dataclass(frozen=True)
class Scattered:
    """Light around places far apart, each cut out of the frame for itself: the methods of ``Light``.

    Attributes:
        band: "" for all together.
    """

    scene: Scene
    band: str = ""
    gain: float = np.inf
    largest = LARGEST

    def on_pixels(self, place, a, b, theta) -> tuple[np.ndarray, ...]:
        grid = self.scene.grids.get(self.band)
        return (place, a, b, theta) if grid is None else moved_ellipses(grid, place, a, b, theta)

    def stamps(self, rows: np.ndarray, place: np.ndarray, half: int) -> Stamps:
        return joined([self._near(place[i], half).stamps(rows[i : i + 1], place[i : i + 1], half) for i in range(len(place))])

    def is_free(self, place: np.ndarray, half: int) -> np.ndarray:
        return np.array([self._is_free(*np.rint(at).astype(int).tolist(), half) for at in place], bool)

    def _near(self, place: np.ndarray, half: int) -> Light | NativeLight:
        light, own = self.scene.near(place, half)
        return own[self.band] if self.band else self.scene.together(light)

    def _is_free(self, x: int, y: int, half: int) -> bool:
        frame = self.scene.frame
        section = square(x, y, half, frame.shape)
        inside = x - half >= 0 and y - half >= 0 and x + half < frame.shape[1] and y + half < frame.shape[0]
        good = (np.isfinite(frame.counts[band][section]).all() for band in frame.bands)
        return inside and bool((self.scene.owner(*section) == -1).all()) and all(good)


def joined(parts: list[Stamps]) -> Stamps:
    """Stamps of one size as one."""
    together = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Stamps)}
    return Stamps(**together | {"foreign_at": np.flatnonzero(together["foreign"])})
