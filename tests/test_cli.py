"""The command line: help, one run of each command, and errors in one line."""

import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from astroyolo_cli.cli import COMMANDS, cli
from conftest import FakeEngine, star, tan_wcs


@pytest.fixture
def network(monkeypatch):
    """Detection by a network that reports one box."""
    from astroyolo_cli.model import engine

    monkeypatch.setattr(engine, "open_engine", lambda *_: FakeEngine([(20, 30, 36, 46), (475, 465, 491, 481)]))


@pytest.fixture
def field(tmp_path):
    image = np.random.default_rng(0).normal(0, 1, (80, 90)) + star((80, 90), 28, 38, 4, 900)
    path = tmp_path / "field.fits"
    fits.writeto(path, image.astype(np.float32), tan_wcs().to_header())
    return path


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def program(*arguments):
    """The real program in a process of its own."""
    code = "from astroyolo_cli.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_in_commands_to_paste(command):
    result = run(command, "--help")
    assert result.exit_code == 0 and result.output.count(f"astroyolo {command}") >= 2


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from astroyolo_cli.cli import cli; cli(['--help'], standalone_mode=False); "
        "heavy = {'torch', 'astropy', 'numpy', 'photutils', 'scipy', 'rich'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).returncode == 0


def test_a_batch_of_processes_begins_before_what_they_need_is_imported():
    """Each process imports it for itself: the first one only shares the fields out."""
    code = (
        "import sys, astroyolo_cli.cli.detect, astroyolo_cli.batch, astroyolo_cli.settings, astroyolo_cli.write, astroyolo_cli.inputs; "
        "heavy = {'torch', 'astropy', 'openvino', 'onnxruntime', 'scipy', 'rich'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).returncode == 0


def test_modules_of_the_front_do_not_import_torch():
    code = (
        "import sys, astroyolo_cli.read, astroyolo_cli.stretch, astroyolo_cli.tile, astroyolo_cli.measure, astroyolo_cli.write, "
        "astroyolo_cli.train.schemes; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_detect_writes_a_catalog(tmp_path, network, field):
    result = run("detect", field, "-o", tmp_path / "c.fits")
    assert result.exit_code == 0, result.output
    table = fits.getdata(tmp_path / "c.fits", 1)
    assert len(table) == 1 and table["x"][0] == pytest.approx(28, abs=0.05)
    assert fits.getheader(tmp_path / "c.fits", 1)["WGTHASH"]
    assert "c.fits" in result.stderr


def test_detect_is_quiet_when_asked(tmp_path, network, field):
    result = run("detect", field, "-o", tmp_path / "c.csv", "--quiet")
    assert result.exit_code == 0 and result.output == ""


def test_an_output_that_exists_stays(tmp_path, network, field):
    (tmp_path / "c.csv").write_text("mine")
    assert run("detect", field, "-o", tmp_path / "c.csv").exception
    assert (tmp_path / "c.csv").read_text() == "mine"
    assert run("detect", field, "-o", tmp_path / "c.csv", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    "arguments, status, word",
    [
        (["missing.fits", "-o", "c.csv"], 1, "missing.fits"),
        (["field.fits", "-o", "c.xyz"], 1, "known endings"),
        (["field.fits", "-o", "c.csv", "--weights", "nope"], 1, "nope"),
        (["field.fits", "-o", "c.csv", "--tile", "500"], 2, "multiple of 32"),
        (["field.fits", "-o", "c.csv", "--overlap", "512"], 2, "--overlap"),
        (["field.fits", "-o", "c.csv", "--min-score", "7"], 2, "--min-score"),
        (["field.fits", "-o", "c.csv", "--bands", "r,,g"], 2, "--bands"),
        (["field.fits"], 2, "--output"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, field, monkeypatch, arguments, status, word):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    result = program("detect", *arguments)
    assert result.returncode == status
    assert word in result.stderr and "Traceback" not in result.stderr
    if status == 1:
        assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_field_without_wcs_is_catalogued_with_a_note(tmp_path, network, field):
    fits.writeto(tmp_path / "bare.fits", fits.getdata(field))
    result = run("detect", tmp_path / "bare.fits", "-o", tmp_path / "c.csv")
    assert result.exit_code == 0 and "note: bare.fits" in result.stderr


@pytest.mark.parametrize("topic, word", [("columns", "pos.eq.ra;meta.main"), ("flags", "edge of the frame"), ("weights", "nano")])
def test_info(topic, word):
    assert word in run("info", topic).output


def test_the_embedded_weights_find_what_is_there(tmp_path):
    """Bright stars of a simulated sky, with the real network, through the real program."""
    rng = np.random.default_rng(5)
    shape = (512, 512)
    places = [(60 + 97 * i + rng.uniform(0, 9), 60 + 97 * j + rng.uniform(0, 9)) for i in range(5) for j in range(5)]
    image = rng.normal(100, 3, shape) + sum(star(shape, x, y, 3.6, 3000) for x, y in places)
    fits.writeto(tmp_path / "f.fits", image.astype(np.float32), tan_wcs().to_header())
    began = time.monotonic()
    result = program("detect", tmp_path / "f.fits", "-o", tmp_path / "c.fits")
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - began < 120
    table = fits.getdata(tmp_path / "c.fits", 1)
    distance = np.hypot(*(np.array(places)[:, None] - np.stack([table["x"], table["y"]], 1)[None]).transpose(2, 0, 1))
    assert (distance.min(axis=1) < 1).mean() >= 0.96
    assert len(table) <= 30


def test_the_catalog_on_standard_output_is_alone_there(network, field):
    result = run("detect", field, "-o", "-", "--columns", "x,y,class")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0 and lines[0] == "x,y,class" and len(lines) == 2 and lines[1].count(",") == 2
    assert "stars" in result.stderr


def test_columns_that_no_catalog_has_are_said_before_the_work(tmp_path, field):
    assert "info columns" in str(run("detect", field, "-o", tmp_path / "c.csv", "--columns", "x,why").exception)
    assert "boxes" in str(run("detect", field, "-o", tmp_path / "c.reg", "--columns", "x,y").exception)


@pytest.mark.parametrize("name", ["is_primary", "flux_", "fluxes", "mags", "field"])
def test_columns_of_other_commands_are_said_before_detect_works(tmp_path, field, monkeypatch, name):
    monkeypatch.setattr("astroyolo_cli.jobs.opening", lambda *_: pytest.fail("the work began"))
    assert f"--columns: {name!r} is no column" in str(run("detect", field, "-o", tmp_path / "c.csv", "--columns", name).exception)


@pytest.mark.parametrize("name, known", [("flux_r", True), ("mag_err_z", True), ("flux_q", False), ("mag_err_g2", False)])
def test_where_the_bands_are_known_so_are_their_columns(tmp_path, network, name, known):
    for band in "rz":
        fits.writeto(
            tmp_path / f"img_{band}.fits", np.random.default_rng(0).normal(0, 1, (80, 90)).astype(np.float32), tan_wcs().to_header()
        )
    result = run("detect", tmp_path, "-o", tmp_path / "c.csv", "--columns", name)
    assert (tmp_path / "c.csv").exists() == known
    assert known or f"--columns: {name!r} is no column" in str(result.exception)


@pytest.mark.parametrize(
    "option, value",
    [
        ("--zero-point", "bright"),
        ("--zero-point", "r=25,r=26"),
        ("--zero-point", "25,r=26"),
        ("--zero-point", "nan"),
        ("--gain", "0"),
        ("--gain", "z=2,r=-1"),
    ],
)
def test_numbers_by_band_are_checked_before_any_work(tmp_path, option, value):
    result = run("detect", tmp_path / "none.fits", "-o", tmp_path / "c.csv", option, value)
    assert result.exit_code == 2 and value in result.output
