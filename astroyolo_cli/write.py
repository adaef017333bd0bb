"""Catalogs to files; the ending chooses the format. A file appears whole under its name or not at all."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import OutputError
from .whole import check_place, written_whole

if TYPE_CHECKING:
    from astropy.table import Table

STANDARD_OUTPUT = Path("-")
DECIMALS = {"x": 4, "y": 4, "x_err": 4, "y_err": 4, "ra": 8, "dec": 8, "score": 5, "xmin": 3, "ymin": 3, "xmax": 3, "ymax": 3}
ROWS = 20_000  # that are text at once
SIGNIFICANT = 7  # digits of every other number in text formats
WORDS_MADE = {  # FITS keyword -> word in the provenance
    "PROGVER": "version", "WEIGHTS": "weights", "WGTHASH": "weights_sha256", "STRETCH": "stretch", "ENGINE": "engine", "REGION": "region",
}  # fmt: skip
NUMBERS_MADE = {  # FITS keyword -> number in the provenance
    "TILE": "tile", "OVERLAP": "overlap", "MINSCORE": "min_score", "MAXDET": "max_det", "VIEWS": "views", "ZOOM": "zoom",
    "PRISTAR": "prior_star",
}  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


def writer_for(path: Path) -> Callable[[Table, Path], None]:
    """The function that writes this ending.

    Raises:
        OutputError: for an ending that no writer knows.
    """
    if path.suffix.lower() not in WRITERS:
        raise OutputError(f"{path}: cannot write {path.suffix or 'a name without ending'!r}; known endings are {', '.join(WRITERS)}")
    return WRITERS[path.suffix.lower()]


def check_output(path: Path, overwrite: bool) -> None:
    """Called before the work, so that a mistyped name costs a second and not a night."""
    if path == STANDARD_OUTPUT:
        return
    writer_for(path)
    check_place(path, overwrite)


def write(catalog: Table, path: Path, overwrite: bool = False) -> None:
    """Write a catalog in the format of the ending; under a temporary name, then renamed. ``-`` is CSV on standard output."""
    check_output(path, overwrite)
    if path == STANDARD_OUTPUT:
        csv_lines(catalog, sys.stdout)
        return
    with written_whole(path) as partial:
        writer_for(path)(catalog, partial)


def write_csv(catalog: Table, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv_lines(catalog, file)


def csv_lines(catalog: Table, file) -> None:
    """Plain: a line of names, then the rows; empty where unknown; no comments."""
    import csv

    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(catalog.colnames)
    columns = [catalog[name] for name in catalog.colnames]
    for first in range(0, len(catalog), ROWS):  # cells take twenty times the memory of numbers
        writer.writerows(zip(*(text_cells(column[first : first + ROWS]) for column in columns)))


def only_columns(catalog: Table, names: tuple[str, ...] | None) -> Table:
    """These columns, in this order; all of them for None.

    Raises:
        OutputError: for a column that this catalog does not have.
    """
    if names is None:
        return catalog
    if unknown := [name for name in names if name not in catalog.colnames]:
        raise OutputError(f"--columns: no column {unknown[0]!r} here; there are {', '.join(catalog.colnames)}")
    return catalog[list(names)]


def values_and_mask(column) -> tuple[np.ndarray, np.ndarray]:
    """(n,) values and (n,) bool, where they are unknown."""
    masked = np.ma.asarray(column)
    return np.ma.getdata(masked), np.ma.getmaskarray(masked)


def text_cells(column) -> list[str]:
    values, mask = values_and_mask(column)
    if values.dtype.kind == "f":
        mask = mask | ~np.isfinite(values)
        form = f"%.{DECIMALS[column.name]}f" if column.name in DECIMALS else f"%.{SIGNIFICANT}g"
        cells = ("\n".join([form] * len(values)) % tuple(values.tolist())).split("\n")[: len(values)]  # all at once, many times faster
    elif values.dtype.kind in "US":
        cells = [harmless(str(value)) for value in values.tolist()]
    else:
        cells = [str(value) for value in values.tolist()]
    for row in np.flatnonzero(mask):
        cells[row] = ""
    return cells


def harmless(text: str) -> str:
    """Text that a spreadsheet shows and does not run."""
    return "'" + text if text.startswith(FORMULA) else text


def write_fits(catalog: Table, path: Path) -> None:
    """A binary table with TUNIT, TUCD and TCOMM, flag bits and provenance in its header, and checksums; its names are ASCII."""
    from astropy.io import fits

    catalog = with_ascii_names(catalog)
    hdu = fits.BinTableHDU(rows_of(catalog), name="CATALOG")
    hdu.header.extend([*column_cards(catalog), *header_cards(catalog)])
    for line in history(catalog):
        hdu.header["HISTORY"] = line
    hdus = fits.HDUList([fits.PrimaryHDU(), hdu])
    for one in hdus:
        one.add_checksum(when="of this HDU")  # not the time, as is usual: the same catalog is the same bytes
    hdus.writeto(path, overwrite=True)


def with_ascii_names(catalog: Table) -> Table:
    """The same columns, their names and the reference band's as FITS can hold them; the catalog itself stays as it is."""
    band = str(catalog.meta.get("reference_band", ""))
    if all(name.isascii() for name in (*catalog.colnames, band)):
        return catalog
    new = ascii_names(catalog.colnames)
    plain = catalog.copy(copy_data=False)
    for old in [name for name in catalog.colnames if name != new[name]]:
        plain.rename_column(old, new[old])
    plain.meta["reference_band"] = new.get(f"flux_{band}", f"flux_{spelled(band)}").removeprefix("flux_")
    return plain


def ascii_names(names: list[str]) -> dict[str, str]:
    """Name -> one of ASCII, different from all others, as FITS tells them apart: not by capitals. A name of ASCII stays.

    >>> ascii_names(["flux_Hα", "flux_Halpha", "é"])
    {'flux_Hα': 'flux_Halpha_2', 'flux_Halpha': 'flux_Halpha', 'é': 'e'}
    """
    found, taken = {}, {name.lower() for name in names if name.isascii()}
    for name in names:
        new, number = spelled(name), 1
        while not name.isascii() and new.lower() in taken:
            number += 1
            new = f"{spelled(name)}_{number}"
        taken.add(new.lower())
        found[name] = new
    return found


def spelled(text: str) -> str:
    """A name in ASCII: letters without their accents, Greek ones in words, _ for any other.

    >>> spelled("Hα"), spelled("é"), spelled("光")
    ('Halpha', 'e', '_')
    """
    return "".join(c if c.isascii() else "".join(map(part_spelled, unicodedata.normalize("NFKD", c))) or "_" for c in text)


def part_spelled(letter: str) -> str:
    """Of a letter that is taken apart into its base and accents."""
    if letter.isascii():
        return letter if letter.isalnum() else ""
    greek = re.match(r"GREEK \w+ LETTER (\w+)", unicodedata.name(letter, ""))
    return greek[1].lower() if greek else ""


def rows_of(catalog: Table) -> np.ndarray:
    """(n,) records; unknown numbers are NaN, or 0 where that cannot be, unknown text is nothing. Text is ASCII, as FITS has no other."""
    rows = np.empty(len(catalog), [(name, catalog[name].dtype) for name in catalog.colnames])
    for name in catalog.colnames:
        values, mask = values_and_mask(catalog[name])
        rows[name] = np.char.encode(values, "ascii", "replace") if values.dtype.kind == "U" else values
        if mask.any():
            rows[name][mask] = {"U": "", "f": np.nan}.get(rows.dtype[name].kind, 0)
    return rows


def column_cards(catalog: Table):
    """Unit, UCD and description of each column."""
    for number, name in enumerate(catalog.colnames, start=1):
        column = catalog[name]
        if column.unit is not None:
            yield f"TUNIT{number}", ascii_only(str(column.unit))  # by hand: nmgy is no FITS unit, yet what readers expect
        yield f"TUCD{number}", column.meta.get("ucd", "")
        yield f"TCOMM{number}", ascii_only(" ".join((column.description or "").split()))  # a VOTable's has line breaks


def header_cards(catalog: Table) -> list[tuple]:
    """FITS keywords of what the catalog's meta says, each with its value and comment; a header holds no number that is not finite."""
    return [card for card in all_cards(catalog) if not isinstance(card[1], Real) or np.isfinite(card[1])]


def all_cards(catalog: Table) -> Iterator[tuple]:
    meta, made = catalog.meta, catalog.meta.get("provenance", {})
    yield "ORIGIN0", True, "pixels count from 0 here; FITS, DS9 from 1"
    yield "REFBAND", str(meta.get("reference_band", "")), "band of flux, mag and shapes"
    for key, name, comment in (
        ("APERRAD", "aperture_radius", "[pix] radius of flux_aper"),
        ("FRMFWHM", "frame_fwhm", "[pix] FWHM of the frame's stars"),
        ("STARR50", "star_r50", "[pix] half-light radius of the frame's stars"),
        ("NSTARS", "stars", "stars that gave the aperture losses; 0: a guess"),
    ):
        if name in meta:
            yield key, meta[name], comment
    for number, (band, scale) in enumerate(meta.get("noise_scale", {}).items(), start=1):
        yield f"NOISESC{number}"[:8], scale, f"true over white noise in apertures, {ascii_only(spelled(band))}"
    for bit, meaning in meta.get("flag_bits", {}).items():
        yield f"FLAG{int(bit)}", ascii_only(meaning), ""
    for key, name in WORDS_MADE.items():
        if name in made:
            yield key, ascii_only(str(made[name]))[:68], ""
    for key, name in NUMBERS_MADE.items():
        if name in made:
            yield key, made[name], ""


def history(catalog: Table) -> list[str]:
    made = catalog.meta.get("provenance", {})
    lines = [f"AstroYOLO {made['version']}"] if "version" in made else []
    lines += [f"input {ascii_only(name)}" + f" sha256 {digest}" * bool(digest) for name, digest in made.get("inputs", {}).items()]
    return lines + ([f"bands {ascii_only(spelled(made['bands']))}"] if "bands" in made else [])


def ascii_only(text: str) -> str:
    """What a FITS header may hold."""
    return "".join(c if 32 <= ord(c) < 127 else "?" for c in text)


def write_ecsv(catalog: Table, path: Path) -> None:
    catalog.write(path, format="ascii.ecsv", overwrite=True)


def write_votable(catalog: Table, path: Path) -> None:
    """With UCDs and descriptions, the system of ra and dec, and what the header of a FITS catalog says as INFO."""
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import CooSys, Info

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flat = catalog.copy()
        flat.meta.clear()
        document = from_table(flat)
        for field in document.get_first_table().fields:
            field.ucd = catalog[field.name].meta.get("ucd") or None
            if field.name in ("ra", "dec"):
                field.ref = "icrs"
        document.coordinate_systems.append(CooSys(ID="icrs", system="ICRS"))  # beside INFO, old astropy writes it too late
        document.resources[0].infos.extend(Info(name=name, value=value) for name, value in informed(catalog))
        document.to_xml(str(path))


def informed(catalog: Table):
    """Names and texts of what the catalog's meta says."""
    for key, value, comment in header_cards(catalog):
        yield key, f"{value} ({comment})" if comment else str(value)
    for number, line in enumerate(history(catalog), start=1):
        yield f"HISTORY{number}", line  # names become IDs, of which there may be one each


def write_regions(catalog: Table, path: Path) -> None:
    """DS9 boxes, orange stars and light blue galaxies, which show on a dark sky; DS9 counts pixels from 1.

    Raises:
        OutputError: for a catalog that lacks boxes or classes, in all rows or in some.
    """
    for name in ("xmin", "ymin", "xmax", "ymax", "class"):
        if name not in catalog.colnames or values_and_mask(catalog[name])[1].any():
            raise OutputError(f"regions need xmin, ymin, xmax, ymax and class in every row, {name!r} is lacking; choose another ending")
    lines = ["# Region file format: DS9 version 4.1", "image"]
    for row in catalog:
        x, y = (row["xmin"] + row["xmax"]) / 2 + 1, (row["ymin"] + row["ymax"]) / 2 + 1
        width, height = row["xmax"] - row["xmin"], row["ymax"] - row["ymin"]
        colour = "orange" if row["class"] == "star" else "dodgerblue"
        lines.append(f"box({x:.3f},{y:.3f},{width:.3f},{height:.3f},0) # color={colour} tag={{{row['class']}}}")
    path.write_text("\n".join(lines) + "\n")


def write_parquet(catalog: Table, path: Path) -> None:
    """Apache Parquet; unit, UCD and description in each column's metadata, the catalog's meta in the table's."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise OutputError(f"{path.suffix} needs pyarrow: pip install 'astroyolo[parquet]'") from error
    columns = (values_and_mask(catalog[name]) for name in catalog.colnames)
    arrays = [pyarrow.array(native(values), mask=mask) for values, mask in columns]
    described = [pyarrow.field(name, array.type, metadata=details_of(catalog[name])) for name, array in zip(catalog.colnames, arrays)]
    about = {"astroyolo": json.dumps(dict(catalog.meta), default=str)}
    parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(described, metadata=about)), path)


def native(values: np.ndarray) -> np.ndarray:
    """In this machine's byte order, which FITS files' is not."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def details_of(column) -> dict[str, str]:
    return {"unit": str(column.unit or ""), "ucd": column.meta.get("ucd", ""), "description": column.description or ""}


def write_jsonl(catalog: Table, path: Path) -> None:
    """A JSON object a row (JSON lines), numbers with the digits of the CSV; null where unknown."""
    columns = [json_values(catalog[name]) for name in catalog.colnames]
    with path.open("w", encoding="utf-8") as file:
        for row in zip(*columns):
            file.write(json.dumps(dict(zip(catalog.colnames, row)), ensure_ascii=False, allow_nan=False) + "\n")


def json_values(column) -> list:
    values, mask = values_and_mask(column)
    if values.dtype.kind == "f":
        return [float(cell) if cell else None for cell in text_cells(column)]
    return [None if unknown else value for value, unknown in zip(values.tolist(), mask)]


WRITERS = {
    ".csv": write_csv,
    ".jsonl": write_jsonl,
    ".parquet": write_parquet,
    ".fits": write_fits,
    ".fit": write_fits,
    ".ecsv": write_ecsv,
    ".vot": write_votable,
    ".xml": write_votable,
    ".reg": write_regions,
}
