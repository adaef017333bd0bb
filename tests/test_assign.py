"""Assignment against plain, per-image SimOTA written with loops."""

import math

import numpy as np
import pytest
import torch

from astroyolo_cli.model.assign import Assignment, Targets, assign, surest_rows
from astroyolo_cli.model.network import decode, grid
from astroyolo_cli.model.sizes import STRIDES
from plain_simota import assign_by_image

SIZE = (128, 160)


def slow_iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(w, 0) * max(h, 0)
    area = lambda box: max(box[2] - box[0], 0) * max(box[3] - box[1], 0)  # noqa: E731
    return overlap / max(area(a) + area(b) - overlap, 1e-9)


def wasserstein(a, b):
    """Between Gaussians whose means are the boxes' middles and whose sigmas are half their sides."""
    return math.sqrt(sum((p + q - r - s) ** 2 / 4 + (q - p - s + r) ** 2 / 4 for p, q, r, s in zip(a[:2], a[2:], b[:2], b[2:])))


def plain_simota(boxes, objectness, truth, levels=STRIDES):
    """cell -> source for one image, by the words of the paper and YOLOX's rule for candidates, without the class."""
    cells = [(x, y, s) for s in levels for y in range(SIZE[0] // s) for x in range(SIZE[1] // s)]
    wishes = {}
    for source, box in enumerate(truth):
        cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        offers = []
        for cell, (x, y, s) in enumerate(cells):
            if max(abs((x + 0.5) * s - cx), abs((y + 0.5) * s - cy)) >= 1.5 * s:
                continue
            overlap = max(slow_iou(boxes[cell], box), math.exp(-wasserstein(boxes[cell], box) / 5))
            p_object = 1 / (1 + math.exp(-objectness[cell]))
            offers.append((-math.log(math.sqrt(p_object)) - 3 * math.log(overlap + 1e-8), cell, overlap))
        k = max(int(sum(sorted((o[2] for o in offers), reverse=True)[:10])), 1)
        for cost, cell, _ in sorted(offers)[:k]:
            wishes.setdefault(cell, []).append((cost, source))
    return {cell: min(claims)[1] for cell, claims in wishes.items()}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("crowd", [1, 12, 60])
@pytest.mark.parametrize("levels", [STRIDES, (4, *STRIDES)])
def test_assignment_equals_plain_simota(seed, crowd, levels):
    rng = torch.Generator().manual_seed(seed)
    corners, strides = grid(*SIZE, levels)
    raw = torch.randn(2, len(strides), 5, generator=rng) * 0.7
    boxes = decode(raw, corners, strides)
    center = torch.rand(2 * crowd, 2, generator=rng) * torch.tensor([SIZE[1], SIZE[0]])
    half = 2 + 20 * torch.rand(2 * crowd, 2, generator=rng)
    truth = torch.cat([center - half, center + half], 1)
    image = torch.arange(2).repeat_interleave(crowd)
    found = assign(boxes, raw[..., 4], Targets(image, truth, torch.zeros(2 * crowd, dtype=torch.int64)), SIZE)
    for number in range(2):
        mine = image == number
        expected = plain_simota(boxes[number].tolist(), raw[number, :, 4].tolist(), truth[mine].tolist(), levels)
        here = found.image == number
        got = dict(zip(found.cell[here].tolist(), (found.source[here] - number * crowd).tolist()))
        assert got == expected


def test_no_source_gives_no_cell():
    corners, strides = grid(*SIZE)
    raw = torch.zeros(1, len(strides), 5)
    none = Targets(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    found = assign(decode(raw, corners, strides), raw[..., 4], none, SIZE)
    assert len(found.cell) == 0


def test_every_source_in_an_empty_neighbourhood_gets_a_cell():
    """A box that no prediction overlaps still teaches its nearest cells: nothing is silently background."""
    corners, strides = grid(*SIZE)
    raw = torch.full((1, len(strides), 5), -6.0)
    boxes = decode(raw, corners, strides)
    truth = torch.tensor([[40.0, 40, 46, 46], [90, 90, 94, 94]])
    targets = Targets(torch.zeros(2, dtype=torch.int64), truth, torch.zeros(2, dtype=torch.int64))
    found = assign(boxes, raw[..., 4], targets, SIZE)
    assert set(found.source.tolist()) == {0, 1}


@pytest.mark.parametrize("seed", range(4))
def test_assignment_equals_whole_matrices_image_by_image(seed):
    """Bit for bit: the same cells for the same sources as alike, on crowded images."""
    rng = torch.Generator().manual_seed(seed)
    corners, strides = grid(256, 256)
    raw = torch.randn(3, len(strides), 5, generator=rng)
    boxes = decode(raw, corners, strides)
    center, half = torch.rand(300, 2, generator=rng) * 256, 2 + 20 * torch.rand(300, 2, generator=rng)
    targets = Targets(
        torch.randint(0, 3, (300,), generator=rng),
        torch.cat([center - half, center + half], 1),
        torch.randint(-1, 2, (300,), generator=rng),
    )
    ours, plain = (
        {(i, c): (s, o) for i, c, s, o in zip(*(part.tolist() for part in (found.image, found.cell, found.source, found.fit)))}
        for found in (way(boxes, raw[..., 4], targets, (256, 256)) for way in (assign, assign_by_image))
    )
    assert ours == plain and len(ours) > 200


def test_the_surest_cell_of_each_source_whatever_their_order():
    rng = np.random.default_rng(4)
    image, cell = torch.from_numpy(rng.integers(0, 2, 500)), torch.from_numpy(rng.permutation(900)[:500])
    source = torch.from_numpy(rng.integers(0, 40, 500) * 2)  # the odd ones have no cell
    objectness = torch.from_numpy(rng.normal(size=(2, 900)).astype(np.float32))
    best = surest_rows(Assignment(image, cell, source, torch.zeros(500)), objectness, 81)
    for number in range(81):
        rows = torch.nonzero(source == number)[:, 0].tolist()
        expected = max(rows, key=lambda row: objectness[image[row], cell[row]].item()) if rows else -1
        assert best[number] == expected
    none = torch.zeros(0, dtype=torch.int64)
    assert surest_rows(Assignment(none, none, none, torch.zeros(0)), objectness, 2).tolist() == [-1, -1]
