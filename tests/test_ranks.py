"""One process among several: shares of batches, and what is the same in all."""

import torch

from astroyolo_cli.train.batches import groups_of_phase
from astroyolo_cli.train.ranks import Ranks
from astroyolo_cli.train.schemes import Phase


def test_processes_share_every_batch_of_the_one_that_is_alone():
    phase = Phase(sg=1.5, ds=0.5)
    alone = groups_of_phase(phase, 25, 8)
    parts = [groups_of_phase(phase, 25, 8, Ranks(number, 3)) for number in range(3)]
    assert len({len(part) for part in parts}) == 1 and all(group for part in parts for group in part)
    for number, whole in enumerate(alone[: len(parts[0])]):
        assert sorted(whole) == sorted(image for part in parts for image in part[number])
    assert len(alone) - len(parts[0]) == 1 and len(alone[-1]) == 2  # too small for three


def test_alone_nothing_is_divided():
    ranks = Ranks()
    assert ranks.leads and ranks.any(True) and not ranks.any(False) and ranks.leaders(4) == 4
    assert ranks.divisor(torch.tensor(0.2)) == 1 and ranks.divisor(torch.tensor(7.0)) == 7
