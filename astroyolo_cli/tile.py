"""A frame as overlapping tiles, and the tiles' detections as one frame's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .detections import Detections, centers, leaders, overlapping
from .enlarge import step_of

REACH = 2.0  # pixels by which a core reaches beyond its border, so that a source on the border is in one at least
REACH_OF_SIZE = 1 / 16  # the same for large boxes, whose centres two tiles place less alike
USUAL = 512  # pixels, side of the images that the network learned from
LARGEST = 1152  # pixels, side of a tile: more costs memory and saves little
MOST_ROWS = LARGEST * 32768  # pixels of a row of tiles: of wider frames the tiles are smaller, so that memory is bounded
SAME = 0.5  # IoU above which two boxes of different tiles are one source


@dataclass(frozen=True)
class Tile:
    """A square window of the frame.

    Attributes:
        x, y: the frame pixel that is the tile's first.
        core: x0, y0, x1, y1 in frame pixels: a detection belongs to the tile whose core holds its centre. Infinite
            at the border of the frame.
    """

    x: int
    y: int
    core: tuple[float, float, float, float]

    def section(self, side: int) -> tuple[slice, slice]:
        """Rows and columns of the frame; at most ``side`` pixels, fewer where the frame ends."""
        return slice(self.y, self.y + side), slice(self.x, self.x + side)


def tile_origins(length: int, tile: int, overlap: int) -> list[int]:
    """Starts of equal tiles that cover ``length`` pixels along one axis.

    Neighbours share at least ``overlap`` pixels. The last tile ends on the last pixel, so it may share more. A
    side shorter than one tile gives a single tile at 0, to be padded.

    >>> tile_origins(1000, tile=512, overlap=128)
    [0, 384, 488]
    """
    last = length - tile
    if last <= 0:
        return [0]
    return [*range(0, last, tile - overlap), last]


def fitting_tile(shape: tuple[int, int], overlap: int, zoom: float = 1.0) -> int:
    """The side of equal square tiles that cover a frame with the fewest pixels in all: what two tiles share is looked at twice.

    ``zoom``: times that the network sees them enlarged.

    >>> fitting_tile((4096, 4096), overlap=128), fitting_tile((512, 512), overlap=128)
    (1120, 512)
    """
    step = step_of(zoom)
    largest = max(USUAL, min(int(LARGEST / zoom), MOST_ROWS // max(shape[1], 1)))

    def pixels(side: int) -> int:
        return side**2 * len(tile_origins(shape[0], side, overlap)) * len(tile_origins(shape[1], side, overlap))

    return min((side for side in range(USUAL, largest + 1, step) if side > overlap), key=pixels, default=USUAL)


def borders(origins: list[int], tile: int) -> list[float]:
    """Edges of the cores along one axis: the middles of what neighbours share; infinite at both ends."""
    middles = [(after + before + tile - 1) / 2 for before, after in zip(origins, origins[1:])]
    return [-np.inf, *middles, np.inf]


def tiles(shape: tuple[int, int], tile: int, overlap: int) -> list[Tile]:
    """All tiles of a frame, row by row.

    Args:
        shape: (H, W) of the frame.
        tile: side in pixels.
        overlap: pixels that neighbours share at least, 0 <= overlap < tile.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap must be at least 0 and less than the tile's {tile} pixels, got {overlap}")
    rows, columns = (tile_origins(n, tile, overlap) for n in shape)
    y_borders, x_borders = borders(rows, tile), borders(columns, tile)
    return [
        Tile(x, y, (x_borders[j], y_borders[i], x_borders[j + 1], y_borders[i + 1]))
        for i, y in enumerate(rows)
        for j, x in enumerate(columns)
    ]


def keep_core(found: Detections, tile: Tile) -> Detections:
    """Of detections in frame pixels those whose centre the tile's core holds, seams marked."""
    center = centers(found.xyxy)
    x0, y0, x1, y1 = tile.core
    reach = np.maximum(REACH, REACH_OF_SIZE * (found.xyxy[:, 2:] - found.xyxy[:, :2]).max(axis=1, initial=0))[:, None]
    inside = ((center >= [x0, y0] - reach) & (center < [x1, y1] + reach)).all(axis=1)
    crosses = ((found.xyxy[:, :2] < [x0, y0]) | (found.xyxy[:, 2:] > [x1, y1])).any(axis=1)
    return Detections(found.xyxy, found.score, found.p_galaxy, found.p_disk, crosses).take(inside)


def merge_seams(found: Detections, tile_of: np.ndarray) -> Detections:
    """One row for a source that two tiles report: the higher score stays.

    Args:
        found: of all tiles, in frame pixels.
        tile_of: (n,) the number of the tile that reported each row.
    """
    order = np.lexsort((found.xyxy[:, 0], found.xyxy[:, 1], -found.score))
    found, tile_of = found.take(order), tile_of[order]
    seam = np.flatnonzero(found.on_seam)
    one, other = _same_sources(found.xyxy[seam])
    apart = tile_of[seam[one]] != tile_of[seam[other]]
    stays = leaders(len(found), seam[one[apart]], seam[other[apart]])
    return found.take(stays == np.arange(len(found)))


def _same_sources(xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows i < j of boxes that overlap well, or whose centres lie within a fifth of the smaller one, and in reach of two cores."""
    one, other, overlap = overlapping(xyxy)
    side, center = (xyxy[:, 2:] - xyxy[:, :2]).max(axis=1, initial=0), centers(xyxy)
    distance = np.hypot(*(center[one] - center[other]).T)
    reach = 2 * np.maximum(REACH, REACH_OF_SIZE * np.ptp(xyxy[:, [0, 2]], axis=1).max(initial=0))
    same = (distance <= reach) & ((overlap > SAME) | (distance < 0.2 * np.minimum(side[one], side[other])))
    return one[same], other[same]
