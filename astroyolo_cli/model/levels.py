"""The network's levels: which strides its cells have. Needs neither PyTorch nor the network."""

from __future__ import annotations

STRIDES = (8, 16, 32)  # of YOLOX's levels P3 to P5
P2 = 4  # of the finer level that some sizes have before them


def strides_of(cells: int, height: int, width: int) -> tuple[int, ...]:
    """The strides, finest first, of a network that has so many cells for an image of ``height`` x ``width`` pixels.

    >>> strides_of(5376, 512, 512), strides_of(21760, 512, 512)
    ((8, 16, 32), (4, 8, 16, 32))
    """
    for strides in (STRIDES, (P2, *STRIDES)):
        if cells == sum((height // stride) * (width // stride) for stride in strides):
            return strides
    raise ValueError(f"{cells} cells for {height} x {width} pixels: of no known levels")
