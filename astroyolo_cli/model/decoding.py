"""Raw outputs of any engine to detections in tile pixels; NumPy alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..consensus import consensus, half_turned
from ..detections import Detections, drop_doubles, fade_overlapping, join_concentric, suppress
from ..threads import spread
from .checkpoint import Calibration
from .sizes import STRIDES, strides_of

UNCALIBRATED = Calibration()


@lru_cache(maxsize=8)
def cell_grid(height: int, width: int, strides: tuple[int, ...] = STRIDES) -> tuple[np.ndarray, np.ndarray]:
    """Corners (cells, 2) x, y in strides and strides (cells,), in the order of the outputs."""
    corners, each = [], []
    for stride in strides:
        y, x = np.mgrid[: height // stride, : width // stride]
        corners.append(np.stack([x, y], -1).reshape(-1, 2))
        each.append(np.full(x.size, stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(each).astype(np.float32)


def cell_grid_of(cells: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The grid of a network that has so many cells for images of (height, width) pixels."""
    return cell_grid(*size, strides_of(cells, *size))


def detections_of_images(engine, images: np.ndarray, least: float, max_det: int, views: int, lanes: int = 1) -> list[Detections]:
    """What each of a batch of square images holds, by one or two views, with raw scores of at least ``least``.

    Args:
        engine: callable as in engine.py, with a card.
        images: (B, 3, side, side) float32.
        views: 1, or 2 for the consensus with the images turned by 180 degrees.
        lanes: of the engine that the views may take at the same time.
    """
    side = images.shape[-1]

    def look(turned: bool) -> list[Detections]:
        view = np.ascontiguousarray(images[:, :, ::-1, ::-1]) if turned else images
        return decoded(engine(view), side, least, max_det, engine.card.calibration)

    seen, *others = spread(look, (False, True)[:views], lanes, fewest=2)
    return [consensus(a, half_turned(b, side)) for a, b in zip(seen, others[0])] if others else seen


def decoded(outputs, side: int, least: float, max_det: int, calibration) -> list[Detections]:
    batch = len(outputs["detection"])
    one = [{head: output[i] for head, output in outputs.items()} for i in range(batch)]
    return [detections_of_tile(o, (side, side), least, max_det, calibration) for o in one]


def detections_of_tile(
    outputs: dict[str, np.ndarray], size: tuple[int, int], least: float, max_det: int, calibration: dict[str, Calibration]
) -> Detections:
    """What one tile holds.

    Args:
        outputs: head -> (cells, outputs) float32, raw.
        size: (height, width) of the tile in pixels.
        least: cells of a lower raw score are not looked at.
        max_det: at most so many boxes are looked at, the best ones.
        calibration: of the class heads; the score stays raw, see ``calibrated``.

    Returns:
        Boxes in pixels of the tile, the centre of its first pixel at 0; doubles dropped as the paper does,
        then non-maximum suppression, rival boxes of one source joined, scores of overlapping boxes lowered.
    """
    raw = outputs["detection"]
    rows = np.flatnonzero(raw[:, 4] >= logit(least))
    score = probability(raw[rows, 4])
    if len(rows) > max_det:
        best = np.argsort(-score, kind="stable")[:max_det]
        rows, score = rows[best], score[best]
    corners, strides = (part[rows] for part in cell_grid_of(len(raw), size))
    p_galaxy, p_disk = (
        probability(outputs[head][rows, 1] - outputs[head][rows, 0], calibration.get(head, UNCALIBRATED))
        for head in ("star_galaxy", "smooth_disk")
    )
    found = Detections(boxes_of(raw[rows], corners, strides), score, p_galaxy, p_disk, np.zeros(len(rows), bool))
    return fade_overlapping(join_concentric(suppress(drop_doubles(found))))


def calibrated(found: Detections, calibration: dict[str, Calibration], min_score: float) -> Detections:
    """Scores as probabilities, after all that overlaps and views do to them; the sources that reach ``min_score``."""
    score = probability(log_odds(found.score), calibration.get("detection", UNCALIBRATED))
    return Detections(found.xyxy, score, found.p_galaxy, found.p_disk, found.on_seam).take(score >= min_score)


def least_raw_score(calibration: dict[str, Calibration], min_score: float, views: int) -> float:
    """The raw score down to which a view must be read, so that nothing of ``min_score`` is missed."""
    least = calibration.get("detection", UNCALIBRATED).before(min_score)
    return least if views == 1 else least / 3


def boxes_of(raw: np.ndarray, corners: np.ndarray, strides: np.ndarray) -> np.ndarray:
    """(n, 4) boxes of raw outputs (n, 5).

    The network counts from the corner of the first pixel, everything else here from its centre.
    """
    center = (raw[:, :2] + corners) * strides[:, None] - 0.5
    half = np.exp(np.minimum(raw[:, 2:4], 8.0)) * strides[:, None] / 2
    return np.concatenate([center - half, center + half], axis=1).astype(np.float32)


def logit(probability: float) -> float:
    """Of 0 to 1; minus infinity for 0."""
    return float(np.log(probability / (1 - probability))) if 0 < probability < 1 else np.inf * (probability - 0.5)


def log_odds(p: np.ndarray) -> np.ndarray:
    """float64 of probabilities of any shape, kept a little above 0 and below 1."""
    p = np.clip(p.astype(np.float64), 1e-9, 1 - 1e-9)
    return np.log(p / (1 - p))


def probability(logits: np.ndarray, calibration: Calibration = UNCALIBRATED) -> np.ndarray:
    """float32 in (0, 1)."""
    scaled = (logits - calibration.offset) / calibration.temperature
    return (1 / (1 + np.exp(-np.clip(scaled, -60, 60)))).astype(np.float32)
