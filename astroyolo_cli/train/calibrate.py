"""Make class probabilities say what they mean, on what was held out from training.

One temperature for each class head (Guo et al. 2017, arXiv:1706.04599), and a temperature and an offset (Platt 1999) for the mean over
views and turns by which cutouts are classified, in colour and grey: a mean of several looks is right more often than each of them says.
The score stays the network's own: fitted on simulated fields it promised too much on real ones, while as it comes it is near the part
that sep confirms (weights/README.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..central import GREY, TURNED, turned_sources
from ..classify import shrunk_middles
from ..detections import centers
from ..model.assign import assign, surest_rows
from ..model.checkpoint import Calibration, Card
from ..model.decoding import detections_of_images, log_odds
from ..model.network import decode, grid_of, outputs_here
from ..stretch import Stretch
from .augment import field_sample
from .batches import Data, collate
from .canvases import canvas_sample
from .samples import SIZE, Sample, evenly

LOWEST = 0.1  # raw score down to which detections are looked at
MOST_BOXES = 3000
NEAR = 0.3  # of the true box's shorter side, within which a detection is that source
MOST_FIELDS, CANVASES = 60, 40
TOGETHER = 16  # cutouts looked at in one batch
IDENTITY = Calibration()


@dataclass(frozen=True)
class Opinions:
    """Logits of a head and what was true: (n,) float and (n,) bool."""

    logits: np.ndarray
    truth: np.ndarray

    @classmethod
    def joined(cls, parts: list[Opinions]) -> Opinions:
        return cls(np.concatenate([p.logits for p in parts]), np.concatenate([p.truth for p in parts]))


@torch.no_grad()
def calibrate(model, data: Data, seed: int = 0) -> dict[str, Calibration]:
    """Head -> calibration, for the heads that the held-out data can judge."""
    fitted = {}
    if data.fields:
        galaxy = [judge_field(model, sample) for sample in held_out_fields(data)]
        fitted["star_galaxy"] = fit_temperature(Opinions.joined(galaxy))
    if data.cutouts:
        rng = np.random.default_rng(seed)
        disk = [judge_canvas(model, held_out_canvas(data, rng)) for _ in range(CANVASES)]
        fitted["smooth_disk"] = fit_temperature(Opinions.joined(disk))
        engine = ModelEngine(model, Card(size=model.size, calibration=dict(fitted)))
        fitted[TURNED], fitted[GREY] = (fit_line(judge_cutouts(engine, data, grey)) for grey in (False, True))
    return fitted


def held_out_fields(data: Data) -> list[Sample]:
    """The fields as they are, unaugmented, at most 60 from all over the rows."""
    return [field_sample(data.fields[i], data.stretch, None) for i in evenly(data.field_rows, MOST_FIELDS)]


def held_out_canvas(data: Data, rng) -> Sample:
    return canvas_sample(lambda r: data.cutouts[data.cutout_rows[r.integers(len(data.cutout_rows))]], Stretch(), rng, augment=True)


class ModelEngine:
    """A network in memory as an engine; without a card it calibrates nothing."""

    def __init__(self, model, card: Card | None = None):
        self.model, self.card = model, card or Card(size=model.size)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {head: output.numpy() for head, output in outputs_here(self.model, torch.from_numpy(images)).items()}


def judge_field(model, sample: Sample) -> Opinions:
    """The field's detections that are true sources: is each a galaxy."""
    (found,) = detections_of_images(ModelEngine(model), sample.image[None], LOWEST, MOST_BOXES, views=2)
    source = match(found.xyxy, sample.boxes)
    matched = source >= 0
    return Opinions(log_odds(found.p_galaxy[matched]), sample.labels[source[matched]] == 1)


def match(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n,) row of the true box that each found box is, -1 for none; one to one, nearest first."""
    source = np.full(len(found), -1)
    if len(found) == 0 or len(truth) == 0:
        return source
    distance = np.hypot(*(centers(found)[:, None] - centers(truth)[None]).transpose(2, 0, 1))
    reach = np.maximum(NEAR * (truth[:, 2:] - truth[:, :2]).min(axis=1), 1.0)
    rows, columns = np.nonzero(distance <= reach)
    taken = np.zeros(len(truth), bool)
    for pair in np.argsort(distance[rows, columns], kind="stable"):
        i, j = rows[pair], columns[pair]
        if source[i] < 0 and not taken[j]:
            source[i], taken[j] = j, True
    return source


def judge_canvas(model, sample: Sample) -> Opinions:
    """The central galaxies of a canvas of cutouts: logit of disk at the best cell of each, and the truth."""
    batch = collate([sample])
    outputs = outputs_here(model, batch.images)
    corners, strides = grid_of(outputs["detection"], (SIZE, SIZE))
    objectness = outputs["detection"][..., 4]
    found = assign(decode(outputs["detection"], corners, strides), objectness, batch.truth.central, (SIZE, SIZE))
    best = surest_rows(found, objectness, len(sample.labels))
    used = best[best >= 0]
    logits = outputs["smooth_disk"][0, found.cell[used]]
    return Opinions((logits[:, 1] - logits[:, 0]).numpy(), sample.labels[found.source[used].numpy()] == 1)


def judge_cutouts(engine: ModelEngine, data: Data, grey: bool) -> Opinions:
    """The held-out cutouts, in colour or ``grey``, as ``astroyolo classify`` looks at them: log odds of a disk, and the truth."""
    told, truth = [], []
    for first in range(0, len(data.cutout_rows), TOGETHER):
        cutouts = [data.cutouts[row] for row in data.cutout_rows[first : first + TOGETHER]]
        images = np.stack([shrunk_middles(cutout.rgb / np.float32(255)) for cutout in cutouts])
        told.append(turned_sources(engine, without_colour(images) if grey else images).p_disk)
        truth += [cutout.label == 1 for cutout in cutouts]
    return Opinions(log_odds(np.concatenate(told)), np.array(truth))


def without_colour(rgb: np.ndarray) -> np.ndarray:
    """(..., 3, h, w) whose three channels are the mean of those given."""
    return np.repeat(rgb.mean(axis=-3, keepdims=True), 3, axis=-3)


def fit_temperature(opinions: Opinions) -> Calibration:
    """logit / temperature of the greatest likelihood."""
    from scipy.optimize import minimize_scalar

    if len(set(opinions.truth.tolist())) < 2:
        return IDENTITY
    fit = minimize_scalar(lambda p: cross_entropy(opinions, np.exp(p)), bounds=(-2, 2), method="bounded")
    return Calibration(float(np.exp(fit.x)), 0.0)


def fit_line(opinions: Opinions) -> Calibration:
    """(logit - offset) / temperature of the greatest likelihood, smooth and disk weighing the same, whatever their numbers."""
    from scipy.optimize import minimize

    if len(set(opinions.truth.tolist())) < 2:
        return IDENTITY
    share = np.mean(opinions.truth)
    weights = np.where(opinions.truth, 0.5 / share, 0.5 / (1 - share))
    bounds = [(-2, 2), (-4, 4)]
    fit = minimize(lambda p: cross_entropy(opinions, np.exp(p[0]), p[1], weights), (0.0, 0.0), method="L-BFGS-B", bounds=bounds)
    return Calibration(float(np.exp(fit.x[0])), float(fit.x[1]))


def cross_entropy(opinions: Opinions, temperature: float, offset: float = 0.0, weights: np.ndarray | float = 1.0) -> float:
    scaled = (opinions.logits - offset) / temperature
    return float(np.mean(weights * np.logaddexp(0, np.where(opinions.truth, -scaled, scaled))))
