"""Catalogs of any tool as plain arrays: ours, SExtractor's and Astro R-CNN's."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from ..errors import InputError
from ..tables import kind_of, read_table, readable

EDGES = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = ("xy", "boxes", "score", "p_galaxy", "snr", "mag")  # of Found, a row a source


@dataclass(frozen=True)
class Found:
    """What one tool found in one field.

    Attributes:
        xy: (n, 2) float64, pixels, the centre of the first pixel at 0.
        boxes: (n, 4) float64 edges; NaN where the tool gives none.
        score: (n,) the surer the higher; a probability where ``probable``, else a rank alone.
        p_galaxy: (n,) in [0, 1]; NaN where the tool does not say.
        snr, mag: (n,) as measured by the tool; NaN where it does not say.
        probable: whether ``score`` is a probability, to which a threshold applies.
    """

    xy: np.ndarray
    boxes: np.ndarray
    score: np.ndarray
    p_galaxy: np.ndarray
    snr: np.ndarray
    mag: np.ndarray
    probable: bool = True

    def __len__(self) -> int:
        return len(self.xy)

    def take(self, rows: np.ndarray) -> Found:
        return Found(*(getattr(self, name)[rows] for name in COLUMNS), self.probable)

    @classmethod
    def joined(cls, parts: list[Found]) -> Found:
        """All rows of several; what is a rank in one of them is one in all."""
        columns = (np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS)
        return cls(*columns, all(part.probable for part in parts))


def by_field(given: str, fields: list[str]) -> tuple[str, dict[str, Found]]:
    """What ``--catalog`` names: the tool's name, and field -> its catalog.

    Args:
        given: ``NAME=PATTERN`` or ``PATTERN``, of one file a field, or of files with a ``field`` column, whose rows are joined.
        fields: the names of the true fields.

    Raises:
        InputError: for files that cannot be read or told to belong to a field, and for fields without a catalog.
    """
    name, pattern = split_name(given)
    files = files_of(pattern)
    parts = {field: [] for field in fields}
    for path in files:
        add_file(parts, path, is_alone=len(files) == 1)
    if missing := [field for field in fields if not parts[field]]:
        raise InputError(f"{pattern}: no catalog for {missing[0]} ({len(missing)} of {len(fields)} fields); every field needs one")
    return name or files[0].stem, {field: Found.joined(found) for field, found in parts.items()}


def named_tools(given: tuple[str, ...], fields: list[str], taken: list[str]) -> dict[str, dict[str, Found]]:
    """Name -> field -> catalog, of all that ``--catalog`` names.

    Raises:
        InputError: as ``by_field``, and where a name is given twice or ``taken``.
    """
    tools = {}
    for option in given:
        name, catalogs = by_field(option, fields)
        if name in tools or name in taken:
            raise InputError(f"--catalog {option}: {name!r} is the name of other catalogs or of the weights; write NAME=FILES, a new name")
        tools[name] = catalogs
    return tools


def split_name(given: str) -> tuple[str, str]:
    name, equals, pattern = given.partition("=")
    return (name, pattern) if equals and "/" not in name else ("", given)


def files_of(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    else:
        files = [path] if path.exists() else [Path(p) for p in sorted(glob.glob(pattern, recursive=True))]
    if not files:
        raise InputError(f"{pattern}: no such catalog; check the path, or quote a pattern so that the shell leaves it alone")
    return files


def add_file(parts: dict[str, list[Found]], path: Path, is_alone: bool) -> None:
    """Add what one file holds to the field's parts; of fields that are not asked for nothing."""
    table = read_catalog(path)
    if isinstance(table, Table) and "field" in table.colnames:
        names = np.char.strip(np.asarray(table["field"], str))
        for field, found in parts.items():
            found.append(plain_found(table[names == field], path))
    elif field := field_of(path, list(parts), is_alone):
        if parts[field]:
            raise InputError(f"{path}: another catalog for {field}, which must have one; name fewer files, or add a column named field")
        parts[field].append(plain_found(table, path))


def plain_found(table: Table | Found, path: Path) -> Found:
    """Raises InputError where numbers are none."""
    try:
        return table if isinstance(table, Found) else found_of_table(table, path)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: not numbers where they should be ({error}); correct the catalog") from error


def field_of(path: Path, fields: list[str], is_alone: bool) -> str | None:
    """The field that a path is about: set_7.csv, set_7/any.cat and Astro R-CNN's output_7.fits are about set_7.

    A file that is alone is about the only field, unless their names say otherwise.
    """
    numbers = re.findall(r"(?:set|output)_(\d+)(?!\d)", str(path))
    named = f"set_{numbers[-1]}" if numbers else None
    if named in fields:
        return named
    if is_alone and len(fields) == 1 and not (named and fields[0].startswith("set_")):
        return fields[0]
    if named is None:
        raise InputError(f"{path}: its name does not say of which field it is; call it set_N with its ending, or add a column named field")
    return None


def read_catalog(path: Path) -> Table | Found:
    """A table, or Astro R-CNN's sources, which are no table."""
    found = rcnn_sources(path)
    return read_table(path) if found is None else found


def rcnn_sources(path: Path) -> Found | None:
    """What Astro R-CNN found; None if the file is none of its catalogs."""
    with readable(path):
        if kind_of(path) != "fits":
            return None
        with fits.open(path, memmap=False) as hdus:
            return found_of_rcnn(hdus, path) if any("CLASS_ID" in hdu.header for hdu in hdus) else None


def found_of_rcnn(hdus, path: Path) -> Found:
    """One HDU a source: CLASS_ID 1 star, 2 galaxy; SCORE; BBOX y1, x1, y2, x2, the last row and column not included."""
    headers = [hdu.header for hdu in hdus if "CLASS_ID" in hdu.header]
    boxes = []
    for header in headers:
        edges = [float(word) for word in re.findall(r"-?\d+(?:\.\d+)?", str(header.get("BBOX")))]
        if len(edges) != 4:
            raise InputError(f"{path}: BBOX {header.get('BBOX')!r}, must be four numbers y1, x1, y2, x2; make the file again")
        boxes.append([edges[1] - 0.5, edges[0] - 0.5, edges[3] - 0.5, edges[2] - 0.5])
    boxes = np.array(boxes).reshape(-1, 4)
    p_galaxy = np.array([float(header["CLASS_ID"] == 2) for header in headers])
    score = np.array([float(header.get("SCORE", 1)) for header in headers])
    unknown = np.full(len(headers), np.nan)
    return Found((boxes[:, :2] + boxes[:, 2:]) / 2, boxes, score, p_galaxy, unknown, unknown)


def found_of_table(table: Table, path: Path) -> Found:
    names = {name.upper(): name for name in table.colnames}
    if "X_IMAGE" in names or "XWIN_IMAGE" in names:
        return found_of_sextractor(table, names)
    if missing := [name for name in ("x", "y") if name not in table.colnames]:
        raise InputError(f"{path}: no column {missing[0]!r}; it needs x and y (pixels from 0), or SExtractor's X_IMAGE and Y_IMAGE")
    boxes = np.stack([column(table, name) for name in EDGES], 1).reshape(-1, 4)
    return Found(
        positions(table, "x", "y"), boxes, column(table, "score", 1.0), p_galaxy_of(table), column(table, "snr"), column(table, "mag")
    )


def p_galaxy_of(table: Table) -> np.ndarray:
    """The probability where there is one, else the class."""
    if "p_galaxy" in table.colnames or "class" not in table.colnames:
        return column(table, "p_galaxy")
    words = np.char.lower(np.char.strip(np.asarray(table["class"], str)))
    return np.select([words == "galaxy", words == "star"], [1.0, 0.0], np.nan)


def found_of_sextractor(table: Table, names: dict[str, str]) -> Found:
    """Pixels from 1 become pixels from 0; FLUX_AUTO over its error is the S/N and ranks the sources."""
    window = "XWIN_IMAGE" in names and "YWIN_IMAGE" in names
    xy = positions(table, *(names[c] for c in (("XWIN_IMAGE", "YWIN_IMAGE") if window else ("X_IMAGE", "Y_IMAGE")))) - 1
    edges = [column(table, names.get(f"{edge.upper()}_IMAGE")) - 1 for edge in EDGES]
    boxes = np.stack(edges, 1).reshape(-1, 4) + [-0.5, -0.5, 0.5, 0.5]
    kind = next((k for k in ("AUTO", "ISO", "APER") if f"FLUX_{k}" in names and f"FLUXERR_{k}" in names), "AUTO")
    flux, error = column(table, names.get(f"FLUX_{kind}")), column(table, names.get(f"FLUXERR_{kind}"))
    snr = np.divide(flux, error, out=np.full(len(flux), np.nan), where=error > 0)
    mag = column(table, names.get("MAG_AUTO"))
    rank = np.nan_to_num(snr, nan=0.0, posinf=0.0, neginf=0.0)
    return Found(xy, boxes, rank, 1 - column(table, names.get("CLASS_STAR")), snr, np.where(mag < 90, mag, np.nan), probable=False)


def positions(table: Table, x: str, y: str) -> np.ndarray:
    return np.stack([column(table, x), column(table, y)], 1).reshape(-1, 2)


def column(table: Table, name: str | None, default: float = np.nan) -> np.ndarray:
    """(n,) float64; ``default`` where there is no such column or value; of several apertures the first."""
    if name is None or name not in table.colnames:
        return np.full(len(table), default)
    values = np.ma.filled(np.ma.asarray(table[name]).astype(np.float64), default)
    return values[:, 0] if values.ndim == 2 else values
