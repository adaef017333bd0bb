"""A frame whose detections are measured block by block, so that memory is bounded by the block and not by the frame.

Where the borders of the blocks lie follows from the frame's shape and its number of bands alone, and a block is held with as many
pixels around it as the largest stamp reaches: what is measured does not depend on the blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property, partial

import numpy as np

from .detections import centers
from .frame import Frame
from .stamps import LARGEST, OWN, Light, Stamps, all_bands, owners
from .stretch import Background

MOST = 24_000_000  # pixels of all bands that a block has with its margin
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


def blocks_of(shape: tuple[int, int], bands: int) -> list[Block]:
    """Equal blocks that cover the frame (H, W); one where all of it may be held at once."""
    if shape[0] * shape[1] * bands <= MOST:
        return [Block(slice(0, shape[0]), slice(0, shape[1]), (-np.inf, -np.inf, np.inf, np.inf))]
    side = int(np.sqrt(MOST / bands)) - 2 * MARGIN
    down, across = (parts_of(length, -(-length // side)) for length in shape)
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


class Scene:
    """What is measured: a frame, the sky of its bands, and the boxes of all detections.

    Args:
        boxes: (n, 4) float64, finite.
        usable: (n,) bool, boxes that own pixels.
    """

    def __init__(self, frame: Frame, sky: dict[str, Background], boxes: np.ndarray, usable: np.ndarray):
        self.frame, self.sky, self.boxes, self.usable = frame, sky, boxes, usable
        self.blocks = blocks_of(frame.shape, len(frame.bands))
        self._kept: tuple[Block | None, dict[str, Light]] = (None, {})

    @cached_property
    def _reach(self) -> np.ndarray:
        """(n, 2) pixels from its middle within which a detection owns pixels."""
        return OWN * np.maximum((self.boxes[:, 2:] - self.boxes[:, :2]) / 2, 0.5) + 1

    def light(self, block: Block) -> dict[str, Light]:
        """Every band of a block; the last one is kept."""
        if self._kept[0] is not block:
            self._kept = (None, {})  # its memory is free before the next is made
            self._kept = (block, self.section(block.rows, block.columns))
        return self._kept[1]

    def together(self, light: dict[str, Light]) -> Light:
        noise = [float(np.median(self.sky[band].noise_mesh)) for band in light]
        return all_bands(list(light.values()), noise)

    def section(self, rows: slice, columns: slice, bands: tuple[str, ...] | None = None) -> dict[str, Light]:
        """The light of a part of the frame."""
        origin = np.array([columns.start, rows.start])
        last = np.array([columns.stop, rows.stop]) - 1
        middle = centers(self.boxes)
        near = (middle + self._reach >= origin).all(axis=1) & (middle - self._reach <= last).all(axis=1) & self.usable
        local = self.boxes - np.tile(origin, 2)
        owner = owners(local, np.flatnonzero(near), (rows.stop - rows.start, columns.stop - columns.start))
        return {band: self._light_of(band, owner, rows, columns) for band in bands or self.frame.bands}

    def _light_of(self, band: str, owner: np.ndarray, rows: slice, columns: slice) -> Light:
        sky, counts = self.sky[band], self.frame.counts[band][rows, columns]
        bad = self.frame.bad[band][rows, columns] | ~np.isfinite(counts)
        data = np.where(bad, 0, counts - sky.section(sky.sky_mesh, rows, columns)).astype(np.float32)
        variance = np.square(sky.section(sky.noise_mesh, rows, columns))
        if band in self.frame.weights:
            weight = self.frame.weights[band][rows, columns]
            variance = np.where(weight > 0, 1 / np.where(weight > 0, weight, 1), variance)
        gain = self.frame.gain.get(band) or np.inf
        return Light(data, variance, np.where(bad, np.int32(-2), owner), gain, origin=(columns.start, rows.start))

    def anywhere(self) -> tuple[dict[str, Light | Scattered], Light | Scattered]:
        """The bands, and all together, for a few places all over the frame."""
        if len(self.blocks) == 1:
            light = self.light(self.blocks[0])
            return light, self.together(light)
        shape, gain = self.frame.shape, {band: self.frame.gain.get(band) or np.inf for band in self.frame.bands}
        light = {band: Scattered(partial(self._one, band), shape, gain[band]) for band in self.frame.bands}
        return light, Scattered(lambda rows, columns: self.together(self.section(rows, columns)), shape)

    def _one(self, band: str, rows: slice, columns: slice) -> Light:
        return self.section(rows, columns, (band,))[band]


@dataclass(frozen=True)
class Scattered:
    """Light around places far apart, each cut out of the frame for itself: the methods of ``Light``.

    Attributes:
        section: rows, columns -> Light.
        shape: (H, W) of the frame.
    """

    section: Callable[[slice, slice], Light]
    shape: tuple[int, int]
    gain: float = np.inf

    def stamps(self, rows: np.ndarray, place: np.ndarray, half: int) -> Stamps:
        return joined([self._near(place[i], half).stamps(rows[i : i + 1], place[i : i + 1], half) for i in range(len(place))])

    def is_free(self, place: np.ndarray, half: int) -> np.ndarray:
        return np.array([self._near(at, half).is_free(at[None], half)[0] for at in place], bool)

    def _near(self, place: np.ndarray, half: int) -> Light:
        x, y = np.rint(place).astype(int)
        rows, columns = (slice(max(middle - half, 0), min(middle + half + 1, n)) for middle, n in ((y, self.shape[0]), (x, self.shape[1])))
        return self.section(rows, columns)


def joined(parts: list[Stamps]) -> Stamps:
    """Stamps of one size as one."""
    together = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Stamps)}
    return Stamps(**together | {"foreign_at": np.flatnonzero(together["foreign"])})
