"""The look before training: `astroyolo train --check` on small sets whose counts are known."""

import os
import shutil

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from PIL import Image

from astroyolo_cli.cli import cli
from astroyolo_cli.train.check import check_data
from astroyolo_cli.train.samples import held_out


def numbers(stem, trained, held):
    """Numbers whose names ``stem + number`` are for training, and such whose names are held out."""
    sides = [[n for n in range(2000) if held_out(f"{stem}{n}") == side] for side in (False, True)]
    return sides[0][:trained], sides[1][:held]


TRAINED, HELD = numbers("set_", 4, 2)


def check(*arguments):
    return CliRunner().invoke(cli, ["train", "--check", *map(str, arguments)])


def write_set(root, number, seed, sources):
    """A set with one mask a source: (CLASS_ID, width, height) at a place of its own."""
    folder = root / f"set_{number}"
    folder.mkdir(parents=True)
    for i, band in enumerate("grz"):
        counts = np.random.default_rng([seed, i]).normal(50, 2, (64, 64)).astype(np.float32)
        fits.writeto(folder / f"img_{band}.fits", counts)
    hdus = [fits.PrimaryHDU()]
    for i, (class_id, width, height) in enumerate(sources):
        alone = np.zeros((64, 64), np.uint8)
        alone[5 + 15 * i : 5 + 15 * i + height, 20 : 20 + width] = 1
        hdus.append(fits.ImageHDU(alone, fits.Header({"CLASS_ID": class_id})))
    fits.HDUList(hdus).writeto(folder / "masks.fits")


@pytest.fixture
def sg(tmp_path):
    """Four fields for training and two held out; the first held-out one has the pixels of the first trained one."""
    root = tmp_path / "sg"
    for seed, number in enumerate([*TRAINED, *HELD]):
        write_set(root, number, seed, [(1, 9, 9), (2, 12, 10), (2, 1, 8), (2, 0, 0)])
    for band in "grz":
        shutil.copy(root / f"set_{TRAINED[0]}" / f"img_{band}.fits", root / f"set_{HELD[0]}" / f"img_{band}.fits")
    return root


@pytest.fixture
def ds(tmp_path):
    """Thirty smooth and ten disk galaxies of different pixels; two and one of them are held out."""
    rng = np.random.default_rng(0)
    for name, trained, held in (("smooth", 28, 2), ("disk", 9, 1)):
        (tmp_path / "ds" / name).mkdir(parents=True)
        for i in sum(numbers(name, trained, held), []):
            Image.fromarray(rng.integers(0, 200, (40, 40, 3), np.uint8)).save(tmp_path / "ds" / name / f"{name}{i}.png")
    return tmp_path / "ds"


def test_the_check_says_what_would_be_trained_on(tmp_path, sg, ds):
    before = sorted(tmp_path.rglob("*"))
    result = check("--sg", sg, "--ds", ds, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    for line in [
        f"D_sg: 6 fields in {sg}",
        "sources: 6 stars (33 %), 12 galaxies (67 %); 0 more are ignored",
        "boxes below 2 pixels: 6",
        "shorter sides of boxes: 1 to 10 pixels, median 9",
        "masks without any light, left out: 6",
        "held out: 2 fields, 4 for training",
        f"duplicates between training and held out: 1: {sg / f'set_{TRAINED[0]}'} = {sg / f'set_{HELD[0]}'}",
        f"D_ds: 40 cutouts in {ds}",
        "galaxies: 30 smooth (75 %), 10 disk (25 %)",
        "held out: 3 cutouts, 37 for training",
        "ready to train",
    ]:
        assert line in result.stdout
    assert sorted(tmp_path.rglob("*")) == before  # it writes nothing


def test_copies_of_a_cutout_are_found(ds):
    held = next(p for p in sorted(ds.rglob("*.png")) if held_out(p.stem))
    other = next(p for p in sorted(ds.rglob("*.png")) if not held_out(p.stem))
    Image.open(held).save(other, compress_level=0)  # other bytes, the same pixels
    result = check("--ds", ds, "--scheme", "ds-only")
    assert f"held out: 1: {other} = {held}" in result.stdout


def test_all_that_is_unreadable_is_named_and_exits_with_1(sg, ds):
    bad = [sg / f"set_{TRAINED[1]}" / "img_r.fits", ds / "smooth" / "smooth3.png", ds / "disk" / "disk7.png"]
    for path in bad:
        os.truncate(path, 300)
    (sg / f"set_{TRAINED[2]}" / "masks.fits").unlink()
    result = check("--sg", sg, "--ds", ds)
    assert result.exit_code == 1
    problems = [line for line in result.stdout.splitlines() if line.startswith("problem: ")]
    assert len(problems) == 4 and "not ready: 4 problems" in result.stdout
    for path in [*bad, f"set_{TRAINED[2]}"]:
        assert sum(str(path) in line for line in problems) == 1
    assert "D_sg: 4 fields" in result.stdout and "D_ds: 38 cutouts" in result.stdout


def test_few_images_are_not_held_out(tmp_path):
    write_set(tmp_path / "sg", TRAINED[0], 0, [(1, 9, 9)])
    result = check("--sg", tmp_path / "sg", "--scheme", "sg-only")
    assert result.exit_code == 0 and "held out: none, 1 fields are too few" in result.stdout


@pytest.mark.parametrize("sources", [[], [(2, 0, 0)]])
def test_fields_without_any_source_are_a_problem(tmp_path, sources):
    write_set(tmp_path / "sg", 0, 0, sources)
    result = check("--sg", tmp_path / "sg", "--scheme", "sg-only")
    assert result.exit_code == 1 and "no source in any field" in result.stdout


def test_the_scheme_decides_what_is_looked_at(sg, ds):
    report = check_data([sg], ds, "ds-only", 0.5)
    assert not report.problems and not any("D_sg" in line for line in report.lines)
    report = check_data([sg], None, "iterative", 0.5)
    assert len(report.problems) == 1 and "--ds" in report.problems[0]
    assert any("D_sg: 6 fields" in line for line in report.lines)


def test_a_class_that_is_held_out_whole_is_a_problem(ds):
    for path in (ds / "disk").iterdir():
        if not held_out(path.stem):
            path.unlink()
    result = check("--ds", ds, "--scheme", "ds-only")
    assert result.exit_code == 1 and f"problem: {ds}: 1 disk galaxies, all held out" in result.stdout
    assert "held out: 3 cutouts, 28 for training" in result.stdout


def test_an_empty_folder_is_a_problem(tmp_path):
    (tmp_path / "empty").mkdir()
    result = check("--sg", tmp_path / "empty", "--ds", tmp_path / "empty")
    assert result.exit_code == 1 and result.stdout.count("problem: ") == 2 and "Traceback" not in result.output


def test_training_itself_needs_a_folder_to_write_to(sg):
    result = CliRunner().invoke(cli, ["train", "--sg", str(sg)])
    assert result.exit_code == 2 and "--output" in result.output
