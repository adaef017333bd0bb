"""The quick look: a frame and its catalog as one HTML page that opens from disk without a network."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np

from .columns import FLAGS
from .deepzoom import TILE, top_level, write_pyramid
from .errors import OutputError
from .frame import Frame
from .stretch import Background, Stretch, section_rgb
from .whole import check_folder, check_place, folder_written_whole, written_whole
from .write import DECIMALS, json_values

MOST_PIXELS = 4096  # a side of the embedded picture, what browsers draw without trouble
ENDINGS = (".html", ".htm")
INDEX, TILES = "index.html", "picture_files"  # in the folder of a deep report
STRIP = 256  # rows of the picture made at a time
SCRIPTS = ("data", "sky", "viewer", "table", "plots", "filters", "main")  # one after the other, in one scope
FEWEST_CELLS, MOST_CELLS = 16, 128  # of the grid of sky positions, along each side
GRID_ERROR = np.radians(0.01 / 3600)  # between its nodes
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def check_report(path: Path, overwrite: bool) -> None:
    """Before the work: can the page be written? A folder of other things is never replaced.

    Raises:
        OutputError: for an ending that is not HTML's, or a place that cannot be written.
    """
    if path.suffix.lower() in ENDINGS:
        check_place(path, overwrite)
    elif path.suffix and not path.is_dir():
        raise OutputError(f"{path}: --report writes HTML; end its name in .html, or name a folder")
    else:
        check_folder(path, overwrite, lambda name: name in (INDEX, TILES))


def write_report(path: Path, frame: Frame, background: dict[str, Background], stretch: Stretch, catalog, overwrite: bool = False) -> None:
    """The stretched frame to pan and zoom, its boxes, filters, plots and the table; whole under its name or not at all.

    As one file, in which a large frame is reduced; under a name without ending as a folder that holds index.html and every pixel.

    Args:
        catalog: in the whole frame's pixels, also where the frame was read in part.

    Raises:
        OutputError: for another ending, or when it cannot be written.
    """
    check_report(path, overwrite)
    if path.suffix.lower() in ENDINGS:
        with written_whole(path) as partial:
            partial.write_text(page_of(frame, background, stretch, catalog), encoding="utf-8", newline="\n")
        return
    with folder_written_whole(path) as partial:
        write_pyramid(partial / TILES, strips_of(frame, background, stretch), frame.shape)
        page = page_of(frame, background, stretch, catalog, deep=True)
        (partial / INDEX).write_text(page, encoding="utf-8", newline="\n")


def page_of(frame: Frame, background: dict[str, Background], stretch: Stretch, catalog, deep: bool = False) -> str:
    """The page's HTML. What comes from files is in it as JSON and as a PNG only; a ``deep`` one has its picture in tiles beside it."""
    reduction = 1 if deep else -(-max(frame.shape) // MOST_PIXELS)
    height, width = (-(-n // reduction) for n in frame.shape)
    data = about(frame, catalog, reduction) | {"picture": [width, height], "columns": columns_of(catalog)}
    data["tiles"] = {"folder": TILES, "side": TILE, "level": top_level(frame.shape)} if deep else None
    library, script = library_source(), "\n".join(['"use strict";', *(asset(f"quicklook_{name}.js") for name in SCRIPTS)])
    picture = "" if deep else png_address(reduced_rgb(frame, background, stretch, reduction))
    parts = {"data": as_json(data), "picture": picture, "style": asset("quicklook.css"), "library": library, "script": script}
    parts["policy"] = policy(library, script, images="file: 'self'" if deep else "")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], asset("quicklook.html"))


def strips_of(frame: Frame, background: dict[str, Background], stretch: Stretch) -> Iterator[np.ndarray]:
    """(h, W, 3) uint8 parts of the picture from the top, of ``TILE`` rows; the last may have fewer."""
    height = frame.shape[0]
    for top in range(0, height, TILE):
        rows = slice(top, min(top + TILE, height))
        if frame.stretched:
            yield block_means(section_rgb(frame, background, stretch, rows), 1)
        else:
            yield block_means(section_rgb(frame, background, stretch, slice(height - rows.stop, height - rows.start)), 1)[::-1]


def asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def library_source() -> str:
    """OpenSeadragon with its licence, without the address of a map that is not there."""
    source = re.sub(r"(?m)^//# sourceMappingURL=.*$", "", asset("openseadragon.min.js"))
    return f"/* OpenSeadragon\n{asset('openseadragon.LICENSE.txt')}*/\n{source}"


def policy(*scripts: str, images: str = "") -> str:
    """What the page may do: run these scripts, and load nothing that is not in it but ``images`` from there."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    shown = f"img-src data: blob: {images}".strip()
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; {shown}; base-uri 'none'; form-action 'none'"


def as_json(data) -> str:
    """JSON that ends no script element, whatever its texts hold.

    >>> as_json({"name": "</script>"})
    '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = re.sub("[<>&\u2028\u2029]", lambda found: ESCAPES[found[0]], text)
    return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair, as a file's name may hold, is no UTF-8


def about(frame: Frame, catalog, reduction: int) -> dict[str, object]:
    """What the page knows beside pixels and rows."""
    height, width = frame.shape
    return {
        "name": name_of(frame),
        "about": description(frame, reduction),
        "made": "\n".join(lines_of(catalog.meta.get("provenance", {}))),
        "header": "" if frame.header is None else repr(frame.header),
        "width": width,
        "height": height,
        "offset": offset_of(frame),
        "reduction": reduction,
        "flipped": not frame.stretched,
        "sky": sky_grid(frame),
        "flags": {str(bit): meaning for bit, meaning in FLAGS.items()},
    }


def offset_of(frame: Frame) -> list[int]:
    """x and y, in the whole frame, of the first pixel that was read."""
    return [0, 0] if frame.part is None else [int(frame.part.x), int(frame.part.y)]


def lines_of(made: dict, before: str = "") -> list[str]:
    """What made the catalog, a line a value."""
    lines = []
    for key, value in made.items():
        lines += lines_of(value, f"{before}{key} ") if isinstance(value, dict) else [f"{before}{key}: {value}"]
    return lines


def name_of(frame: Frame) -> str:
    """Of its file, or of the folder that holds its several files."""
    first = next(iter(frame.sources), Path("frame"))
    return first.absolute().parent.name if len(set(frame.sources)) > 1 else first.name


def description(frame: Frame, reduction: int) -> str:
    height, width = frame.shape
    part = "" if frame.part is None else f" of a larger frame, from {' '.join(map(str, offset_of(frame)))} on"
    text = f"{width} x {height} pixels{part}, counted from 0; bands {', '.join(frame.bands)}; fluxes of {frame.reference}"
    if len(set(frame.sources)) > 1:
        text += f"; files {', '.join(path.name for path in frame.sources)}"
    if reduction > 1:
        text += f"; picture reduced: each of its pixels is the mean of {reduction} x {reduction} of the frame"
    return text


def columns_of(catalog) -> list[dict[str, object]]:
    """Each column with its values in the digits of the CSV, null where unknown."""
    return [
        {
            "name": name,
            "unit": str(catalog[name].unit or ""),
            "meaning": catalog[name].description or "",
            "text": catalog[name].dtype.kind in "US",
            "decimals": DECIMALS.get(name),
            "values": json_values(catalog[name]),
        }
        for name in catalog.colnames
    ]


def reduced_rgb(frame: Frame, background: dict[str, Background], stretch: Stretch, reduction: int) -> np.ndarray:
    """(h, w, 3) uint8, the first row at the top: means of ``reduction`` squared pixels, in strips, for large frames' sake.

    The last row and column are of fewer pixels where ``reduction`` does not divide a side. FITS frames begin at the bottom.
    """
    height = frame.shape[0]
    step = STRIP * reduction
    strips = [section_rgb(frame, background, stretch, slice(top, min(top + step, height))) for top in range(0, height, step)]
    rgb = np.concatenate([block_means(strip, reduction) for strip in strips])
    return rgb if frame.stretched else rgb[::-1]


def block_means(rgb: np.ndarray, n: int) -> np.ndarray:
    """(3, H, W) in [0, 1] to (ceil(H / n), ceil(W / n), 3) uint8."""
    _, height, width = rgb.shape
    if n > 1:
        padded = np.pad(rgb, ((0, 0), (0, -height % n), (0, -width % n)), mode="edge")
        rgb = padded.reshape(3, padded.shape[1] // n, n, padded.shape[2] // n, n).mean(axis=(2, 4))
    return (np.clip(rgb, 0, 1).transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)


def png_address(rgb: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def sky_grid(frame: Frame) -> dict[str, object] | None:
    """Directions on the sky at the nodes of a grid from edge to edge, fine enough to be interpolated to 0.01 arcsec.

    Directions, not angles: they have no seam at RA 0 and no pole.

    Returns:
        ``cells`` along each side, and ``vectors``, x, y and z of each node, of any length, row by row, null where the WCS does
        not reach; None without a WCS.
    """
    if frame.wcs is None:
        return None
    cells = FEWEST_CELLS
    vectors = directions(frame, cells)
    while cells < MOST_CELLS:
        finer = directions(frame, 2 * cells)
        if grid_error(vectors, finer) < GRID_ERROR:
            break
        cells, vectors = 2 * cells, finer
    return {"cells": cells, "vectors": [round(v, 11) if np.isfinite(v) else None for v in vectors.ravel().tolist()]}


def directions(frame: Frame, cells: int) -> np.ndarray:
    """(cells + 1, cells + 1, 3) vectors, ICRS, at the nodes; NaN where the WCS does not reach.

    They end on the plane that touches the sphere at the reference pixel, where a TAN projection is linear, unless the frame
    reaches far from it: then they have length 1.
    """
    height, width = frame.shape
    x, y = np.meshgrid(*(np.linspace(-0.5, n - 0.5, cells + 1) for n in (width, height)))
    reference = np.asarray(frame.wcs.celestial.wcs.crpix)[:, None] - 1
    vectors, axis = unit_vectors(frame, x.ravel(), y.ravel()), unit_vectors(frame, *reference)[0]
    along = vectors @ axis
    if (along > 0.1).all():
        vectors /= along[:, None]
    return vectors.reshape(cells + 1, cells + 1, 3)


def unit_vectors(frame: Frame, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, 3)"""
    from .measure import to_sky

    ra, dec = np.radians(to_sky(frame, x, y))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def grid_error(coarse: np.ndarray, finer: np.ndarray) -> float:
    """Radians that the coarse grid is off at the middles of its cells and of their sides; 0 where nothing is known."""
    along_y = (coarse[:-1] + coarse[1:]) / 2
    along_x = (coarse[:, :-1] + coarse[:, 1:]) / 2
    middle = (along_y[:, :-1] + along_y[:, 1:]) / 2
    pairs = ((along_y, finer[1::2, ::2]), (along_x, finer[::2, 1::2]), (middle, finer[1::2, 1::2]))
    off = [np.linalg.norm(np.cross(found, true), axis=-1) / np.linalg.norm(true, axis=-1) ** 2 for found, true in pairs]
    return float(np.nan_to_num(np.concatenate([one.ravel() for one in off])).max())
