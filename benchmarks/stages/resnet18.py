"""ResNet-18 at 256x256 with random weights: the same work on every machine, so that results compare between them.

Written by ``models.protobuf``: the base install has no ``onnx`` package.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from lgin_edge.models.onnx_schema import MODEL
from lgin_edge.models.protobuf import Message, encode, write_varint

from .measure import Candidate, check_logits

NAME = "resnet18"
#: Side of its input, and multiply-accumulates of one pass: 2.37 G, as He et al.'s 1.82 G at 224 x 224.
SIDE = 256
GMAC = 2.37
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # width, stride of the first block; two blocks each
_CLASSES = 1000

_FLOAT, _INT, _INTS = 1, 2, 7  # TensorProto.FLOAT; AttributeProto.INT and INTS


def resnet18() -> bytes:
    """ResNet-18 (He et al. 2015) as the bytes of an ONNX file: ``image`` [1, 3, 256, 256] -> ``logits`` [1, 1000].

    Batch norms are folded (every convolution has a bias). Weights are He's normal ones, the second convolution of a block
    at a quarter of that, so that the sums of the residual branches stay near 1 and nothing overflows or turns denormal.
    """
    build = _Builder()
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
    image, logits = _value("image", 1, 3, SIDE, SIDE), _value("logits", 1, _CLASSES)
    graph = {"name": NAME, "node": build.nodes, "initializer": build.weights, "input": [image], "output": [logits]}
    return encode({"ir_version": 8, "graph": graph, "opset_import": [{"domain": "", "version": 17}]}, MODEL)


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

        def check(answer: npt.NDArray[np.float32]) -> str:
            return check_logits(answer, self.expected)

        inputs, size = [self.input], f"{SIDE}²"
        return Candidate("yardstick", NAME, lambda: self.run(threads), check, inputs, size=size, threads=threads)

    @cached_property
    def expected(self) -> npt.NDArray[np.float32]:
        """The logits by one thread."""
        return self.run(1)

    def _session(self, threads: int) -> Any:
        from lgin_edge.inference.onnxruntime import open_session
        from lgin_edge.models import onnx_file

        if threads not in self._sessions:
            self._sessions[threads] = open_session(onnx_file.read(self._path), threads=threads)
        return self._sessions[threads]


class _Builder:
    """Collects nodes and weights; every method gives the name of what it made."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self.nodes: list[Message] = []
        self.weights: list[Message] = []

    def weight(self, shape: tuple[int, ...], fan_in: int, gain: float = 1.0) -> str:
        """Normal weights of standard deviation ``gain sqrt(2 / fan_in)``."""
        name = f"w{len(self.weights)}"
        values = self._rng.standard_normal(shape, np.float32) * np.float32(gain * np.sqrt(2.0 / fan_in))
        raw = values.astype("<f4").tobytes()
        self.weights.append({"dims": _packed(shape), "data_type": _FLOAT, "name": name, "raw_data": raw})
        return name

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        attributes: dict[str, int | list[int]] | None = None,
        output: str | None = None,
    ) -> str:
        output = output or f"{kind.lower()}{len(self.nodes)}"
        given = [
            {"name": name, "type": _INT, "i": value}
            if isinstance(value, int)
            else {"name": name, "type": _INTS, "ints": _packed(value)}
            for name, value in (attributes or {}).items()
        ]
        node = {"input": inputs, "output": [output], "name": output, "op_type": kind, "attribute": given}
        self.nodes.append(node)
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


def _packed(numbers: Iterable[int]) -> bytes:
    return b"".join(map(write_varint, numbers))


def _value(name: str, *shape: int) -> Message:
    """A float tensor that goes in or comes out."""
    dims = [{"dim_value": side} for side in shape]
    return {"name": name, "type": {"tensor_type": {"elem_type": _FLOAT, "shape": {"dim": dims}}}}
