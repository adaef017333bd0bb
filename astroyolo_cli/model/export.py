"""Weight files to networks that run without PyTorch: ONNX and OpenVINO, with the card inside."""

from __future__ import annotations

import warnings
from pathlib import Path

from ..errors import AstroYOLOError, OutputError, reason_of
from .checkpoint import load
from .engine import INPUT, fold_batch_norm, required
from .heads import HEADS

SIDE = 512  # of the images that the network is traced with; any multiple of 32 runs


def export(weights: Path, out: Path) -> None:
    """Write the network of a weight file as .onnx, or as OpenVINO's .xml with its .bin.

    Batch and image sides stay free; batch normalisation is folded into the convolutions; inputs and outputs are float32.

    Raises:
        OutputError: for another ending, or a place that cannot be written.
        AstroYOLOError: if the libraries that write it are not installed.
    """
    writer = {".onnx": write_onnx, ".xml": write_openvino}.get(out.suffix.lower())
    if writer is None:
        raise OutputError(f"{out}: cannot export to {out.suffix or 'a name without ending'!r}; known endings are .onnx and .xml (OpenVINO)")
    model, card = load(weights)
    try:
        writer(traced(fold_batch_norm(model)), card.to_metadata(), out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({reason_of(error)}); free space or choose another place") from error


def traced(model):
    """The network as an ONNX model proto."""
    import logging

    import torch

    for library in ("onnx", "onnxscript"):
        required(library, "export")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which nothing here uses

    class InOrder(torch.nn.Module):
        """A tuple of outputs in the order of HEADS."""

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, images):
            outputs = self.model(images)
            return tuple(outputs[head] for head in HEADS)

    free = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(
            InOrder().eval(),
            (torch.zeros(2, 3, SIDE, SIDE),),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=list(HEADS),
            dynamic_shapes={"images": {0: free, 2: free, 3: free}},
        )
    return program.model_proto


def write_onnx(proto, metadata: dict[str, str], out: Path) -> None:
    with_card(proto, metadata)
    partial = out.with_name(f".partial-{out.name}")
    partial.write_bytes(proto.SerializeToString())
    partial.replace(out)


def with_card(proto, metadata: dict[str, str]) -> None:
    del proto.metadata_props[:]
    for name, value in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, value


def write_openvino(proto, metadata: dict[str, str], out: Path) -> None:
    """The .bin first: an .xml without it would be half a network."""
    import io

    openvino = required("openvino", "openvino")
    try:
        model = openvino.Core().read_model(io.BytesIO(proto.SerializeToString()))
    except Exception as error:
        raise AstroYOLOError(f"OpenVINO cannot read the network ({reason_of(error)}); export to .onnx instead") from error
    for name, value in metadata.items():
        model.set_rt_info(value, ["astroyolo", name])
    partial = out.with_name(f".partial-{out.stem}.xml")
    openvino.save_model(model, str(partial), compress_to_fp16=False)
    partial.with_suffix(".bin").replace(out.with_suffix(".bin"))
    partial.replace(out)
