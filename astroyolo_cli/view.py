"""Pictures of a frame with its catalog drawn on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .errors import OutputError
from .frame import Frame
from .stretch import Background, Stretch, section_rgb

COLOURS = {"star": (255, 165, 0), "smooth": (255, 70, 70), "disk": (70, 255, 70)}
ENLARGE_BELOW = 1100  # pixels: smaller frames are drawn at twice their size, so that boxes are legible


def save_overlay(path: Path, frame: Frame, background: dict[str, Background], stretch: Stretch, catalog) -> None:
    """A PNG of the frame in the network's stretch with a box a source: star orange, smooth red, disk green.

    The first row of a FITS frame is at the bottom, as viewers show it; pictures keep their own order.
    """
    if path.suffix.lower() != ".png":
        raise OutputError(f"{path}: --plot writes PNG; end its name in .png")
    image, scale = enlarged(section_rgb(frame, background, stretch))
    draw_boxes(image, catalog, scale)
    if not frame.stretched:
        from PIL import ImageOps

        image = ImageOps.flip(image)
    partial = path.with_name(f".{path.name}.partial")
    try:
        image.save(partial, format="PNG")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error


def enlarged(rgb: np.ndarray):
    """(3, H, W) in [0, 1] to a Pillow image, and how many of its pixels one of the frame takes."""
    from PIL import Image

    image = Image.fromarray((rgb.transpose(1, 2, 0) * 255).astype(np.uint8))
    scale = 2 if max(image.size) < ENLARGE_BELOW else 1
    return image.resize([n * scale for n in image.size], Image.Resampling.NEAREST), scale


def draw_boxes(image, catalog, scale: int) -> None:
    """Boxes along their pixels' edges; a frame's pixel 0 begins at -0.5."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)
    for row in catalog:
        edges = [(float(row[name]) + 0.5) * scale for name in ("xmin", "ymin", "xmax", "ymax")]
        kind = "star" if row["class"] == "star" else str(row["morphology"])
        draw.rectangle(edges, outline=COLOURS[kind])
