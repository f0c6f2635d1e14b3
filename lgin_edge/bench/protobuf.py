"""As much of ONNX's protobuf as a plain network needs, written by hand: the base install has no ``onnx`` package.

Field numbers are those of ``onnx.proto3``; the encoding is that of protobuf: a key ``number << 3 | kind`` before each field,
kind 0 for a variable-length integer and 2 for bytes with their length before them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Field = tuple[int, "int | str | bytes"]
_FLOAT, _INT64, _INTS = 1, 2, 7  # TensorProto.FLOAT; AttributeProto.INT and INTS
_DTYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}


def varint(value: int) -> bytes:
    """A non-negative integer, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(*fields: Field) -> bytes:
    """A message of (number, value) in the order given."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [varint(number << 3), varint(value)]
        else:
            data = value.encode() if isinstance(value, str) else value
            parts += [varint(number << 3 | 2), varint(len(data)), data]
    return b"".join(parts)


def attribute(name: str, value: int | Sequence[int]) -> bytes:
    """AttributeProto of an integer or of a list of them."""
    if isinstance(value, int):
        return message((1, name), (3, value), (20, _INT64))
    return message((1, name), *((8, one) for one in value), (20, _INTS))


def node(
    kind: str, inputs: Sequence[str], output: str, attributes: Mapping[str, int | Sequence[int]] | None = None
) -> bytes:
    """NodeProto with one output, which also names it."""
    given = [(5, attribute(name, value)) for name, value in (attributes or {}).items()]
    return message(*((1, name) for name in inputs), (2, output), (3, output), (4, kind), *given)


def tensor(name: str, array: npt.NDArray[np.float32] | npt.NDArray[np.int64]) -> bytes:
    """TensorProto with raw data, little-endian as ONNX asks."""
    raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return message(*((1, side) for side in array.shape), (2, _DTYPES[array.dtype]), (8, name), (9, raw))


def value_info(name: str, shape: Sequence[int]) -> bytes:
    """ValueInfoProto of a float tensor."""
    dims = message(*((1, message((1, side))) for side in shape))
    return message((1, name), (2, message((1, message((1, _FLOAT), (2, dims))))))


def model(
    name: str,
    nodes: Sequence[bytes],
    weights: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
    *,
    opset: int = 17,
    ir_version: int = 8,
) -> bytes:
    """ModelProto: the bytes of an ``.onnx`` file."""
    parts = ((1, nodes), (2, [name.encode()]), (5, weights), (11, inputs), (12, outputs))
    graph = message(*((number, one) for number, ones in parts for one in ones))
    return message((1, ir_version), (2, "lgin-edge bench"), (7, graph), (8, message((1, ""), (2, opset))))
