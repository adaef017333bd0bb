"""Catalogs of any program, read as astropy tables."""

from __future__ import annotations

import csv
import warnings
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from astropy.table import Column, MaskedColumn, Table, vstack

from .columns import COLUMNS, FIELD, column_called
from .errors import InputError, reason_of
from .files import BROKEN_FILE, check_file

TABLES = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".vot": "votable", ".xml": "votable", ".parquet": "parquet"}
TEXT = tuple(column.name for column in (*COLUMNS, FIELD) if column.dtype.startswith("U"))


def read_table(path: Path) -> Table:
    """A catalog of a format that ``kind_of`` knows.

    Raises:
        InputError: for other formats, and files that cannot be read.
    """
    with readable(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".*truncated")
        kind = kind_of(path)
        return {"parquet": read_parquet, "ascii.csv": read_csv, "fits": read_fits}.get(kind, partial(Table.read, format=kind))(path)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Whatever goes wrong within is an InputError that names the catalog."""
    check_file(path)
    try:
        yield
    except InputError:
        raise
    except (*BROKEN_FILE, Warning) as error:
        raise InputError(f"{path}: not a readable catalog ({reason_of(error)}); make it again") from error


def kind_of(path: Path) -> str:
    """By its ending; of others, as SExtractor's test.cat, by how it begins: as FITS, or with a comment for each column (ASCII_HEAD)."""
    if kind := TABLES.get(path.suffix.lower(), "fits" if ".fit" in path.name.lower() else None):
        return kind
    with path.open("rb") as file:
        start = file.read(30)
    if start.startswith(b"SIMPLE"):
        return "fits"
    if start.lstrip().startswith(b"#"):
        return "ascii.sextractor"
    raise InputError(
        f"{path}: not a known kind of catalog; it may be CSV, ECSV, FITS, VOTable or Parquet, by its ending, or SExtractor's ASCII_HEAD"
    )


def read_csv(path: Path) -> Table:
    """Our columns of words hold words, also where all look like numbers: field 00123 is not 123."""
    table = Table.read(path, format="ascii.csv", **marked(path))
    lost = [name for name in TEXT if name in table.colnames and table[name].dtype.kind in "iuf" and not is_empty(table[name])]
    for name, words in words_of(path, lost).items() if lost else ():
        table[name] = MaskedColumn(words, mask=[not word for word in words]) if "" in words else Column(words)
    return table


def words_of(path: Path, names: list[str]) -> dict[str, list[str]]:
    """Columns of a CSV file as they are written."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = [name.strip() for name in next(rows)]
        places = [header.index(name) for name in names]
        cells = [tuple(row[place].strip() for place in places) for row in rows if row]
    return dict(zip(names, map(list, zip(*cells))))


def marked(path: Path) -> dict[str, str]:
    """What astropy must be told of a CSV file that starts with the mark of UTF-8, as spreadsheets write it; no other is read as fast."""
    with path.open("rb") as file:
        return {"encoding": "utf-8-sig"} if file.read(len(BOM_UTF8)) == BOM_UTF8 else {}


def read_fits(path: Path) -> Table:
    """The first table; of SExtractor's FITS_LDAC the sources, which come after the image's header, of all extensions of the image."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        sources = [number for number, hdu in enumerate(hdus) if hdu.name == "LDAC_OBJECTS"]
    if len(sources) < 2:
        return Table.read(path, format="fits", hdu=sources[0] if sources else None)
    return vstack([Table.read(path, format="fits", hdu=number) for number in sources], metadata_conflicts="silent")


def is_empty(column: Column) -> bool:
    """Whether no row has a value."""
    return bool(np.ma.getmaskarray(np.ma.asarray(column)).all())


def read_parquet(path: Path) -> Table:
    """Masked where null, with the units that our writer puts beside the columns. (astropy's own reader needs pandas.)"""
    try:
        from pyarrow import parquet, types
    except ImportError as error:
        raise InputError(f"{path}: Parquet needs pyarrow: pip install 'astroyolo[parquet]'") from error
    table = Table()
    for name, column in zip((whole := parquet.read_table(path)).column_names, whole.columns):
        null = column.is_null().to_numpy()
        filled = column.to_pylist()
        text = types.is_string(column.type) or types.is_large_string(column.type)
        stand_in = next((value for value in filled if value is not None), "" if text else 0)
        values = [stand_in if value is None else value for value in filled]
        table[name] = np.ma.MaskedArray(values, mask=null, dtype=str if text else None)
        details = whole.schema.field(name).metadata or {}
        table[name].unit = details.get(b"unit", b"").decode("utf-8", "replace") or None
    return table


def in_own_types(table: Table) -> None:
    """Give our columns the types that they have when detect makes them, which text formats and empty columns lose.

    Of other columns words that are objects, as some VOTables hold them, become text.
    """
    for name in table.colnames:
        if (column := column_called(name)) is not None:
            table[name] = in_type(table[name], np.dtype(column.dtype))
        elif table[name].dtype.kind == "O" and all(isinstance(value, str) for value in np.ma.getdata(table[name]).tolist()):
            table[name] = table[name].astype(str)


def in_type(column: Column, dtype: np.dtype) -> Column:
    """The column as ``dtype``, its mask kept; as it is where that would not be the same: words as numbers, too large integers.

    Text keeps its own length.
    """
    if is_empty(column):
        return MaskedColumn(np.zeros(column.shape, dtype), mask=True, unit=column.unit, description=column.description, meta=column.meta)
    if dtype.kind == "U":
        return column.astype(str) if column.dtype.kind in "USO" else column
    if column.dtype.kind not in "iuf" or dtype.kind not in "if":
        return column
    with np.errstate(over="ignore", invalid="ignore"):
        made = column.astype(dtype)
        same = column.dtype.kind == "f" == dtype.kind or np.ma.allequal(made.astype(column.dtype), column)
    return made if same else column


def described(table: Table) -> Table:
    """With the unit, meaning and UCD of every column that is one of ours, where the format has lost them."""
    for name in table.colnames:
        if (column := column_called(name)) is not None:
            table[name].meta.setdefault("ucd", column.ucd)
            table[name].description = table[name].description or column.meaning
            if column.unit not in ("", "flux"):
                table[name].unit = table[name].unit or column.unit
    return table


def floats(table: Table, name: str) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(table[name]).astype(np.float64), np.nan)
