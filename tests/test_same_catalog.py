"""One input has one catalog, whatever the machine does in parallel."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from conftest import star, tan_wcs

SCORE, PLACE = 2e-4, 1e-3  # what the order of the network's sums may change: probabilities, and pixels


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    """Three tiles' worth of stars of all brightnesses."""
    rng = np.random.default_rng(3)
    shape = (160, 420)
    image = rng.normal(0, 1, shape)
    for flux in np.geomspace(150, 20_000, 60):
        image += star(shape, rng.uniform(5, 415), rng.uniform(5, 155), 3.5, flux)
    path = tmp_path_factory.mktemp("same") / "f.fits"
    fits.writeto(path, image.astype(np.float32), tan_wcs().to_header())
    return path


def catalog(frame, name, *options, threads="1", other=()):
    out = frame.with_name(name)
    code = f"import torch; torch.set_num_threads({threads}); from astroyolo_cli.cli import main; main()"
    small = ("--tile", "192", "--overlap", "64", "--engine", "torch", "--device", "cpu")
    command = [sys.executable, "-c", code, "detect", str(frame), *map(str, other), "-o", str(out), *small, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return out


def same(a: Table, b: Table) -> None:
    """The same sources; their numbers within what float32 sums in another order give."""
    a, b = (table[np.lexsort((table["y"], table["x"]))] for table in (a, b))
    assert abs(len(a) - len(b)) == 0 and list(a["class"]) == list(b["class"])
    for name in ("score", "p_star", "p_disk"):
        np.testing.assert_allclose(a[name], b[name], atol=SCORE)
    for name in ("x", "y"):
        np.testing.assert_allclose(a[name], b[name], atol=PLACE)
    np.testing.assert_allclose(a["flux"], b["flux"], rtol=1e-3)
    assert np.isfinite(a["score"]).all() and ((a["score"] >= 0) & (a["score"] <= 1)).all()


@pytest.mark.slow
def test_threads_batches_and_workers_give_one_catalog(frame):
    """Bitwise where the sums are the same; else within the tolerances above."""
    first = catalog(frame, "a.fits")
    assert catalog(frame, "b.fits").read_bytes() == first.read_bytes()
    whole = Table.read(first)
    assert len(whole) > 20
    for name, threads, options in (
        ("c.fits", 2, ()),
        ("d.fits", 16, ()),
        ("e.fits", 1, ("--batch-size", "1")),
        ("f2.fits", 1, ("--batch-size", "8")),
    ):
        same(Table.read(catalog(frame, name, *options, threads=str(threads))), whole)
    second = frame.with_name("g.fits")
    second.write_bytes(frame.read_bytes())
    folder = catalog(frame, "out", "--workers", "2", other=[second])
    same(Table.read(folder / "f.fits"), whole)
    same(Table.read(folder / "g.fits"), whole)
