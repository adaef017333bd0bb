"""SimOTA without the class in its cost, image by image, whole matrices of sources and cells: the oracle of ours, its rival in speed."""

import math

import torch
from torch.nn import functional as F

from astroyolo_cli.model.assign import Assignment, Targets, likeness
from astroyolo_cli.model.network import grid_of


@torch.no_grad()
def assign_by_image(boxes, objectness, targets: Targets, size) -> Assignment:
    """The same arguments and result as ``assign``, in rows of another order."""
    corners, strides = grid_of(boxes, size)
    centers = (corners + 0.5) * strides[:, None]
    parts = []
    for image in range(len(boxes)):
        rows = (targets.image == image).nonzero().flatten()
        if len(rows):
            parts.append((image, rows, *one_image(boxes[image], objectness[image], targets, rows, centers, strides)))
    empty = torch.zeros(0, dtype=torch.int64)
    if not parts:
        return Assignment(empty, empty, empty, torch.zeros(0))
    image = torch.cat([torch.full_like(cell, number) for number, _, cell, _, _ in parts])
    source = torch.cat([rows[mate] for _, rows, _, mate, _ in parts])
    return Assignment(image, torch.cat([p[2] for p in parts]), source, torch.cat([p[4] for p in parts]))


def one_image(boxes, objectness, targets: Targets, rows, centers, strides):
    """cells, sources (of this image) and likenesses of the positive cells."""
    truth = targets.boxes[rows]
    middle = (truth[:, :2] + truth[:, 2:]) / 2
    near = (centers[None] - middle[:, None]).abs().amax(-1) < 1.5 * strides
    considered = near.any(0).nonzero().flatten()
    near = near[:, considered]
    fit = likeness(boxes[considered].float()[None], truth[:, None]) * near
    cost = -3 * torch.log(fit + 1e-8) - F.logsigmoid(objectness[considered].float()) / 2
    cost = torch.where(near, cost, math.inf)
    matching = torch.zeros_like(cost, dtype=torch.bool)
    for i in range(len(rows)):  # each source its k best cells
        k = max(int(fit[i].sort(descending=True).values[:10].sum()), 1)
        best = cost[i].argsort(stable=True)[: min(k, int(near[i].sum()))]
        matching[i, best] = True
    for j in (matching.sum(0) > 1).nonzero().flatten():  # each cell one source
        wanted = torch.where(matching[:, j], cost[:, j], math.inf)
        matching[:, j] = False
        matching[wanted.argmin(), j] = True
    mate, cell = matching.nonzero(as_tuple=True)
    return considered[cell], mate, fit[mate, cell]
