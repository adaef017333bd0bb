"""Work shared out to processes of this machine, by PyTorch's loader: they inherit what cannot be sent to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

Done = TypeVar("Done")


class Jobs:
    """``jobs[i]`` is ``job(i)``; a data set of PyTorch's loader."""

    def __init__(self, job: Callable[[int], Done], count: int):
        self.job, self.count = job, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Done:
        return self.job(number)


def each_done(job: Callable[[int], Done], count: int, workers: int, pinned: bool = False) -> Iterator[Done]:
    """``job(0)`` to ``job(count - 1)`` in order, a few made ahead.

    Args:
        workers: processes; 0 for this one, and nothing is made ahead.
        pinned: with their tensors where a GPU fetches them without waiting.
    """
    if not workers:
        yield from map(job, range(count))
        return
    from torch.utils.data import DataLoader

    yield from DataLoader(
        Jobs(job, count), None, num_workers=workers, multiprocessing_context="fork", pin_memory=pinned, collate_fn=as_it_is
    )


def as_it_is(done: Done) -> Done:
    return done
