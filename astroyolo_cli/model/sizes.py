"""The network's sizes, YOLOX's and those with a finer level, its heads, and the strides of their cells. Needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, replace

HEADS = {"detection": 5, "star_galaxy": 2, "smooth_disk": 2}  # name -> outputs a cell
BN_EPS = 1e-3  # of batch normalisation; not stored in the original's checkpoints: PyTorch's default would shift every output
STRIDES = (8, 16, 32)  # of YOLOX's levels P3 to P5
P2 = 4  # of the finer level that some sizes have before them


@dataclass(frozen=True)
class Size:
    """Width and depth of one of YOLOX's sizes.

    Attributes:
        base: channels after the first convolution.
        repeats: bottlenecks of the shallowest stage; also of each stage of the neck.
        depthwise: 3x3 convolutions as depthwise and pointwise pairs.
        p2: with a slim level of stride 4, for sources of a few pixels.
    """

    base: int
    repeats: int
    depthwise: bool = False
    p2: bool = False

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the levels, finest first."""
        return (P2, *STRIDES) if self.p2 else STRIDES


SIZES = {
    "nano": Size(16, 1, depthwise=True),
    "tiny-dw": Size(24, 1, depthwise=True),
    "tiny": Size(24, 1),
    "s": Size(32, 1),
    "m": Size(48, 2),
    "l": Size(64, 3),
    "x": Size(80, 4),
}
SIZES |= {f"{name}-p2": replace(SIZES[name], p2=True) for name in ("nano", "tiny-dw", "tiny", "s")}


def strides_of(cells: int, height: int, width: int) -> tuple[int, ...]:
    """The strides, finest first, of a network that has so many cells for an image of ``height`` x ``width`` pixels.

    >>> strides_of(5376, 512, 512), strides_of(21760, 512, 512)
    ((8, 16, 32), (4, 8, 16, 32))
    """
    for strides in (STRIDES, (P2, *STRIDES)):
        if cells == sum((height // stride) * (width // stride) for stride in strides):
            return strides
    raise ValueError(f"{cells} cells for {height} x {width} pixels: of no known levels")
