"""Some columns of a table in csv, FITS or Parquet, however wide it is."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from ..errors import InputError, reason_of
from ..files import BROKEN_FILE

CSV, FITS, PARQUET = (".csv", ".csv.gz"), (".fits", ".fits.gz", ".fit"), (".parquet", ".pq")
TABLES = (*CSV, *FITS, *PARQUET)
NO_NUMBER = float("nan")


def column_names(path: Path) -> list[str]:
    """Names of a table's columns; none for a FITS file without a table."""
    return read_table(path, None)[0]


def read_columns(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Name -> (n,) text or numbers, as the file has them; text of a csv stays text, so that long ids keep every digit."""
    return read_table(path, names)[1]


def numbers(column: np.ndarray) -> np.ndarray:
    """(n,) float64; NaN where there is no number."""
    if column.dtype.kind in "fiub":
        return column.astype(np.float64)
    return np.array([number(value) for value in column], np.float64)


def number(value: object) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return NO_NUMBER


def read_table(path: Path, names: list[str] | None) -> tuple[list[str], dict[str, np.ndarray]]:
    """All columns' names and the wanted columns; the header alone for ``names`` None."""
    name = path.name.lower()
    reader = read_csv if name.endswith(CSV) else read_fits if name.endswith(FITS) else read_parquet
    try:
        return reader(path, names)
    except (*BROKEN_FILE, csv.Error) as error:
        raise InputError(f"{path}: not a readable table ({reason_of(error)}); fetch it again") from error


def read_csv(path: Path, names: list[str] | None) -> tuple[list[str], dict[str, np.ndarray]]:
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        header = [name.strip() for name in next(lines, [])]
        if names is None:
            return header, {}
        places = [header.index(name) for name in names]
        rows = []
        for row in filter(None, lines):
            if len(row) != len(header):
                raise ValueError(f"line {lines.line_num} has {len(row)} cells, the header {len(header)}")
            rows.append([row[place] for place in places])
    return header, {name: np.array([row[i] for row in rows], str) for i, name in enumerate(names)}


def read_fits(path: Path, names: list[str] | None) -> tuple[list[str], dict[str, np.ndarray]]:
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        table = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)), None)
        if table is None:
            return [], {}
        return table.columns.names, {name: np.asarray(table.data[name]) for name in names or ()}


def read_parquet(path: Path, names: list[str] | None) -> tuple[list[str], dict[str, np.ndarray]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(f"{path}: Parquet needs pyarrow, which is not installed; run pip install pyarrow, or save it as csv") from error
    header = parquet.read_schema(path).names
    table = parquet.read_table(path, columns=names or [])
    return header, {name: np.array([value_of(v) for v in table[name].to_pylist()]) for name in names or ()}


def value_of(value: object) -> object:
    """An empty cell is an empty text, which is no number either."""
    return "" if value is None else value
