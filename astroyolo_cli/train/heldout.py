"""Detection on what was held out: the mean average precision of every epoch, and the report at the end of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from .. import __version__
from ..detections import centers
from ..evaluate.average_precision import average_precision
from ..evaluate.catalogs import Found
from ..evaluate.classes import class_scores
from ..evaluate.fields import score_fields
from ..evaluate.report import write_report
from ..evaluate.truth import Truth
from ..model.checkpoint import Card
from ..model.decoding import detections_of_images, probability
from .augment import field_sample
from .batches import Data
from .calibrate import CANVASES, ModelEngine, held_out_canvas, judge_canvas
from .samples import Sample, evenly

MOST_FIELDS = 24
LOWEST = 0.02  # score down to which detections are looked at
MOST_BOXES = 2000
MIN_SCORE, RADIUS = 0.3, 3.0  # of the report's counts; pixels


def can_judge(tell: Callable[[str], None]) -> bool:
    """Whether the libraries for figures and average precision are installed; what is missing is told."""
    missing = [name for name in ("matplotlib", "faster_coco_eval") if find_spec(name) is None]
    if missing:
        tell(f"no figures and no average precision without {' and '.join(missing)}: pip install 'astroyolo[evaluate]'")
    return not missing


def detection_scores(model, data: Data) -> dict[str, float]:
    """mAP(50-95) and AP50 on held-out fields; nothing without fields."""
    pairs = judged_fields(ModelEngine(model), data)
    scores = average_precision(pairs) if pairs else {}
    return {f"val_{name}": scores[name] for name in ("mAP(50-95)", "AP50") if name in scores}


@torch.no_grad()
def judged_fields(engine: ModelEngine, data: Data) -> list[tuple[Truth, Found]]:
    """Truth and detections of up to 24 fields from all over the held-out rows, unaugmented.

    Each has a name of its own: fields of several folders can share theirs, and are told apart by their rows.
    """
    if not data.fields:
        return []
    rows = evenly(data.field_rows, MOST_FIELDS)
    samples = [field_sample(data.fields[row], data.stretch, None) for row in rows]
    truths = [replace(truth_of(sample), name=f"{sample.names[0]} ({row})") for row, sample in zip(rows, samples)]
    return [(truth, found_in(engine, sample)) for truth, sample in zip(truths, samples)]


def truth_of(sample: Sample) -> Truth:
    boxes = np.concatenate([sample.boxes, sample.ignored]).astype(float)
    ignore = np.arange(len(boxes)) >= len(sample.boxes)
    is_galaxy = np.concatenate([sample.labels == 1, np.zeros(len(sample.ignored), bool)])
    unknown = np.full(len(boxes), np.nan)
    return Truth(sample.names[0], centers(boxes), boxes, is_galaxy, ignore, unknown, unknown, np.nan)


def found_in(engine: ModelEngine, sample: Sample) -> Found:
    (found,) = detections_of_images(engine, sample.image[None], LOWEST, MOST_BOXES, views=1)
    unknown = np.full(len(found.score), np.nan)
    return Found(centers(found.xyxy).astype(float), found.xyxy.astype(float), found.score, found.p_galaxy, unknown, unknown)


@torch.no_grad()
def report_on_held_out(model, card: Card, data: Data, folder: Path) -> None:
    """The evaluation's page, figures and numbers, of the held-out part."""
    rng = np.random.default_rng(0)
    about = {"data": judged_on(data)} | made_of(data)
    scores = {"schema": 1, "version": __version__, "settings": {"min_score": MIN_SCORE, "radius": RADIUS}, "about": about}
    if pairs := judged_fields(ModelEngine(model, card), data):
        truths, found = zip(*pairs)
        scores["fields"] = {"network": score_fields(list(truths), {t.name: f for t, f in zip(truths, found)}, MIN_SCORE, RADIUS, rng)}
    if data.cutouts:
        parts = [judge_canvas(model, held_out_canvas(data, rng)) for _ in range(CANVASES)]
        p = np.concatenate([probability(part.logits, card.calibration["smooth_disk"]) for part in parts])
        scores["cutouts"] = {"network": class_scores(p, np.concatenate([part.truth for part in parts]), rng)}
    write_report(scores, folder)


def judged_on(data: Data) -> str:
    """What the held-out rows are, in words: of small sets the training data itself."""
    few = " and ".join(data.also_trained)
    if not few:
        return "the part held out from training"
    if len(data.also_trained) == sum(bool(part) for part in (data.fields, data.cutouts)):
        return f"the training data itself: too few {few} to hold any out"
    return f"the part held out from training, but too few {few} to hold any out: of these the training data itself"


def scores_of_card(validated: dict[str, float], data: Data) -> dict[str, float]:
    """The accuracies that weights may state: those on rows that were held out."""
    held_out = [part for part in ("fields", "cutouts") if getattr(data, part) and part not in data.also_trained]
    stated = {"fields": "star_galaxy_accuracy", "cutouts": "smooth_disk_accuracy"}
    return {name: value for name, value in validated.items() if name in [stated[part] for part in held_out]}


def made_of(data: Data) -> dict[str, str]:
    fields = {"fields": f"{min(len(data.field_rows), MOST_FIELDS)} of {len(data.field_rows)}"} if data.fields else {}
    return fields | ({"cutouts": f"{len(data.cutout_rows)}, at the sizes of galaxies in fields"} if data.cutouts else {})
