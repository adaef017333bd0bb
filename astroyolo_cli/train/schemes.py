"""Training schemes: in which order and proportion a network sees the two data sets."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import AstroYOLOError


@dataclass(frozen=True)
class Phase:
    """One part of an epoch.

    Attributes:
        sg, ds: images drawn from D_sg and D_ds, as multiples of ``--samples``. Where both are above 0,
            every batch holds both in that proportion.
    """

    sg: float = 0.0
    ds: float = 0.0


@dataclass(frozen=True)
class Scheme:
    """The phases of every epoch, and what the scheme is for."""

    phases: tuple[Phase, ...]
    meaning: str

    @property
    def needs_sg(self) -> bool:
        return any(phase.sg for phase in self.phases)

    @property
    def needs_ds(self) -> bool:
        return any(phase.ds for phase in self.phases)


SCHEMES = {
    "iterative": Scheme(
        (Phase(sg=1), Phase(ds=1)), "as many images from D_sg, then from D_ds, in each epoch; nothing frozen (the paper's best)"
    ),
    "joint": Scheme((Phase(sg=1.5, ds=0.5),), "every batch holds both sets, three to one"),
    "sg-only": Scheme((Phase(sg=1),), "detection and star/galaxy alone"),
    "ds-only": Scheme((Phase(ds=1),), "smooth/disk alone"),
}


def scheme_named(name: str) -> Scheme:
    if name not in SCHEMES:
        raise AstroYOLOError(f"scheme {name!r}: must be one of {', '.join(SCHEMES)}")
    return SCHEMES[name]
