"""Pictures of a frame with its catalog drawn on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .errors import OutputError
from .frame import Frame
from .stretch import Background, Stretch, section_rgb
from .whole import written_whole

COLOURS = {"star": (255, 165, 0), "galaxy": (80, 160, 255), "smooth": (255, 70, 70), "disk": (70, 255, 70)}
ENLARGE_BELOW = 1100  # pixels: smaller frames are drawn at twice their size, so that boxes are legible
PIXELS_A_LINE = 1500  # of the panel's longer side for each pixel of a line's width
GAP = 8  # pixels between the panels
MARGIN = 110, 26  # pixels left of them and below, where RA and Dec stand


def save_overlay(path: Path, frame: Frame, background: dict[str, Background], stretch: Stretch, catalog) -> None:
    """A PNG of two panels, the frame in the network's stretch with a box a source, as the paper's figure 4.

    Left: stars orange, galaxies blue. Right, of the galaxies: smooth red, disks green. RA and Dec along the edges, where there is a
    WCS. The first row of a FITS frame is at the bottom, as viewers show it; pictures keep their own order.
    """
    if path.suffix.lower() != ".png":
        raise OutputError(f"{path}: --plot writes PNG; end its name in .png")
    plain, scale = enlarged(section_rgb(frame, background, stretch))
    left, right = plain, plain.copy()
    draw_boxes(left, catalog, [str(name) for name in catalog["class"]], scale)
    draw_boxes(right, catalog, [str(name) for name in np.ma.filled(catalog["morphology"], "")], scale)
    image = with_sky(side_by_side(left, right, upside_down=not frame.stretched), frame, scale)
    with written_whole(path) as partial:
        image.save(partial, format="PNG")


def side_by_side(left, right, upside_down: bool):
    """One Pillow image of two, white between them."""
    from PIL import Image, ImageOps

    image = Image.new("RGB", (2 * left.width + GAP, left.height), "white")
    for panel, x in ((left, 0), (right, left.width + GAP)):
        image.paste(ImageOps.flip(panel) if upside_down else panel, (x, 0))
    return image


def with_sky(panels, frame: Frame, scale: int):
    """Below both panels and left of them ticks of RA and Dec; without a WCS the panels as they are."""
    from PIL import Image, ImageDraw

    from .sky_axes import sky_ticks

    ticks = sky_ticks(frame)
    if not any(ticks.values()):
        return panels
    left, below = MARGIN
    image = Image.new("RGB", (panels.width + left, panels.height + below), "white")
    image.paste(panels, (left, 0))
    draw, width = ImageDraw.Draw(image), frame.shape[1] * scale
    for place, text in ticks["x"]:
        for first in (left, left + width + GAP):
            x = first + (place + 0.5) * scale
            draw.line([x, panels.height, x, panels.height + 5], "black")
            draw.text((x, panels.height + 7), text, "black", anchor="ma", font_size=14)
    for place, text in ticks["y"]:
        y = panels.height - (place + 0.5) * scale
        draw.line([left - 6, y, left - 1, y], "black")
        draw.text((left - 9, y), text, "black", anchor="rm", font_size=14)
    return image


def enlarged(rgb: np.ndarray):
    """(3, H, W) in [0, 1] to a Pillow image, and how many of its pixels one of the frame takes."""
    from PIL import Image

    image = Image.fromarray((rgb.transpose(1, 2, 0) * 255).astype(np.uint8))
    scale = 2 if max(image.size) < ENLARGE_BELOW else 1
    return image.resize([n * scale for n in image.size], Image.Resampling.NEAREST), scale


def draw_boxes(image, catalog, kinds: list[str], scale: int) -> None:
    """Boxes of the rows whose kind has a colour, along their pixels' edges; a frame's pixel 0 begins at -0.5."""
    from PIL import ImageDraw

    draw, width = ImageDraw.Draw(image), max(round(max(image.size) / PIXELS_A_LINE), 1)
    for row, kind in zip(catalog, kinds):
        if kind in COLOURS:
            edges = [(float(row[name]) + 0.5) * scale for name in ("xmin", "ymin", "xmax", "ymax")]
            draw.rectangle(edges, outline=COLOURS[kind], width=width)
