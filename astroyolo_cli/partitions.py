"""A merged catalog as a folder of Parquet files by place on the sky, which hats-import, Dask, pandas and DuckDB read as one table."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.table import Table

from .errors import AstroYOLOWarning, OutputError
from .tables import floats
from .whole import folder_written_whole
from .write import write

CELL = 10.0  # degrees of declination, and about as many along right ascension
MOST_ROWS = 1_000_000  # of a file
OURS = r"dec[+-]\d\d_ra\d\d\d_\d{3}\.parquet"


def check_folder(folder: Path, overwrite: bool) -> None:
    """Before the work: can the folder be made, and is what would be replaced ours?"""
    if not folder.absolute().parent.is_dir():
        raise OutputError(f"{folder}: its parent folder does not exist; make it first")
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise OutputError(f"{folder}: is a file; end a file's name in .parquet, or name another folder")
    if not overwrite:
        raise OutputError(f"{folder}: exists; add --overwrite to replace it")
    if others := [path.name for path in folder.iterdir() if not re.fullmatch(OURS, path.name)]:
        raise OutputError(f"{folder}: holds {min(others)!r}, which is none of merge's files; name another folder")


def write_partitions(table: Table, folder: Path, overwrite: bool) -> int:
    """Write the rows that have a place on the sky; the folder appears when all is written. Returns the number of files.

    Raises:
        OutputError: if the folder cannot be written, or pyarrow is missing.
    """
    check_folder(folder, overwrite)
    number = 0
    with folder_written_whole(folder) as partial:
        for name, rows in partitions(floats(table, "ra"), floats(table, "dec")):
            write(table[rows], partial / name)
            number += 1
    return number


def partitions(ra: np.ndarray, dec: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """File name and rows of each cell of the sky that has any, from south to north.

    Args:
        ra, dec: (n,) degrees; rows where one is NaN are in no cell, and a warning says how many.
    """
    known = np.isfinite(ra) & np.isfinite(dec)
    if not known.all():
        message = f"{(~known).sum()} rows without a place on the sky are in none of the files; merge into one file keeps them"
        warnings.warn(message, AstroYOLOWarning, stacklevel=2)
    zone = np.clip(np.floor(np.nan_to_num(dec) / CELL), -9, 8).astype(int)
    count = np.maximum(np.round(360 / CELL * np.cos(np.radians((zone + 0.5) * CELL))), 1)
    width = 360 / count
    cell = np.floor(np.nan_to_num(ra) % 360 / width).astype(int)
    for south, west in sorted(set(zip(zone[known].tolist(), cell[known].tolist()))):
        rows = np.flatnonzero(known & (zone == south) & (cell == west))
        start = int(west * width[rows[0]])
        for part, some in enumerate(np.array_split(rows, -(-len(rows) // MOST_ROWS))):
            yield f"dec{south * CELL:+03.0f}_ra{start:03d}_{part:03d}.parquet", some
