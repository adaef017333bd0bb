"""What runs the network: images in, raw outputs of the three heads out, both as NumPy arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import AstroYOLOError, WeightsError, reason_of
from .checkpoint import Card, load


class Engine(Protocol):
    """A network that is ready to run; ``card`` says what its weight file says."""

    card: Card

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """(B, 3, H, W) float32 RGB in [0, 1] to head -> (B, cells, outputs) float32."""


class TorchEngine:
    """PyTorch in float32, batch normalisation folded into the convolutions."""

    def __init__(self, path: Path, device: str, threads: int = 0):
        import torch

        if threads:
            torch.set_num_threads(threads)
        model, self.card = load(path)
        self.device = torch.device(best_device(device))
        self._model = fold_batch_norm(model).to(self.device, memory_format=torch.channels_last)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
            return {head: output.float().cpu().numpy() for head, output in self._model(batch).items()}


def fold_batch_norm(model):
    """The same network in evaluation mode with every convolution and its normalisation as one convolution."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    from .layers import ConvBlock

    for block in model.modules():
        if isinstance(block, ConvBlock):
            block[0] = fuse_conv_bn_eval(block[0], block[1])
            block[1] = nn.Identity()
    return model


class OnnxEngine:
    """ONNX Runtime on the CPU, for files that ``astroyolo export`` wrote; PyTorch is not needed."""

    def __init__(self, path: Path, device: str, threads: int = 0):
        runtime = required("onnxruntime", "onnxruntime")
        only_cpu(device, "onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of its own many kinds
            raise WeightsError(f"{path.name}: not a network that ONNX Runtime can run ({reason_of(error)}); export it again") from error
        self.card = Card.from_metadata(self._session.get_modelmeta().custom_metadata_map, path.name)
        self._heads = [output.name for output in self._session.get_outputs()]

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self._heads, self._session.run(None, {INPUT: np.ascontiguousarray(images, np.float32)})))


class OpenVinoEngine:
    """OpenVINO on the CPU, for files that ``astroyolo export`` wrote (.onnx or .xml); PyTorch is not needed."""

    precision = "f32"

    def __init__(self, path: Path, device: str, threads: int = 0):
        openvino = required("openvino", "openvino")
        only_cpu(device, "openvino")
        settings = {"INFERENCE_PRECISION_HINT": self.precision, "PERFORMANCE_HINT": "LATENCY"}
        settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
        try:
            core = openvino.Core()
            model = core.read_model(path)
            self._compiled = core.compile_model(model, "CPU", settings)
        except Exception as error:
            raise WeightsError(f"{path.name}: not a network that OpenVINO can run ({reason_of(error)}); export it again") from error
        self.card = Card.from_metadata(metadata_of(model), path.name)
        self._heads = [next(iter(output.names)) for output in self._compiled.outputs]

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        found = self._compiled(np.ascontiguousarray(images, np.float32))
        return {head: found[number].copy() for number, head in enumerate(self._heads)}


class OpenVinoHalfEngine(OpenVinoEngine):
    """In bfloat16, on processors that have it: faster, scores differ in the third digit."""

    precision = "bf16"


INPUT = "images"  # name of an exported network's input
ENGINES = {"torch": TorchEngine, "onnxruntime": OnnxEngine, "openvino": OpenVinoEngine, "openvino-bf16": OpenVinoHalfEngine}
RUNS = {  # ending of a weight file -> engines that run it, the first that is installed for auto
    ".safetensors": ("torch",),
    ".onnx": ("onnxruntime", "openvino", "openvino-bf16"),
    ".xml": ("openvino", "openvino-bf16"),
}


def metadata_of(model) -> dict[str, str]:
    """What export put beside the network, of an OpenVINO model read from .onnx or .xml."""
    for place in (["framework"], ["astroyolo"]):
        if model.has_rt_info(place):
            return {name: str(value) for name, value in model.get_rt_info(place).value.items()}
    return {}


def required(module: str, extra: str):
    """The imported module, or an error that says how to install it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise AstroYOLOError(f"this engine needs {module}: pip install 'astroyolo[{extra}]'") from error


def only_cpu(device: str, engine: str) -> None:
    if device not in ("auto", "cpu"):
        raise AstroYOLOError(f"--device {device}: engine {engine} runs on the CPU; use --engine torch with a .safetensors file")


def open_engine(path: Path, engine: str = "auto", device: str = "auto", threads: int = 0) -> Engine:
    """The first engine at hand that runs the file for ``auto``, else the named one.

    Args:
        threads: of the network; 0 leaves the engine's own choice.

    Raises:
        AstroYOLOError: for an unknown engine, one that cannot run the file, or a device that is not there.
    """
    if engine not in ("auto", *ENGINES):
        raise AstroYOLOError(f"engine {engine!r}: must be auto or one of {', '.join(ENGINES)}")
    able = RUNS.get(path.suffix.lower(), ("torch",))
    if engine != "auto" and engine not in able:
        remedy = "run astroyolo export first" if able == ("torch",) else f"use {' or '.join(able)}"
        raise AstroYOLOError(f"--engine {engine}: cannot run {path.name}; {remedy}")
    return ENGINES[first_installed(able) if engine == "auto" else engine](path, device, threads)


def first_installed(engines: tuple[str, ...]) -> str:
    """The first whose library is there; without any, the first, whose error then says what to install."""
    from importlib.util import find_spec

    return next((name for name in engines if find_spec(name.split("-")[0])), engines[0])


def best_device(device: str) -> str:
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there.get(device, False):
        raise AstroYOLOError(f"device {device!r}: not available here; use one of {', '.join(n for n, ok in there.items() if ok)} or auto")
    return device
