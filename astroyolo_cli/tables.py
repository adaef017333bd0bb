"""Catalogs of any program, read as astropy tables."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from astropy.table import Table

from .columns import column_called
from .errors import InputError, reason_of
from .files import BROKEN_FILE, check_file

TABLES = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".vot": "votable", ".xml": "votable", ".parquet": "parquet"}


def read_table(path: Path) -> Table:
    ending = path.suffix.lower()
    kind = TABLES.get(ending, "fits" if ".fit" in path.name.lower() else None)
    if kind is None:
        raise InputError(f"{path}: not a known kind of catalog; it may be CSV, ECSV, FITS, VOTable or Parquet, by its ending")
    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated")
            return read_parquet(path) if kind == "parquet" else Table.read(path, format=kind)
    except InputError:
        raise
    except (*BROKEN_FILE, Warning) as error:
        raise InputError(f"{path}: not a readable catalog ({reason_of(error)}); make it again") from error


def read_parquet(path: Path) -> Table:
    """Masked where null. (astropy's own reader needs pandas.)"""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(f"{path}: Parquet needs pyarrow: pip install 'astroyolo[parquet]'") from error
    table = Table()
    for name, column in zip((whole := parquet.read_table(path)).column_names, whole.columns):
        null = column.is_null().to_numpy()
        filled = column.to_pylist()
        stand_in = next((value for value in filled if value is not None), 0)
        table[name] = np.ma.MaskedArray([stand_in if value is None else value for value in filled], mask=null)
    return table


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
