"""A CUDA run time without a GPU: device memory is the host's, and a stream is a queue that runs when it is waited for.

So a result that is read too early, a copy of the wrong size, a stream that was not waited for, memory that is used after it
was freed or never freed show on any machine. Every call is written down, and any call can be made to fail.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lgin_edge import kernels
from lgin_edge.inference.onnxruntime_gpu import OnnxCall, OnnxGpuEngine

FAILED = 999
needs_kernels = pytest.mark.skipif(
    not kernels.cuda_is_host(), reason="needs kernels that run on the host: LGIN_CUDA=HOST ./bootstrap.sh test"
)


class Runtime:
    """What ``lgin_edge.inference.cuda`` uses of ``cuda.bindings.runtime``.

    Attributes:
        calls: every call, (name, arguments).
        live: what was made and not freed yet: kind of each thing by its handle.
    """

    cudaHostAllocDefault = 0
    cudaStreamNonBlocking, cudaEventDisableTiming = 1, 2
    cudaMemcpyKind = SimpleNamespace(
        cudaMemcpyHostToDevice="up", cudaMemcpyDeviceToHost="down", cudaMemcpyDeviceToDevice="across"
    )
    cudaMemoryType = SimpleNamespace(cudaMemoryTypeUnregistered=0)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaDeviceAttr = SimpleNamespace(
        cudaDevAttrComputeCapabilityMajor="major",
        cudaDevAttrComputeCapabilityMinor="minor",
    )

    def __init__(self, *, capability: int = 86, devices: int = 1) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.live: dict[int, str] = {}
        self.faults: dict[str, int] = {}
        self._attributes = {"major": capability // 10, "minor": capability % 10}
        self._devices = devices
        self._memory: dict[int, Any] = {}
        self._queues: dict[int, list[Callable[[], None]]] = {}
        self._captured: dict[int, list[Callable[[], None]]] = {}  # by stream, while it is recorded
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._events: dict[int, Callable[[], None]] = {}
        self.driver = 13000
        self.room: int | None = None  # bytes of the device's memory
        self._adopted: set[int] = set()
        self._next = 1000
        self._lost_after: int | None = None
        self._current = threading.local()
        self._place: dict[int, int] = {}  # device of an allocation

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if not name.startswith("cuda") or not callable(value):
            return value

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, arguments))
            if self._lost_after is not None and name != "cudaGetErrorString":
                self._lost_after -= 1
                if self._lost_after < 0:
                    self._queues.clear()  # what was queued is never done
                    self._captured.clear()
                    return (FAILED, None)
            if name == "cudaMalloc" and self.room is not None and self.held() + arguments[0] > self.room:
                return (FAILED, None)
            if name in self.faults:
                self.faults[name] -= 1
                if self.faults[name] < 0:
                    if name == "cudaStreamEndCapture":
                        self._captured.pop(arguments[0])  # a recording ends also when it failed
                    return (FAILED, None)
            result = value(*arguments)
            return (0,) if result is None else (0, result)

        return call

    def fail(self, name: str, after: int = 0) -> None:
        """Let every call of a function fail after so many more."""
        self.faults[name] = after

    def lose(self, after: int = 0) -> None:
        """Lose the GPU: after so many more calls every call fails."""
        self._lost_after = after

    def adopt(self, array: npt.NDArray[np.uint8]) -> None:
        """Let an array's memory be the device's, as if another library had allocated it there."""
        self._adopted.add(array.ctypes.data)

    @property
    def pending(self) -> bool:
        """Whether work is queued that nobody waited for."""
        return any(self._queues.values())

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def queue(self, stream: int, work: Callable[[], None]) -> None:
        """Put work on a stream: it is run when somebody waits, or again and again if it is recorded."""
        if stream in self._captured:
            self._captured[stream].append(work)
        else:
            self._queues.setdefault(stream, []).append(work)

    def run(self, stream: int, upto: int | None = None) -> None:
        queue = self._queues.setdefault(stream, [])
        count = len(queue) if upto is None else upto
        for _ in range(min(count, len(queue))):
            queue.pop(0)()

    def _new(self, kind: str) -> int:
        self._next += 1
        self.live[self._next] = kind
        return self._next

    def _drop(self, handle: int, kind: str) -> None:
        assert self.live.get(int(handle)) == kind, f"{kind} {handle} is not there"
        del self.live[int(handle)]

    # ---- the functions; each gives its result, None if it has none

    def cudaGetErrorString(self, error: int) -> bytes:
        return b"made to fail"

    def cudaGetDeviceCount(self) -> int:
        return self._devices

    def cudaSetDevice(self, device: int) -> None:
        assert 0 <= device < self._devices
        self._current.device = device

    def cudaGetDevice(self) -> int:
        return getattr(self._current, "device", 0)

    def cudaPointerGetAttributes(self, address: int) -> Any:
        for start, buffer in self._memory.items():
            if start <= address < start + len(buffer) - 256:
                return SimpleNamespace(type=2, device=self._place[start])
        if address in self._adopted:
            return SimpleNamespace(type=2, device=0)
        return SimpleNamespace(type=0, device=-2)

    def cudaDriverGetVersion(self) -> int:
        return self.driver

    def cudaRuntimeGetVersion(self) -> int:
        return 13000

    def cudaDeviceGetAttribute(self, name: str, device: int) -> int:
        return self._attributes[name]

    def cudaGetDeviceProperties(self, device: int) -> Any:
        return SimpleNamespace(name=b"stand-in\0\0")

    def _allocate(self, size: int, kind: str) -> int:
        assert size > 0
        buffer = (ctypes.c_uint8 * (size + 256)).from_buffer(bytearray(b"\xcd" * (size + 256)))
        address = -(-ctypes.addressof(buffer) // 256) * 256  # aligned as CUDA's is
        self._memory[address] = buffer
        self._place[address] = getattr(self._current, "device", 0)
        self.live[address] = kind
        return address

    def cudaMalloc(self, size: int) -> int:
        return self._allocate(size, "device memory")

    def held(self) -> int:
        """Bytes of the device's memory that are taken."""
        return sum(len(self._memory[at]) - 256 for at, kind in self.live.items() if kind == "device memory")

    def cudaFree(self, address: int) -> None:
        self._release(address, "device memory")

    def cudaHostAlloc(self, size: int, flags: int) -> int:
        assert flags == self.cudaHostAllocDefault
        return self._allocate(size, "pinned memory")

    def cudaFreeHost(self, address: int) -> None:
        self._release(address, "pinned memory")

    def _release(self, address: int, kind: str) -> None:
        assert not any(self._queues.values()), "memory is freed while work is queued"
        self._drop(address, kind)
        buffer = self._memory.pop(address)
        ctypes.memset(ctypes.addressof(buffer), 0xDD, len(buffer))

    def kind_of(self, address: int) -> str | None:
        """Which kind of memory an address lies in, of those that are allocated."""
        return next(
            (self.live[start] for start, buffer in self._memory.items() if 0 <= address - start < len(buffer) - 256),
            None,
        )

    def _inside(self, address: int, size: int) -> bool:
        return any(
            start <= address and address + size <= start + len(buffer) - 256 for start, buffer in self._memory.items()
        )

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: str, stream: int) -> None:
        if kind in ("up", "across"):
            assert self._inside(to, size)
        if kind in ("down", "across"):
            assert self._inside(source, size)
        self.queue(stream, lambda: ctypes.memmove(to, source, size))  # type: ignore[arg-type]

    def cudaMemsetAsync(self, to: int, value: int, size: int, stream: int) -> None:
        assert self._inside(to, size)
        self.queue(stream, lambda: ctypes.memset(to, value, size))  # type: ignore[arg-type]

    def cudaMemcpy2DAsync(
        self, to: int, to_pitch: int, source: int, pitch: int, width: int, rows: int, kind: str, stream: int
    ) -> None:
        def copy() -> None:
            for row in range(rows):
                ctypes.memmove(to + row * to_pitch, source + row * pitch, width)

        self.queue(stream, copy)

    def cudaStreamCreateWithFlags(self, flags: int) -> int:
        assert flags == self.cudaStreamNonBlocking
        return self._new("stream")

    def cudaStreamDestroy(self, stream: int) -> None:
        self._drop(stream, "stream")

    def cudaStreamSynchronize(self, stream: int) -> None:
        assert stream not in self._captured
        self.run(stream)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> None:
        assert stream not in self._captured
        self._captured[stream] = []

    def cudaStreamEndCapture(self, stream: int) -> int:
        graph = self._new("graph")
        self._graphs[graph] = self._captured.pop(stream)
        return graph

    def cudaGraphInstantiate(self, graph: int, flags: int) -> int:
        executable = self._new("executable graph")
        self._graphs[executable] = list(self._graphs[graph])
        return executable

    def cudaGraphDestroy(self, graph: int) -> None:
        self._drop(graph, "graph")
        del self._graphs[graph]

    def cudaGraphExecDestroy(self, executable: int) -> None:
        self._drop(executable, "executable graph")
        del self._graphs[executable]

    def cudaGraphLaunch(self, executable: int, stream: int) -> None:
        assert self.live[executable] == "executable graph"
        for work in self._graphs[executable]:
            self.queue(stream, work)

    def cudaEventCreateWithFlags(self, flags: int) -> int:
        return self._new("event")

    def cudaEventDestroy(self, event: int) -> None:
        self._drop(event, "event")
        self._events.pop(event, None)

    def cudaEventRecord(self, event: int, stream: int) -> None:
        done: list[bool] = []
        self.queue(stream, lambda: done.append(True))

        def reach() -> None:
            while not done and self._queues.get(stream):
                self.run(stream, 1)

        self._events[event] = reach

    def cudaEventSynchronize(self, event: int) -> None:
        self._events.get(event, lambda: None)()

    def cudaStreamWaitEvent(self, stream: int, event: int, flags: int) -> None:
        self.queue(stream, self._events[event])


class DeviceArray:
    """What CuPy would give: an array whose memory is the stand-in's."""

    def __init__(self, runtime: Runtime, view: np.ndarray) -> None:
        self.runtime, self.view = runtime, view
        runtime.adopt(view)
        self.shape = view.shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        view = self.view
        return {"shape": view.shape, "strides": view.strides, "typestr": "|u1", "version": 3, "stream": 1,
                "data": (view.__array_interface__["data"][0], False)}  # fmt: skip

    def __getitem__(self, part: Any) -> DeviceArray:
        return DeviceArray(self.runtime, self.view[part])


def queue_launches(runtime: Runtime, patch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Put the kernels' launches on the stand-in's streams: the kernels themselves in the HOST build, else nothing.

    Returns:
        The launches as they are asked for (not as they are replayed).
    """
    launches: list[tuple[str, dict[str, Any]]] = []

    def on_stream(name: str) -> Callable[..., None]:
        native = getattr(kernels, name)

        def launch(*arguments: Any, stream: int, **named: Any) -> None:
            launches.append((name, {"arguments": arguments, "stream": stream, **named}))
            if kernels.cuda_is_host():
                runtime.queue(stream, lambda: native(*arguments, stream=0, **named))
            else:
                runtime.queue(stream, lambda: None)

        return launch

    for name in ("launch_crop", "launch_finite_check", "launch_paste", "launch_edit_paste"):
        patch.setattr(kernels, name, on_stream(name))
    return launches


class QueuedEngine(OnnxGpuEngine):
    """ONNX Runtime on the CPU, whose calls wait on the stand-in's stream like everything else."""

    def __init__(self, path: Path, runtime: Runtime) -> None:
        super().__init__(path, 0, 0, provider="CPUExecutionProvider", memory="cpu")
        self.runtime = runtime
        self.capturable = True
        self.seen: list[tuple[int, int, int]] = []
        self.closed = self.bound = 0

    def bind(self, addresses: Mapping[str, int], faces: int, ages: int) -> OnnxCall:
        engine, queue = self, self.runtime.queue
        assert {addresses[name] % 256 for name in ("boxes", "age")} == {0}, "TensorRT does not take it"
        assert ages <= self.max_ages, "no profile has so many"
        self.bound += 1

        class QueuedCall(OnnxCall):
            def enqueue(self, stream: int) -> None:
                engine.seen.append((faces, faces * ages, stream))
                queue(stream, lambda: engine.run(bound._binding, bound._what))

            def close(self) -> None:
                engine.bound -= 1

        bound = super().bind(addresses, faces, ages)
        return QueuedCall(self, bound._binding, bound._what)

    def close(self) -> None:
        self.closed += 1
        super().close()
