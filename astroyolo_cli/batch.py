"""Many fields: one catalog each, a manifest of what was done, and going on where a run stopped.

A catalog appears under its name only when it is whole; its line in the manifest follows. What is killed in between is done again.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .checksums import checksum
from .errors import AstroYOLOError, InputError, OutputError
from .inputs import FieldInput
from .jobs import Job, Recipe, catalog_of, do_job, files_of, open_recipe, opening, said
from .workers import run_in_processes

MANIFEST = "manifest.jsonl"


def jobs_of(fields: list[FieldInput], folder: Path, ending: str, logs: bool = False) -> list[Job]:
    """The fields have names of their own, and so have the catalogs, and the logs if they are wanted."""
    return [Job(source, folder / f"{source.name}.{ending}", folder / f"{source.name}.log" if logs else None) for source in fields]


def share_of(fields: list[FieldInput], number: int, count: int) -> list[FieldInput]:
    """Every ``count``-th field from number ``number`` (from 1): the parts of an array job, together all fields once."""
    return fields[number - 1 :: count]


def check_free(jobs: list[Job], folder: Path, manifest: Path, resume: bool, overwrite: bool) -> None:
    """Before the work: nothing that exists is replaced unasked.

    Raises:
        OutputError: naming the first file in the way.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder for the catalogs of several fields")
    if not folder.absolute().parent.is_dir():
        raise OutputError(f"{folder}: its parent folder does not exist; make it first")
    if resume or overwrite:
        return
    for path in (manifest, *(job.output for job in jobs)):
        if path.exists():
            raise OutputError(f"{path}: exists; add --resume to go on with this batch, or --overwrite to do all again")


def manifest_of(folder: Path, number: int | None = None, count: int | None = None) -> Path:
    """The manifest of a batch, or of one part of an array job, which must not share a file with the others."""
    return folder / (MANIFEST if number is None else f"manifest-{number}-of-{count}.jsonl")


def read_manifests(folder: Path) -> dict[str, dict]:
    """Field -> the last line about it, of all manifests in the folder; a line cut short by a crash is none."""
    known: dict[str, dict] = {}
    for path in sorted(folder.glob("manifest*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="surrogateescape").split("\n"):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and "field" in entry:
                known[entry["field"]] = entry
    return known


def is_done(job: Job, entry: dict | None, recipe: Recipe) -> bool:
    """Whether the job's catalog is there, whole, and made of the same files with the same recipe."""
    if entry is None or entry.get("status") != "done" or entry.get("recipe") != recipe.fingerprint():
        return False
    if entry.get("output") != job.output.name or entry.get("inputs") != files_of(job.field) or not job.output.is_file():
        return False
    return checksum(job.output) == entry.get("sha256")


def run_jobs(jobs: list[Job], recipe: Recipe, workers: int, scheduler: str | None = None) -> Iterator[dict]:
    """The entries of all jobs, as they end."""
    if scheduler is not None:
        from .cluster import run_on_cluster

        yield from run_on_cluster(jobs, recipe, scheduler)
        return
    if workers == 1 or len(jobs) < 2:
        engine = open_recipe(recipe)
        yield from (do_job(job, recipe, engine) for job in jobs)
        return
    yield from run_in_processes(jobs, recipe, workers)


def run_batch(
    jobs: list[Job], folder: Path, manifest: Path, recipe: Recipe, workers: int, resume: bool, tell: Callable[[dict], None],
    scheduler: str | None = None,
) -> dict[str, int]:  # fmt: skip
    """Do all jobs, or with ``resume`` those that are not done; a manifest line follows each.

    Args:
        tell: called with each entry, also of what was done before (``status`` "kept").
        scheduler: address of a Dask scheduler, to do the work there and not in ``workers`` processes here.

    Returns:
        How many entries of each status.
    """
    from .whole import failing_as_output, partial_prefix, remove_abandoned, sync_folder

    with failing_as_output(folder):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.absolute().parent)
        if not resume:
            manifest.unlink(missing_ok=True)
    remove_abandoned(folder, tuple(partial_prefix(job.output) for job in jobs))
    known = read_manifests(folder) if resume else {}
    done, left = [], []
    for job in jobs:
        (done if is_done(job, known.get(job.field.name), recipe) else left).append(job)
    counts = {"done": 0, "failed": 0, "kept": len(done)}
    for job in done:
        tell(known[job.field.name] | {"status": "kept"})
    with failing_as_output(manifest), open(manifest, "ab", buffering=0, opener=no_link) as file:  # to append is safe beside another process
        sync_folder(folder)
        file.write(b"\n" if ends_in_the_middle(manifest) else b"")
        for entry in run_jobs(left, recipe, workers, scheduler):
            append(file, entry)
            counts[entry["status"]] += 1
            tell(entry)
    return counts


def no_link(path: Path, flags: int) -> int:
    """An opener of files that follows no link to what is another's."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def append(file, entry: dict) -> None:
    """A line of the manifest, whole and on disk, or OSError: the system may take a part of it, and say only then that there is no room."""
    line = (json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")
    while line:
        line = line[file.write(line) :]
    os.fsync(file.fileno())


def ends_in_the_middle(path: Path) -> bool:
    """Of a line, as after a crash."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 1, 0))
        return file.read(1) not in (b"", b"\n")


def catalog_or_error(source: FieldInput, recipe: Recipe, opened: Callable):
    """A field's catalog, or None and why there is none; as in ``do_job`` whatever goes wrong with one field is no exception.

    Only the text of an error is kept: its traceback would hold the field's pixels in memory.

    Raises:
        AstroYOLOError: of the weights or the engine, with which all fields would fail.
    """
    try:
        return catalog_of(source, recipe, opened)[1].catalog, None
    except Exception as error:  # also of a kind that nobody foresaw: this field is lost, the others are not
        if isinstance(error, AstroYOLOError) and not isinstance(error, InputError):
            raise
        return None, said(error)


def joined_catalogs(fields: Iterable[FieldInput], recipe: Recipe, tell: Callable[[dict], None]):
    """One table of all fields, with the column ``field``, and how many fields failed.

    Fluxes in different units are joined without any, and a warning says so: at the end of the work it is no time to refuse.

    Raises:
        InputError: if all of them fail.
    """
    from astropy.table import Column

    from .columns import FIELD

    opened, tables, failed = opening(recipe), {}, []
    for source in fields:
        began = time.perf_counter()
        table, error = catalog_or_error(source, recipe, opened)
        if table is None:
            failed.append(f"{source.name}: {error}")
            tell({"field": source.name, "status": "failed", "error": error})
            continue
        name = Column([source.name] * len(table), name="field", dtype=f"U{max(len(source.name), 1)}", description=FIELD.meaning)
        name.meta["ucd"] = FIELD.ucd
        table.add_column(name, index=1)
        tables[source.name] = table
        tell({"field": source.name, "status": "done", "rows": len(table), "seconds": time.perf_counter() - began})
    if not tables:
        raise InputError(failed[0])
    return one_of(tables, recipe), len(failed)


def one_of(tables: dict, recipe: Recipe):
    """The catalogs of several fields as one, numbered anew.

    Args:
        tables: by the fields' names.
    """
    from astropy.table import vstack

    from .joining import clear_units, common_meta, differing_units, with_rows

    whole = vstack(list(with_rows(tables).values()), metadata_conflicts="silent")
    clear_units(whole, differing_units(tables, recipe.columns), "a folder for --output keeps them, with a catalog a field")
    whole["id"][:] = range(1, len(whole) + 1)
    whole.meta = common_meta([table.meta for table in tables.values()])
    return whole


@contextmanager
def stopped_by_signals():
    """SIGTERM ends the work like Ctrl-C: the file at hand is dropped, what is written stays."""

    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
