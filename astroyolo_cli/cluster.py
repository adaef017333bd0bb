"""Fields sent to a Dask cluster that is already there: its scheduler does a dead worker's fields again.

The workers read the inputs and write the catalogs themselves, by the same paths: all of them need the same file system.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from threading import Lock

from .errors import AstroYOLOError, reason_of
from .jobs import Job, Recipe, do_job, failed_entry, open_recipe

AHEAD = 2  # fields that wait at each worker
TIMEOUT = 20  # seconds to reach the scheduler

_one_at_a_time = Lock()  # a network's own threads share out the work of one field


def run_on_cluster(jobs: list[Job], recipe: Recipe, address: str) -> Iterator[dict]:
    """The entries of all jobs, as they end.

    Raises:
        AstroYOLOError: if Dask is not installed, or no scheduler answers at ``address``.
    """
    with connected(address) as client:
        yield from entries_of(client, [everywhere(job) for job in jobs], portable(recipe))


def connected(address: str):
    """A client of the scheduler."""
    try:
        from distributed import Client
    except ImportError as error:
        raise AstroYOLOError("--scheduler needs Dask: pip install 'astroyolo[cluster]'") from error
    try:
        return Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise AstroYOLOError(f"--scheduler {address}: no Dask scheduler answers ({reason_of(error)}); start one") from error


def entries_of(client, jobs: list[Job], recipe: Recipe) -> Iterator[dict]:
    """Entries in the order in which fields end; never more fields at the scheduler than its workers soon need."""
    from distributed import as_completed

    waiting, running = iter(jobs), {}

    def submit(job: Job):
        future = client.submit(work, job, recipe, pure=False, key=f"astroyolo-{job.field.name}-{id(job)}")
        running[future.key] = job
        return future

    first = [submit(job) for job in islice(waiting, AHEAD * max(len(client.nthreads()), 1))]
    ready = as_completed(first, loop=client.loop)
    try:
        for future in ready:
            job = running.pop(future.key)
            yield entry_of(future, job, recipe)
            future.release()
            if (job := next(waiting, None)) is not None:
                ready.add(submit(job))
    finally:
        client.cancel(list(ready.futures), force=True)


def entry_of(future, job: Job, recipe: Recipe) -> dict:
    """What a field's worker said, or why there is no worker that could."""
    if future.status == "finished":
        return future.result()
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return failed_entry(job, recipe, "the workers that had it died, perhaps for lack of memory; give them more")
    return failed_entry(job, recipe, f"no worker could do it: {type(error).__name__}: {reason_of(error)}")


def work(job: Job, recipe: Recipe) -> dict:
    """One field, in a worker."""
    with _one_at_a_time:
        return do_job(job, recipe, opened(Frozen(recipe)))


class Frozen:
    """A recipe as the key of a cache: equal if it makes the same catalogs as fast."""

    def __init__(self, recipe: Recipe):
        self.recipe, self._text = recipe, repr(recipe)

    def __eq__(self, other) -> bool:
        return self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


@lru_cache(maxsize=2)
def opened(frozen: Frozen):
    """The recipe's network, which a worker keeps for the next field, on as many threads as Dask gives it."""
    from distributed import get_worker

    recipe = frozen.recipe
    return open_recipe(replace(recipe, threads=recipe.threads or get_worker().state.nthreads))


def everywhere(job: Job) -> Job:
    """The same with paths that are right in any working folder."""
    source = replace(job.field, paths=tuple(path.absolute() for path in job.field.paths))
    return replace(job, field=source, output=job.output.absolute(), log=job.log and job.log.absolute())


def portable(recipe: Recipe) -> Recipe:
    weights = str(Path(recipe.weights).absolute()) if Path(recipe.weights).is_file() else recipe.weights
    reading = {name: value.absolute() if isinstance(value, Path) else value for name, value in recipe.reading.items()}
    return replace(recipe, weights=weights, reading=reading)
