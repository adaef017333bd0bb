"""What runs the network: images in, raw outputs of the three heads out, as NumPy arrays or, on a GPU, as PyTorch's."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from queue import LifoQueue
from typing import Protocol

import numpy as np

from ..errors import AstroYOLOError, WeightsError, reason_of
from ..threads import stated, usable
from .checkpoint import Card, load
from .graph import INPUT, onnx_of

USUAL_BATCH, BATCH_ON_GPU = 4, 32  # tiles of 512 x 512 pixels


class Engine(Protocol):
    """A network that is ready to run.

    Attributes:
        card: what its weight file says.
        name: that of ``--engine``.
        lanes: threads that may call it at the same time, each with its part of the processors.
        batch: tiles of 512 x 512 pixels that it does best together.
    """

    card: Card
    name: str
    lanes: int
    batch: int

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """(B, 3, H, W) float32 RGB in [0, 1] to head -> (B, cells, outputs) float32."""


class TorchEngine:
    """PyTorch, batch normalisation folded into the convolutions: in float32, on GPUs that have it in bfloat16.

    Attributes:
        device: the GPU to which a frame's raw counts go and from which detections come back; None on the CPU, which takes NumPy's images.
    """

    name, lanes = "torch", 1

    def __init__(self, path: Path, device: str, threads: int = 0):
        import torch

        if threads:
            torch.set_num_threads(threads)
        model, self.card = load(path)
        self._runs_on = torch.device(best_device(device))
        self.device = None if self._runs_on.type == "cpu" else self._runs_on
        self.batch = USUAL_BATCH if self.device is None else BATCH_ON_GPU
        self._precision = torch.bfloat16 if has_bfloat16(self._runs_on) else torch.float32
        self._model = fold_batch_norm(model).to(self._runs_on, self._precision, memory_format=torch.channels_last)
        self._recorded = None, None  # shape of the batches, and the network for them

    def __call__(self, images):
        """NumPy's images as every engine; the outputs of PyTorch's stay where they are, and, on CUDA, stand until the next call.

        On Apple's GPUs they do not: what decoding needs is not all there.
        """
        import torch

        if isinstance(images, np.ndarray):
            return in_numpy(self._network(torch.from_numpy(images)))
        found = self._network_for(images)(images)
        return in_numpy(found) if images.device.type == "mps" else found

    def _network_for(self, images):
        """On CUDA recorded anew for each shape, the last of which is kept."""
        if images.device.type != "cuda":
            return self._network
        from .on_device import recorded

        if self._recorded[0] != images.shape:
            self._recorded = None, None  # its memory is free for the next
            self._recorded = images.shape, recorded(self._network, images)
        return self._recorded[1]

    def _network(self, images):
        import torch

        with torch.inference_mode():
            batch = images.to(self._runs_on, self._precision, memory_format=torch.channels_last)
            return {head: output.float() for head, output in self._model(batch).items()}


def in_numpy(outputs: dict) -> dict[str, np.ndarray]:
    return {head: output.cpu().numpy() for head, output in outputs.items()}


def has_bfloat16(device) -> bool:
    """Whether a device computes in it; a CPU may, but then other engines are faster."""
    import torch

    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


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
    """ONNX Runtime on the CPU, for weight files and what ``astroyolo export`` wrote; PyTorch is not needed."""

    name, batch = "onnxruntime", USUAL_BATCH

    def __init__(self, path: Path, device: str, threads: int = 0):
        runtime = imported_onnxruntime()
        only_cpu(device, "onnxruntime")
        options = runtime.SessionOptions()
        self.lanes = lanes_of(threads)
        options.intra_op_num_threads = max((threads or usable()) // self.lanes, 1)
        network, self.card = onnx_of(path) if path.suffix.lower() not in EXPORTED else (str(path), None)
        try:
            self._session = runtime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of its own many kinds
            raise WeightsError(f"{path.name}: not a network that ONNX Runtime can run ({reason_of(error)}); export it again") from error
        self.card = self.card or Card.from_metadata(self._session.get_modelmeta().custom_metadata_map, path.name)
        self._heads = [output.name for output in self._session.get_outputs()]

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self._heads, self._session.run(None, {INPUT: np.ascontiguousarray(images, np.float32)})))


class OpenVinoEngine:
    """OpenVINO on the CPU, for weight files and what ``astroyolo export`` wrote (.onnx or .xml); PyTorch is not needed."""

    name, batch = "openvino", USUAL_BATCH
    precision = "f32"

    def __init__(self, path: Path, device: str, threads: int = 0):
        only_cpu(device, "openvino")
        self.lanes = lanes_of(threads)
        settings = {"INFERENCE_PRECISION_HINT": self.precision, "NUM_STREAMS": self.lanes}
        settings |= {"ENABLE_CPU_PINNING": False}  # else every process takes the first processor, and two workers share it
        settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
        model, self.card = openvino_model(path)
        try:
            compiled = imported_openvino().Core().compile_model(model, "CPU", settings)
        except Exception as error:
            raise WeightsError(f"{path.name}: not a network that OpenVINO can run ({reason_of(error)}); export it again") from error
        self._heads = [next(iter(output.names)) for output in compiled.outputs]
        self._idle = LifoQueue()  # what runs the network, one for each that may call it at the same time
        for _ in range(self.lanes):
            self._idle.put(compiled.create_infer_request())
        if self.lanes > 1:  # what OpenVINO does once, two threads may not do first at the same time: they wait for each other forever
            self(np.zeros((1, 3, 32, 32), np.float32))

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        request = self._idle.get()
        try:
            found = request.infer([np.ascontiguousarray(images, np.float32)], share_inputs=True, share_outputs=True)
            return {head: found[number].copy() for number, head in enumerate(self._heads)}
        finally:
            self._idle.put(request)


class OpenVinoHalfEngine(OpenVinoEngine):
    """In bfloat16, on processors that have it: faster, scores differ in the third digit."""

    name = "openvino-bf16"
    precision = "bf16"


ENGINES = {engine.name: engine for engine in (TorchEngine, OnnxEngine, OpenVinoEngine, OpenVinoHalfEngine)}
EXPORTED = (".onnx", ".xml")
MOST_LANES = 4  # beyond, Python itself is the bottleneck, and each holds a tile
RUNS = {  # ending of a weight file -> engines that run it, fastest first, as measured on a CPU with bfloat16
    ".safetensors": ("openvino-bf16", "onnxruntime", "openvino", "torch"),
    ".onnx": ("openvino-bf16", "onnxruntime", "openvino"),
    ".xml": ("openvino-bf16", "openvino"),
}


def lanes_of(threads: int) -> int:
    """How many may call an engine at the same time that has so many threads, 0 for all processors.

    One thread does most with a core of its own: the tiles then wait for each other nowhere.
    """
    return min(threads or usable(), MOST_LANES)


def openvino_model(path: Path):
    """A network as OpenVINO reads it, not yet compiled, and its card.

    Raises:
        WeightsError: for a file that holds none.
    """
    openvino = imported_openvino()
    network, card = (io.BytesIO((made := onnx_of(path))[0]), made[1]) if path.suffix.lower() not in EXPORTED else (path, None)
    try:
        model = openvino.Core().read_model(network)
    except Exception as error:
        raise WeightsError(f"{path.name}: not a network that OpenVINO can run ({reason_of(error)}); export it again") from error
    return model, card or Card.from_metadata(metadata_of(model), path.name)


def imported_onnxruntime():
    """The library, without the messages about its use that it would send to its makers, and a number to know the user by."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # looked at when it is loaded; later calls to it stop a part alone
    return required("onnxruntime", "onnxruntime")


def imported_openvino():
    """The library, without the messages about its use that it would send to its makers."""
    silent = "openvino_telemetry" not in sys.modules
    if silent:
        sys.modules["openvino_telemetry"] = None  # an import of it fails, and openvino goes on without
    try:
        return required("openvino", "openvino")
    finally:
        if silent:
            sys.modules.pop("openvino_telemetry", None)


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
        threads: of the network; 0 leaves OMP_NUM_THREADS, or else the engine's own choice.

    Raises:
        AstroYOLOError: for an unknown engine, one that cannot run the file, or a device that is not there.
    """
    if engine not in ("auto", *ENGINES):
        raise AstroYOLOError(f"engine {engine!r}: must be auto or one of {', '.join(ENGINES)}")
    able = RUNS.get(path.suffix.lower(), RUNS[".safetensors"])
    if engine != "auto" and engine not in able:
        raise AstroYOLOError(f"--engine {engine}: cannot run {path.name}; use {' or '.join(able)}, or the .safetensors file")
    return ENGINES[fastest(able, device) if engine == "auto" else engine](path, device, threads or stated())


def fastest(able: tuple[str, ...], device: str = "auto") -> str:
    """Of the engines that run a file, fastest first, the first that is at hand; PyTorch where there is a GPU for it.

    Without any, the last, whose error then says what to install.
    """
    if "torch" in able and (device not in ("auto", "cpu") or (device == "auto" and has_gpu())):
        return "torch"
    return next((name for name in able if at_hand(name)), able[-1])


def at_hand(engine: str) -> bool:
    """Whether the engine's library is installed, and the processor computes in its precision."""
    from importlib.util import find_spec

    if find_spec(engine.split("-")[0]) is None:
        return False
    if engine != "openvino-bf16":
        return True
    return "BF16" in imported_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def has_gpu() -> bool:
    """Whether there is a GPU that PyTorch may use, asked without importing PyTorch."""
    import ctypes
    import platform

    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    try:
        driver, count = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"), ctypes.c_int()
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0 and torch_has_cuda()
    except OSError:
        return False


def torch_has_cuda() -> bool:
    """Whether the installed PyTorch is not a build for CPUs alone."""
    from importlib.metadata import version

    return not version("torch").endswith("+cpu")


def best_device(device: str) -> str:
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there.get(device, False):
        raise AstroYOLOError(f"device {device!r}: not available here; use one of {', '.join(n for n, ok in there.items() if ok)} or auto")
    return device
