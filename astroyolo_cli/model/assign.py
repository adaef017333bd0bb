"""SimOTA: which cells shall predict which source (Ge et al. 2021, arXiv:2107.08430, section 2).

Every source has few candidates, the 3 x 3 cells around its centre at each level, so the whole batch is
one (n, 27) problem (36 with P2): no loop over images, no dense matrix of sources and cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from .sizes import STRIDES, strides_of

LEAST_CELLS, MOST_CELLS = 1, 10  # that a source takes
NEAR = 5.0  # pixels by which boxes may differ to be alike by 1/e, however little they overlap
IMPOSSIBLE = 1e9


@dataclass(frozen=True)
class Targets:
    """The true sources of a batch, ragged: no image has a limit.

    Attributes:
        image: (n,) int64, index of the image in the batch.
        boxes: (n, 4) float32, x0, y0, x1, y1 in pixels from the corner of the first pixel.
        labels: (n,) int64, index of the class; -1 where it is unknown.
        p_second: (n,) float32, the probability of the second class where it is a matter of votes; None: labels are certain.
        weight: (n,) float32, how much each source counts in the losses; None: all count 1.
    """

    image: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    p_second: torch.Tensor | None = None
    weight: torch.Tensor | None = None

    def weights(self) -> torch.Tensor:
        """(n,) float32, also where all count 1."""
        return torch.ones(len(self.boxes), device=self.boxes.device) if self.weight is None else self.weight

    def class_probabilities(self) -> torch.Tensor:
        """(n, 2) float32; zeros where the class is unknown."""
        second = self.labels.float() if self.p_second is None else self.p_second
        return torch.stack([1 - second, second], 1) * (self.labels >= 0)[:, None]


@dataclass(frozen=True)
class Assignment:
    """Positive cells, one row a cell.

    Attributes:
        image, cell, source: (m,) int64: the image, the cell in it, and the row of ``Targets`` it shall predict.
        fit: (m,) float32, how alike the cell's box and the source's were at the time of the assignment.
    """

    image: torch.Tensor
    cell: torch.Tensor
    source: torch.Tensor
    fit: torch.Tensor


def paired_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Intersection over union of boxes (..., 4) with boxes (..., 4), pair by pair."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    area_a = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1)
    return overlap / (area_a + area_b - overlap).clamp(min=1e-9)


def wasserstein(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Distance in pixels of the Gaussians in boxes (..., 4) and boxes (..., 4), pair by pair (Wang et al. 2021, arXiv:2110.13389)."""
    middle = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    half = (a[..., 2:] - a[..., :2] - b[..., 2:] + b[..., :2]) / 2
    return torch.sqrt(middle.square().sum(-1) + half.square().sum(-1))


def likeness(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """How alike boxes (..., 4) are, pair by pair: their IoU, or exp(-W / ``NEAR``) where that is larger, W their ``wasserstein`` distance.

    A box of a few pixels that is a pixel off overlaps little, and is still as good as one can be had for a faint source.
    """
    return torch.maximum(paired_iou(a, b), torch.exp(-wasserstein(a, b) / NEAR))


def candidate_cells(boxes: torch.Tensor, height: int, width: int, strides: tuple[int, ...] = STRIDES) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells whose middle lies within 1.5 strides of a box's centre along both axes.

    Returns:
        (n, 9 a level) int64 cell indices, and as many bool, False where there is no such cell in the image.
    """
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    around = torch.arange(-1, 2, device=boxes.device)
    dy, dx = (d.reshape(-1) for d in torch.meshgrid(around, around, indexing="ij"))
    cells, exists, first = [], [], 0
    for stride in strides:
        rows, columns = height // stride, width // stride
        x = (centers[:, :1] / stride).floor().long() + dx
        y = (centers[:, 1:] / stride).floor().long() + dy
        near = ((torch.stack([x, y], -1) + 0.5) * stride - centers[:, None]).abs().amax(-1) < 1.5 * stride
        exists.append(near & (x >= 0) & (x < columns) & (y >= 0) & (y < rows))
        cells.append(first + y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1))
        first += rows * columns
    return torch.cat(cells, 1), torch.cat(exists, 1)


@torch.no_grad()
def assign(boxes: torch.Tensor, objectness: torch.Tensor, targets: Targets, size: tuple[int, int]) -> Assignment:
    """Give each source the cells that already predict it best.

    A source takes k = clamp(int(sum of its ten best likenesses), 1, 10) of its candidates, those of the least cost
    -log(sqrt(p_object)) + 3 * -log(likeness); YOLOX has the IoU in place of the likeness. A cell that two sources want goes to
    the one of lower cost (of equal ones to the first). Unlike YOLOX the class has no part in the cost: among dozens of cells some
    call a doubtful source what it is, took it, and the head was never told of its errors (cross-entropy 0.03 at the cells so
    chosen, 0.54 at those chosen without).

    Args:
        boxes: (B, cells, 4) predicted, in pixels from the corner of the first pixel.
        objectness: (B, cells) logits.
        targets: of the batch.
        size: (height, width) of the images in pixels.
    """
    n = len(targets.boxes)
    cells, exists = candidate_cells(targets.boxes, *size, strides_of(boxes.shape[1], *size))
    candidates = cells.shape[1]
    where = targets.image[:, None].expand(-1, candidates), cells
    fit = likeness(boxes[where].float(), targets.boxes[:, None]) * exists
    cost = -3 * torch.log(fit + 1e-8) - F.logsigmoid(objectness[where].float()) / 2
    cost = torch.where(exists, cost, IMPOSSIBLE)
    k = fit.topk(MOST_CELLS, dim=1).values.sum(1).int().clamp(min=LEAST_CELLS)
    order = cost.argsort(dim=1, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(candidates, device=order.device).expand(n, -1))
    chosen = (rank < k[:, None]) & exists
    return _resolve_conflicts(chosen, cost, where, fit, objectness.shape)


def _resolve_conflicts(chosen, cost, where, fit, shape) -> Assignment:
    """Keep of the sources that chose the same cell the one of the least cost, of equal ones the first."""
    source, candidate = chosen.nonzero(as_tuple=True)
    image, cell = where[0][source, candidate], where[1][source, candidate]
    price = cost[source, candidate]
    flat = image * shape[1] + cell
    least = torch.full((shape[0] * shape[1],), float("inf"), device=cost.device).scatter_reduce(0, flat, price, "amin")
    cheapest = price == least[flat]
    first = torch.full_like(least, len(cost), dtype=torch.int64)
    first = first.scatter_reduce(0, flat[cheapest], source[cheapest], "amin")
    kept = cheapest & (source == first[flat])
    return Assignment(image[kept], cell[kept], source[kept], fit[source[kept], candidate[kept]])


def surest_rows(found: Assignment, objectness: torch.Tensor, sources: int) -> torch.Tensor:
    """(sources,) int64, the row of ``found`` whose cell has the highest objectness for each source (of equal ones the last); -1 for none.

    Args:
        objectness: (B, cells) logits.
    """
    order = objectness[found.image, found.cell].argsort(stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    highest = torch.full((sources,), -1, device=order.device).scatter_reduce(0, found.source, rank, "amax")
    return torch.where(highest >= 0, order[highest.clamp(min=0)], -1) if len(order) else highest
