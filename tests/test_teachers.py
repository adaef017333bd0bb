"""Teachers: what they add to a batch, and that soft and weighted targets mean what they say."""

import math

import numpy as np
import pytest
import torch

from astroyolo_cli.errors import WeightsError
from astroyolo_cli.model.assign import Targets
from astroyolo_cli.model.checkpoint import Card, save
from astroyolo_cli.model.decoding import cell_grid
from astroyolo_cli.model.losses import Truth, heads_losses
from astroyolo_cli.model.network import AstroYOLO
from astroyolo_cli.train.batches import collate
from astroyolo_cli.train.samples import Sample
from astroyolo_cli.train.teachers import Teachers

SIZE = 64
CELLS = len(cell_grid(SIZE, SIZE)[1])


class Stub(torch.nn.Module):
    """Says the same of every image: boxes with scores at cells of their own, one p_galaxy and one p_disk everywhere."""

    def __init__(self, boxes=(), scores=(), p_galaxy=0.5, p_disk=0.5):
        super().__init__()
        corners, strides = cell_grid(SIZE, SIZE)
        self.detection = torch.zeros(CELLS, 5)
        self.detection[:, 4] = -20
        for cell, (box, score) in enumerate(zip(np.asarray(boxes, float) + 0.5, scores)):
            self.detection[cell, :2] = torch.from_numpy((box[:2] + box[2:]) / 2 / strides[cell] - corners[cell])
            self.detection[cell, 2:4] = torch.from_numpy(np.log((box[2:] - box[:2]) / strides[cell]))
            self.detection[cell, 4] = math.log(score / (1 - score))
        self.classes = {
            name: torch.tensor([0.0, math.log(p / (1 - p))]) for name, p in (("star_galaxy", p_galaxy), ("smooth_disk", p_disk))
        }

    def forward(self, images):
        n = len(images)
        return {"detection": self.detection.expand(n, -1, -1)} | {h: c.expand(n, CELLS, -1) for h, c in self.classes.items()}


def field(boxes, labels):
    image = np.zeros((3, SIZE, SIZE), np.float32)
    return Sample(image, np.array(boxes, np.float32), np.array(labels), np.zeros((0, 4), np.float32), True, ("a field",))


def canvas():
    box = np.array([[10, 10, 40, 40]], np.float32)
    return Sample(np.zeros((3, SIZE, SIZE), np.float32), box, np.array([1]), np.zeros((0, 4), np.float32), False, ("a galaxy",))


def test_a_teacher_of_fields_finds_sources_in_cutouts_and_leaves_doubt_alone():
    batch = collate([field([[5, 5, 15, 15]], [0]), canvas()])
    teacher = Stub([[10, 10, 40, 40], [50, 50, 60, 60]], [0.9, 0.3], p_galaxy=0.8)
    truth = Teachers(fields=teacher).complete(batch).truth
    assert truth.has_sources.tolist() == [True, True]
    assert truth.sources.image.tolist() == [0, 1] and truth.ignored.image.tolist() == [1]
    np.testing.assert_allclose(truth.sources.boxes, [[5.5, 5.5, 15.5, 15.5], [10.5, 10.5, 40.5, 40.5]], atol=0.15)  # bfloat16
    np.testing.assert_allclose(truth.ignored.boxes, [[50.5, 50.5, 60.5, 60.5]], atol=0.25)
    np.testing.assert_allclose(truth.sources.weights(), [1, 0.9], atol=0.005)
    np.testing.assert_allclose(truth.sources.class_probabilities(), [[1, 0], [0.2, 0.8]], atol=0.005)


def test_a_teacher_of_cutouts_speaks_of_fields_alone():
    truth = Teachers(cutouts=Stub(p_disk=0.9)).complete(collate([field([[5, 5, 15, 15]], [1]), canvas()])).truth
    np.testing.assert_allclose(truth.taught_disk[0], 0.9, atol=0.005)
    assert (truth.taught_disk[1] == 0.5).all()  # no opinion: its own label counts


def test_without_teachers_a_batch_stays_as_it_is():
    batch = collate([field([[5, 5, 15, 15]], [0]), canvas()])
    assert Teachers().complete(batch).truth is batch.truth


def morphology_loss(p_disk, labels=(1,)):
    """Of a network that gives every cell the same logits (0, 1), on a field whose only source is a galaxy (or star)."""
    truth = collate([field([[20, 20, 44, 44]], labels)]).truth
    truth = Truth(truth.sources, truth.ignored, truth.central, truth.has_sources, torch.full((1, CELLS), p_disk))
    outputs = {
        "detection": torch.zeros(1, CELLS, 5),
        "star_galaxy": torch.zeros(1, CELLS, 2),
        "smooth_disk": torch.tensor([0.0, 1.0]).expand(1, CELLS, 2),
    }
    return heads_losses(outputs, truth, (SIZE, SIZE))["smooth_disk"].item()


def test_a_teachers_opinion_is_a_soft_target():
    p = 1 / (1 + math.exp(-1))
    entropy = -(0.9 * math.log(p) + 0.1 * math.log(1 - p))
    assert morphology_loss(0.9) == pytest.approx(0.8 * entropy, rel=1e-5)  # |2 p - 1|; one cell, weights below 1 are not blown up
    assert morphology_loss(0.6) == 0.0  # in doubt
    assert morphology_loss(0.9, labels=(0,)) == 0.0  # stars have no morphology


def losses_with(targets):
    none = Targets(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    torch.manual_seed(0)
    outputs = {"detection": torch.randn(1, CELLS, 5), "star_galaxy": torch.randn(1, CELLS, 2), "smooth_disk": torch.randn(1, CELLS, 2)}
    return heads_losses(outputs, Truth(targets, none, none, torch.tensor([True])), (SIZE, SIZE), l1=True)


def test_certain_targets_are_soft_ones_of_zero_and_one():
    image, boxes, labels = torch.tensor([0, 0]), torch.tensor([[4.0, 4, 20, 20], [30, 30, 50, 60]]), torch.tensor([0, 1])
    plain = losses_with(Targets(image, boxes, labels))
    soft = losses_with(Targets(image, boxes, labels, labels.float(), torch.ones(2)))
    assert {k: v.item() for k, v in plain.items()} == {k: v.item() for k, v in soft.items()}


def test_a_source_without_weight_leaves_the_box_and_class_losses_of_the_others():
    image, boxes, labels = torch.tensor([0, 0]), torch.tensor([[4.0, 4, 20, 20], [34, 34, 60, 60]]), torch.tensor([0, 1])
    alone = losses_with(Targets(image[:1], boxes[:1], labels[:1]))
    both = losses_with(Targets(image, boxes, labels, None, torch.tensor([1.0, 0.0])))
    for name in ("box", "star_galaxy", "l1"):
        assert both[name].item() == pytest.approx(alone[name].item(), rel=1e-5)


def test_votes_are_soft_labels():
    sample = canvas()
    sample = Sample(sample.image, sample.boxes, sample.labels, sample.ignored, False, sample.names, np.array([0.7], np.float32))
    central = collate([field([[5, 5, 15, 15]], [0]), sample]).truth.central
    np.testing.assert_allclose(central.class_probabilities(), [[0.3, 0.7]], atol=1e-6)


def test_teachers_are_chosen_by_what_they_learned(tmp_path):
    for name, priors in (("fields", {"star": 0.4}), ("cutouts", {"disk": 0.5}), ("nothing", {})):
        save(AstroYOLO("nano"), Card(size="nano", priors=priors), tmp_path / f"{name}.safetensors")
    teachers = Teachers.from_files((str(tmp_path / "fields.safetensors"),))
    assert teachers.fields is not None and teachers.cutouts is None
    with pytest.raises(WeightsError, match="nothing"):
        Teachers.from_files((str(tmp_path / "nothing.safetensors"),))
