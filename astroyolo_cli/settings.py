"""What the user may choose of detection; says nothing of how it is done, so that the command line reads it at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

ZOOMS = (1.0, 1.25, 1.5, 2.0)  # times that the network can see a frame enlarged


@dataclass(frozen=True)
class DetectSettings:
    """What decides which sources are found.

    Attributes:
        tile: side of a tile in pixels, a multiple of 32; None: the one between 512 and 1152 whose tiles fit the frame best.
        overlap: pixels that neighbouring tiles share at least.
        min_score: sources of a lower score are dropped.
        max_det: most boxes looked at in each 512 x 512 pixels that the network sees.
        views: 1, or 2 to look at each tile turned by 180 degrees as well: steadier, at twice the network's time.
        zoom: times that the network sees the frame enlarged, one of ZOOMS; None: more than once where stars are sharp.
        prior_star: the part of sources that are stars, which p_star then assumes; None: that of the training data.
        batch: tiles of 512 x 512 pixels that go through the network together, fewer larger ones; None: as the engine does best. It
            changes speed and memory, never the catalog.
    """

    tile: int | None = None
    overlap: int = 128
    min_score: float = 0.3
    max_det: int = 2500
    views: int = 2
    zoom: float | None = None
    prior_star: float | None = None
    batch: int | None = None

    def for_frame(self, shape: tuple[int, int], batch: int = 1) -> DetectSettings:
        """The same with the tile that a frame of (H, W) pixels gets, and the boxes and tiles that go with it; ``batch`` is the engine's."""
        from .tile import USUAL, fitting_tile

        zoom = self.zoom or 1.0
        tile = rounded_up(self.tile, zoom) if self.tile else fitting_tile(shape, self.overlap, zoom)
        seen = (tile * zoom / USUAL) ** 2  # tiles of the usual size that the network sees
        most, batch = max(round(self.max_det * seen), 1), max(int((self.batch or batch) / seen), 1)
        return replace(self, tile=tile, zoom=zoom, max_det=most, batch=batch)


def rounded_up(tile: int, zoom: float) -> int:
    """The next side of a tile that can be enlarged so."""
    from .enlarge import step_of

    return -(-tile // step_of(zoom)) * step_of(zoom)


DEFAULT = DetectSettings()
