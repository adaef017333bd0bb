"""Exported networks: they run without us and without PyTorch, and give the catalog that PyTorch gives."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from astroyolo_cli.cli import cli
from astroyolo_cli.errors import AstroYOLOError, OutputError, WeightsError
from astroyolo_cli.model import engine as engine_module
from astroyolo_cli.model.checkpoint import Card, load, locate, read_file, save
from astroyolo_cli.model.engine import RUNS, open_engine
from astroyolo_cli.model.export import WRITERS, export
from astroyolo_cli.model.graph import onnx_of
from astroyolo_cli.model.network import AstroYOLO
from astroyolo_cli.model.onnx_bytes import varint
from astroyolo_cli.model.sizes import HEADS
from astroyolo_cli.pipeline import detect
from conftest import make_frame, star


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The embedded weights as ONNX."""
    folder = tmp_path_factory.mktemp("exported")
    export(locate("nano"), folder / "nano.onnx")
    return folder / "nano.onnx"


def test_the_file_runs_in_plain_onnxruntime_at_any_size(exported):
    runtime = pytest.importorskip("onnxruntime")
    import torch

    session = runtime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    model, card = load(locate("nano"))
    assert Card.from_metadata(session.get_modelmeta().custom_metadata_map, "nano") == card
    names = [output.name for output in session.get_outputs()]
    for shape in ((1, 3, 512, 512), (3, 3, 128, 192)):
        images = torch.rand(*shape)
        with torch.no_grad():
            wanted = model(images)
        for name, got in zip(names, session.run(None, {"images": images.numpy()})):
            np.testing.assert_allclose(got, wanted[name], atol=2e-3)


@pytest.mark.parametrize("size", ["tiny", "m", "nano-p2", "s-p2"])
def test_the_graph_is_the_network_of_every_size(tmp_path, size):
    pytest.importorskip("onnxruntime")
    import torch

    torch.manual_seed(1)
    model = AstroYOLO(size)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.8, 1.2), module.bias.data.uniform_(-0.2, 0.2)
            module.running_mean.uniform_(-0.2, 0.2), module.running_var.uniform_(0.5, 2)
    save(model, Card(size=size), tmp_path / "w.safetensors")
    images = np.random.default_rng(0).random((2, 3, 96, 64), np.float32)
    with torch.no_grad():
        wanted = model.eval()(torch.from_numpy(images))
    got = open_engine(tmp_path / "w.safetensors", "onnxruntime")(images)
    for head in wanted:
        np.testing.assert_allclose(got[head], wanted[head], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda tensors: tensors.pop("backbone.stem.0.weight"), "lacks the tensor backbone.stem.0.weight"),
        (lambda tensors: tensors.update(extra=np.zeros(3, np.float32)), "1 unknown tensors, first extra"),
        (lambda tensors: tensors.update({"backbone.stem.1.bias": np.zeros(3, np.float32)}), r"is \(3,\), must be \(16,\)"),
        (lambda tensors: tensors["backbone.stem.1.bias"].fill(np.nan), "NaN"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(tmp_path, change, said):
    from safetensors.numpy import load_file, save_file

    metadata, tensors = load(locate("nano"))[1].to_metadata(), load_file(locate("nano"))
    change(tensors)
    save_file(tensors, tmp_path / "w.safetensors", metadata)
    with pytest.raises(WeightsError, match=said):
        onnx_of(tmp_path / "w.safetensors")


def test_the_graph_is_valid_onnx(exported):
    onnx = pytest.importorskip("onnx")
    network = onnx.load(exported)
    onnx.checker.check_model(network, full_check=True)
    assert [output.name for output in network.graph.output] == list(HEADS)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**63 - 1, -1, -(2**40)])
def test_numbers_are_encoded_as_protocol_buffers_are(value):
    encoder = pytest.importorskip("google.protobuf.internal.encoder")
    assert varint(value) == encoder._VarintBytes(value & (2**64 - 1))


def sky(seed=3):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 3, (400, 460))
    for x, y, flux in zip(rng.uniform(20, 440, 25), rng.uniform(20, 380, 25), rng.uniform(300, 9000, 25)):
        image += star(image.shape, x, y, 4, flux)
    return make_frame({"r": image})


@pytest.mark.parametrize("engine, tolerance", [("onnxruntime", 1e-3), ("openvino", 1e-3), ("openvino-bf16", 0.08)])
@pytest.mark.parametrize("straight", [True, False], ids=["weights", "exported"])
def test_every_engine_gives_the_same_catalog(exported, engine, tolerance, straight):
    pytest.importorskip(engine.split("-")[0])
    frame = sky()
    wanted = detect(frame, open_engine(locate("nano"), "torch")).catalog
    got = detect(frame, open_engine(locate("nano") if straight else exported, engine)).catalog
    sure = wanted[wanted["score"] > 0.4]
    apart = np.hypot(sure["x"][:, None] - got["x"][None], sure["y"][:, None] - got["y"][None])
    assert len(sure) > 15 and (apart.min(axis=1) < 10 * tolerance).all()
    np.testing.assert_allclose(got["score"][apart.argmin(axis=1)], sure["score"], atol=tolerance)


def test_openvino_files_carry_the_card(tmp_path):
    pytest.importorskip("openvino")
    export(locate("nano"), tmp_path / "nano.xml")
    assert {path.name for path in tmp_path.iterdir()} == {"nano.xml", "nano.bin"}
    assert open_engine(tmp_path / "nano.xml").card == load(locate("nano"))[1]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_detection_by_another_engine_imports_no_torch(tmp_path, engine):
    pytest.importorskip(engine)
    from astropy.io import fits

    fits.writeto(tmp_path / "sky.fits", sky().counts["r"])
    code = (
        "import sys; from astroyolo_cli.cli import cli; cli(sys.argv[1:], standalone_mode=False); "
        "wrong = {'torch', 'openvino_telemetry'} & set(sys.modules); sys.exit(f'{wrong} is there' if wrong else 0)"
    )
    arguments = ["detect", tmp_path / "sky.fits", "-o", tmp_path / "c.csv", "--engine", engine, "--quiet"]
    ended = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert len((tmp_path / "c.csv").read_text().splitlines()) > 15


@pytest.mark.parametrize(
    "there, device, chosen",
    [
        ({"openvino-bf16", "onnxruntime", "openvino", "torch"}, "auto", "openvino-bf16"),
        ({"onnxruntime", "openvino", "torch"}, "cpu", "onnxruntime"),
        ({"openvino", "torch"}, "auto", "openvino"),
        ({"torch"}, "auto", "torch"),
        ({"openvino-bf16", "onnxruntime", "openvino", "torch"}, "cuda", "torch"),
        (set(), "auto", "torch"),
    ],
)
def test_auto_takes_the_fastest_at_hand(monkeypatch, there, device, chosen):
    monkeypatch.setattr(engine_module, "at_hand", lambda name: name in there)
    monkeypatch.setattr(engine_module, "has_gpu", lambda: False)
    assert engine_module.fastest(RUNS[".safetensors"], device) == chosen
    monkeypatch.setattr(engine_module, "has_gpu", lambda: True)
    assert engine_module.fastest(RUNS[".safetensors"], "auto") == "torch"


def test_omp_num_threads_counts_for_every_engine(monkeypatch):
    seen = {}
    monkeypatch.setitem(engine_module.ENGINES, "torch", lambda path, device, threads: seen.update(threads=threads))
    for stated, asked, given in (("3", 0, 3), ("3", 1, 1), ("", 0, 0), ("many", 2, 2)):
        monkeypatch.setenv("OMP_NUM_THREADS", stated)
        open_engine(locate("nano"), "torch", threads=asked)
        assert seen["threads"] == given


def test_what_cannot_run_is_said(tmp_path):
    (tmp_path / "network.xml").write_text("none")
    with pytest.raises(AstroYOLOError, match="openvino, or the .safetensors file"):
        open_engine(tmp_path / "network.xml", "torch")
    with pytest.raises(AstroYOLOError, match="--engine torch"):
        open_engine(locate("nano"), "onnxruntime", "cuda")
    with pytest.raises(OutputError, match=".onnx"):
        export(locate("nano"), tmp_path / "nano.tflite")
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    for engine in ("onnxruntime", "openvino"):
        pytest.importorskip(engine)
        with pytest.raises(WeightsError, match="broken.onnx"):
            open_engine(tmp_path / "broken.onnx", engine)
    ended = CliRunner().invoke(cli, ["export", "-o", str(tmp_path / "nano.pt")])
    assert ".onnx, .xml" in str(ended.exception)
    (tmp_path / "mine.bin").write_text("mine")
    ended = CliRunner().invoke(cli, ["export", "-o", str(tmp_path / "mine.xml")])
    assert "mine.bin: exists" in str(ended.exception) and (tmp_path / "mine.bin").read_text() == "mine"


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_is_called_by_as_many_threads_as_it_has_lanes(engine):
    from concurrent.futures import ThreadPoolExecutor

    pytest.importorskip(engine)
    network = open_engine(locate("nano"), engine, threads=3)
    assert network.lanes == 3 and open_engine(locate("nano"), engine, threads=1).lanes == 1
    images = np.random.default_rng(0).random((12, 1, 3, 96, 96), np.float32)
    alone = [network(image) for image in images]
    with ThreadPoolExecutor(5) as pool:
        together = list(pool.map(network, images))
    for one, other in zip(alone, together):
        for head in HEADS:
            np.testing.assert_array_equal(one[head], other[head])


@pytest.mark.skipif(not Path("/proc/self/task").exists() or os.cpu_count() < 2, reason="only Linux tells where threads may run")
def test_no_thread_of_a_network_keeps_to_one_processor():
    """Another process would choose the same one."""
    from concurrent.futures import ThreadPoolExecutor

    pytest.importorskip("openvino")
    network, seen = open_engine(locate("nano"), "openvino", threads=1), set()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: [network(np.zeros((1, 3, 512, 512), np.float32)) for _ in range(4)])
        while not done.done():
            for task in Path("/proc/self/task").iterdir():
                with contextlib.suppress(OSError):  # one that has just ended
                    lines = (task / "status").read_text().splitlines()
                    seen |= {line.split()[1] for line in lines if line.startswith("Cpus_allowed_list")}
    assert len(seen) == 1


def test_a_file_of_half_the_size_is_the_network_to_float16(tmp_path):
    """Convolutions to 11 bits, the rest and the card as they are; both readers give float32."""
    export(locate("nano"), tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * locate("nano").stat().st_size
    (model, card), (half, its_card) = load(locate("nano")), load(tmp_path / "half.safetensors")
    assert its_card == card
    for name, value in model.state_dict().items():
        tolerance = 2**-11 if value.ndim > 1 else 0
        np.testing.assert_allclose(half.state_dict()[name], value, rtol=tolerance, atol=6e-8 if tolerance else 0)
    values = read_file(tmp_path / "half.safetensors", "numpy")[1]
    assert {array.dtype for array in values.values()} == {np.dtype(np.float32)}


def test_the_command_names_every_ending():
    said = CliRunner().invoke(cli, ["export", "--help"]).stdout
    assert all(ending in said for ending in WRITERS)
