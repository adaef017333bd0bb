"""One field of many: how its catalog is made, and what is said of it afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .checksums import checksum
from .errors import AstroYOLOError, printable, reason_of
from .inputs import FieldInput
from .log import field_log
from .settings import DetectSettings

if TYPE_CHECKING:
    from .model.engine import Engine


@dataclass(frozen=True)
class Recipe:
    """All that decides a catalog, apart from the field.

    Attributes:
        weights: name or path; ``weights_sha256`` is that of the file.
        reading: keyword arguments of ``read_field``.
        columns: of the catalog; None for all.
        threads: of the network, in each process; 0 leaves them as they are. Speed alone.
        maps: path, size and time of the files with the weights of pixels and the mask, where given: they may change under one name.
    """

    weights: str
    weights_sha256: str
    engine: str
    device: str
    settings: DetectSettings
    reading: dict = field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    threads: int = 0
    maps: tuple[dict, ...] = ()

    def fingerprint(self) -> dict:
        """What must be equal for an old catalog to count as this one; plain JSON."""
        settings = {name: value for name, value in asdict(self.settings).items() if name != "batch"}
        reading = {name: str(value) for name, value in self.reading.items() if value is not None}
        columns = list(self.columns) if self.columns else None
        made = {"version": __version__, "weights_sha256": self.weights_sha256, "engine": self.engine}
        maps = {"maps": list(self.maps)} if self.maps else {}
        return made | {"settings": settings, "reading": reading, "columns": columns} | maps


@dataclass(frozen=True)
class Job:
    """One field, the file of its catalog, and that of its log if one is wanted."""

    field: FieldInput
    output: Path
    log: Path | None = None


def open_recipe(recipe: Recipe):
    """The recipe's network, ready to run; while it is made, all else that a field needs is imported."""
    opened = opening(recipe)
    from . import measure, pipeline, read, write  # noqa: F401

    return opened()


def opening(recipe: Recipe) -> Callable[[], Engine]:
    """A function that gives the recipe's network, which is being made meanwhile."""
    from .model.checkpoint import locate
    from .model.engine import open_engine

    pool = ThreadPoolExecutor(1)
    opened = pool.submit(open_engine, locate(recipe.weights), recipe.engine, recipe.device, recipe.threads)
    pool.shutdown(wait=False)
    return opened.result


def catalog_of(source: FieldInput, recipe: Recipe, opened: Callable[[], Engine]):
    """Read a field and detect: the frame, and the result with the weights in its provenance, in the whole frame's pixels.

    Args:
        opened: gives the network; called when the frame is read and its sky known.
    """
    from .pipeline import detect
    from .read import read_field
    from .region import in_whole_frame
    from .stretch import backgrounds

    began = time.perf_counter()
    frame = read_field(source, **recipe.reading, in_parts=True)
    read = time.perf_counter()
    background = backgrounds(frame, recipe.threads)
    stretched = time.perf_counter()
    result = detect(frame, opened(), recipe.settings, recipe.threads, background)
    result.catalog.meta["provenance"] |= {"weights": recipe.weights, "weights_sha256": recipe.weights_sha256}
    seconds = {"read": read - began, **result.seconds, "stretch": stretched - read}
    return frame, replace(result, catalog=in_whole_frame(result.catalog, frame.part), seconds=seconds)


def files_of(source: FieldInput) -> list[dict]:
    """Of each of a field's files, to know it again."""
    return [state_of(path) for path in source.paths]


def state_of(path: Path) -> dict:
    """Path, size and time of a file; of one that is not there its path."""
    try:
        state = path.stat()
    except OSError:
        return {"path": str(path.absolute())}
    return {"path": str(path.absolute()), "bytes": state.st_size, "mtime_ns": state.st_mtime_ns}


def do_job(job: Job, recipe: Recipe, engine) -> dict:
    """Detect, write the catalog whole, and say so; whatever goes wrong with one field is its entry, never an exception."""
    from .write import only_columns, write

    began, entry = time.perf_counter(), entry_of(job, recipe)
    with field_log(job.log) as log:
        log.add(f"AstroYOLO {__version__}, {getattr(engine, 'name', 'other')}: {', '.join(map(str, job.field.paths))}")
        try:
            _, result = catalog_of(job.field, recipe, lambda: engine)
            write(only_columns(result.catalog, recipe.columns), job.output, overwrite=True)
            entry |= {"status": "done", "rows": len(result.catalog), "sha256": checksum(job.output)}
            log.add(", ".join(f"{step} {seconds:.3f} s" for step, seconds in result.seconds.items()))
        except AstroYOLOError as error:
            entry |= {"status": "failed", "error": said(error)}
        except Exception as error:  # of a kind that nobody foresaw: this field is lost, the night is not
            entry |= {"status": "failed", "error": said(error)}
            log.add_traceback()
        entry["seconds"] = round(time.perf_counter() - began, 3)
        log.add(f"{entry['status']}: {entry.get('error') or str(entry['rows']) + ' rows'}, {entry['seconds']} s, {job.output}")
    return entry


def said(error: Exception) -> str:
    """Why a field failed, in one line; of errors that nobody foresaw with their kind."""
    foreseen = isinstance(error, AstroYOLOError)
    return printable(" ".join(str(error).split())) if foreseen else f"{type(error).__name__}: {reason_of(error)}"


def entry_of(job: Job, recipe: Recipe) -> dict:
    """What the manifest says of a field before anything is known of it."""
    return {"field": job.field.name, "inputs": files_of(job.field), "output": job.output.name, "recipe": recipe.fingerprint()}


def failed_entry(job: Job, recipe: Recipe, error: str) -> dict:
    return entry_of(job, recipe) | {"status": "failed", "error": error, "seconds": 0.0}
