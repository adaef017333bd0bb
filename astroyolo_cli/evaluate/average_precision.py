"""COCO's average precision by faster-coco-eval, for fields with more sources than COCO ever had in a picture.

pycocotools' headline stops at 100 detections an image, which hides half of a crowded field. What the truth ignores is a
"crowd" of both classes: a detection on it is neither right nor wrong.
"""

from __future__ import annotations

import numpy as np

from ..errors import AstroYOLOError
from .catalogs import Found
from .truth import Truth

MAX_DETS = 5000  # a field
IOUS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
SIDES = (0, 8, 16, 32, 96, 1e5)  # pixels: edges of the box sizes, as squares of these sides
CLASSES = {1: "star", 2: "galaxy"}
ANY = {1: "source"}
HIGHEST = 1e5**2


def coco_evaluator():
    """faster-coco-eval's classes; an error that says how to get them."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise AstroYOLOError("evaluate needs faster-coco-eval: pip install 'astroyolo[evaluate]'") from error
    return COCO, COCOeval_faster


def average_precision(pairs: list[tuple[Truth, Found]], max_dets: int = MAX_DETS) -> dict:
    """Scores by class and without classes; None where there is no truth to judge by, or no boxes.

    Returns:
        ``mAP(50-95)`` (10 thresholds), ``mAP(50-90)`` (9), ``AP50``, ``AP75`` as means over the classes;
        ``by_class`` and ``any_class`` with the same numbers and ``by_size``; ``max_dets``.
    """
    if not any(np.isfinite(found.boxes).all(axis=1).any() for _, found in pairs) and any(len(found) for _, found in pairs):
        return {"note": "no boxes in this catalog, so no average precision"}
    by_class = summaries(pairs, CLASSES, max_dets)
    names = list(headline(np.zeros((10, 101))))
    mean = {name: mean_of([scores[name] for scores in by_class.values()]) for name in names}
    any_class = summaries(pairs, ANY, max_dets)["source"]
    return mean | {"by_class": by_class, "any_class": any_class, "max_dets": max_dets}


def mean_of(values: list[float | None]) -> float | None:
    """Over classes that there are."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def summaries(pairs, classes: dict[int, str], max_dets: int) -> dict[str, dict]:
    """Class name -> scores."""
    precision = precisions(*coco_dicts(pairs, classes), max_dets)
    return {name: scores_of(precision[:, :, k]) for k, name in enumerate(classes.values())}


def scores_of(precision: np.ndarray) -> dict:
    """Of (IoU, recall, size) precisions: all sizes first, then by size."""
    by_size = {f"{low:g}-{high:g}": headline(precision[..., i + 1])["mAP(50-95)"] for i, (low, high) in enumerate(zip(SIDES, SIDES[1:]))}
    return headline(precision[..., 0]) | {"by_size": by_size, "precision_at_recall": curve(precision[..., 0])}


def headline(precision: np.ndarray) -> dict[str, float | None]:
    """Of (10 IoU, 101 recall) precisions; -1 stands for no truth and is never averaged."""
    if (precision < 0).any():
        return dict.fromkeys(("mAP(50-95)", "mAP(50-90)", "AP50", "AP75"))
    by_iou = precision.mean(axis=1)
    return {"mAP(50-95)": float(by_iou.mean()), "mAP(50-90)": float(by_iou[:9].mean()), "AP50": float(by_iou[0]), "AP75": float(by_iou[5])}


def curve(precision: np.ndarray) -> list[float] | None:
    """Precision at IoU 0.5 for recall 0, 0.01 to 1."""
    return None if (precision < 0).any() else [round(float(p), 4) for p in precision[0]]


def precisions(dataset: dict, detections: list[dict], max_dets: int) -> np.ndarray:
    """(IoU, recall, class, size) precision; -1 where there is no truth."""
    COCO, Evaluator = coco_evaluator()
    truth = COCO(dataset)
    evaluator = Evaluator(truth, truth.loadRes(detections), "bbox")
    areas = [[low**2, high**2] for low, high in zip(SIDES, SIDES[1:])]
    evaluator.params.maxDets = [max_dets]
    evaluator.params.areaRng = [[0, HIGHEST], *areas]
    evaluator.params.areaRngLbl = ["all", *(f"from {low:g}" for low in SIDES[:-1])]
    evaluator.params.iouThrs = np.array(IOUS)
    evaluator.evaluate()
    evaluator.accumulate()
    return np.asarray(evaluator.eval["precision"])[..., 0]


def coco_dicts(pairs: list[tuple[Truth, Found]], classes: dict[int, str]) -> tuple[dict, list[dict]]:
    """The truth as a COCO data set and the detections as COCO results; ids count from 1, as 0 means "none" there."""
    images = [{"id": i, "width": 0, "height": 0} for i in range(1, len(pairs) + 1)]
    annotations = [row for i, (truth, _) in enumerate(pairs, 1) for row in true_rows(i, truth, classes)]
    for number, row in enumerate(annotations, 1):
        row["id"] = number
    detections = [row for i, (_, found) in enumerate(pairs, 1) for row in found_rows(i, found, classes)]
    categories = [{"id": k, "name": name} for k, name in classes.items()]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}, detections


def true_rows(image: int, truth: Truth, classes: dict[int, str]):
    for box, is_galaxy, ignore in zip(corner_boxes(truth.boxes), truth.is_galaxy, truth.ignore):
        own = 2 if is_galaxy and len(classes) > 1 else 1
        for category in classes if ignore else (own,):
            yield {"image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": int(ignore)}


def found_rows(image: int, found: Found, classes: dict[int, str]):
    """By class a detection's score is that of being real times that of its class, as in YOLOX; unknown classes count as galaxies."""
    p_galaxy = np.nan_to_num(found.p_galaxy, nan=1.0)
    usable = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.score)
    score = found.score if len(classes) == 1 else found.score * np.maximum(p_galaxy, 1 - p_galaxy)
    own = np.where((p_galaxy >= 0.5) & (len(classes) > 1), 2, 1)
    for i, box in enumerate(corner_boxes(found.boxes)):
        if usable[i]:
            yield {"image_id": image, "category_id": int(own[i]), "bbox": box, "score": float(score[i])}


def corner_boxes(boxes: np.ndarray) -> list[list[float]]:
    """Edges counted from the centre of the first pixel to COCO's x, y, width, height counted from its corner."""
    return np.concatenate([boxes[:, :2] + 0.5, boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
