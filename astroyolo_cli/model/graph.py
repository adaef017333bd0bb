"""The network of a weight file as ONNX, straight from its tensors: no PyTorch, no tracing, a twentieth of a second.

The same layers as network.py, layers.py and heads.py build, under the same names; a test holds the outputs of both together.
Batch normalisation is folded into the convolutions. Batch and sides stay free.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import WeightsError
from . import onnx_bytes
from .checkpoint import Card, check_finite, known_size, read_file
from .sizes import BN_EPS, HEADS, Size

INPUT = "images"  # name of the network's input


def onnx_of(path: Path) -> tuple[bytes, Card]:
    """The network of a safetensors weight file as an ONNX file, its metadata inside, and its card.

    Raises:
        WeightsError: for anything that is not a whole, finite weight file of a known schema and size.
    """
    metadata, tensors = read_file(path, "numpy")
    card = Card.from_metadata(metadata, path.name)
    graph = Graph(tensors, path.name)
    outputs = network(graph, known_size(card, path.name))
    graph.check_all_used()
    sides = ["batch", "cells"]
    return onnx_bytes.model(
        "AstroYOLO",
        graph.nodes,
        graph.tensors,
        [onnx_bytes.value_info(INPUT, ["batch", 3, "height", "width"])],
        [onnx_bytes.value_info(head, [*sides, HEADS[head]]) for head in outputs],
        metadata,
    ), card


class Graph:
    """Nodes that pile up; methods take and return the names of tensors."""

    def __init__(self, weights: dict[str, np.ndarray], file: str):
        self._weights, self._file, self._used = weights, file, set()
        self.nodes: list[bytes] = []
        self.tensors: list[bytes] = []

    def weight(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """A tensor of the weight file; each is used once."""
        if name not in self._weights:
            raise WeightsError(f"{self._file}: lacks the tensor {name}; make the file again")
        value = self._weights[name]
        if value.shape != shape:
            raise WeightsError(f"{self._file}: {name} is {value.shape}, must be {shape}")
        check_finite(value, name, self._file)
        self._used.add(name)
        return value.astype(np.float32)

    def check_all_used(self) -> None:
        if unknown := self._weights.keys() - self._used:
            raise WeightsError(f"{self._file}: has {len(unknown)} unknown tensors, first {min(unknown)}; is it of another program?")

    def constant(self, name: str, values) -> str:
        self.tensors.append(onnx_bytes.tensor(name, np.asarray(values)))
        return name

    def add(self, kind: str, inputs: list[str], name: str | None = None, **attributes) -> str:
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(onnx_bytes.node(kind, inputs, name, attributes))
        return name

    def convolution(self, x: str, name: str, kernel: np.ndarray, bias: np.ndarray, stride=1, groups=1, padding=0) -> str:
        inputs = [x, self.constant(f"{name}.weight", kernel), self.constant(f"{name}.bias", bias)]
        sides = kernel.shape[2:]
        return self.add(
            "Conv", inputs, name, kernel_shape=sides, strides=(stride,) * 2, pads=(padding,) * 4, group=groups, dilations=(1, 1)
        )

    def block(self, x: str, name: str, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, padding: int | None = None):
        """ConvBlock: convolution with the normalisation in it, SiLU."""
        weights = self.weight(f"{name}.0.weight", (c_out, c_in // groups, kernel, kernel))
        scale, shift, mean, variance = (
            self.weight(f"{name}.1.{part}", (c_out,)).astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / np.sqrt(variance + BN_EPS)
        folded = weights * factor[:, None, None, None], shift - mean * factor
        padding = kernel // 2 if padding is None else padding
        y = self.convolution(x, name, *folded, stride, groups, padding)
        return self.add("Mul", [y, self.add("Sigmoid", [y])])

    def conv3x3(self, x: str, name: str, c_in: int, c_out: int, depthwise: bool, stride: int = 1) -> str:
        if not depthwise:
            return self.block(x, name, c_in, c_out, 3, stride)
        return self.block(self.block(x, f"{name}.0", c_in, c_in, 3, stride, groups=c_in), f"{name}.1", c_in, c_out, 1)

    def csp(self, x: str, name: str, c_in: int, c_out: int, n: int, depthwise: bool, shortcut: bool) -> str:
        """CSPLayer."""
        half = c_out // 2
        y = self.block(x, f"{name}.through", c_in, half, 1)
        for i in range(n):
            inner = self.block(y, f"{name}.blocks.{i}.convs.0", half, half, 1)
            inner = self.conv3x3(inner, f"{name}.blocks.{i}.convs.1", half, half, depthwise)
            y = self.add("Add", [y, inner]) if shortcut else inner
        past = self.block(x, f"{name}.past", c_in, half, 1)
        return self.block(self.join([y, past]), f"{name}.join", 2 * half, c_out, 1)

    def spp(self, x: str, name: str, channels: int) -> str:
        maps = [self.block(x, f"{name}.reduce", channels, channels // 2, 1)]
        for _ in range(3):
            maps.append(self.add("MaxPool", [maps[-1]], kernel_shape=(5, 5), strides=(1, 1), pads=(2, 2, 2, 2)))
        return self.block(self.join(maps), f"{name}.join", 2 * channels, channels, 1)

    def join(self, maps: list[str], axis: int = 1, name: str | None = None) -> str:
        return self.add("Concat", maps, name, axis=axis)

    def enlarged(self, x: str) -> str:
        """Twice as many pixels along both axes, each four times."""
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        scales = self.constant(f"scales_{len(self.nodes)}", np.array([1, 1, 2, 2], np.float32))
        return self.add("Resize", [x, "", scales], **how)


def network(graph: Graph, size: Size) -> list[str]:
    """All layers; the names of the outputs, (batch, cells, outputs) each."""
    levels = neck(graph, size, *backbone(graph, size))
    return [head(graph, size, levels, name, outputs) for name, outputs in HEADS.items()]


def backbone(graph: Graph, size: Size) -> tuple[str, str, str, str]:
    """Maps of strides 4, 8, 16 and 32."""
    c, n, dw = size.base, size.repeats, size.depthwise
    x, maps = graph.block(INPUT, "backbone.stem", 3, c, 6, 2, padding=2), []
    for stage, repeats in ((2, n), (3, 3 * n), (4, 3 * n), (5, n)):
        name, c_in, c_out = f"backbone.dark{stage}", c * 2 ** (stage - 2), c * 2 ** (stage - 1)
        x = graph.conv3x3(x, f"{name}.0", c_in, c_out, dw, 2)
        if stage == 5:
            x = graph.spp(x, f"{name}.1", c_out)
        x = graph.csp(x, f"{name}.{2 if stage == 5 else 1}", c_out, c_out, repeats, dw, shortcut=stage < 5)
        maps.append(x)
    return tuple(maps)


def neck(graph: Graph, size: Size, stride_4: str, stride_8: str, stride_16: str, stride_32: str) -> list[str]:
    """Maps for the heads, finest first."""
    c, n, dw = size.base, size.repeats, size.depthwise

    def csp(maps: list[str], name: str, c_in: int, c_out: int) -> str:
        return graph.csp(graph.join(maps), f"neck.{name}", c_in, c_out, n, dw, shortcut=False)

    lateral5 = graph.block(stride_32, "neck.lateral5", 16 * c, 8 * c, 1)
    top4 = csp([graph.enlarged(lateral5), stride_16], "down4", 16 * c, 8 * c)
    lateral4 = graph.block(top4, "neck.lateral4", 8 * c, 4 * c, 1)
    out3 = csp([graph.enlarged(lateral4), stride_8], "down3", 8 * c, 4 * c)
    out4 = csp([graph.conv3x3(out3, "neck.reduce3", 4 * c, 4 * c, dw, 2), lateral4], "up4", 8 * c, 8 * c)
    out5 = csp([graph.conv3x3(out4, "neck.reduce4", 8 * c, 8 * c, dw, 2), lateral5], "up5", 16 * c, 16 * c)
    if not size.p2:
        return [out3, out4, out5]
    lateral3 = graph.block(out3, "neck.lateral3", 4 * c, 2 * c, 1)
    return [csp([graph.enlarged(lateral3), stride_4], "down2", 4 * c, 2 * c), out3, out4, out5]


def head(graph: Graph, size: Size, levels: list[str], name: str, outputs: int) -> str:
    """One head: levels one after the other, row by row."""
    c, dw, place, maps = size.base, size.depthwise, f"heads.{name}", []
    if size.p2:
        x = graph.conv3x3(levels[0], f"{place}.p2.0", 2 * c, 2 * c, dw)
        maps.append(prediction(graph, x, f"{place}.p2.1", 2 * c, outputs))
    for i, x in enumerate(levels[-3:]):
        y = graph.block(x, f"{place}.stems.{i}", 4 * c * 2**i, 4 * c, 1)
        y = graph.conv3x3(graph.conv3x3(y, f"{place}.convs.{i}.0", 4 * c, 4 * c, dw), f"{place}.convs.{i}.1", 4 * c, 4 * c, dw)
        maps.append(prediction(graph, y, f"{place}.predictions.{i}", 4 * c, outputs))
    return graph.add("Transpose", [graph.join(maps, axis=2)], name, perm=(0, 2, 1))


def prediction(graph: Graph, x: str, name: str, channels: int, outputs: int) -> str:
    """(batch, outputs, cells) of a level."""
    kernel, bias = graph.weight(f"{name}.weight", (outputs, channels, 1, 1)), graph.weight(f"{name}.bias", (outputs,))
    flat = graph.constant(f"{name}.shape", np.array([0, outputs, -1], np.int64))  # 0: as it was
    return graph.add("Reshape", [graph.convolution(x, name, kernel, bias), flat])
