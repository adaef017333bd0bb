"""Training schemes as data: in which order and proportion a network sees the two data sets, and what is frozen meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import AstroYOLOError


@dataclass(frozen=True)
class Phase:
    """One part of an epoch.

    Attributes:
        sg, ds: images drawn from D_sg and D_ds, as multiples of ``--samples``. Where both are above 0,
            every batch holds both in that proportion.
        frozen: leave backbone and neck as they are, the running statistics of their normalisation too.
        rate: factor to the learning rate.
    """

    sg: float = 0.0
    ds: float = 0.0
    frozen: bool = False
    rate: float = 1.0


@dataclass(frozen=True)
class Stage:
    """The same phases in every epoch of a part of the run.

    Attributes:
        until: the part of the run's epochs at which the stage ends, 0 to 1.
    """

    phases: tuple[Phase, ...]
    until: float = 1.0


@dataclass(frozen=True)
class Scheme:
    """The stages of a run, one after the other, and what the scheme is for. Every scheme of both sets sees equally many images."""

    stages: tuple[Stage, ...]
    meaning: str

    @property
    def needs_sg(self) -> bool:
        return any(phase.sg for stage in self.stages for phase in stage.phases)

    @property
    def needs_ds(self) -> bool:
        return any(phase.ds for stage in self.stages for phase in stage.phases)

    @property
    def freezes(self) -> bool:
        """Whether a part of the network is frozen at times."""
        return any(phase.frozen for stage in self.stages for phase in stage.phases)

    def phases(self, epoch: int, epochs: int) -> tuple[Phase, ...]:
        """Of epoch number ``epoch`` (from 0) of ``epochs``; of an odd number the first of two halves has one more."""
        return next(stage.phases for stage in self.stages if epoch < math.ceil(stage.until * epochs) or stage is self.stages[-1])

    def check_epochs(self, epochs: int) -> None:
        """Raises AstroYOLOError where a stage would have no epoch."""
        if epochs < len(self.stages):
            raise AstroYOLOError(
                f"--epochs {epochs}: must be {len(self.stages)} or more for a scheme that learns one set after the other; "
                "raise it or name another --scheme"
            )


def always(*phases: Phase) -> tuple[Stage, ...]:
    """The same phases in every epoch."""
    return (Stage(phases),)


SCHEMES = {
    "sequential": Scheme(
        (Stage((Phase(sg=2),), until=0.5), Stage((Phase(ds=2),))), "D_sg for half of the run, then D_ds; forgets the first"
    ),
    "alternating": Scheme(
        always(Phase(sg=1), Phase(ds=1, frozen=True, rate=0.5)),
        "each set in turn in each epoch; for D_ds backbone and neck are frozen and the learning rate is halved",
    ),
    "iterative": Scheme(
        always(Phase(sg=1), Phase(ds=1)), "as many images from D_sg, then from D_ds, in each epoch; nothing frozen (the paper's best)"
    ),
    "joint": Scheme(always(Phase(sg=1.5, ds=0.5)), "every batch holds both sets, three to one"),
    "sg-only": Scheme(always(Phase(sg=1)), "detection and star/galaxy alone"),
    "ds-only": Scheme(always(Phase(ds=1)), "smooth/disk alone"),
}


def scheme_named(name: str) -> Scheme:
    if name not in SCHEMES:
        raise AstroYOLOError(f"scheme {name!r}: must be one of {', '.join(SCHEMES)}")
    return SCHEMES[name]
