"""Fields shared among processes; one that dies has its field done again, and is not the end of the batch."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice

from .jobs import Job, Recipe, do_job, failed_entry, open_recipe
from .orphans import end_with_parent

ATTEMPTS = 2  # at a field whose process dies with no other beside it

_engine, _recipe = None, None  # of this worker process


def run_in_processes(jobs: list[Job], recipe: Recipe, workers: int) -> Iterator[dict]:
    """The entries of all jobs, as they end. The processors are divided among the processes."""
    threads = recipe.threads or max((os.cpu_count() or 1) // workers, 1)
    recipe = replace(recipe, threads=threads)
    left = list(jobs)
    while left:
        entries: list[dict] = []
        yield from run_pool(left, recipe, workers, entries)
        ended = {entry["field"] for entry in entries}
        left = [job for job in left if job.field.name not in ended]
        suspects, left = left[:workers], left[workers:]  # at hand when a process died: one of them did it, or all by their memory
        for job in suspects:
            yield from run_alone(job, recipe)


def run_alone(job: Job, recipe: Recipe) -> Iterator[dict]:
    """The entry of a job with no other beside it, so that what dies is its own fault."""
    for _ in range(ATTEMPTS):
        entries: list[dict] = []
        yield from run_pool([job], recipe, 1, entries)
        if entries:
            return
    yield failed_entry(job, recipe, f"its process died {ATTEMPTS} times, perhaps for lack of memory; use a machine with more, or --region")


def run_pool(jobs: list[Job], recipe: Recipe, workers: int, entries: list[dict]) -> Iterator[dict]:
    """Entries until all are done or a process dies; ``entries`` collects them."""
    context = multiprocessing.get_context("spawn")
    waiting = iter(jobs)
    with ProcessPoolExecutor(workers, context, begin, (recipe,)) as pool:
        running: set[Future] = set()
        try:
            for job in islice(waiting, 2 * workers):
                running.add(pool.submit(work, job))
            while running:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    entries.append(future.result())
                    yield entries[-1]
                    if (job := next(waiting, None)) is not None:
                        running.add(pool.submit(work, job))
        except BrokenProcessPool:
            return
        finally:
            for future in running:
                future.cancel()


def begin(recipe: Recipe) -> None:
    """Once in each process."""
    global _engine, _recipe
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides
    end_with_parent()
    _recipe, _engine = recipe, open_recipe(recipe)


def work(job: Job) -> dict:
    return do_job(job, _recipe, _engine)
