"""Raw outputs of any engine to detections in tile pixels; of outputs that PyTorch holds, where they are."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from ..arrays import as_float32, count_up, library, order_by, rows_where
from ..consensus import consensus, half_turned
from ..detections import Detections, distinct, fade_overlapping, join_concentric
from ..enlarge import enlarged
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


def grid_like(detection, size: tuple[int, int]):
    """The grid of outputs (B, cells, ...) for images of (height, width) pixels, where they are."""
    if isinstance(detection, np.ndarray):
        return cell_grid_of(detection.shape[1], size)
    return grid_on(detection.device, detection.shape[1], size)


@lru_cache(maxsize=8)
def grid_on(device, cells: int, size: tuple[int, int]):
    """The same in PyTorch, on a device."""
    import torch

    return tuple(torch.from_numpy(part).to(device) for part in cell_grid_of(cells, size))


def detections_of_images(engine, images, least: float, max_det: int, views: int, lanes: int = 1, zoom: float = 1.0) -> list[Detections]:
    """What each of a batch of square images holds, by one or two views, with raw scores of at least ``least``.

    Args:
        engine: callable as in engine.py, with a card.
        images: (B, 3, side, side) float32; PyTorch's are decoded where they are, and what is found comes back alone.
        views: 1, or 2 for the consensus with the images turned by 180 degrees.
        lanes: of the engine that the views may take at the same time.
        zoom: times that the network sees the images enlarged; boxes are in pixels of the images as they are.
    """
    side, shown = images.shape[-1], enlarged(images, zoom)

    def look(turned: bool) -> Detections:
        outputs = engine(half_a_turn(shown) if turned else shown)
        return decoded(outputs, shown.shape[-2:], least, max_det, engine.card.calibration, zoom)

    seen, *others = spread(look, (False, True)[:views], lanes, fewest=2)
    return by_image(consensus(seen, half_turned(others[0], side)) if others else seen, len(images))


def half_a_turn(images):
    return np.ascontiguousarray(images[:, :, ::-1, ::-1]) if isinstance(images, np.ndarray) else images.flip(2, 3)


def decoded(
    outputs: dict, size: tuple[int, int], least: float, max_det: int, calibration: dict[str, Calibration], zoom: float = 1.0
) -> Detections:
    """What each of a batch of images holds.

    Args:
        outputs: head -> (B, cells, outputs) float32, raw.
        size: (height, width) of the images in pixels.
        least: cells of a lower raw score are not looked at.
        max_det: at most so many boxes of an image are looked at, the best ones.
        calibration: of the class heads; the score stays raw, see ``calibrated``.
        zoom: times that the images were enlarged to this size.

    Returns:
        Boxes in pixels of the image before it was enlarged, the centre of its first pixel at 0; doubles dropped as the paper does,
        then non-maximum suppression, rival boxes of one source joined, scores of overlapping boxes lowered.
    """
    raw = outputs["detection"]
    rows = rows_where(raw[:, :, 4].reshape(-1) >= logit(least))
    image, cell = rows // raw.shape[1], rows % raw.shape[1]
    score = probability(raw[image, cell, 4])
    if len(rows) > max_det:
        best = strongest(score, image, max_det)
        image, cell, score = image[best], cell[best], score[best]
    corners, strides = (part[cell] for part in grid_like(raw, size))
    p_galaxy, p_disk = (
        probability(outputs[head][image, cell, 1] - outputs[head][image, cell, 0], calibration.get(head, UNCALIBRATED))
        for head in ("star_galaxy", "smooth_disk")
    )
    boxes = boxes_of(raw[image, cell], corners, strides / zoom)
    on_seam = library(score).zeros_like(score, dtype=bool)
    found = Detections(boxes, score, p_galaxy, p_disk, on_seam, image if len(raw) > 1 else None)
    return fade_overlapping(join_concentric(distinct(found)))


def strongest(score, image, most: int):
    """Rows of the best scores of each image, at most so many of it."""
    order = order_by(image, -score)
    first = library(image).searchsorted(image[order], image[order])  # row of the image
    return order[count_up(len(order), order) - first < most]


def by_image(found: Detections, images: int) -> list[Detections]:
    """The detections of each of so many images, as NumPy arrays."""
    found = in_numpy(found)
    if found.image is None:
        return [found]
    alone = replace(found, image=None)
    return [alone.take(found.image == number) for number in range(images)]


def in_numpy(found: Detections) -> Detections:
    """Copied from where PyTorch has it, all columns at once."""
    if isinstance(found.xyxy, np.ndarray):
        return found
    image = found.image if found.image is not None else count_up(0, found.score)
    table = library(found.xyxy).cat([found.xyxy.flatten(), found.score, found.p_galaxy, found.p_disk, image.float()]).cpu().numpy()
    boxes, score, p_galaxy, p_disk, image = np.split(table, len(found) * np.array([4, 5, 6, 7]))
    image = None if found.image is None else image.astype(int)
    return Detections(boxes.reshape(-1, 4), score, p_galaxy, p_disk, np.zeros(len(score), bool), image)


def calibrated(found: Detections, calibration: dict[str, Calibration], min_score: float) -> Detections:
    """Scores as probabilities, after all that overlaps and views do to them; the sources that reach ``min_score``."""
    score = probability(log_odds(found.score), calibration.get("detection", UNCALIBRATED))
    return Detections(found.xyxy, score, found.p_galaxy, found.p_disk, found.on_seam).take(score >= min_score)


def least_raw_score(calibration: dict[str, Calibration], min_score: float, views: int) -> float:
    """The raw score down to which a view must be read, so that nothing of ``min_score`` is missed."""
    least = calibration.get("detection", UNCALIBRATED).before(min_score)
    return least if views == 1 else least / 3


def boxes_of(raw, corners, strides):
    """(n, 4) float32 boxes of raw outputs (n, 5).

    The network counts from the corner of the first pixel, everything else here from its centre.
    """
    center = (raw[:, :2] + corners) * strides[:, None] - 0.5
    xp = library(raw)
    half = xp.exp(xp.clip(raw[:, 2:4], None, 8.0)) * strides[:, None] / 2
    return xp.concatenate([center - half, center + half], 1)


def logit(probability: float) -> float:
    """Of 0 to 1; minus infinity for 0."""
    return float(np.log(probability / (1 - probability))) if 0 < probability < 1 else np.inf * (probability - 0.5)


def log_odds(p: np.ndarray) -> np.ndarray:
    """float64 of probabilities of any shape, kept a little above 0 and below 1."""
    p = np.clip(p.astype(np.float64), 1e-9, 1 - 1e-9)
    return np.log(p / (1 - p))


def probability(logits, calibration: Calibration = UNCALIBRATED):
    """float32 in (0, 1)."""
    scaled, xp = (logits - calibration.offset) / calibration.temperature, library(logits)
    return as_float32(1 / (1 + xp.exp(-xp.clip(scaled, -60, 60))))
