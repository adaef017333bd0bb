"""Catalogs of overlapping frames as one, each source of the sky with one primary row."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
from astropy.table import Column as TableColumn
from astropy.table import Table, TableMergeError, vstack

from .columns import EDGE, SEAM, meta_of_columns
from .errors import InputError, reason_of
from .inputs import FieldInput, with_short_names
from .joining import clear_units, differing_units, with_rows
from .partitions import OURS
from .tables import described, floats, in_own_types, read_table

NEEDED = ("ra", "dec", "score", "flags")


def merge(paths: list[Path], radius: float, columns: tuple[str, ...] | None = None) -> Table:
    """All rows of all catalogs, file by file in the order of their paths, with ``field`` and ``is_primary``, numbered anew.

    Rows of different fields within ``radius`` of each other are one source: of these that one is primary which touches no edge or
    seam, and of such the surest. Of each other field only the nearest row is the same source. Rows without a place on the sky are
    primary. A field is of one file: where files share its name, the file's own goes before it.

    Args:
        radius: arcsec.
        columns: that will be written, whose units must agree; default all.

    Raises:
        InputError: for a catalog that cannot be read or lacks ra, dec, score or flags, for one that is named twice, and for a
            column that holds words in one and numbers in another, or is in one unit here and in another there.
    """
    named = names_of(sorted(paths))
    tables = [with_field(path, name) for path, name in named]
    tell_fields_apart(tables, [of_parts(path, name) for path, name in named])
    whole = joined({str(path): table for (path, _), table in zip(named, tables)}, columns)
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
    try:
        in_own_types(table)
    except ValueError as error:
        raise InputError(f"{path}: text that cannot be read ({reason_of(error)}); write it as ASCII or UTF-8") from error
    if "field" not in table.colnames:
        table.add_column(TableColumn([name] * len(table), name="field", dtype=f"U{max(len(name), 1)}"), index=1)
    elif table["field"].dtype.kind != "U":
        table["field"] = table["field"].astype(str)  # frames that are numbered
    table.meta.clear()
    return table


def of_parts(path: Path, name: str) -> str:
    """The short name of a catalog; that of its folder and the one above, if merge has cut it into parts by place on the sky."""
    return "_".join(path.absolute().parent.parts[-2:]) if re.fullmatch(OURS, path.name) else name


def tell_fields_apart(tables: list[Table], files: list[str]) -> None:
    """Rename fields that several of the catalogs have: a frame's rows are in one of them, so that these are several frames.

    Args:
        files: the catalogs' short names, the same for the parts of one.
    """
    found = [np.unique(np.ma.filled(np.ma.asarray(table["field"]).astype(str), ""), return_inverse=True) for table in tables]
    fields_of = {file: {} for file in files}
    for file, (fields, _) in zip(files, found):
        fields_of[file] |= dict.fromkeys(fields.tolist())
    names = own_names({file: list(fields) for file, fields in fields_of.items()})
    for table, file, (fields, which) in zip(tables, files, found):
        new = [names[file, field] for field in fields.tolist()]
        if new != fields.tolist():
            table["field"] = np.array(new)[which]


def own_names(fields: dict[str, list[str]]) -> dict[tuple[str, str], str]:
    """File and field -> a name that no other has: the field's own or, where files share that, with the file's before it.

    >>> own_names({"n1": ["a", "b"], "n2": ["a"]})
    {('n1', 'a'): 'n1_a', ('n1', 'b'): 'b', ('n2', 'a'): 'n2_a'}
    """
    files_with = Counter(field for names in fields.values() for field in names)
    found, taken = {}, set(files_with)
    for file, field in [(file, field) for file, names in fields.items() for field in names]:
        new = field
        while files_with[field] > 1 and new in taken:
            new = f"{file}_{new}" if new else file
        taken.add(new)
        found[file, field] = new
    return found


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
