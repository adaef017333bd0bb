"""A picture as a pyramid of tiles, as OpenSeadragon's viewer reads it (Deep Zoom Image)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

TILE = 512  # pixels
QUALITY = 92  # of the JPEG tiles


def write_pyramid(folder: Path, strips: Iterator[np.ndarray], size: tuple[int, int]) -> None:
    """Tiles folder/LEVEL/COLUMN_ROW.jpg of the picture and of its halves, down to one pixel.

    Args:
        strips: (h, W, 3) uint8 parts of the picture, from the top; each of ``TILE`` rows but the last.
        size: (H, W) of the picture.
    """
    top = top_level(size)
    (folder / str(top)).mkdir(parents=True)
    smaller = []
    for row, strip in enumerate(strips):
        write_row(folder / str(top), row, strip)
        smaller.append(halved(strip))
    picture = np.concatenate(smaller)
    for level in range(top - 1, -1, -1):
        (folder / str(level)).mkdir()
        for row, first in enumerate(range(0, len(picture), TILE)):
            write_row(folder / str(level), row, picture[first : first + TILE])
        picture = halved(picture)


def top_level(size: tuple[int, int]) -> int:
    """The number of the level that holds the picture itself, where level 0 is one pixel."""
    return int(np.ceil(np.log2(max(size))))


def write_row(folder: Path, row: int, strip: np.ndarray) -> None:
    from PIL import Image

    for column, left in enumerate(range(0, strip.shape[1], TILE)):
        Image.fromarray(np.ascontiguousarray(strip[:, left : left + TILE])).save(folder / f"{column}_{row}.jpg", quality=QUALITY)


def halved(rgb: np.ndarray) -> np.ndarray:
    """(ceil(h / 2), ceil(w / 2), 3) uint8 means of (h, w, 3)."""
    height, width, _ = rgb.shape
    even = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge").astype(np.uint16)
    return ((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2] + 2) // 4).astype(np.uint8)
