"""Two looks at one tile, as it is and turned by 180 degrees: what both see counts, what one alone sees counts half.

A network sees a faint source differently from each side; the mean of both is steadier than either, and the catalog of a frame
is that of the frame turned.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .arrays import count_up, library, lower_at, order_by
from .detections import Detections, centers, concatenate, overlapping, suppress

SAME = 0.4  # of the smaller box's shorter side, within which boxes of two views are one source
OVERLAP = 0.65  # IoU above which the weaker of two agreed boxes goes


def half_turned(found: Detections, side: int) -> Detections:
    """The detections of a square image of ``side`` pixels turned by 180 degrees, or back."""
    return replace(found, xyxy=side - 1 - found.xyxy[:, [2, 3, 0, 1]])


def consensus(first: Detections, second: Detections) -> Detections:
    """One row a source: mean scores, and boxes and class probabilities weighted by score.

    Sources pair one to one, nearest first, whichever view is called first; what has no partner keeps half its score.
    """
    mate = partners(first, second)
    alone = library(mate).ones_like(second.score, dtype=bool)
    alone[mate[mate >= 0]] = False
    paired = averaged(first.take(mate >= 0), second.take(mate[mate >= 0]))
    return suppress(concatenate([paired, halved(first.take(mate < 0)), halved(second.take(alone))]), OVERLAP)


def partners(first: Detections, second: Detections) -> np.ndarray:
    """(n,) the row of ``second`` that each of ``first`` pairs with, -1 for none."""
    n, i, j = len(first), *pairs_by_distance(first, second)
    xp, places = library(i), count_up(n + len(second), i)
    mate = xp.full_like(places, -1)
    while len(i):  # a pair that is the nearest of both its ends is one; of the others, those whose ends are free are left
        place = count_up(len(i), i)
        nearest = xp.full_like(places, len(i))
        lower_at(nearest, i, place)
        lower_at(nearest, j, place)
        paired = (nearest[i] == place) & (nearest[j] == place)
        mate[i[paired]], mate[j[paired]] = j[paired] - n, i[paired]
        left = (mate[i] < 0) & (mate[j] < 0)
        i, j = i[left], j[left]
    return mate[:n]


def pairs_by_distance(first: Detections, second: Detections):
    """Rows of ``first``, and of ``second`` counted on from them, that may be one source, nearest first."""
    n, both = len(first), concatenate([first, second])
    i, j, _ = overlapping(both.xyxy, image=both.image)  # which near ones do
    across = (i < n) & (j >= n)
    i, j = i[across], j[across]
    xp, center = library(i), centers(both.xyxy)
    side = xp.amin(both.xyxy[:, 2:] - both.xyxy[:, :2], 1)
    distance = xp.hypot(*(center[i] - center[j]).T) / xp.minimum(side[i], side[j])
    order = order_by(distance, i, j)
    order = order[distance[order] < SAME]
    return i[order], j[order]


def averaged(first: Detections, second: Detections) -> Detections:
    """Row by row."""
    share = first.score / (first.score + second.score)

    def mean(name: str):
        a, b = getattr(first, name), getattr(second, name)
        weight = share[:, None] if a.ndim == 2 else share
        return weight * a + (1 - weight) * b

    means = {name: mean(name) for name in ("xyxy", "p_galaxy", "p_disk")}
    return replace(first, score=(first.score + second.score) / 2, **means)


def halved(found: Detections) -> Detections:
    return replace(found, score=found.score / 2)
