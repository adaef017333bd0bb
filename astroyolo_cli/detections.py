"""Sources found in one frame, and the arithmetic of their boxes.

Boxes are (n, 4) arrays x0, y0, x1, y1 in pixels; the centre of the first pixel is (0, 0), so that a box
around the pixels 10 to 19 spans 9.5 to 19.5.

The rules that make one row of several boxes work on NumPy's arrays and on PyTorch's, wherever they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .arrays import as_float32, count_up, library, lower_at, order_by, raise_at, repeated, rows_where, sums_at

CLASSES = ("star", "galaxy")
MORPHOLOGIES = ("smooth", "disk")
MASK_ENDS = {"star": 0.005, "galaxy": 0.08}  # of its peak: where the mask of a source in D_sg ends, whose bounds are its box
MASK_BLUR = 2.0  # pixels, sigma of the blur that rounds the mask


@dataclass(frozen=True)
class Detections:
    """What the network says of a frame, one row a source, highest score first.

    Attributes:
        xyxy: (n, 4) float32, box edges in frame pixels.
        score: (n,) float32, probability that the source is real.
        p_galaxy: (n,) float32; 1 - p_galaxy is the probability of a star.
        p_disk: (n,) float32; 1 - p_disk is the probability of a smooth galaxy, given that it is a galaxy.
        on_seam: (n,) bool, True where the box crosses the border of the core of its tile.
        image: (n,) int, of which of several images looked at together the row is: those of different images never meet. None: of one.
    """

    xyxy: np.ndarray
    score: np.ndarray
    p_galaxy: np.ndarray
    p_disk: np.ndarray
    on_seam: np.ndarray
    image: np.ndarray | None = None

    def __post_init__(self):
        n = len(self.xyxy)
        if self.xyxy.shape != (n, 4):
            raise ValueError(f"xyxy must be (n, 4), got {self.xyxy.shape}")
        for name in ("score", "p_galaxy", "p_disk", "on_seam"):
            if getattr(self, name).shape != (n,):
                raise ValueError(f"{name} must be ({n},), got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.xyxy)

    @classmethod
    def empty(cls) -> Detections:
        none = np.zeros(0, np.float32)
        return cls(np.zeros((0, 4), np.float32), none, none, none, np.zeros(0, bool))

    def take(self, rows: np.ndarray) -> Detections:
        """The rows of an index or boolean array, in its order."""
        return Detections(*(None if values is None else values[rows] for values in vars(self).values()))

    def shifted(self, dx: float, dy: float) -> Detections:
        """The same sources with ``dx``, ``dy`` added to their boxes, as from tile to frame pixels."""
        return replace(self, xyxy=self.xyxy + np.array([dx, dy, dx, dy], np.float32))

    def sorted(self) -> Detections:
        """Highest score first; equal scores by y, then x, so that the order never depends on the tiling."""
        x, y, score = self.xyxy[:, 0], self.xyxy[:, 1], self.score
        if _in_order(-score, _in_order(y, _in_order(x))).all():
            return self
        return self.take(order_by(-score, y, x))


def _in_order(values: np.ndarray, equal: np.ndarray | None = None) -> np.ndarray:
    """(n - 1,) bool: a value is less than the next one, or the same and the two are in order by ``equal``."""
    before, after = values[:-1], values[1:]
    return before <= after if equal is None else (before < after) | (before == after) & equal


def with_prior(p: np.ndarray, assumed: float, wanted: float) -> np.ndarray:
    """Probabilities of a class under another prior: by Bayes, the odds change as the prior odds do.

    >>> float(with_prior(np.array([0.5]), assumed=0.5, wanted=0.8)[0])
    0.8
    """
    return with_odds(p, wanted / (1 - wanted) * (1 - assumed) / assumed)


def with_odds(p: np.ndarray, factor: float) -> np.ndarray:
    """Probabilities whose odds are so many times those of ``p``."""
    return p * factor / (p * factor + (1 - p))


def with_evidence(p: np.ndarray, prior: float, believed: np.ndarray) -> np.ndarray:
    """Probabilities of a class by a part of what speaks for it or against it: their log odds, from the prior's on, times ``believed``.

    >>> with_evidence(np.array([0.9, 0.9, 0.9]), 0.5, np.array([0, 0.5, 1])).round(2).tolist()
    [0.5, 0.75, 0.9]
    """
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return 1 / (1 + (1 - prior) / prior * ((1 - p) / p * prior / (1 - prior)) ** believed)


def concatenate(parts: list[Detections]) -> Detections:
    if not parts:
        return Detections.empty()
    join, columns = library(parts[0].xyxy).concatenate, zip(*(vars(part).values() for part in parts))
    return Detections(*(None if column[0] is None else join(list(column)) for column in columns))


def centers(xyxy: np.ndarray) -> np.ndarray:
    """(n, 2) x, y of the middles of the boxes."""
    return (xyxy[:, :2] + xyxy[:, 2:]) / 2


def areas(xyxy: np.ndarray) -> np.ndarray:
    """(n,) square pixels; 0 for boxes turned inside out."""
    sides = library(xyxy).clip(xyxy[:, 2:] - xyxy[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of boxes (n, 4) and (m, 4); 0 where both are empty."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.prod(np.clip(high - low, 0, None), axis=2)
    union = areas(a)[:, None] + areas(b)[None] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def overlapping(xyxy, above: float = 0.0, image=None):
    """All pairs of boxes (n, 4) whose IoU is above ``above``: rows i < j, and their IoU.

    Along x the boxes are sorted, so that a crowd of small ones costs far less than n^2 comparisons.

    Args:
        image: (n,) int, as in ``Detections``: boxes of different images make no pair.
    """
    xp = library(xyxy)
    order = order_by(xyxy[:, 0]) if image is None else order_by(image, xyxy[:, 0])
    x0, y0, x1, y1 = (column[order] for column in xyxy.T)
    size, place = areas(xyxy)[order], count_up(len(order), xyxy)
    # what begins further right has less than this part of the first box's width in common with it
    furthest = x1 - 0.999 * above * (x1 - x0)
    start, end = (x0, furthest) if image is None else beside_each_other(x0, furthest, image[order])
    count = xp.clip(xp.searchsorted(start, end) - place - 1, 0, None)
    i = repeated(place, count)
    j = count_up(len(i), i) - repeated(xp.cumsum(count, 0) - count, count) + i + 1
    height = xp.minimum(y1[i], y1[j]) - xp.maximum(y0[i], y0[j])
    near = rows_where(height > 0 if image is None else (height > 0) & (image[order[i]] == image[order[j]]))
    i, j = i[near], j[near]
    common = xp.clip(xp.minimum(x1[i], x1[j]) - x0[j], 0, None) * height[near]
    union = size[i] + size[j] - common
    ratio = common / xp.where(union > 0, union, 1.0)
    kept = ratio > above
    i, j = order[i[kept]], order[j[kept]]
    return xp.minimum(i, j), xp.maximum(i, j), ratio[kept]


def beside_each_other(start, end, image):
    """The same places along x, (n,) each, every image beyond the one before; ends a little further, so that rounding parts no pair."""
    if not len(start):
        return start, end
    pitch = end.max() - start.min() + 1
    return start + image * pitch, end + image * pitch + 1e-6 * pitch * (image.max() + 1)


def overlapping_in_strips(xyxy: np.ndarray, some: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of rows whose boxes overlap, in any order; ``some`` boxes next to each other along y at a time.

    Of a whole large frame ``overlapping`` would compare far too many that only x brings together.
    """
    by_y, pairs = np.argsort(xyxy[:, 1], kind="stable"), [np.zeros((2, 0), int)]
    low, high = xyxy[by_y, 1], xyxy[by_y, 3]
    for first in range(0, len(by_y), some):
        end = np.searchsorted(low, high[first : first + some].max())
        near = by_y[first : max(end, first + some)]
        one, other, _ = overlapping(xyxy[near])
        pairs.append(near[np.stack([one, other])[:, one < some]])
    return tuple(np.concatenate(pairs, axis=1))


def leaders(n: int, first, second):
    """(n,) for each row the one that it yields to, the least of them, itself for those that stay; greedy, from row 0 on.

    Args:
        first, second: pairs of rows, first < second, in any order: the second yields if the first does not.
    """
    leader = count_up(n, first)
    gone = library(first).zeros_like(leader, dtype=bool)
    one, other = first, second
    while len(one):  # each time at least the least row that is left is decided
        may_yield = library(first).zeros_like(gone)
        may_yield[other] = True
        gone[other[~may_yield[one]]] = True
        left = may_yield[one] & ~gone[one] & ~gone[other]
        one, other = one[left], other[left]
    decides = ~gone[first]
    lower_at(leader, second[decides], first[decides])
    return leader


def distinct(found: Detections, doubles: float = 0.9, threshold: float = 0.65) -> Detections:
    """One row for boxes that overlap: of two with IoU above ``doubles`` the larger stays, with the higher score, then the better of two
    above ``threshold``. Box and class probabilities are the means of all that went into a row, weighted by score.

    Which row stays is the AstroYOLO paper's rule: the whole of an extended galaxy rather than its core. As box the largest of many
    would be larger than the source.
    """
    found = found.sorted()
    stays, score = larger_of_doubles(found, doubles)
    rows = rows_where(stays == count_up(len(found), stays))
    rows = rows[order_by(-score[rows], found.xyxy[rows, 1], found.xyxy[rows, 0])]
    best = replace(found, score=score).take(rows)
    leader = better_of_overlapping(best, threshold)
    kept, group = leader == count_up(len(rows), leader), library(leader).zeros_like(stays)
    group[rows] = leader
    mean = means_by_score(found, group[stays], kept)
    xyxy = library(stays).stack([mean(found.xyxy[:, edge]) for edge in range(4)], 1)
    return replace(best.take(kept), xyxy=xyxy, p_galaxy=mean(found.p_galaxy), p_disk=mean(found.p_disk))


def means_by_score(found: Detections, group, kept):
    """A function of values (n,): their mean, weighted by score, over the rows of each of the groups that are ``kept``.

    Args:
        group: (n,) the number of the group that each row is in.
        kept: (m,) bool, of all groups.
    """
    weight = sums_at(group, found.score, len(kept))[kept]
    return lambda values: as_float32(sums_at(group, values * found.score, len(kept))[kept] / weight)


def larger_of_doubles(found: Detections, threshold: float):
    """(n,) for each box the larger one of IoU above ``threshold`` that it goes into, and (n,) the best score of all that go into it."""
    xp, by_area = library(found.xyxy), order_by(-areas(found.xyxy))
    place = xp.empty_like(by_area)  # of each row among the largest
    place[by_area] = count_up(len(found), by_area)
    i, j, _ = overlapping(found.xyxy, threshold, found.image)
    one, other = place[i], place[j]
    stays = by_area[leaders(len(found), xp.minimum(one, other), xp.maximum(one, other))][place]
    score = xp.zeros_like(found.score)
    raise_at(score, stays, found.score)
    return stays, score


def better_of_overlapping(found: Detections, threshold: float):
    """(n,) of boxes, the best first, for each the better one of IoU above ``threshold`` that it yields to; itself where it stays."""
    i, j, _ = overlapping(found.xyxy, threshold, found.image)
    return leaders(len(found), i, j)


def suppress(found: Detections, threshold: float = 0.65) -> Detections:
    """Greedy non-maximum suppression, whatever the classes: of overlapping boxes the highest score stays."""
    found = found.sorted()
    stays = better_of_overlapping(found, threshold)
    return found.take(stays == count_up(len(found), stays))


def join_concentric(found: Detections, reach: float = 0.3) -> Detections:
    """One row for boxes around the same centre: rival opinions on one source, such as a star's and a galaxy's box.

    D_sg frames a star down to 0.5 % of its peak and a galaxy down to 8 %, so that a faint source, which may be either,
    has two boxes of little overlap. The box and score of the higher score stay; the class probabilities
    are the means of all, weighted by score.

    Args:
        reach: centres closer than this fraction of the smaller box's shorter side are the same.
    """
    found = found.sorted()
    xp, center = library(found.xyxy), centers(found.xyxy)
    side = xp.amin(found.xyxy[:, 2:] - found.xyxy[:, :2], 1)
    i, j, _ = overlapping(found.xyxy, image=found.image)
    same = xp.hypot(*(center[i] - center[j]).T) < reach * xp.minimum(side[i], side[j])
    stays = leaders(len(found), i[same], j[same])
    kept = stays == count_up(len(found), stays)
    mean = means_by_score(found, stays, kept)
    return replace(found.take(kept), p_galaxy=mean(found.p_galaxy), p_disk=mean(found.p_disk))


def fade_overlapping(found: Detections, alike: float = 4.0, unlike: float = 20.0) -> Detections:
    """Lower the odds of boxes that overlap a better one, most where their sizes differ: that is mostly a second opinion on it.

    The log odds of the weaker box lose IoU^2 (``alike`` + ``unlike`` |ln(ratio of the sides)|), for the better box that takes most of
    them; so a sure star on the flank of a brighter one stays. Soft-NMS (Bodla et al. 2017, arXiv:1704.04503) multiplies the score
    itself, which loses such stars. The form is that of a logistic regression of what is true among overlapping boxes in simulated fields;
    the factors were chosen by the catalogs of others.
    """
    found = found.sorted()
    xp, size = library(found.score), areas(found.xyxy)
    better, weaker, overlap = overlapping(found.xyxy, image=found.image)
    ratio = xp.abs(xp.log(size[better] / size[weaker])) / 2
    loss = xp.zeros_like(found.score)
    raise_at(loss, weaker, overlap**2 * (alike + unlike * ratio))
    return replace(found, score=with_odds(found.score, xp.exp(-loss))).sorted()
