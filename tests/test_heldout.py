"""What is held out and judged: fields of several folders, and sets too small to hold any out."""

import json

import numpy as np
import pytest

from astroyolo_cli.errors import AstroYOLOError, InputError
from astroyolo_cli.evaluate.catalogs import Found
from astroyolo_cli.model.checkpoint import Card, load
from astroyolo_cli.stretch import Stretch
from astroyolo_cli.train import calibrate, heldout, validate
from astroyolo_cli.train.batches import Data
from astroyolo_cli.train.loop import open_data, train
from astroyolo_cli.train.samples import Field, evenly, held_out
from astroyolo_cli.train.schemes import SCHEMES
from astroyolo_cli.train.state import Settings
from test_train import ds, sg  # noqa: F401  (fixtures)


def field(name, x):
    """One galaxy at a column of its own."""
    box = np.array([[x - 5, 95, x + 5, 105]], np.float32)
    return Field(np.zeros((3, 512, 512), np.float16), box, np.array([1]), np.array([False]), np.full((1, 3), np.inf, np.float32), name)


def held_out_data(fields):
    return Data(fields, None, list(range(len(fields))), [], Stretch())


def find_all(engine, sample):
    n = len(sample.boxes)
    boxes, unknown = sample.boxes.astype(float), np.full(n, np.nan)
    return Found((boxes[:, :2] + boxes[:, 2:]) / 2, boxes, np.ones(n), np.ones(n), unknown, unknown)


def test_fields_of_the_same_name_in_two_folders_are_each_judged_by_their_own_detections(tmp_path, monkeypatch):
    monkeypatch.setattr(heldout, "found_in", find_all)
    data = held_out_data([field("set_9", 50), field("set_9", 300)])
    heldout.report_on_held_out(None, Card(size="nano"), data, tmp_path / "report")
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())["fields"]["network"]
    assert scores["completeness"]["fraction"] == scores["purity"]["fraction"] == 1
    assert scores["completeness"]["n"] == 2


def test_of_many_fields_those_of_the_last_folder_are_judged_too(monkeypatch):
    for module in (validate, calibrate, heldout):
        monkeypatch.setattr(module, "MOST_FIELDS", 2)
    monkeypatch.setattr(heldout, "found_in", find_all)
    data = held_out_data([field("a", 50), field("a", 60), field("b", 300)])
    (batch,) = validate.validation_batches(data)
    assert batch.names == (("a",), ("b",))
    assert [sample.names for sample in calibrate.held_out_fields(data)] == [("a",), ("b",)]
    assert [truth.xy[0, 0] for truth, _ in heldout.judged_fields(None, data)] == [50, 300]


@pytest.mark.parametrize("n, most", [(0, 5), (1, 5), (4, 5), (5, 5), (6, 5), (99, 24), (1000, 60)])
def test_rows_are_taken_evenly(n, most):
    rows = evenly([10 * i for i in range(n)], most)
    assert len(set(rows)) == len(rows) == min(n, most) and rows == sorted(rows)
    if rows:
        assert rows[0] == 0 and rows[-1] == 10 * (n - 1)
        assert max(np.diff(rows), default=10) - min(np.diff(rows), default=10) <= 10


def test_a_set_too_small_to_hold_any_out_is_said_to_be_judged_on_itself(tmp_path, sg, ds):  # noqa: F811
    """Of the fields one in two is held out by its name, of the cutouts none."""
    lines = []
    training, judged = open_data(Settings((str(sg),), str(ds)), SCHEMES["joint"], tmp_path / "cache", lines.append)
    assert lines[-1] == (
        "D_sg: 1 fields for training, 1 held out; D_ds: 12 cutouts, too few to hold any out: judged on the training data itself"
    )
    assert judged.also_trained == ("cutouts",) and training.cutout_rows == judged.cutout_rows


def test_scores_on_training_data_are_neither_called_held_out_nor_put_on_the_card(tmp_path, sg, ds):  # noqa: F811
    train(Settings((str(sg),), str(ds), scheme="joint", epochs=1, samples=2, batch_size=2), tmp_path / "run")
    assert set(load(tmp_path / "run" / "last.safetensors")[1].scores) == {"star_galaxy_accuracy"}
    about = json.loads((tmp_path / "run" / "held_out" / "scores.json").read_text())["about"]
    assert "too few cutouts to hold any out" in about["data"]


@pytest.mark.parametrize(
    "also_trained, words",
    [
        ((), "the part held out from training"),
        (("cutouts",), "the part held out from training, but too few cutouts to hold any out: of these the training data itself"),
        (("fields", "cutouts"), "the training data itself: too few fields and cutouts to hold any out"),
    ],
)
def test_what_is_judged_in_words(also_trained, words):
    data = Data([0], [0], [0], [0], Stretch(), also_trained=also_trained)
    assert heldout.judged_on(data) == words
    validated = {"star_galaxy_accuracy": 0.9, "smooth_disk_accuracy": 0.8, "val_box": 1.0}
    assert len(heldout.scores_of_card(validated, data)) == 2 - len(also_trained)


def test_without_a_galaxy_of_each_class_for_training_it_does_not_begin(tmp_path, ds):  # noqa: F811
    """It used to look for one for ever."""
    number = next(n for n in range(200) if held_out(f"disk{n}"))
    for path in sorted((ds / "disk").iterdir())[1:]:
        path.unlink()
    (ds / "disk" / "disk0.png").rename(ds / "disk" / f"disk{number}.png")
    with pytest.raises(InputError, match="1 disk galaxies, all held out"):
        open_data(Settings((), str(ds), scheme="ds-only"), SCHEMES["ds-only"], tmp_path / "cache", lambda line: None)


def test_a_scheme_in_two_stages_needs_two_epochs(tmp_path, sg, ds):  # noqa: F811
    settings = Settings((str(sg),), str(ds), scheme="sequential", epochs=1)
    with pytest.raises(AstroYOLOError, match="--epochs 1: must be 2 or more"):
        open_data(settings, SCHEMES["sequential"], tmp_path / "cache", lambda line: None)
