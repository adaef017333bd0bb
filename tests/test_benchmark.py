"""astroyolo benchmark: every stage and engine has a time, and the frame that it makes has the stars that it says."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from astroyolo_cli import benchmark
from astroyolo_cli.cli import cli
from astroyolo_cli.model import engine


@pytest.fixture
def torch_alone(monkeypatch):
    """Of the engines."""
    monkeypatch.setattr(engine, "at_hand", lambda name: name == "torch")
    monkeypatch.setattr(benchmark, "ROUNDS", 1)


def test_numbers_for_programs(torch_alone):
    done = CliRunner().invoke(cli, ["benchmark", "--side", "300", "--bands", "3", "--json", "--quiet"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.output)
    assert set(result["frame"]["stages"]) == {"read", "stretch", "network", "measure", "write"}
    assert all(seconds > 0 for seconds in result["frame"]["stages"].values())
    assert result["frame"]["seconds"] == pytest.approx(sum(result["frame"]["stages"].values()), abs=1e-3)
    assert result["megapixels_a_second"] == pytest.approx(0.09 / result["frame"]["seconds"], rel=0.01)
    assert [(one["engine"], one["batch"]) for one in result["engines"]] == [("torch", batch) for batch in benchmark.BATCHES]
    assert result["fastest"] in result["engines"]
    expected = benchmark.DENSITY * 300**2
    assert 0.5 * expected < result["frame"]["rows"] < 1.3 * expected


def test_a_named_engine_alone(monkeypatch):
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    done = CliRunner().invoke(cli, ["benchmark", "--side", "128", "--engine", "torch", "--device", "cpu", "--json", "--quiet"])
    assert done.exit_code == 0, done.output
    assert {one["engine"] for one in json.loads(done.output)["engines"]} == {"torch"}


def test_a_gpu_is_timed_with_images_that_it_holds():
    import torch

    class Gpu:
        device, lanes = torch.device("cpu"), 1

        def __call__(self, images):
            assert isinstance(images, torch.Tensor) and images.shape == (2, 3, benchmark.SIDE, benchmark.SIDE)
            return {"detection": images[:, 0, :, :5]}

    assert benchmark.time_batch(Gpu(), 2) > 0


def test_tables_for_people(torch_alone):
    done = CliRunner().invoke(cli, ["benchmark", "--side", "128"])
    assert done.exit_code == 0, done.output
    for word in ("network", "megapixels a second", "tiles a second", "fastest: torch"):
        assert word in done.output


def test_the_stars_are_as_bright_as_said():
    image = benchmark.stars(np.random.default_rng(1), 600)
    count = int(benchmark.DENSITY * 600**2)
    sigma = benchmark.FWHM / 2.3548
    mean_peak = (10**2.5 - 10**0.5) / (2 * np.log(10))  # of peaks even in the logarithm
    assert image.sum() == pytest.approx(count * mean_peak * 2 * np.pi * sigma**2, rel=0.25)
