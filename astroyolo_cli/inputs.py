"""What INPUT means: files, folders, globs, lists and band patterns to fields, each with its files and name."""

from __future__ import annotations

import glob
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import AstroYOLOWarning, InputError
from .remote import RemotePath, filesystem, is_remote

WAVELENGTH_ORDER = "u g r i z y J H K".split()  # bluest first
LONGEST_LIST = 100_000_000  # characters
NO_INPUT = "no input: name at least one file, folder or pattern"
COMPRESSIONS = (".gz", ".bz2", ".fz")


@dataclass(frozen=True)
class FieldInput:
    """One field to read.

    Attributes:
        paths: one file, or one a band.
        bands: a name for each path, reddest first; None for one file, whose header names its band.
        name: short; tells this field from the others of the run.
        wanted: bands to choose, in that order, of a file that may hold a cube of them; None for all.
    """

    paths: tuple[Path | RemotePath, ...]
    bands: tuple[str, ...] | None
    name: str
    wanted: tuple[str, ...] | None = None


def resolve(inputs: Sequence[str], bands: Sequence[str] | None = None) -> list[FieldInput]:
    """The fields that the INPUT arguments name, in their order.

    Raises:
        InputError: for a pattern that fits nothing, a field that lacks a band, a file named twice; for a missing file and a
            folder without img_*.fits if they are the only input.
    """
    given = expand_lists(inputs)
    fields = [field for one in given for field in resolve_among(one, tuple(bands) if bands else None, alone=len(given) == 1)]
    if not fields:
        raise InputError(NO_INPUT)
    return with_short_names(fields)


def note_separate_bands(fields: list[FieldInput], bands: Sequence[str] | None) -> None:
    """A note where as many files as bands are named: each is a field of its own, which may not be what was meant."""
    if bands and len(fields) == len(bands) > 1 and all(field.bands is None for field in fields):
        pattern = "'frame-{band}.fits'"
        text = f"{len(fields)} files, each a field of its own; if they are the bands of one field, name them by a pattern like {pattern}"
        warnings.warn(text, AstroYOLOWarning, stacklevel=2)


def resolve_among(given: str, bands: tuple[str, ...] | None, alone: bool) -> list[FieldInput]:
    """The fields of one of several inputs: a file that cannot be used is a field that will fail, and not the end of the others."""
    try:
        return resolve_one(given, bands)
    except InputError:
        if alone or glob.has_magic(given) or "{band}" in given:
            raise
        return [FieldInput((Path(given),), None, stem_of(Path(given)))]


def expand_lists(inputs: Sequence[str]) -> list[str]:
    """``@list.txt`` and ``-`` (standard input) replaced by the paths that they hold, one a line."""
    given = []
    for text in inputs:
        if text == "-":
            given += paths_of_lines(sys.stdin.read())
        elif text.startswith("@"):
            given += paths_of_lines(text_of_list(Path(text[1:])))
        else:
            given.append(text)
    return given


def text_of_list(path: Path) -> str:
    """What a list of paths holds; it may be a pipe, and is not endless."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:  # Windows puts a mark of UTF-8 first
            text = file.read(LONGEST_LIST)
    except OSError as error:
        raise InputError(f"{path}: not a readable list of paths ({error.strerror or error})") from error
    if len(text) == LONGEST_LIST or "\0" in text:
        raise InputError(f"{path}: not a list of paths, one a line; is it an image? Then leave out the @")
    return text


def files_of(inputs: Sequence[str]) -> list[str]:
    """The files that paths, patterns and lists name, in their order.

    Raises:
        InputError: for a pattern that fits nothing, and for no file at all; a missing file is left to its reader.
    """
    found = []
    for given in expand_lists(inputs):
        matches = sorted(glob.glob(given, recursive=True)) if glob.has_magic(given) and not Path(given).exists() else [given]
        if not matches:
            raise InputError(f"{given}: fits no file; check the path, or quote the pattern")
        found += matches
    if not found:
        raise InputError(NO_INPUT)
    return found


def paths_of_lines(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def resolve_one(given: str, bands: tuple[str, ...] | None) -> list[FieldInput]:
    if is_remote(given):
        return [remote_field(given, bands)]
    if "{band}" in given:
        return fields_of_pattern(given, bands)
    path = Path(given)
    if path.is_dir():
        return [field_of_folder(path, bands)]
    if path.exists() or path.is_symlink():
        return [FieldInput((path,), None, stem_of(path), bands)]
    found = sorted(glob.glob(given, recursive=True))
    if not found:
        raise InputError(f"{given}: no such file; check the path, or quote a pattern so that the shell leaves it alone")
    return [field for match in found for field in resolve_one(match, bands)]


def remote_field(address: str, bands: tuple[str, ...] | None) -> FieldInput:
    """A file of an archive, or with {band} one a band; nothing is fetched yet."""
    filesystem(address)  # says what is not installed
    if "{band}" not in address:
        path = RemotePath(address)
        return FieldInput((path,), None, stem_of(path) or "field", bands)
    if not bands:
        raise InputError(f"{address}: {{band}} needs --bands, such as --bands z,r,g (reddest first)")
    paths = tuple(RemotePath(address.replace("{band}", band)) for band in bands)
    return FieldInput(paths, bands, stem_of(RemotePath(re.sub(r"[-_]?\{band\}", "", address, count=1))) or "field")


def field_of_folder(folder: Path, bands: tuple[str, ...] | None) -> FieldInput:
    """A folder with img_g.fits and the like, one file a band."""
    files = {}
    for path in sorted(folder.iterdir()):
        if match := re.fullmatch(r"img_(\w+)\.fits(\.gz|\.bz2|\.fz)?", path.name):
            files.setdefault(match[1], path)
    if not files:
        raise InputError(f"{folder}: a folder must hold img_g.fits, img_r.fits and the like (also .gz, .bz2, .fz); or name a file")
    wanted = bands or reddest_first(tuple(files))
    if missing := [band for band in wanted if band not in files]:
        raise InputError(f"{folder}: no img_{missing[0]}.fits; it holds the bands {', '.join(files)}; choose among them with --bands")
    return FieldInput(tuple(files[band] for band in wanted), wanted, folder.resolve().name)


def reddest_first(bands: tuple[str, ...]) -> tuple[str, ...]:
    """Known bands by wavelength, longest first; unknown ones after them as they come."""
    known = [band for band in reversed(WAVELENGTH_ORDER) if band in bands]
    return (*known, *(band for band in bands if band not in known))


def fields_of_pattern(pattern: str, bands: tuple[str, ...] | None) -> list[FieldInput]:
    """Files that differ in the band alone are one field; a pattern may fit many fields."""
    if not bands:
        raise InputError(f"{pattern}: {{band}} needs --bands, such as --bands z,r,g (reddest first)")
    groups: dict[tuple[str, ...], dict[str, Path]] = {}
    for band in bands:
        one_band = pattern.replace("{band}", glob.escape(band))
        for path in sorted(glob.glob(one_band, recursive=True)):
            groups.setdefault(key_of(path, pattern, band), {})[band] = Path(path)
    if not groups:
        raise InputError(f"{pattern}: fits no file with the bands {', '.join(bands)}; check the path and --bands")
    for _, files in sorted(groups.items()):
        if missing := [band for band in bands if band not in files]:
            raise InputError(
                f"{next(iter(files.values()))}: its field has no file for band {missing[0]}; add it or leave the band out of --bands"
            )
    return [
        FieldInput(tuple(files[band] for band in bands), bands, stem_of(Path(re.sub(r"[-_]?\{band\}", "", name_of(pattern, key), count=1))))
        for key, files in sorted(groups.items())
    ]


def key_of(path: str, pattern: str, band: str) -> tuple[str, ...]:
    """What the wildcards of the pattern stand for in this path: the same for all bands of a field."""
    expression, wildcards = "", re.split(r"(\*\*/?|\*|\?|\[[^]]*\]|\{band\})", pattern)
    for part in wildcards:
        if part == "{band}":
            expression += re.escape(band)
        elif part.startswith("**"):
            expression += "(.*)"
        elif part in ("*", "?") or (part.startswith("[") and part.endswith("]")):
            expression += {"*": "([^/]*)", "?": "([^/])"}.get(part, f"({part})")
        else:
            expression += re.escape(part)
    match = re.fullmatch(expression, path)
    return match.groups() if match else (path,)


def name_of(pattern: str, key: tuple[str, ...]) -> str:
    """The pattern with its wildcards filled in from the key; {band} stays."""
    values = iter(key)
    return re.sub(r"\*\*/?|\*|\?|\[[^]]*\]", lambda _: next(values, ""), pattern)


def stem_of(path: Path) -> str:
    """File name without .fits and compression."""
    name = path.name
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    return Path(name).stem.encode("utf-8", "replace").decode()  # a name that is no text has ? for what is none


def with_short_names(fields: list[FieldInput]) -> list[FieldInput]:
    """Names that are all different: as many folders in front as that needs, and the endings of files that differ in nothing else."""
    for ending in (False, True):
        own_names = [f.paths[0].name if ending and len(f.paths) == 1 else f.name for f in fields]
        for depth in range(1, 40):
            names = ["_".join([*f.paths[0].resolve().parts[-depth:-1], own]) if depth > 1 else own for f, own in zip(fields, own_names)]
            if len(set(names)) == len(names):
                return [replace(f, name=name) for f, name in zip(fields, names)]
    twice = next(f for f, name in zip(fields, names) if names.count(name) > 1)
    raise InputError(f"{twice.paths[0]}: named twice; name every input once")
