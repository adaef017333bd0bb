"""What the network says of the source in the middle of each picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .detections import Detections, concatenate
from .enlarge import enlarged
from .model.decoding import UNCALIBRATED, boxes_of, calibrated, cell_grid_of, detections_of_images, log_odds, probability

LOWEST = 0.02  # score of a view down to which detections are looked at
MOST_BOXES = 300
TURNS = 4  # a galaxy is what it is, however it is turned
TURNED = "smooth_disk_turned"  # the calibration of the mean of all turns, which is less sure than it is right
GREY = f"{TURNED}_grey"  # that of pictures without colour, whose arms and bulges look alike: they were called disks too often
REACHES = (0.5, 1.0, np.inf)  # parts of a box's half sides within which it holds the middle


def central_sources(engine, images: np.ndarray, off_centre: float = 0.0, zoom: float = 1.0) -> Detections:
    """One source a picture, in their order: the surest detection in the middle, as detect would find it; without any, the surest cell.

    Args:
        images: (B, 3, side, side) float32, side a multiple of 32.
        off_centre: pixels by which the source lies left of and below the centre.
        zoom: times that the network sees the pictures enlarged.

    Returns:
        Boxes in pixels of the picture, the centre of the first at 0.
    """
    calibration, middle = engine.card.calibration, (images.shape[-1] - 1) / 2 - off_centre
    seen = detections_of_images(engine, images, LOWEST, MOST_BOXES, views=2, zoom=zoom)
    rows = [central_row(found.xyxy, found.score, middle, REACHES[:-1]) for found in seen]
    parts = [found.take(np.array([row])) if row is not None else None for found, row in zip(seen, rows)]
    without = [number for number, part in enumerate(parts) if part is None]
    if without:
        cells = surest_cells(engine, images[without], middle, zoom)
        for place, number in enumerate(without):
            parts[number] = cells.take(np.array([place]))
    return calibrated(concatenate(parts), calibration, 0.0)


def turned_sources(engine, images: np.ndarray) -> Detections:
    """One source a picture, the calibrated mean of what is said of the four quarter turns of its views; box and score are of the first.

    Args:
        images: (B, views, 3, side, side) float32, side a multiple of 32, the source in the centre; as many views of each picture.
    """
    views = [np.rot90(view, turn, (2, 3)) for view in images.swapaxes(0, 1) for turn in range(TURNS)]
    looks = [central_sources(engine, np.ascontiguousarray(view)) for view in views]
    galaxy, disk = (log_odds(np.stack([getattr(look, name) for look in looks])).mean(axis=0) for name in ("p_galaxy", "p_disk"))
    colourless = (images == images[:, :, :1]).all(axis=(1, 2, 3, 4))
    coloured = engine.card.calibration.get(TURNED, UNCALIBRATED)
    grey = engine.card.calibration.get(GREY, coloured)
    p_disk = np.where(colourless, probability(disk, grey), probability(disk, coloured))
    return replace(looks[0], p_galaxy=probability(galaxy), p_disk=p_disk)


def surest_cells(engine, images: np.ndarray, middle: float, zoom: float) -> Detections:
    """What the surest cell at (middle, middle) of each picture says, however little that is."""
    shown = enlarged(images, zoom)
    outputs = engine(shown)
    corners, strides = cell_grid_of(outputs["detection"].shape[1], shown.shape[2:])
    boxes = np.stack([boxes_of(detection, corners, strides / zoom) for detection in outputs["detection"]])
    objectness = outputs["detection"][..., 4]
    cells = [central_row(box, logits, middle) for box, logits in zip(boxes, objectness)]
    rows = np.arange(len(images)), np.array(cells, int)
    p_galaxy, p_disk = (
        probability(outputs[head][rows][:, 1] - outputs[head][rows][:, 0], engine.card.calibration.get(head, UNCALIBRATED))
        for head in ("star_galaxy", "smooth_disk")
    )
    return Detections(boxes[rows], probability(objectness[rows]), p_galaxy, p_disk, np.zeros(len(images), bool))


def central_row(boxes: np.ndarray, score: np.ndarray, middle: float, reaches: tuple[float, ...] = REACHES) -> int | None:
    """The row of the surest box with (middle, middle) in its own middle half; without one, in all of it, and so on; None without any."""
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    off = (np.abs(center - middle) / half).max(axis=1, initial=0)
    for reach in reaches:
        if (held := np.flatnonzero(off <= reach)).size:
            return int(held[score[held].argmax()])
    return None
