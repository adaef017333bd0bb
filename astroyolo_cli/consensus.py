"""Two looks at one tile, as it is and turned by 180 degrees: what both see counts, what one alone sees counts half.

A network sees a faint source differently from each side; the mean of both is steadier than either, and the catalog of a frame
is that of the frame turned.
"""

from __future__ import annotations

import numpy as np

from .detections import Detections, centers, concatenate, overlapping, suppress

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
    n = len(first)
    mate = np.full(n, -1)
    if n == 0 or len(second) == 0:
        return mate
    boxes = np.concatenate([first.xyxy, second.xyxy])
    i, j, _ = overlapping(boxes)  # which near ones do
    across = (i < n) & (j >= n)
    i, j = i[across], j[across]
    side, center = (boxes[:, 2:] - boxes[:, :2]).min(axis=1), centers(boxes)
    apart = np.hypot(*(center[i] - center[j]).T) / np.minimum(side[i], side[j])
    order = np.lexsort((j, i, apart))
    order = order[apart[order] < SAME]
    mates: dict[int, int] = {}
    for one, other in zip(i[order].tolist(), j[order].tolist()):
        if one not in mates and other not in mates:
            mates |= {one: other, other: one}
    paired = [one for one in mates if one < n]
    mate[paired] = [mates[one] - n for one in paired]
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
