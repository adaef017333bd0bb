"""Smooth or disk, on pictures of one galaxy each (D_ds): the network on each picture, shrunk to the size of galaxies in fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..central import central_sources
from ..errors import InputError

MIDDLE = 256  # pixels around the centre that are looked at
SIDE = 128  # pixels to which they are shrunk: the middle one of the sizes in training
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
    """(3, 128, 128) float32 RGB in [0, 1]: the middle of a picture, which is enlarged where it is smaller."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
            side = min(MIDDLE, *image.size)
            left, top = (image.width - side) / 2, (image.height - side) / 2
            small = image.resize((SIDE, SIDE), Image.Resampling.BOX, (left, top, left + side, top + side))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable picture ({error}); remove it or fetch it again") from error
    return np.asarray(small, np.float32).transpose(2, 0, 1) / 255


def opinions(files: list[Path], engine, advance: Callable[[], None]) -> list[Opinion]:
    """One a picture, in their order."""
    said = []
    for first in range(0, len(files), BATCH):
        found = central_sources(engine, np.stack([shown(path) for path in files[first : first + BATCH]]))
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
