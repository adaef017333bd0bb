"""Catalogs of several fields as one table: what its header may still say, and columns whose units differ."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .columns import column_called
from .errors import AstroYOLOWarning

if TYPE_CHECKING:
    from astropy.table import Table

OF_ONE_FRAME = ("aperture_radius", "frame_fwhm", "star_r50", "stars", "noise_scale")  # in a catalog's meta


def differing_units(tables: dict[str, Table], names: Iterable[str] | None = None) -> dict[str, dict[str, str]]:
    """Of each column with several units, fluxes and such as are not ours: unit -> name of the first table that has it in it.

    A table without rows has no say; "" is no unit.

    Args:
        names: columns to look at; default all.
    """
    found: dict[str, dict[str, str]] = {}
    for table_name, table in tables.items():
        for name in table.colnames if len(table) else ():
            if has_open_unit(name) and (names is None or name in names):
                found.setdefault(name, {}).setdefault(str(table[name].unit or ""), table_name)
    return {name: units for name, units in found.items() if len(units) > 1}


def with_rows(tables: dict[str, Table]) -> dict[str, Table]:
    """Those that have any; all of them if none has."""
    return {name: table for name, table in tables.items() if len(table)} or tables


def has_open_unit(name: str) -> bool:
    """Whether a column's unit is the image's or its owner's, and not settled in columns.py."""
    column = column_called(name)
    return column is None or column.unit == "flux"


def clear_units(table: Table, differing: dict[str, dict[str, str]], remedy: str) -> None:
    """Numbers in several units have none: better no unit than a wrong one. Says so in one warning."""
    if not differing:
        return
    for name in differing:
        table[name].unit = None
    units = ", ".join(f"{unit or 'no unit'} ({table_name})" for unit, table_name in next(iter(differing.values())).items())
    warnings.warn(f"{', '.join(differing)}: in {units}, so that the unit is left empty; {remedy}", AstroYOLOWarning, stacklevel=2)


def common_meta(metas: list[dict]) -> dict:
    """What the catalogs of several fields say alike, and the inputs of all of them."""
    if len(metas) == 1:
        return metas[0]
    shared = {name: value for name, value in alike(metas).items() if name not in OF_ONE_FRAME}
    made = [meta.get("provenance", {}) for meta in metas]
    inputs = {name: digest for one in made for name, digest in one.get("inputs", {}).items()}
    return shared | {"provenance": alike(made) | {"inputs": inputs}}


def alike(dicts: list[dict]) -> dict:
    """What is the same in all of them.

    >>> alike([{"a": 1, "b": 2}, {"a": 1, "b": 3}])
    {'a': 1}
    """
    return {key: value for key, value in dicts[0].items() if all(key in other and other[key] == value for other in dicts)}
