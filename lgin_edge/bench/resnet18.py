"""ResNet-18 at 256x256 with random weights: the same work on every machine, so that results compare between them.

As much of ONNX's protobuf as it needs is written by hand: the base install has no ``onnx`` package. Field numbers are those of
``onnx.proto3``; the encoding is that of protobuf: a key ``number << 3 | kind`` before each field, kind 0 for a variable-length
integer and 2 for bytes with their length before them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from .measure import Candidate, check_logits

NAME = "resnet18"
#: Side of its input, and multiply-accumulates of one pass: 2.37 G, as He et al.'s 1.82 G at 224 x 224.
SIDE = 256
GMAC = 2.37
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # width, stride of the first block; two blocks each
_CLASSES = 1000

_Field = tuple[int, "int | str | bytes"]
_FLOAT, _INT64, _INTS = 1, 2, 7  # TensorProto.FLOAT; AttributeProto.INT and INTS
_DTYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}


def resnet18(seed: int = 0) -> bytes:
    """ResNet-18 (He et al. 2015) as the bytes of an ONNX file: ``image`` [1, 3, 256, 256] -> ``logits`` [1, 1000].

    Batch norms are folded (every convolution has a bias). Weights are He's normal ones, the second convolution of a block
    at a quarter of that, so that the sums of the residual branches stay near 1 and nothing overflows or turns denormal.
    """
    build = _Builder(seed)
    x = build.conv("image", 3, 64, kernel=7, stride=2)
    x = build.node("MaxPool", [build.relu(x)], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]})
    width = 64
    for wide, first in _STAGES:
        for stride in (first, 1):
            branch = build.relu(build.conv(x, width, wide, stride=stride))
            branch = build.conv(branch, wide, wide, gain=0.25)
            if stride != 1 or width != wide:
                x = build.conv(x, width, wide, kernel=1, stride=stride)
            x, width = build.relu(build.node("Add", [branch, x])), wide
    x = build.node("Flatten", [build.node("GlobalAveragePool", [x])])
    head = [build.weight((_CLASSES, width), width), build.weight((_CLASSES,), 100)]
    build.node("Gemm", [x, *head], {"transB": 1}, output="logits")
    image, logits = _value_info("image", (1, 3, SIDE, SIDE)), _value_info("logits", (1, _CLASSES))
    return _model(NAME, build.nodes, build.weights, [image], [logits])


def image() -> npt.NDArray[np.float32]:
    """ResNet-18's input, [1, 3, 256, 256] in [-1, 1]: the same bytes everywhere."""
    levels = np.random.default_rng(1).integers(0, 256, (1, 3, SIDE, SIDE))
    return (levels / 127.5 - 1.0).astype(np.float32)


class Sessions:
    """ResNet-18 in ONNX Runtime on the CPU, with the options of our own models: one session a number of threads.

    Args:
        stack: takes charge of the sessions, and of the temporary folder with the file that ONNX Runtime reads.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.input = image()
        self._sessions: dict[int, Any] = {}
        self._path = Path(stack.enter_context(TemporaryDirectory(prefix="lgin-edge-bench-"))) / f"{NAME}.onnx"
        self._path.write_bytes(resnet18())
        stack.callback(self._sessions.clear)

    def run(self, threads: int) -> npt.NDArray[np.float32]:
        """One pass on ``image()``: the logits [1, 1000]."""
        logits: npt.NDArray[np.float32] = self._session(threads).run("ResNet-18", None, {"image": self.input})[0]
        return logits

    def candidate(self, threads: int) -> Candidate:
        """ResNet-18 on this number of threads. Raises BackendError without ONNX Runtime."""
        self._session(threads)  # loaded before anything is timed
        return Candidate(
            "yardstick",
            NAME,
            lambda: self.run(threads),
            lambda answer: check_logits(answer, self.expected),
            [self.input],
            size=f"{SIDE}²",
            threads=threads,
        )

    @cached_property
    def expected(self) -> npt.NDArray[np.float32]:
        """The logits by one thread."""
        return self.run(1)

    def _session(self, threads: int) -> Any:
        from ..inference.onnxruntime import open_session
        from ..models import onnx_file

        if threads not in self._sessions:
            self._sessions[threads] = open_session(onnx_file.read(self._path), threads=threads)
        return self._sessions[threads]


class _Builder:
    """Collects nodes and weights; every method gives the name of what it made."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.nodes: list[bytes] = []
        self.weights: list[bytes] = []

    def weight(self, shape: tuple[int, ...], fan_in: int, gain: float = 1.0) -> str:
        """Normal weights of standard deviation ``gain sqrt(2 / fan_in)``."""
        name = f"w{len(self.weights)}"
        values = self._rng.standard_normal(shape, np.float32) * np.float32(gain * np.sqrt(2.0 / fan_in))
        self.weights.append(_tensor(name, values))
        return name

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        attributes: dict[str, int | Sequence[int]] | None = None,
        output: str | None = None,
    ) -> str:
        output = output or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(_node(kind, inputs, output, attributes))
        return output

    def relu(self, x: str) -> str:
        return self.node("Relu", [x])

    def conv(self, x: str, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, gain: float = 1.0) -> str:
        weights = [
            self.weight((outputs, inputs, kernel, kernel), inputs * kernel * kernel, gain),
            self.weight((outputs,), 100, 0.1),
        ]
        return self.node(
            "Conv",
            [x, *weights],
            {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": [kernel // 2] * 4},
        )


def _varint(value: int) -> bytes:
    """A non-negative integer, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _message(*fields: _Field) -> bytes:
    """A message of (number, value) in the order given."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [_varint(number << 3), _varint(value)]
        else:
            data = value.encode() if isinstance(value, str) else value
            parts += [_varint(number << 3 | 2), _varint(len(data)), data]
    return b"".join(parts)


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    """AttributeProto of an integer or of a list of them."""
    if isinstance(value, int):
        return _message((1, name), (3, value), (20, _INT64))
    return _message((1, name), *((8, one) for one in value), (20, _INTS))


def _node(
    kind: str, inputs: Sequence[str], output: str, attributes: Mapping[str, int | Sequence[int]] | None = None
) -> bytes:
    """NodeProto with one output, which also names it."""
    given = [(5, _attribute(name, value)) for name, value in (attributes or {}).items()]
    return _message(*((1, name) for name in inputs), (2, output), (3, output), (4, kind), *given)


def _tensor(name: str, array: npt.NDArray[np.float32] | npt.NDArray[np.int64]) -> bytes:
    """TensorProto with raw data, little-endian as ONNX asks."""
    raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return _message(*((1, side) for side in array.shape), (2, _DTYPES[array.dtype]), (8, name), (9, raw))


def _value_info(name: str, shape: Sequence[int]) -> bytes:
    """ValueInfoProto of a float tensor."""
    dims = _message(*((1, _message((1, side))) for side in shape))
    return _message((1, name), (2, _message((1, _message((1, _FLOAT), (2, dims))))))


def _model(
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
    graph = _message(*((number, one) for number, ones in parts for one in ones))
    return _message((1, ir_version), (2, "lgin-edge bench"), (7, graph), (8, _message((1, ""), (2, opset))))
