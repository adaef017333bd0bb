"""Weight files to networks that run without this program, ONNX and OpenVINO, with the card inside; and to smaller weight files."""

from __future__ import annotations

from pathlib import Path

from ..errors import OutputError
from ..whole import finish, sync_folder, written_whole
from .checkpoint import load, save
from .engine import openvino_model
from .graph import onnx_of


def export(weights: Path, out: Path) -> None:
    """Write the network of a weight file as .onnx, as OpenVINO's .xml with its .bin, or as .safetensors of half the size.

    Of the first two batch and image sides stay free; batch normalisation is folded into the convolutions; inputs and outputs are float32.

    Raises:
        OutputError: for another ending, or a place that cannot be written.
        AstroYOLOError: if OpenVINO is needed and not installed.
    """
    check_ending(out)
    WRITERS[out.suffix.lower()](weights, out)


def check_ending(out: Path) -> None:
    """Raises OutputError unless there is a writer for it."""
    if out.suffix.lower() not in WRITERS:
        raise OutputError(f"{out}: cannot export to {out.suffix or 'a name without ending'!r}; end its name in {', '.join(WRITERS)}")


def write_half(weights: Path, out: Path) -> None:
    model, card = load(weights)
    save(model, card, out, half=True)


def write_onnx(weights: Path, out: Path) -> None:
    with written_whole(out) as partial:
        partial.write_bytes(onnx_of(weights)[0])


def write_openvino(weights: Path, out: Path) -> None:
    """The .bin first, and no old .xml beside it: an .xml with another .bin would be half a network."""
    from .engine import imported_openvino

    model, card = openvino_model(weights)
    for name, value in card.to_metadata().items():
        model.set_rt_info(value, ["astroyolo", name])
    with written_whole(out) as partial:
        tensors = partial.with_suffix(".bin")
        try:
            imported_openvino().save_model(model, str(partial), compress_to_fp16=False)
            out.unlink(missing_ok=True)
            sync_folder(out.absolute().parent)
            finish(tensors, out.with_suffix(".bin"))
        finally:
            tensors.unlink(missing_ok=True)


WRITERS = {".onnx": write_onnx, ".xml": write_openvino, ".safetensors": write_half}
