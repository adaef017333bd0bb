"""A picture of every source of a catalog, to look through."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from .frame import Frame
from .stretch import Background, Stretch, window_rgb
from .whole import check_folder, folder_written_whole

BOXES = 2.0  # sides of its box that a cutout shows
SMALLEST, LARGEST = 48, 512  # pixels


def check_cutouts(folder: Path, overwrite: bool) -> None:
    """Before the work: can the folder be made? One that holds other things than cutouts is never replaced."""
    check_folder(folder, overwrite, lambda name: re.fullmatch(r"\d{6,}(-[a-z]+)*\.png", name) is not None)


def write_cutouts(
    folder: Path, frame: Frame, background: dict[str, Background], stretch: Stretch, catalog, overwrite: bool = False
) -> None:
    """One PNG a row, named by its id and classes, in the network's stretch, twice as wide as its box and 48 to 512 pixels.

    The folder appears when all are written, or not at all. The first row of a FITS frame is at the bottom.
    """
    check_cutouts(folder, overwrite)
    with folder_written_whole(folder) as partial:
        for row in catalog:
            cutout_of(frame, background, stretch, row).save(partial / name_of(row))


def cutout_of(frame: Frame, background: dict[str, Background], stretch: Stretch, row):
    """A Pillow image around the middle of the row's box."""
    from PIL import Image, ImageOps

    edges = [float(row[name]) for name in ("xmin", "ymin", "xmax", "ymax")]
    side = int(np.clip(BOXES * max(edges[2] - edges[0], edges[3] - edges[1]), SMALLEST, LARGEST)) // 2 * 2
    rgb = window_rgb(frame, background, (edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2, stretch, side)
    image = Image.fromarray((rgb.transpose(1, 2, 0) * 255).astype(np.uint8))
    return image if frame.stretched else ImageOps.flip(image)


def name_of(row) -> str:
    kinds = [str(row[name]) for name in ("class", "morphology") if row[name] is not np.ma.masked and row[name]]
    return "-".join([f"{int(row['id']):06d}", *kinds]) + ".png"
