"""The bundled network's architecture in PyTorch on a GPU: what a TensorRT engine would run, where TensorRT is not.

Weights are those of ``training/start`` where shapes agree; the age layers, which it leaves out, are random. Times do not depend on
them. Without a GPU everything runs on the CPU, for tests.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lgin_edge.errors import BackendError
from lgin_edge.models.description import Description
from training import checkpoint
from training.networks import LGIN, NetworkConfig, example_inputs

from .gpu_steps import BoundCall

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
START = Path(__file__).parent.parent / "training" / "start" / checkpoint.FILE
#: (inputs, outputs, kernel, stride, padding, side) of the regions' convolutions, widths of one region.
LAYERS = (
    (3, 16, 6, 2, 2, 128),
    (16, 32, 3, 2, 1, 64),
    *((32, 16, 3, 1, 1, 32), (16, 32, 3, 1, 1, 32)) * 2,
    (32, 16, 1, 1, 0, 32),
    *((16, 16, 3, 1, 1, 64),) * 2,
)
REGIONS = 5


class Network:
    """T for inference. In half precision all but the lines, which are small and summed up in FP32, as in an FP16 engine's file."""

    def __init__(self, half: bool, device: str = DEVICE) -> None:
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.manual_seed(0)
        net = LGIN(NetworkConfig()).eval().requires_grad_(False)
        if net.lines is None:
            raise AssertionError("the default configuration has lines")
        net.lines.layers.normal_(std=0.05)
        net.load_state_dict({k: v.float() for k, v in checkpoint.load(START, "average.")[0].items()}, strict=False)
        net = net.to(device, memory_format=torch.channels_last)
        if half:
            net.half()
            lines = net.lines.float()
            deep = lines.deep
            lines.deep = lambda slopes, age: deep(slopes, age.float())
        self.net, self.device, self.dtype = net, device, torch.float16 if half else torch.float32

    def __call__(self, face: Tensor, patches: Tensor, boxes: Tensor, age: Tensor) -> tuple[Tensor, ...]:
        """-> face_edit, patch_edit, flow, place, lines."""
        face = face.to(self.dtype, memory_format=torch.channels_last)
        with torch.inference_mode():
            edits = self.net(face, patches.to(self.dtype), boxes, age.to(self.dtype)).edits
        return edits.face_edit, edits.patch_edit, edits.flow, edits.place, edits.lines

    def times_ms(self, faces: int, ages: int, repeats: int) -> tuple[float, float | None]:
        """Median milliseconds of a call, eager and as a CUDA graph (None without a GPU)."""
        inputs = [one.to(self.device) for one in example_inputs(self.net.config, faces, ages)]
        inputs[0], inputs[1] = (torch.rand_like(one) * 2 - 1 for one in inputs[:2])
        return times_ms(lambda: self(*inputs), repeats)


class TorchEngine:
    """``Network`` as ``interfaces.Engine`` on buffers of the frame path, and as ``interfaces.Backend`` on the CPU.

    Args:
        queue: puts work on the stand-in's stream, in tests; None on a GPU.
        half: of an engine.
    """

    max_faces, capturable = 4, True

    def __init__(
        self, about: Description, queue: Callable[[int, Callable[[], None]], None] | None, half: bool = True
    ) -> None:
        self.description, self._queue, self.max_ages = about, queue, len(about.groups)
        kind, single = np.dtype(np.float16 if half else np.float32), np.dtype(np.float32)
        self.dtypes = {**dict.fromkeys(("face", "patches", *about.outputs), kind), "boxes": single, "age": single}
        self._network = Network(half, DEVICE if half else "cpu")

    def bind(self, addresses: Mapping[str, int], faces: int, ages: int) -> BoundCall:
        return BoundCall(partial(self._enqueue, addresses, faces, ages))

    def _enqueue(self, addresses: Mapping[str, int], faces: int, ages: int, stream: int) -> None:
        about = self.description
        names = (*about.inputs, *about.outputs)
        at = {name: (addresses[name], about.shape(name, faces, ages), self.dtypes[name]) for name in names}

        def work() -> None:
            on: AbstractContextManager[Any] = nullcontext()
            if DEVICE == "cuda":
                on = torch.cuda.stream(torch.cuda.ExternalStream(stream))
            with on:
                tensors = {name: _tensor(*where) for name, where in at.items()}
                results = self._network(*(tensors[name] for name in about.inputs))
                for name, result in zip(about.outputs, results, strict=True):
                    tensors[name].copy_(result)

        if self._queue is not None:
            self._queue(stream, work)
            return
        try:
            work()
        except RuntimeError as error:  # a recording that failed is one of these
            raise BackendError(f"PyTorch failed: {error}") from error

    def run(self, face: Any, patches: Any, boxes: Any, age: Any) -> tuple[npt.NDArray[np.float32], ...]:
        n = len(face)
        inputs = (
            torch.from_numpy(np.ascontiguousarray(one))
            for one in (face, patches, boxes, age.reshape(n, -1, age.shape[-1]))
        )
        results = self._network(*inputs)
        about = self.description
        return tuple(about.rows(name, one.numpy()) for name, one in zip(about.outputs, results, strict=True))

    def close(self) -> None:
        """Nothing to free."""


class _Interface:
    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (address, False),
            "strides": None,
            "version": 2,
        }


def _tensor(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
    """What lies at an address, without a copy."""
    if DEVICE == "cuda":
        return torch.as_tensor(_Interface(address, shape, dtype), device=DEVICE)
    size = int(np.prod(shape)) * dtype.itemsize
    return torch.from_numpy(
        np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)).view(dtype).reshape(shape)
    )


def times_ms(run: Callable[[], object], repeats: int) -> tuple[float, float | None]:
    """Median milliseconds of a call, eager and replayed as a CUDA graph (None without a GPU); with the wait for its end."""
    if DEVICE == "cpu":
        return _median_ms(run, repeats, lambda: None), None
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    eager = _median_ms(run, repeats, torch.cuda.synchronize)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return eager, _median_ms(graph.replay, repeats, torch.cuda.synchronize)


def _median_ms(run: Callable[[], object], repeats: int, wait: Callable[[], None]) -> float:
    samples = []
    for i in range(repeats + 3):
        start = time.perf_counter()
        run()
        wait()
        if i >= 3:
            samples.append(1e3 * (time.perf_counter() - start))
    return float(np.median(samples))


def time_convolutions(largest_batch: int, repeats: int) -> Iterator[dict[str, Any]]:
    """The regions' convolutions, channels last: in five groups, dense with blocks of zeros, and five one after the other."""
    dtype = torch.float16 if DEVICE == "cuda" else torch.float32
    torch.backends.cudnn.benchmark = True
    last = torch.channels_last
    for faces in {1, largest_batch}:
        for way in ("grouped", "dense", "five"):
            work: list[Callable[[], object]] = []
            for inputs, outputs, kernel, stride, padding, side in LAYERS:
                x = torch.randn(faces, REGIONS * inputs, side, side, device=DEVICE, dtype=dtype).to(memory_format=last)
                w = torch.randn(REGIONS * outputs, inputs, kernel, kernel, device=DEVICE, dtype=dtype)
                if way == "five":
                    pairs = [
                        (a.contiguous(memory_format=last), b.contiguous(memory_format=last))
                        for a, b in zip(x.split(inputs, 1), w.split(outputs), strict=True)
                    ]
                else:
                    pairs = [(x, (_dense(w) if way == "dense" else w).to(memory_format=last))]
                groups = REGIONS if way == "grouped" else 1
                work += [
                    lambda a=a, b=b, s=stride, p=padding, g=groups: torch.conv2d(a, b, None, s, p, 1, g)  # type: ignore[misc]
                    for a, b in pairs
                ]
            eager, graph = times_ms(lambda work=work: [one() for one in work], repeats)  # type: ignore[misc]
            yield {"faces": faces, "way": way, "eager_ms": eager, "graph_ms": graph}


def _dense(grouped: Tensor) -> Tensor:
    """The same convolution without groups: zeros between the regions."""
    outputs, inputs = grouped.shape[0] // REGIONS, grouped.shape[1]
    dense = grouped.new_zeros(grouped.shape[0], REGIONS * inputs, *grouped.shape[2:])
    for r in range(REGIONS):
        dense[r * outputs : (r + 1) * outputs, r * inputs : (r + 1) * inputs] = grouped[r * outputs : (r + 1) * outputs]
    return dense
