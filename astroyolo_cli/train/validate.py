"""Losses and accuracies on what was held out, in every epoch; quick, and the same images each time."""

from __future__ import annotations

import numpy as np
import torch

from ..model.assign import assign, surest_rows
from ..model.losses import heads_losses
from ..model.network import decode, grid_of, outputs_here
from .augment import field_sample
from .batches import Batch, Data, collate
from .canvases import canvas_sample
from .samples import SIZE, evenly

MOST_FIELDS = 24
CANVASES = 16
BATCH = 8


def validation_batches(data: Data):
    """Unaugmented fields and canvases, at most 24 and 16, from all over the held-out rows."""
    samples = []
    if data.fields:
        samples += [field_sample(data.fields[i], data.stretch, None) for i in evenly(data.field_rows, MOST_FIELDS)]
    if data.cutouts:
        rng = np.random.default_rng(0)
        order = rng.permutation(data.cutout_rows)
        drawn = iter(np.resize(order, 64 * CANVASES))
        samples += [canvas_sample(lambda _: data.cutouts[next(drawn)], data.stretch, rng, augment=False) for _ in range(CANVASES)]
    for i in range(0, len(samples), BATCH):
        yield collate(samples[i : i + BATCH])


@torch.no_grad()
def validate(model, data: Data) -> dict[str, float]:
    """Mean losses by name with the prefix val_, their sum ``validation``, and accuracies at assigned cells."""
    losses, right, seen = [], {"star_galaxy": 0, "smooth_disk": 0}, {"star_galaxy": 0, "smooth_disk": 0}
    for batch in validation_batches(data):
        outputs = outputs_here(model, batch.images)
        losses.append({name: value.item() for name, value in heads_losses(outputs, batch.truth, batch.images.shape[-2:]).items()})
        for head, correct in correct_classes(outputs, batch).items():
            right[head] += int(correct.sum())
            seen[head] += len(correct)
    mean = {f"val_{name}": float(np.mean([row[name] for row in losses])) for name in losses[0]}
    accuracy = {f"{head}_accuracy": right[head] / max(seen[head], 1) for head in right}
    return mean | accuracy | {"validation": sum(mean.values())}


def correct_classes(outputs, batch: Batch) -> dict[str, torch.Tensor]:
    """Head -> bool a labelled source: is the class right at the cell of the highest objectness assigned to it?"""
    corners, strides = grid_of(outputs["detection"], (SIZE, SIZE))
    boxes = decode(outputs["detection"], corners, strides)
    objectness = outputs["detection"][..., 4]
    correct = {}
    for head, targets in (("star_galaxy", batch.truth.sources), ("smooth_disk", batch.truth.central)):
        found = assign(boxes, objectness, targets, (SIZE, SIZE))
        best = surest_rows(found, objectness, len(targets.boxes))
        used = best[best >= 0]
        guess = outputs[head][found.image[used], found.cell[used]].argmax(-1)
        correct[head] = guess == targets.labels[found.source[used]]
    return correct
