"""Weight files: what is written is read back, and nothing else is let in."""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from astroyolo_cli.errors import WeightsError
from astroyolo_cli.model.checkpoint import Card, embedded, load, locate, save
from astroyolo_cli.model.engine import TorchEngine
from astroyolo_cli.model.network import AstroYOLO
from astroyolo_cli.stretch import Stretch


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    save(AstroYOLO("nano"), Card(size="nano", stretch=Stretch(-1, 20, 5), priors={"star": 0.4}), path)
    return path


def edit_metadata(path, change) -> None:
    """Rewrite the safetensors header by hand: 8 bytes of length, then JSON."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def test_saved_and_loaded_networks_agree(weights):
    torch.manual_seed(0)
    original = AstroYOLO("nano").eval()
    loaded, card = load(weights)
    image = torch.rand(1, 3, 64, 64)
    for head, output in original(image).items():
        torch.testing.assert_close(loaded(image)[head], output)
    assert card.stretch == Stretch(-1, 20, 5) and card.priors == {"star": 0.4}


def test_folding_the_normalisation_changes_nothing(weights):
    model, _ = load(weights)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 2)
    save(model, Card(size="nano"), weights)
    image = np.random.default_rng(0).random((2, 3, 64, 96), np.float32)
    expected = load(weights)[0](torch.from_numpy(image))
    for head, output in TorchEngine(weights, "cpu")(image).items():
        np.testing.assert_allclose(output, expected[head].detach().numpy(), atol=2e-4, rtol=1e-3)


def test_nothing_partial_is_left(weights, tmp_path):
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda h: h["__metadata__"].update(schema="99"), "schema"),
        (lambda h: h.pop("__metadata__"), "schema"),
        (lambda h: h["__metadata__"].update(size="huge"), "size"),
        (lambda h: h["__metadata__"].update(size="tiny"), "lacks"),
        (lambda h: h["neck.lateral5.0.weight"].update(shape=[256, 128, 1, 1]), "must be"),
        (lambda h: h["__metadata__"].update(stretch="{"), "metadata"),
        (lambda h: h["__metadata__"].update(stretch='{"Q": NaN}'), "finite"),
        (lambda h: h["__metadata__"].update(stretch='{"stretch": -1}'), "stretch"),
        (lambda h: h["__metadata__"].update(fwhm_range="[8, 2]"), "fwhm_range"),
        (lambda h: h["__metadata__"].update(fwhm_range="[2]"), "metadata"),
        (lambda h: h["__metadata__"].update(priors='{"star": 7}'), "priors"),
        (lambda h: h["__metadata__"].update(priors="[1]"), "metadata"),
        (lambda h: h["__metadata__"].update(calibration='{"detection": {"temperature": 0, "offset": 1}}'), "calibration"),
        (lambda h: h["__metadata__"].update(calibration='{"detection": {"__class__": 0}}'), "metadata"),
        (lambda h: h["__metadata__"].update(scores="[" * 100_000), "metadata"),
        (lambda h: h["neck.lateral5.0.weight"].update(dtype="I32"), "F32"),
        (lambda h: h["neck.lateral5.0.weight"].update(data_offsets=[0, 4]), "w.safetensors"),
        (lambda h: h["neck.lateral5.0.weight"].update(shape=[2**40, 2**40]), "w.safetensors"),
        (lambda h: h.update({"extra": h.pop("neck.lateral5.0.weight")}), "lacks"),
    ],
)
def test_foreign_and_garbled_files_are_refused(weights, change, word):
    edit_metadata(weights, change)
    with pytest.raises(WeightsError, match=word) as caught:
        load(weights)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 5, 100, 20_000])
def test_truncated_files_are_refused(weights, cut):
    weights.write_bytes(weights.read_bytes()[:cut])
    with pytest.raises(WeightsError, match="w.safetensors"):
        load(weights)


def test_nan_is_refused(weights):
    model, card = load(weights)
    with torch.no_grad():
        model.neck.lateral5[0].weight[0] = torch.nan
    save(model, card, weights)
    with pytest.raises(WeightsError, match="NaN"):
        load(weights)


def test_a_pickle_is_refused_and_does_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "bomb.safetensors"
    torch.save({"model": Bomb()}, path)
    with pytest.raises(WeightsError):
        load(path)
    assert not (tmp_path / "ran").exists()


def test_unknown_names_list_the_known_ones():
    with pytest.raises(WeightsError, match="nano"):
        locate("no-such-weights")


def test_the_embedded_weights_load():
    assert "nano" in embedded()
    for path in embedded().values():
        model, card = load(path)
        assert model.size == card.size


@pytest.mark.parametrize("length", [10**7 + 1, 2**40, 2**63, 2**64 - 1])
def test_a_header_that_claims_too_much_is_refused_before_it_is_read(weights, length):
    weights.write_bytes(struct.pack("<Q", length) + weights.read_bytes()[8:])
    with pytest.raises(WeightsError, match="w.safetensors"):
        load(weights)


def test_a_file_larger_than_any_network_is_refused_before_it_is_read(weights):
    with weights.open("ab") as file:
        file.truncate(10**12)
    with pytest.raises(WeightsError, match="bytes"):
        load(weights)


def test_the_embedded_weights_are_those_of_the_list():
    """weights/SHA256SUMS, which `sha256sum *.safetensors > SHA256SUMS` makes there."""
    listed = dict(reversed(line.split()) for line in (Path(__file__).parents[1] / "weights/SHA256SUMS").read_text().splitlines())
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in embedded().values()} == listed
