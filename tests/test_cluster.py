"""--scheduler: fields done by the workers of a Dask cluster, whatever happens to them; and --log."""

import os
import signal

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from astroyolo_cli.batch import jobs_of, read_manifests
from astroyolo_cli.cli import cli
from astroyolo_cli.inputs import resolve
from astroyolo_cli.jobs import Recipe
from astroyolo_cli.pipeline import DetectSettings
from astroyolo_cli.tables import read_table
from conftest import star

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as made:
        yield made


@pytest.fixture
def frames(tmp_path):
    """Six of 200 x 200 pixels, of other names and stars each."""
    rng = np.random.default_rng(5)
    for i in range(6):
        image = rng.normal(0, 1, (200, 200))
        for x, y in rng.uniform(20, 180, (5, 2)):
            image += star(image.shape, x, y, 4, 900)
        fits.writeto(tmp_path / f"f{i}.fits", image.astype(np.float32))
    return tmp_path


def test_the_catalogs_are_those_of_one_process(cluster, frames, monkeypatch):
    monkeypatch.chdir(frames)
    (frames / "broken.fits").write_text("no frame")
    names = ["f0.fits", "f1.fits", "f2.fits", "broken.fits"]
    for folder, more in (("alone", []), ("together", ["--scheduler", cluster.scheduler_address])):
        done = CliRunner().invoke(cli, ["detect", *names, "-o", folder, "--format", "csv", "--engine", "torch", *more])
        assert done.exit_code == 1 and "broken.fits" in done.stderr and "3 done, 1 failed" in done.stderr
    assert sorted(read_manifests(frames / "together")) == ["broken", "f0", "f1", "f2"]
    for name in ("f0", "f1", "f2"):
        one, other = (read_table(frames / folder / f"{name}.csv") for folder in ("alone", "together"))
        assert len(one) == len(other) > 2
        np.testing.assert_allclose(one["x"], other["x"], atol=1e-3)
    again = [
        "detect",
        *names[:3],
        "-o",
        "together",
        "--format",
        "csv",
        "--engine",
        "torch",
        "--resume",
        "--scheduler",
        cluster.scheduler_address,
    ]
    done = CliRunner().invoke(cli, again)
    assert done.exit_code == 0 and "0 done, 3 kept" in done.stderr


def test_a_killed_workers_fields_are_done_again(cluster, frames, record_property):
    from astroyolo_cli.cluster import run_on_cluster

    record_property("kills", 1)
    jobs, entries = jobs_of(resolve([str(frames / "f*.fits")]), frames, "csv"), []
    with distributed.Client(cluster, set_as_default=False) as client:
        victim = next(iter(client.run(os.getpid).values()))
    for entry in run_on_cluster(jobs, Recipe("nano", "", "auto", "auto", DetectSettings()), cluster.scheduler_address):
        if not entries:
            os.kill(victim, signal.SIGKILL)
        entries.append(entry)
    assert sorted(entry["field"] for entry in entries) == [f"f{i}" for i in range(6)]
    assert all(entry["status"] == "done" and (frames / entry["output"]).is_file() for entry in entries)


def test_what_no_worker_survives_is_an_entry(frames):
    from astroyolo_cli.cluster import entry_of

    class Future:
        status = "error"

        def __init__(self, error):
            self.exception = lambda: error

    job = jobs_of(resolve([str(frames / "f1.fits")]), frames, "csv")[0]
    recipe = Recipe("nano", "", "auto", "auto", DetectSettings())
    killed = distributed.scheduler.KilledWorker("f1", None, 3)
    assert "died" in entry_of(Future(killed), job, recipe)["error"]
    entry = entry_of(Future(ModuleNotFoundError("No module named 'astroyolo_cli'")), job, recipe)
    assert entry["status"] == "failed" and "astroyolo_cli" in entry["error"] and entry["field"] == "f1"


def test_no_scheduler_is_said(frames, monkeypatch):
    from astroyolo_cli import cluster

    monkeypatch.setattr(cluster, "TIMEOUT", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        done = CliRunner().invoke(cli, ["detect", str(frames / "f*.fits"), "-o", str(frames / "c"), "--overwrite", "--scheduler", address])
        assert done.exit_code != 0 and "no Dask scheduler answers" in str(done.exception)


@pytest.mark.parametrize("more, said", [(["-o", "c.csv"], "needs a folder"), (["-o", "c", "--workers", "2"], "leave --workers out")])
def test_what_does_not_go_together(frames, more, said):
    done = CliRunner().invoke(cli, ["detect", str(frames / "f0.fits"), *more, "--scheduler", "tcp://x:1"])
    assert done.exit_code == 2 and said in done.stderr
