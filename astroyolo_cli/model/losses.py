"""What each head is told: one function a loss, all in float32, each divided by the weights of its positive cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from .assign import Assignment, Targets, assign, paired_iou
from .network import decode, grid_of
from .sizes import strides_of

BOX_WEIGHT = 5.0  # YOLOX
UNSURE = 0.5  # |2 p - 1| below which a teacher's opinion is left out


@dataclass(frozen=True)
class Truth:
    """What is known of a batch.

    Attributes:
        sources: of D_sg images (labels: 0 star, 1 galaxy).
        ignored: image (n,) and boxes (n, 4) of what is neither a source nor empty sky.
        central: the one box of each D_ds image or cutout (labels: 0 smooth, 1 disk).
        has_sources: (B,) bool, True for images of D_sg; the others give no detection and star/galaxy loss.
        taught_disk: (B, cells) float32, the probability of a disk that a teacher gives each cell, for the galaxies among
            ``sources``, whose morphology no label tells; None without a teacher.
    """

    sources: Targets
    ignored: Targets
    central: Targets
    has_sources: torch.Tensor
    taught_disk: torch.Tensor | None = None


def at_least_one(total: torch.Tensor) -> torch.Tensor:
    """What sums of losses are divided by: the weights of the positive cells, but no less than one cell's."""
    return total.clamp(min=1)


def heads_losses(
    outputs: dict[str, torch.Tensor], truth: Truth, size: tuple[int, int], l1: bool = False, divisor=at_least_one
) -> dict[str, torch.Tensor]:
    """Losses by name: box, objectness, star_galaxy, smooth_disk, and l1, which is 0 unless asked for.

    A task without labels in this batch has a loss of 0 that still carries gradients, so that no worker of
    several waits for it.

    Args:
        divisor: sum of the positive cells' weights -> what the losses are divided by; several processes share theirs.
    """
    detection = outputs["detection"]
    corners, strides = grid_of(detection, size)
    boxes = decode(detection, corners, strides)
    objectness = detection[..., 4].float()
    losses = {}
    found = assign(boxes, objectness, truth.sources, size)
    weight = truth.sources.weights()[found.source]
    count = divisor(weight.sum())
    wanted = truth.sources.boxes[found.source]
    losses["box"] = box_loss(boxes[found.image, found.cell], wanted, weight) / count
    cared = cells_that_count(truth, found, weight, size, objectness.shape)
    losses["objectness"] = objectness_loss(objectness, found, cared) / count
    losses["star_galaxy"] = class_loss(outputs["star_galaxy"], truth.sources, found) / count
    losses["l1"] = (l1_loss(detection, wanted, corners, strides, found, weight) / count) * float(l1)
    central = assign(boxes, objectness, truth.central, size)
    morphology = class_loss(outputs["smooth_disk"], truth.central, central)
    known = truth.central.weights()[central.source].sum()
    if truth.taught_disk is not None:
        taught, sure = taught_loss(outputs["smooth_disk"], truth, found)
        morphology, known = morphology + taught, known + sure
    losses["smooth_disk"] = morphology / divisor(known)
    return losses


def box_loss(boxes: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """5 (1 - IoU^2), summed over pairs of boxes (m, 4) with their weights (m,)."""
    return BOX_WEIGHT * ((1 - paired_iou(boxes, wanted) ** 2) * weight).sum()


def objectness_loss(objectness: torch.Tensor, found: Assignment, cared: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of (B, cells) logits, summed over the cells that count."""
    target = torch.zeros_like(objectness)
    target[found.image, found.cell] = 1.0
    return (F.binary_cross_entropy_with_logits(objectness, target, reduction="none") * cared).sum()


def class_loss(logits: torch.Tensor, targets: Targets, found: Assignment) -> torch.Tensor:
    """Cross-entropy of (B, cells, 2) logits at the positive cells whose class is known, summed with the targets' weights."""
    at_cells = logits[found.image, found.cell].float()
    each = F.cross_entropy(at_cells, targets.class_probabilities()[found.source], reduction="none")
    return (each * targets.weights()[found.source]).sum() + 0.0 * logits[:1, :1].float().sum()


def taught_loss(logits: torch.Tensor, truth: Truth, found: Assignment) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of (B, cells, 2) smooth/disk logits with a teacher's opinion at the cells of galaxies, and its weight.

    An opinion weighs |2 p - 1|, and nothing where that is below ``UNSURE``, nor at P2 if the teacher has no such level.
    """
    galaxies = truth.sources.labels[found.source] == 1
    image, cell = found.image[galaxies], found.cell[galaxies]
    cell_of_teacher = cell + truth.taught_disk.shape[1] - logits.shape[1]  # coarse levels come last
    p = truth.taught_disk[image, cell_of_teacher.clamp(min=0)]
    sureness = (2 * p - 1).abs() * (cell_of_teacher >= 0)
    weight = sureness * (sureness >= UNSURE) * truth.sources.weights()[found.source[galaxies]]
    each = F.cross_entropy(logits[image, cell].float(), torch.stack([1 - p, p], 1), reduction="none")
    return (each * weight).sum(), weight.sum()


def l1_loss(detection, wanted, corners, strides, found: Assignment, weight) -> torch.Tensor:
    """Absolute differences of the raw x, y, log w, log h from those that give the wanted boxes, summed with their weights (m,)."""
    stride = strides[found.cell][:, None]
    middle = (wanted[:, :2] + wanted[:, 2:]) / 2 / stride - corners[found.cell]
    extent = torch.log((wanted[:, 2:] - wanted[:, :2]) / stride + 1e-8)
    raw = detection[found.image, found.cell, :4].float()
    return ((raw - torch.cat([middle, extent], 1)).abs().sum(1) * weight).sum()


def cells_that_count(truth: Truth, found: Assignment, weight, size: tuple[int, int], shape) -> torch.Tensor:
    """(B, cells) float32 weights of the objectness: 0 on images without source labels and on ignored cells, a source's on its own."""
    cared = truth.has_sources[:, None].float().repeat(1, shape[1])
    levels = [ignored_cells(truth.ignored, shape[0], size, stride).flatten(1) for stride in strides_of(shape[1], *size)]
    cared[torch.cat(levels, 1)] = 0.0
    cared[found.image, found.cell] = weight
    return cared


def ignored_cells(ignored: Targets, images: int, size: tuple[int, int], stride: int) -> torch.Tensor:
    """(images, rows, columns) bool of one level: cells whose middle lies in an ignored box.

    A box counts as at least as wide as a cell. The corners of all boxes are summed up once along both axes, so
    that the cost does not grow with their areas.
    """
    rows, columns = size[0] // stride, size[1] // stride
    boxes = ignored.boxes
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp(min=stride / 2)
    limits = torch.tensor([columns, rows], device=boxes.device)
    first = torch.ceil((center - half) / stride - 0.5).long().clamp(min=0).minimum(limits)
    beyond = (torch.floor((center + half) / stride - 0.5).long() + 1).clamp(min=0).minimum(limits)
    corners = torch.zeros(images, rows + 1, columns + 1, device=boxes.device)
    for x, y, sign in ((first, first, 1.0), (first, beyond, -1.0), (beyond, first, -1.0), (beyond, beyond, 1.0)):
        corners.index_put_((ignored.image, y[:, 1], x[:, 0]), torch.full_like(center[:, 0], sign), accumulate=True)
    return corners.cumsum(1).cumsum(2)[:, :rows, :columns] > 0.5
