"""ONNX files as bytes, written without any library: the few messages of onnx.proto that a network needs.

Protocol Buffers: a message is a row of fields, each a key (number and wire type) and a value; see
https://protobuf.dev/programming-guides/encoding and onnx.proto3 for the numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np

OPSET, IR_VERSION = 17, 8  # 2022; every runtime of today reads them
FLOAT, INT64 = 1, 7  # TensorProto.DataType
KINDS = {int: 2, float: 1, str: 3, tuple: 7}  # AttributeProto.AttributeType by Python's


def varint(value: int) -> bytes:
    """Seven bits a byte, lowest first, the eighth says that more follow.

    >>> varint(300).hex()
    'ac02'
    """
    value &= 2**64 - 1  # negative numbers as the ten bytes of their complement
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def piece(field: int, value: bytes | str) -> bytes:
    """A string, bytes, or a message inside another."""
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def pieces(field: int, values: Iterable[bytes | str]) -> bytes:
    return b"".join(piece(field, value) for value in values)


def tensor(name: str, values: np.ndarray) -> bytes:
    """TensorProto of float32 or int64 values."""
    kind, dtype = (INT64, "<i8") if values.dtype.kind == "i" else (FLOAT, "<f4")
    sides = b"".join(number(1, n) for n in values.shape)
    return sides + number(2, kind) + piece(8, name) + piece(9, np.ascontiguousarray(values, dtype).tobytes())


def attribute(name: str, value: int | float | str | tuple[int, ...]) -> bytes:
    """AttributeProto."""
    kind = type(value)
    if kind is float:
        body = varint(2 << 3 | 5) + struct.pack("<f", value)
    elif kind is int:
        body = number(3, value)
    elif kind is str:
        body = piece(4, value)
    else:
        body = b"".join(number(8, n) for n in value)
    return piece(1, name) + body + number(20, KINDS[kind])


def node(kind: str, inputs: Sequence[str], output: str, attributes: dict) -> bytes:
    """NodeProto of one output, whose name is the node's too."""
    details = pieces(5, (attribute(name, value) for name, value in attributes.items()))
    return pieces(1, inputs) + piece(2, output) + piece(3, output) + piece(4, kind) + details


def value_info(name: str, sides: Sequence[int | str]) -> bytes:
    """ValueInfoProto of a float tensor; a side with a name is free."""
    dims = pieces(1, (piece(2, side) if isinstance(side, str) else number(1, side) for side in sides))
    return piece(1, name) + piece(2, piece(1, number(1, FLOAT) + piece(2, dims)))


def model(name: str, nodes, tensors, inputs, outputs, metadata: dict[str, str]) -> bytes:
    """ModelProto of messages made as above."""
    graph = pieces(1, nodes) + piece(2, name) + pieces(5, tensors) + pieces(11, inputs) + pieces(12, outputs)
    facts = pieces(14, (piece(1, key) + piece(2, value) for key, value in metadata.items()))
    return number(1, IR_VERSION) + piece(2, "astroyolo") + piece(7, graph) + piece(8, number(2, OPSET)) + facts
