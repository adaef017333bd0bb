"""Catalogs of overlapping frames as one, each source of the sky with one primary row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.table import Column as TableColumn
from astropy.table import Table, TableMergeError, vstack

from .columns import EDGE, SEAM, meta_of_columns
from .errors import InputError, reason_of
from .inputs import FieldInput, with_short_names
from .joining import clear_units, differing_units, with_rows
from .tables import described, floats, in_own_types, read_table

NEEDED = ("ra", "dec", "score", "flags")


def merge(paths: list[Path], radius: float, columns: tuple[str, ...] | None = None) -> Table:
    """All rows of all catalogs, file by file in the order of their paths, with ``field`` and ``is_primary``, numbered anew.

    Rows of different fields within ``radius`` of each other are one source: of these that one is primary which touches no edge or
    seam, and of such the surest. Of each other field only the nearest row is the same source. Rows without a place on the sky are
    primary.

    Args:
        radius: arcsec.
        columns: that will be written, whose units must agree; default all.

    Raises:
        InputError: for a catalog that cannot be read or lacks ra, dec, score or flags, for one that is named twice, and for a
            column that holds words in one and numbers in another, or is in one unit here and in another there.
    """
    whole = joined({str(path): with_field(path, name) for path, name in names_of(sorted(paths))}, columns)
    primary = primaries(floats(whole, "ra"), floats(whole, "dec"), np.asarray(whole["field"], str), rank_of(whole), radius)
    whole["id"] = np.arange(1, len(whole) + 1, dtype=np.int32)
    whole["is_primary"] = primary
    return described(whole)


def joined(tables: dict[str, Table], columns: tuple[str, ...] | None = None) -> Table:
    """All rows; of tables without rows no columns, as a CSV does not say of which type they are.

    Args:
        tables: by the names of their files.
        columns: whose units must agree; default all.
    """
    differing = differing_units(tables, columns)
    check_units(differing)
    try:
        whole = vstack(list(with_rows(tables).values()), metadata_conflicts="silent")
    except TableMergeError as error:
        raise InputError(f"the catalogs do not fit together: {reason_of(error)}; give that column one type in all of them") from error
    clear_units(whole, differing, "merge catalogs of a format that carries units, such as FITS or ECSV")
    whole.meta |= meta_of_columns()
    return whole


def check_units(differing: dict[str, dict[str, str]]) -> None:
    """Numbers of two units in one column are worth nothing.

    Raises:
        InputError: naming two files and their units. A file that states none is no reason.
    """
    stated = {name: [(unit, path) for unit, path in units.items() if unit] for name, units in differing.items()}
    mixed = {name: units for name, units in stated.items() if len(units) > 1}
    if mixed:
        name, ((one, first), (other, second), *_) = next(iter(mixed.items()))
        raise InputError(
            f"{second}: column {name!r} is in {other}, in {first} it is in {one}, and a column has one unit; "
            f"merge catalogs of one unit, or choose --columns without {', '.join(mixed)}"
        )


def names_of(paths: list[Path]) -> list[tuple[Path, str]]:
    """Each with the shortest part of its path that tells it from the others."""
    named = [FieldInput((path,), None, path.name.split(".fits")[0] if ".fits" in path.name else path.stem) for path in paths]
    return [(one.paths[0], one.name) for one in with_short_names(named)]


def with_field(path: Path, name: str) -> Table:
    """A catalog whose rows say of which field they are: by their own column, else by that name."""
    table = read_table(path)
    if missing := [name for name in NEEDED if name not in table.colnames]:
        raise InputError(f"{path}: no column {missing[0]!r}; merge needs {', '.join(NEEDED)}, as detect writes them")
    try:
        with np.errstate(invalid="ignore"):  # what stands in for the unknown may not fit
            for column in NEEDED:
                table[column] = np.ma.asarray(table[column]).astype(np.int64 if column == "flags" else np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: column {column!r} must hold numbers ({reason_of(error)}); make the catalog again") from error
    table["id"], table["is_primary"] = np.zeros(len(table), np.int32), np.zeros(len(table), bool)  # merge makes both anew
    in_own_types(table)
    if "field" not in table.colnames:
        table.add_column(TableColumn([name] * len(table), name="field", dtype=f"U{max(len(name), 1)}"), index=1)
    table.meta.clear()
    return table


def rank_of(table: Table) -> np.ndarray:
    """(n,) rows from the best: whole ones first, then by score."""
    cut = (np.ma.filled(np.ma.asarray(table["flags"]), 0).astype(int) & (EDGE | SEAM)) > 0
    order = np.lexsort((np.arange(len(table)), -floats(table, "score"), cut))
    return order


def primaries(ra: np.ndarray, dec: np.ndarray, field: np.ndarray, order: np.ndarray, radius: float) -> np.ndarray:
    """(n,) bool.

    Args:
        ra, dec: degrees.
        order: rows from the best: the best of those that are the same source is its primary.
        radius: arcsec.
    """
    from scipy.spatial import cKDTree

    primary, settled = np.ones(len(ra), bool), np.zeros(len(ra), bool)
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    places = unit_vectors(ra[known], dec[known])
    chord = 2 * np.sin(np.radians(radius / 3600) / 2)
    near = dict(zip(known.tolist(), cKDTree(places).query_ball_point(places, chord))) if len(known) else {}
    place_of = dict(zip(known.tolist(), places))
    for row in order.tolist():
        if settled[row] or row not in near:
            continue
        settled[row] = True
        others = known[near[row]]
        others = others[~settled[others] & (field[others] != field[row])]
        for other in nearest_of_each_field(others, field, np.array([np.linalg.norm(place_of[o] - place_of[row]) for o in others.tolist()])):
            primary[other], settled[other] = False, True
    return primary


def nearest_of_each_field(rows: np.ndarray, field: np.ndarray, distance: np.ndarray) -> list[int]:
    by_field: dict[str, int] = {}
    for row in rows[np.argsort(distance, kind="stable")].tolist():
        by_field.setdefault(field[row], row)
    return list(by_field.values())


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """(n, 3) of degrees."""
    a, d = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], 1)
