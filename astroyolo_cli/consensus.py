"""Two looks at one tile, as it is and turned by 180 degrees: what both see counts, what one alone sees counts half.

A network sees a faint source differently from each side; the mean of both is steadier than either, and the catalog of a frame
is that of the frame turned.
"""

from __future__ import annotations

import numpy as np

from .detections import Detections, centers, concatenate, suppress

SAME = 0.4  # of the smaller box's shorter side, within which boxes of two views are one source
OVERLAP = 0.5  # IoU above which the weaker of two agreed boxes goes


def half_turned(found: Detections, side: int) -> Detections:
    """The detections of a square image of ``side`` pixels turned by 180 degrees, or back."""
    turned = side - 1 - found.xyxy[:, [2, 3, 0, 1]]
    return Detections(turned.astype(np.float32), found.score, found.p_galaxy, found.p_disk, found.on_seam)


def consensus(first: Detections, second: Detections) -> Detections:
    """One row a source: mean scores, and boxes and class probabilities weighted by score.

    Sources pair one to one, nearest first, whichever view is called first; what has no partner keeps half its score.
    """
    mate = partners(first, second)
    alone = np.ones(len(second), bool)
    alone[mate[mate >= 0]] = False
    paired = averaged(first.take(mate >= 0), second.take(mate[mate >= 0]))
    return suppress(concatenate([paired, halved(first.take(mate < 0)), halved(second.take(alone))]), OVERLAP)


def partners(first: Detections, second: Detections) -> np.ndarray:
    """(n,) the row of ``second`` that each of ``first`` pairs with, -1 for none."""
    mate = np.full(len(first), -1)
    if len(first) == 0 or len(second) == 0:
        return mate
    sides = [(d.xyxy[:, 2:] - d.xyxy[:, :2]).min(axis=1) for d in (first, second)]
    apart = np.hypot(*(centers(first.xyxy)[:, None] - centers(second.xyxy)[None]).transpose(2, 0, 1))
    apart = apart / np.minimum(sides[0][:, None], sides[1][None])
    taken = np.zeros(len(second), bool)
    rows, columns = np.nonzero(apart < SAME)
    for pair in np.argsort(apart[rows, columns], kind="stable"):
        i, j = rows[pair], columns[pair]
        if mate[i] < 0 and not taken[j]:
            mate[i], taken[j] = j, True
    return mate


def averaged(first: Detections, second: Detections) -> Detections:
    """Row by row."""
    share = (first.score / (first.score + second.score)).astype(np.float32)

    def mean(name: str) -> np.ndarray:
        a, b = getattr(first, name), getattr(second, name)
        weight = share[:, None] if a.ndim == 2 else share
        return weight * a + (1 - weight) * b

    return Detections(mean("xyxy"), (first.score + second.score) / 2, mean("p_galaxy"), mean("p_disk"), first.on_seam)


def halved(found: Detections) -> Detections:
    return Detections(found.xyxy, found.score / 2, found.p_galaxy, found.p_disk, found.on_seam)
