"""Training: readers, batches, one tile overfitted, and a run that goes on where it stopped."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner
from PIL import Image

from astroyolo_cli.cli import cli
from astroyolo_cli.errors import AstroYOLOError, InputError, WeightsError
from astroyolo_cli.model.checkpoint import load, locate
from astroyolo_cli.model.losses import heads_losses
from astroyolo_cli.model.network import AstroYOLO
from astroyolo_cli.stretch import Stretch
from astroyolo_cli.train.augment import Chances, field_sample, turn
from astroyolo_cli.train.batches import Data, batches, collate, groups_of_phase, kinds_of_phase, with_pictures
from astroyolo_cli.train.canvases import canvas_sample
from astroyolo_cli.train.cutouts import Cutouts, central_box, centre_of_picture
from astroyolo_cli.train.fields import Fields
from astroyolo_cli.train.formats_sets import mask_box
from astroyolo_cli.train.loop import train
from astroyolo_cli.train.optimise import keep_statistics, make_optimizer, set_frozen, train_step
from astroyolo_cli.train.samples import Field
from astroyolo_cli.train.schemes import SCHEMES, Phase
from astroyolo_cli.train.state import Average, Progress, Settings, load_checkpoint, save_checkpoint, save_settings
from astroyolo_cli.train.watch import Watch


def gaussian(size, x, y, sigma, peak):
    yy, xx = np.mgrid[:size, :size]
    return peak * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * sigma**2))


def write_set(folder, seed=0, size=128, masks=False):
    """Four sources on white noise, in the layout of D_sg."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    places = [(30, 40, 2), (90, 35, 5), (64, 100, 2), (20, 90, 5)]
    alone = [gaussian(size, x, y, s, 60).astype(np.float32) for x, y, s in places]
    for band in "grz":
        fits.writeto(folder / f"img_{band}.fits", (sum(alone) + rng.normal(0, 1, (size, size))).astype(np.float32))
    if masks:
        hdus = [fits.ImageHDU(a) for a in alone]
        for hdu, (_, _, s) in zip(hdus, places):
            hdu.header["CLASS_ID"] = 1 if s == 2 else 2
        fits.HDUList([fits.PrimaryHDU(hdus[0].data, hdus[0].header), *hdus[1:]]).writeto(folder / "masks.fits")
        return
    half = [8 if s == 2 else 11 for *_, s in places]
    columns = {
        "class": ["star" if s == 2 else "galaxy" for *_, s in places],
        "snr": [50.0] * 4,
        "ignore": [False] * 4,
        "xmin": [p[0] - h for p, h in zip(places, half)],
        "ymin": [p[1] - h for p, h in zip(places, half)],
        "xmax": [p[0] + h for p, h in zip(places, half)],
        "ymax": [p[1] + h for p, h in zip(places, half)],
    }
    Table(columns).write(folder / "truth.fits")


@pytest.fixture
def sg(tmp_path):
    for i in (0, 3):
        write_set(tmp_path / "sg" / f"set_{i}", seed=i)
    return tmp_path / "sg"


@pytest.fixture
def ds(tmp_path):
    rng = np.random.default_rng(0)
    for label, sigma in (("smooth", (20, 20)), ("disk", (30, 6))):
        folder = tmp_path / "ds" / label
        folder.mkdir(parents=True)
        yy, xx = np.mgrid[:300, :300] - 149.5
        for i in range(6):
            blob = 220 * np.exp(-((xx / sigma[0]) ** 2 + (yy / sigma[1]) ** 2) / 2) + rng.normal(8, 2, (300, 300))
            Image.fromarray(np.stack([blob.clip(0, 255).astype(np.uint8)] * 3, -1)).save(folder / f"{label}{i}.png")
    return tmp_path / "ds"


def test_masks_give_boxes_and_classes(tmp_path):
    write_set(tmp_path / "sg" / "set_7", masks=True)
    field = Fields([tmp_path / "sg"], tmp_path / "cache")[0]
    assert field.labels.tolist() == [0, 1, 0, 1]
    center = (field.boxes[:, :2] + field.boxes[:, 2:]) / 2
    np.testing.assert_allclose(center, [[30, 40], [90, 35], [64, 100], [20, 90]], atol=0.51)
    # A Gaussian of sigma 5 falls to 8 % at 11.2 pixels; the blur moves a circle's edge inwards a little
    assert field.boxes[1, 2] - field.boxes[1, 0] == pytest.approx(22.5, abs=2.1)


def test_the_mask_rule_against_a_slow_version():
    alone = gaussian(60, 31.3, 24.8, 2.5, 7.0)
    above = (alone / alone.max() > 0.005).astype(float)
    kernel = np.array([[np.exp(-(i**2 + j**2) / 8) for j in range(-4, 5)] for i in range(-4, 5)])
    kernel /= kernel.sum()
    blurred = np.array([[(kernel * np.pad(above, 4)[i : i + 9, j : j + 9]).sum() for j in range(60)] for i in range(60)])
    rows, columns = np.nonzero(blurred >= 0.5)
    expected = [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]
    assert mask_box(alone, is_star=True).tolist() == expected


def test_an_empty_mask_is_no_source():
    assert mask_box(np.zeros((9, 9)), is_star=True) is None


def test_missing_parts_are_named(tmp_path, sg):
    (sg / "set_3" / "truth.fits").unlink()
    with pytest.raises(InputError, match="set_3"):
        Fields([sg], tmp_path / "cache")
    with pytest.raises(InputError, match="set_N"):
        Fields([tmp_path], tmp_path / "cache")
    with pytest.raises(InputError, match="smooth"):
        Cutouts(tmp_path, tmp_path / "cache")


def test_a_wrong_class_id_is_named(tmp_path):
    write_set(tmp_path / "sg" / "set_0", masks=True)
    path = tmp_path / "sg" / "set_0" / "masks.fits"
    fits.setval(path, "CLASS_ID", value=3, ext=1)
    with pytest.raises(InputError, match="CLASS_ID 3"):
        Fields([tmp_path / "sg"], tmp_path / "cache")


def test_turned_boxes_still_frame_their_pixels():
    rng = np.random.default_rng(0)
    for _ in range(20):
        image = np.zeros((3, 64, 64))
        image[:, 10:14, 30:45] = 1
        turned, boxes = turn(image, np.array([[29.5, 9.5, 44.5, 13.5]]), rng)
        rows, columns = np.nonzero(turned[0])
        assert boxes[0].tolist() == [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]


def test_augmented_fields_keep_their_sources_in_their_boxes():
    """The brightest pixel stays inside its box, whatever the turn, depth, bands and stretch."""
    signals = np.zeros((3, 512, 512), np.float16)
    signals[:, 100:105, 300:309] = 500
    field = Field(
        signals, np.array([[299.5, 99.5, 308.5, 104.5]], np.float32), np.array([1]), np.array([False]), np.full((1, 3), 900, np.float32)
    )
    for seed in range(12):
        sample = field_sample(field, Stretch(), np.random.default_rng(seed))
        rows, columns = np.nonzero(sample.image.mean(0) > 0.6)
        assert len(sample.boxes) == 1
        assert sample.boxes[0].tolist() == [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]


def test_faint_sources_are_ignored_and_drowned_ones_are_sky():
    boxes = np.array([[10, 10, 20, 20], [40, 40, 60, 60], [80, 80, 90, 90]], np.float32)
    snr = np.array([[1, 1, 1], [30, 30, 30], [3.2, 3.2, 3.2]], np.float32)  # over the bands 1.7, 52 and 5.5
    field = Field(np.zeros((3, 512, 512), np.float16), boxes, np.array([0, 1, 1]), np.zeros(3, bool), snr)
    sample = field_sample(field, Stretch(), None)
    assert sample.boxes.tolist() == [[40, 40, 60, 60]] and sample.ignored.tolist() == [[80, 80, 90, 90]]


def test_what_a_listed_saturated_star_scatters_is_sky_and_the_rest_ignored():
    boxes = np.array([[40, 40, 60, 60], [10, 10, 90, 90], [200, 200, 220, 220]], np.float32)
    snr = np.array([[900, 800, 700], [900, 800, 700], [1000, 1000, 1000]], np.float32)
    field = Field(np.zeros((3, 512, 512), np.float16), boxes, np.array([0, 0, 1]), np.array([False, True, True]), snr)
    sample = field_sample(field, Stretch(), None)
    assert sample.boxes.tolist() == [[40, 40, 60, 60]] and sample.ignored.tolist() == [[200, 200, 220, 220]]


def test_the_central_box_frames_the_galaxy():
    yy, xx = np.mgrid[:256, :256] - 127.5
    disk = np.exp(-((xx / 40) ** 2 + (yy / 12) ** 2) / 2)
    rgb = (np.stack([np.arcsinh(8 * disk) / 8 * 250] * 3)).clip(0, 255).astype(np.uint8)
    box = central_box(rgb)
    assert (box[0] + box[2]) / 2 == pytest.approx(127.5, abs=1.5)
    assert 2 < (box[2] - box[0]) / (box[3] - box[1]) < 4


def test_without_a_central_source_the_box_is_the_middle_half():
    assert central_box(np.full((3, 256, 256), 9, np.uint8)).tolist() == [63.5, 63.5, 191.5, 191.5]


@pytest.mark.parametrize("side", [40, 300])
def test_cutouts_of_16_bits_are_scaled_as_classify_does(tmp_path, side):
    """Pillow's own way to RGB is white above 255 of 65,535."""
    grey = np.linspace(0, 65535, side * side).reshape(side, side).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    Image.fromarray((grey / 257).round().astype(np.uint8)).save(tmp_path / "plain.png")
    (deep, _), (plain, _) = (centre_of_picture(tmp_path / f"{name}.png") for name in ("deep", "plain"))
    np.testing.assert_array_equal(deep, plain)
    assert plain.dtype == np.uint8 and plain.min() < 60 and plain.max() > 200 and plain.std() > 30


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_cutouts_of_8_bits_are_as_pillow_has_them(tmp_path, mode):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)).convert(mode)
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(centre_of_picture(tmp_path / "a.png")[0], np.asarray(picture.convert("RGB")).transpose(2, 0, 1))


def test_canvases_hold_each_galaxy_in_its_box(tmp_path, ds):
    cutouts = Cutouts(ds, tmp_path / "cache")
    sample = canvas_sample(lambda rng: cutouts[rng.integers(len(cutouts))], Stretch(), np.random.default_rng(2))
    assert not sample.is_field and len(sample.boxes) >= 4
    for x0, y0, x1, y1 in sample.boxes.astype(int):
        assert sample.image[:, y0 : y1 + 1, x0 : x1 + 1].mean() > sample.image.mean()


def test_mixed_batches_hold_both_sets():
    kinds = kinds_of_phase(Phase(sg=1.5, ds=0.5), 100)
    assert len(kinds) == 200 and sum(kinds) == 150
    assert all(0 < sum(kinds[i : i + 8]) < 8 for i in range(0, 200, 8))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_schemes_run_and_leave_their_files(tmp_path, sg, ds, scheme):
    settings = Settings((str(sg),), str(ds), scheme=scheme, epochs=2, samples=2, batch_size=2)
    train(settings, tmp_path / "run")
    assert {"last.safetensors", "best.safetensors", "results.csv", "checkpoint.pt", "settings.json"} <= {
        p.name for p in (tmp_path / "run").iterdir()
    }
    assert load(tmp_path / "run" / "last.safetensors")[1].training["scheme"] == scheme
    with (tmp_path / "run" / "results.csv").open() as file:
        first, last = csv.DictReader(file)
    assert (float(first["box"]) > 0) == (scheme != "ds-only")
    assert (float(last["smooth_disk"]) > 0) == (scheme != "sg-only")


def images_of(scheme, epochs):
    phases = [phase for epoch in range(epochs) for phase in SCHEMES[scheme].phases(epoch, epochs)]
    return sum(p.sg for p in phases), sum(p.ds for p in phases)


def test_schemes_of_both_sets_see_equally_many_images():
    assert {name: sum(images_of(name, 10)) for name in SCHEMES} == dict.fromkeys(SCHEMES, 20) | {"sg-only": 10, "ds-only": 10}
    assert images_of("sequential", 10) == images_of("iterative", 10) == images_of("alternating", 10) == (10, 10)


@pytest.mark.parametrize("epochs, first", [(2, 1), (3, 2), (4, 2), (5, 3), (7, 4), (9, 5)])
def test_sequential_changes_the_set_once_and_learns_fields_for_at_least_half(epochs, first):
    kinds = [SCHEMES["sequential"].phases(epoch, epochs)[0].sg > 0 for epoch in range(epochs)]
    assert kinds == [True] * first + [False] * (epochs - first)


@pytest.mark.parametrize("more", [[], ["--check"]])
def test_a_mistyped_scheme_is_wrong_usage_and_leaves_no_folder(tmp_path, sg, more):
    result = CliRunner().invoke(cli, ["train", f"--sg={sg}", "--scheme", "foo", "-o", str(tmp_path / "run"), *more])
    assert result.exit_code == 2 and all(name in result.output for name in SCHEMES)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rows_of_table_1_see_equally_many_images(monkeypatch, scheme):
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("table1", Path(__file__).parents[1] / "benchmarks" / "table1.py")
    table1 = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "table1", table1)  # dataclasses look their module up
    spec.loader.exec_module(table1)
    epochs, samples = table1.length_of(scheme, 10_000)
    fields, cutouts = (samples * part for part in images_of(scheme, epochs))
    assert fields + cutouts == 10_000 and (scheme != "sequential" or fields == cutouts)


def test_frozen_backbone_and_neck_keep_weights_and_statistics(tmp_path, ds):
    cutouts = Cutouts(ds, tmp_path / "cache")
    rng = np.random.default_rng(0)
    batch = collate([canvas_sample(lambda r: cutouts[int(r.integers(len(cutouts)))], Stretch(), rng)])
    model = AstroYOLO("nano").to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    set_frozen(model, True)
    train_step(model, batch, make_optimizer(model, Settings((), "", lr=1e-2)), l1=False)
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"heads"}
    set_frozen(model, False)
    assert model.backbone.training and all(p.requires_grad for p in model.parameters())


def test_with_kept_statistics_an_image_is_seen_alike_in_any_company():
    """As detection sees it; weights still learn, running means and variances do not."""
    torch.manual_seed(0)
    model = AstroYOLO("nano")
    model(torch.rand(4, 3, 64, 64))
    before = {name: value.clone() for name, value in model.named_buffers()}
    image, company = torch.rand(1, 3, 64, 64), 5 * torch.rand(3, 3, 64, 64)
    keep_statistics(model)
    alone, together = (model(batch)["detection"][0] for batch in (image, torch.cat([image, company])))
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-3)
    together.square().sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert all(p.grad is not None for name, p in model.named_parameters() if "heads" not in name)
    set_frozen(model, False)
    assert (model(torch.cat([image, company]))["detection"][0] - alone).abs().max() > 0.01


def statistics_of(path):
    return {name: value for name, value in load(path)[0].state_dict().items() if "running" in name}


@pytest.mark.parametrize("kept", [True, False])
def test_a_run_keeps_the_statistics_of_its_weights_where_it_is_told_to(tmp_path, sg, kept):
    settings = Settings((str(sg),), "", scheme="sg-only", epochs=1, samples=4, batch_size=2, keep_statistics=kept)
    train(settings, tmp_path / "run", start="nano")
    before, after = statistics_of(locate("nano")), statistics_of(tmp_path / "run" / "last.safetensors")
    assert all(torch.equal(after[name], before[name]) for name in before) == kept


def test_a_new_network_has_no_statistics_to_keep(tmp_path, sg):
    result = CliRunner().invoke(cli, ["train", f"--sg={sg}", "--scheme=sg-only", "-o", str(tmp_path / "run"), "--keep-statistics"])
    assert result.exit_code == 2 and "--weights" in result.output
    assert not (tmp_path / "run").exists()


def test_a_network_that_grows_has_no_statistics_to_keep_where_it_is_new(tmp_path, sg):
    settings = Settings((str(sg),), "", scheme="sg-only", epochs=1, samples=4, batch_size=2, size="tiny-dw-p2", keep_statistics=True)
    with pytest.raises(AstroYOLOError, match="tiny-dw-p2 has beyond nano-p2"):
        train(settings, tmp_path / "run", start="nano")


def test_a_run_that_gets_no_better_stops_early(tmp_path, sg, monkeypatch):
    monkeypatch.setattr("astroyolo_cli.train.loop.validate", lambda model, data: {"validation": 1.0})
    settings = Settings((str(sg),), "", scheme="sg-only", epochs=9, samples=2, batch_size=2, patience=2)
    train(settings, tmp_path / "run")
    with (tmp_path / "run" / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3  # the first is the best


def test_a_resumed_run_ends_as_one_that_was_not_stopped(tmp_path, sg, ds):
    whole = Settings((str(sg),), str(ds), scheme="joint", epochs=2, samples=4, batch_size=2)
    train(whole, tmp_path / "whole")

    class Stop(Exception):
        pass

    class StopAfterAnEpoch(Watch):
        def epoch(self, row):
            raise Stop

    with pytest.raises(Stop):
        train(whole, tmp_path / "cut", watch=StopAfterAnEpoch())
    train(whole, tmp_path / "cut", resume=True)
    first, second = (load(tmp_path / run / "last.safetensors")[0].state_dict() for run in ("whole", "cut"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=1e-4)


def test_a_run_with_a_budget_ends_in_it_with_a_small_learning_rate(tmp_path, sg, ds, monkeypatch):
    """The clock is the number of steps: 30 of them are the budget, of 4,000 that the epochs would take."""
    from astroyolo_cli.train import loop

    steps, rates, plain, kept = [], [], [], []

    def counted(model, batch, optimizer, scaler, precision, ranks, l1, forward):
        rates.append(optimizer.param_groups[0]["lr"])
        plain.append(l1)
        kept.append(not any(part.training for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)))
        steps.append(len(batch.images))
        return {"box": 1.0}

    monkeypatch.setattr(loop, "train_step", counted)
    monkeypatch.setattr(loop, "WARM_UP", 5)
    monkeypatch.setattr(loop.time, "monotonic", lambda: 120.0 * len(steps))
    train(Settings((str(sg),), str(ds), scheme="joint", epochs=1000, samples=4, batch_size=2, budget=1.0, lr=1.0), tmp_path / "run")
    assert len(steps) in (30, 31, 32)
    assert rates[-1] < 0.05 and max(rates) < 1.0 and rates[15] > 0.3
    assert not any(plain[:26]) and all(plain[-3:]) and kept == plain
    assert (tmp_path / "run" / "last.safetensors").exists()


def test_batches_of_processes_are_those_of_threads(tmp_path, sg, ds):
    """But for float16, where the chances leave noise out."""
    fields, cutouts = Fields([sg], tmp_path / "cache"), Cutouts(ds, tmp_path / "cache")
    chances = Chances(depth=0, one_band=0.3, two_bands=0.3, injection=0.5)
    data = Data(fields, cutouts, [0, 1], list(range(12)), Stretch(), chances=chances)
    groups = groups_of_phase(Phase(sg=0.75, ds=0.25), 8, 4)
    pairs = list(zip(batches(data, groups, (1, 2, 3)), batches(data, groups, (1, 2, 3), workers=2), strict=True))
    assert len(pairs) == 2
    for here, there in pairs:
        assert there.images.dtype == torch.float16 and any(there.exposures)
        torch.testing.assert_close(with_pictures(there).images, here.images, atol=4e-3, rtol=0)
        torch.testing.assert_close(there.truth.sources.boxes, here.truth.sources.boxes)
        assert there.names == here.names


def test_processes_decode_the_same(tmp_path, sg, ds):
    alone = Fields([sg], tmp_path / "a"), Cutouts(ds, tmp_path / "a")
    shared = Fields([sg], tmp_path / "b", workers=2), Cutouts(ds, tmp_path / "b", workers=2)
    for one, other in zip(alone, shared):
        assert len(one) == len(other) > 0
    for i in range(len(alone[0])):
        np.testing.assert_array_equal(alone[0][i].signals, shared[0][i].signals)
    for i in range(len(alone[1])):
        np.testing.assert_array_equal(alone[1][i].rgb, shared[1][i].rgb)
        np.testing.assert_array_equal(alone[1][i].box, shared[1][i].box)


def test_a_cut_checkpoint_is_named(tmp_path, sg, ds):
    settings = Settings((str(sg),), str(ds), scheme="sg-only", epochs=2, samples=2, batch_size=2)
    train(settings, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="checkpoint.pt"):
        train(settings, tmp_path / "run", resume=True)
    checkpoint.with_name("checkpoint-previous.pt").replace(checkpoint)
    train(settings, tmp_path / "run", resume=True)


def kept_run(folder, size="nano"):
    """A checkpoint of a network that has learned nothing, the one before it, and the run's settings."""
    settings = Settings((), "", size=size)
    model = AstroYOLO(size)
    parts = model, Average(model), make_optimizer(model, settings), torch.amp.GradScaler("cpu", enabled=False)
    for step in (1, 2):
        save_checkpoint(folder / "checkpoint.pt", *parts, Progress(step=step))
    save_settings(settings, folder)
    return parts


def test_a_checkpoint_of_another_network_asks_for_the_runs_own_command(tmp_path):
    assert load_checkpoint(tmp_path / "checkpoint.pt", *kept_run(tmp_path)).step == 2
    (tmp_path / "other").mkdir()
    with pytest.raises(WeightsError) as refused:
        load_checkpoint(tmp_path / "checkpoint.pt", *kept_run(tmp_path / "other", "s"))
    said = str(refused.value)
    assert "another network" in said and f"--size (nano in {tmp_path / 'settings.json'})" in said and "--weights" in said
    assert "previous" not in said and "\n" not in said


def test_a_checkpoint_that_cannot_be_read_has_one_before_it(tmp_path):
    parts = kept_run(tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"cut")
    with pytest.raises(WeightsError, match="not a readable checkpoint.*move checkpoint-previous.pt to its place"):
        load_checkpoint(tmp_path / "checkpoint.pt", *parts)


def test_a_negative_seed_is_wrong_usage(tmp_path):
    ended = CliRunner().invoke(cli, ["train", "--sg", str(tmp_path), "-o", str(tmp_path / "run"), "--seed", "-1"])
    assert ended.exit_code == 2 and "--seed" in ended.output


def test_a_scheme_without_its_data_says_so(tmp_path, sg):
    with pytest.raises(AstroYOLOError, match="--ds"):
        train(Settings((str(sg),), "", scheme="iterative"), tmp_path / "run")


def test_one_tile_is_learned_by_heart(tmp_path, sg):
    """All three losses of a single image fall far below their start within some dozens of steps."""
    torch.manual_seed(0)
    field = Fields([sg], tmp_path / "cache")[0]
    batch = collate([field_sample(field, Stretch(), None)])
    model = AstroYOLO("nano").to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, Settings((), "", lr=2e-3))
    first = train_step(model, batch, optimizer, l1=False)
    for _ in range(200):  # one thread sums otherwise than two, and is later
        last = train_step(model, batch, optimizer, l1=False)
    assert last["star_galaxy"] < 0.1 * first["star_galaxy"]
    assert last["objectness"] < 0.2 * first["objectness"]
    assert last["box"] < 0.6 * first["box"]
    with torch.no_grad():
        losses = heads_losses(model(batch.images), batch.truth, (512, 512))
    assert torch.isfinite(sum(losses.values()))
