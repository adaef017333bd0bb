"""Smooth or disk, on pictures of one galaxy each (D_ds), as ``astroyolo classify`` tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..central import turned_sources
from ..classify import picture_of
from ..pictures import read_picture
from ..stretch import Stretch

BATCH = 16


@dataclass(frozen=True)
class Opinion:
    """What the network says of the galaxy in the centre of a picture.

    Attributes:
        p_disk: at the cell of the box that holds the centre, else at the centre's.
        score: of that box.
    """

    p_disk: float
    score: float


def shown(path: Path) -> np.ndarray:
    """(views, 3, SHOWN, SHOWN) float32 RGB in [0, 1]: a picture as ``astroyolo classify`` shows it to the network."""
    return picture_of(read_picture(path), Stretch())


def opinions(files: list[Path], engine, advance: Callable[[], None]) -> list[Opinion]:
    """One a picture, in their order."""
    said = []
    for first in range(0, len(files), BATCH):
        found = turned_sources(engine, np.stack([shown(path) for path in files[first : first + BATCH]]))
        said += [Opinion(p_disk, score) for p_disk, score in zip(found.p_disk.tolist(), found.score.tolist())]
        advance()
    return said


def score_cutouts(said: list[Opinion], is_disk: np.ndarray, min_score: float, rng: np.random.Generator) -> dict:
    """Of every picture by its centre; and, as the AstroYOLO paper counts, of those whose galaxy is detected."""
    from .classes import class_scores, ratio

    p_disk, score = (np.array([getattr(one, name) for one in said]) for name in ("p_disk", "score"))
    detected = score >= min_score
    right = (p_disk >= 0.5) == is_disk
    paper = {"detected": int(detected.sum()), "accuracy_of_detected": ratio((right & detected).sum(), detected.sum())}
    return class_scores(p_disk, is_disk, rng) | paper
