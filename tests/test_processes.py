"""Work shared out to processes: its order, its errors, and processes that die."""

import os
import signal

import pytest

from astroyolo_cli.errors import AstroYOLOError, InputError
from astroyolo_cli.train.processes import each_done


@pytest.mark.parametrize("workers", [0, 2])
def test_everything_is_done_in_order(workers):
    factor = 3
    assert list(each_done(lambda number: factor * number, 20, workers)) == list(range(0, 60, 3))
    assert list(each_done(lambda number: number, 0, workers)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_ours_stays_what_it_is(workers):
    def job(number):
        if number == 3:
            raise InputError("three.fits: broken; remove it")
        return number

    done = []
    with pytest.raises(InputError) as caught:
        for number in each_done(job, 20, workers):
            done.append(number)
    assert str(caught.value) == "three.fits: broken; remove it" and done == [0, 1, 2]


def test_a_process_that_dies_is_said_in_one_line():
    def job(number):
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(AstroYOLOError, match="^one of 2 processes died; fewer --workers"):
        list(each_done(job, 20, 2))


def test_a_system_without_fork_is_told(monkeypatch):
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(AstroYOLOError, match="^--workers 2: needs a system with fork"):
        list(each_done(lambda number: number, 5, 2))
