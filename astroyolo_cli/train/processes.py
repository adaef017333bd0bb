"""Work shared out to processes of this machine, by PyTorch's loader: they inherit what cannot be sent to them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from typing import TypeVar

from ..errors import AstroYOLOError

Done = TypeVar("Done")


class Jobs:
    """``jobs[i]`` is ``job(i)``, or the error of ours that it raised; a data set of PyTorch's loader."""

    def __init__(self, job: Callable[[int], Done], count: int):
        self.job, self.count = job, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Done | AstroYOLOError:
        try:
            return self.job(number)
        except AstroYOLOError as error:
            return error


def each_done(job: Callable[[int], Done], count: int, workers: int, pinned: bool = False) -> Iterator[Done]:
    """``job(0)`` to ``job(count - 1)`` in order, a few made ahead.

    Args:
        workers: processes; 0 for this one, and nothing is made ahead.
        pinned: with their tensors where a GPU fetches them without waiting.

    Raises:
        AstroYOLOError: of the job; where a process died; and where this system has no processes that inherit.
    """
    if not workers:
        yield from map(job, range(count))
        return
    if "fork" not in multiprocessing.get_all_start_methods():
        raise AstroYOLOError(f"--workers {workers}: needs a system with fork, such as Linux; leave it out")
    from torch.utils.data import DataLoader

    loader = DataLoader(Jobs(job, count), None, num_workers=workers, multiprocessing_context="fork", pin_memory=pinned, collate_fn=as_it_is)
    try:
        for done in loader:
            if isinstance(done, AstroYOLOError):
                raise done
            yield done
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise AstroYOLOError(f"one of {workers} processes died; fewer --workers need less memory") from error


def as_it_is(done: Done) -> Done:
    return done
