"""Exported networks: they run without us and without PyTorch, and give the catalog that PyTorch gives."""

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from astroyolo_cli.cli import cli
from astroyolo_cli.errors import AstroYOLOError, OutputError, WeightsError
from astroyolo_cli.model.checkpoint import Card, load, locate
from astroyolo_cli.model.engine import open_engine
from astroyolo_cli.model.export import export, write_openvino
from astroyolo_cli.pipeline import detect
from conftest import make_frame, star

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The embedded weights as ONNX, and from there as OpenVINO reads it."""
    pytest.importorskip("onnxscript")
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


def sky(seed=3):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 3, (400, 460))
    for x, y, flux in zip(rng.uniform(20, 440, 25), rng.uniform(20, 380, 25), rng.uniform(300, 9000, 25)):
        image += star(image.shape, x, y, 4, flux)
    return make_frame({"r": image})


@pytest.mark.parametrize("engine, tolerance", [("onnxruntime", 1e-3), ("openvino", 1e-3), ("openvino-bf16", 0.08)])
def test_every_engine_gives_the_same_catalog(exported, engine, tolerance):
    pytest.importorskip(engine.split("-")[0])
    frame = sky()
    wanted = detect(frame, open_engine(locate("nano"))).catalog
    got = detect(frame, open_engine(exported, engine)).catalog
    sure = wanted[wanted["score"] > 0.4]
    apart = np.hypot(sure["x"][:, None] - got["x"][None], sure["y"][:, None] - got["y"][None])
    assert len(sure) > 15 and (apart.min(axis=1) < 10 * tolerance).all()
    np.testing.assert_allclose(got["score"][apart.argmin(axis=1)], sure["score"], atol=tolerance)


def test_openvino_files_carry_the_card(exported, tmp_path):
    pytest.importorskip("openvino")
    import onnx

    write_openvino(onnx.load(exported), load(locate("nano"))[1].to_metadata(), tmp_path / "nano.xml")
    assert {path.name for path in tmp_path.iterdir()} == {"nano.xml", "nano.bin"}
    assert open_engine(tmp_path / "nano.xml").card == load(locate("nano"))[1]


def test_detection_by_onnx_imports_no_torch(exported, tmp_path):
    pytest.importorskip("onnxruntime")
    from astropy.io import fits

    fits.writeto(tmp_path / "sky.fits", sky().counts["r"])
    code = (
        "import sys; from astroyolo_cli.cli import cli; "
        "cli(sys.argv[1:], standalone_mode=False); sys.exit('torch is there' if 'torch' in sys.modules else 0)"
    )
    arguments = ["detect", tmp_path / "sky.fits", "-o", tmp_path / "c.csv", "--weights", exported, "--quiet"]
    ended = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert len((tmp_path / "c.csv").read_text().splitlines()) > 15


def test_what_cannot_run_is_said(tmp_path):
    with pytest.raises(AstroYOLOError, match="astroyolo export"):
        open_engine(locate("nano"), "onnxruntime")
    with pytest.raises(OutputError, match=".onnx"):
        export(locate("nano"), tmp_path / "nano.tflite")
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    for engine in ("onnxruntime", "openvino"):
        pytest.importorskip(engine)
        with pytest.raises(WeightsError, match="broken.onnx"):
            open_engine(tmp_path / "broken.onnx", engine)
    ended = CliRunner().invoke(cli, ["export", "-o", str(tmp_path / "nano.pt")])
    assert ".onnx or .xml" in str(ended.exception)
