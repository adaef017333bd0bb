"""Losses against slow, obvious versions."""

import pytest
import torch

from astroyolo_cli.model.assign import Targets
from astroyolo_cli.model.losses import Truth, heads_losses, ignored_cells
from astroyolo_cli.model.network import AstroYOLO
from astroyolo_cli.model.sizes import STRIDES

SIZE = (96, 128)


def targets(boxes, labels, image=None) -> Targets:
    image = [0] * len(boxes) if image is None else image
    return Targets(
        torch.tensor(image, dtype=torch.int64),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
    )


@pytest.mark.parametrize("stride", STRIDES)
def test_ignored_cells_are_those_whose_middle_lies_in_a_box(stride):
    rng = torch.Generator().manual_seed(stride)
    center = torch.rand(40, 2, generator=rng) * 140 - 5
    half = torch.rand(40, 2, generator=rng) * 20
    ignored = Targets(
        torch.randint(0, 3, (40,), generator=rng), torch.cat([center - half, center + half], 1), torch.zeros(40, dtype=torch.int64)
    )
    got = ignored_cells(ignored, 3, SIZE, stride)
    for image in range(3):
        for row in range(SIZE[0] // stride):
            for column in range(SIZE[1] // stride):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                inside = any(
                    i == image and abs(x - c[0]) <= max(h[0], stride / 2) and abs(y - c[1]) <= max(h[1], stride / 2)
                    for i, c, h in zip(ignored.image.tolist(), center.tolist(), half.tolist())
                )
                assert bool(got[image, row, column]) == inside


def losses_of(truth: Truth, batch: int = 1, size=SIZE):
    torch.manual_seed(3)
    model = AstroYOLO("nano").eval()
    images = torch.rand(batch, 3, *size)
    return model, heads_losses(model(images), truth, size)


def test_an_empty_field_teaches_only_that_nothing_is_there():
    none = targets([], [])
    _, losses = losses_of(Truth(none, none, none, torch.tensor([True])))
    assert losses["objectness"] > 0
    assert all(losses[name] == 0 for name in ("box", "star_galaxy", "smooth_disk", "l1"))


def test_a_cutout_gives_no_detection_nor_star_galaxy_loss():
    none = targets([], [])
    model, losses = losses_of(Truth(none, none, targets([[40, 30, 80, 60]], [1]), torch.tensor([False])))
    assert losses["smooth_disk"] > 0
    assert all(losses[name] == 0 for name in ("box", "objectness", "star_galaxy"))
    sum(losses.values()).backward()
    for head in ("detection", "star_galaxy"):
        assert all(p.grad is None or not p.grad.any() for p in model.heads[head].parameters())
    assert any(p.grad.any() for p in model.backbone.parameters())


def test_every_task_carries_a_gradient_even_without_labels():
    """Several processes wait for each other's gradients: a task without labels must not leave a hole."""
    none = targets([], [])
    _, losses = losses_of(Truth(none, none, none, torch.tensor([True])))
    assert losses["star_galaxy"].requires_grad and losses["smooth_disk"].requires_grad


def test_many_sources_all_count():
    """No label cap: 700 sources of one image are all assigned."""
    from astroyolo_cli.model.assign import assign
    from astroyolo_cli.model.network import decode, grid

    y, x = torch.meshgrid(torch.arange(28) * 18.0 + 9, torch.arange(25) * 20.0 + 9, indexing="ij")
    center = torch.stack([x, y], -1).reshape(-1, 2)
    truth = Targets(torch.zeros(700, dtype=torch.int64), torch.cat([center - 5, center + 5], 1), torch.zeros(700, dtype=torch.int64))
    corners, strides = grid(512, 512)
    raw = torch.zeros(1, len(strides), 5)
    found = assign(decode(raw, corners, strides), raw[..., 4], truth, (512, 512))
    assert len(found.source.unique()) == 700
