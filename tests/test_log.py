"""--log: a field's own log says what happened to it."""

import re
import warnings

import numpy as np
from astropy.io import fits
from click.testing import CliRunner

from astroyolo_cli import jobs
from astroyolo_cli.cli import cli
from astroyolo_cli.errors import AstroYOLOWarning
from astroyolo_cli.log import field_log


def test_a_batch_has_a_log_a_field(tmp_path, monkeypatch):
    fits.writeto(tmp_path / "good.fits", np.random.default_rng(0).normal(0, 1, (100, 100)).astype(np.float32))
    (tmp_path / "bad.fits").write_text("nothing")
    inputs = [str(tmp_path / "good.fits"), str(tmp_path / "bad.fits")]
    done = CliRunner().invoke(cli, ["detect", *inputs, "-o", str(tmp_path / "c"), "--log"])
    assert done.exit_code == 1 and "note: good.fits: no celestial WCS" in done.stderr
    good, bad = ((tmp_path / "c" / f"{name}.log").read_text().splitlines() for name in ("good", "bad"))
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 ", line) for line in good + bad)
    assert "note: good.fits: no celestial WCS" in good[1] and re.search(r"network \d+\.\d+ s", good[2]) and "done: " in good[3]
    assert len(good) == 4 and "failed: " in bad[-1] and "bad.fits" in bad[-1]


def test_an_unforeseen_error_is_in_it_whole(tmp_path, monkeypatch):
    fits.writeto(tmp_path / "f.fits", np.zeros((50, 50), np.float32))
    monkeypatch.setattr(jobs, "catalog_of", lambda *_: 1 / 0)
    CliRunner().invoke(cli, ["detect", str(tmp_path / "f.fits"), "-o", str(tmp_path / "c"), "--log"])
    text = (tmp_path / "c" / "f.log").read_text()
    assert "Traceback" in text and "ZeroDivisionError: division by zero" in text


def test_other_warnings_pass_by(tmp_path):
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: seen.append(str(message))
        with field_log(tmp_path / "a.log"):
            warnings.warn("theirs", UserWarning, stacklevel=1)
            warnings.warn("ours", AstroYOLOWarning, stacklevel=1)
    assert seen == ["theirs", "ours"] and "theirs" not in (tmp_path / "a.log").read_text()


def test_without_a_path_nothing_is_written(tmp_path):
    with field_log(None) as log:
        log.add("a\nb")
    assert len(log.lines) == 2 and not list(tmp_path.iterdir())
