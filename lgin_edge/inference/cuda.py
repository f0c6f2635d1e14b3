"""The CUDA run time, as little of it as the frame path needs: every error an exception, every resource closed by its owner.

``cuda.bindings.runtime`` (package ``cuda-python``) returns error codes; here they become ``BackendError``. Addresses are
plain ints.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BackendError, InputError, shown


def load_runtime() -> Any:
    """The module ``cuda.bindings.runtime``. Raises BackendError, saying how to get it."""
    try:
        from cuda.bindings import runtime
    except Exception as error:  # ImportError, or an error of a library that it loads
        raise BackendError(
            f"the CUDA bindings cannot be imported ({type(error).__name__}: {error}): pip install 'cuda-python>=12,<13' for "
            "CUDA 12 (JetPack 6), 'cuda-python>=13' for CUDA 13"
        ) from error
    return runtime


def parse_device(device: int | str) -> int | None:
    """The number of a CUDA device: 0 and "cuda" are the first, 1 and "cuda:1" the second; None for "cpu".

    Raises:
        InputError: anything else.
    """
    if isinstance(device, str) and device == "cpu":
        return None
    if isinstance(device, int) and not isinstance(device, bool) and 0 <= device <= 9999:
        return device
    match = re.fullmatch(r"cuda(?::(\d{1,4}))?", device) if isinstance(device, str) else None
    if match is None:
        raise InputError(f'device: expected "cpu", "cuda", "cuda:1" or the number of a GPU, got {shown(device)}')
    return int(match[1] or 0)


class OutOfMemory(BackendError):
    """Memory of the device, or pinned memory, could not be had."""


class Cuda:
    """One device and the calls that are made on it.

    Args:
        device: its number.
        runtime: ``cuda.bindings.runtime``, or what stands in for it in tests.

    Raises:
        BackendError: no such device, no driver, or the bindings are not there.
    """

    def __init__(self, device: int, runtime: Any = None) -> None:
        self.runtime = load_runtime() if runtime is None else runtime
        self.device = device
        try:
            count = self.call("cudaGetDeviceCount")
        except BackendError as error:
            raise BackendError(
                f"device cuda:{device}: no NVIDIA GPU can be used here ({error}); {self._other_bindings()}see nvidia-smi, or run "
                "the .onnx model on the CPU"
            ) from error
        if device >= count:
            raise BackendError(f"device cuda:{device}: this machine has {count} CUDA devices, numbered from 0")
        self.capability = 10 * self._attribute("ComputeCapabilityMajor") + self._attribute("ComputeCapabilityMinor")

    def _other_bindings(self) -> str:
        """What to install where the driver is older than the bindings, as ``pip install cuda-python`` makes it on JetPack 6."""
        try:
            driver, bindings = (self.call(f"cuda{of}GetVersion") // 1000 for of in ("Driver", "Runtime"))
        except BackendError:
            return ""
        if not 0 < driver < bindings:  # 0: no driver
            return ""
        return f"the driver is of CUDA {driver}, the bindings of {bindings}: pip install 'cuda-python>={driver},<{driver + 1}'; "

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the run time; its result without the error code. Raises BackendError."""
        error, *results = getattr(self.runtime, name)(*arguments)
        if int(error) != 0:
            _, text = self.runtime.cudaGetErrorString(error)
            text = text.decode() if isinstance(text, bytes) else text
            kind = OutOfMemory if name in ("cudaMalloc", "cudaHostAlloc") else BackendError
            raise kind(f"CUDA: {name} failed with error {int(error)}, {text}")
        return results[0] if len(results) == 1 else results or None

    def activate(self) -> None:
        """Make this the device of the calling thread: every thread begins with device 0."""
        self.call("cudaSetDevice", self.device)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this the device of the calling thread, which has its own again at the end. Raises BackendError."""
        before = self.call("cudaGetDevice")
        self.activate()
        try:
            yield
        finally:
            if before != self.device:
                self.runtime.cudaSetDevice(before)  # a device that was lost has been reported

    def device_of(self, address: int) -> int | None:
        """The number of the device that an address belongs to; None for memory of the host that CUDA does not know."""
        attributes = self.call("cudaPointerGetAttributes", address)
        unknown = self.runtime.cudaMemoryType.cudaMemoryTypeUnregistered
        return None if int(attributes.type) == int(unknown) else int(attributes.device)

    def name(self) -> str:
        """The device's name, for people."""
        properties = self.call("cudaGetDeviceProperties", self.device)
        name = properties.name
        return (name.decode() if isinstance(name, bytes) else str(name)).rstrip("\0")

    def _attribute(self, name: str) -> int:
        attribute = getattr(self.runtime.cudaDeviceAttr, f"cudaDevAttr{name}")
        return int(self.call("cudaDeviceGetAttribute", attribute, self.device))


class DeviceMemory:
    """``size`` bytes on the device. ``address`` is 0 for none."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._cuda, self.size = cuda, size
        self.address = int(cuda.call("cudaMalloc", size)) if size else 0

    def close(self) -> None:
        address, self.address = self.address, 0
        if address:
            self._cuda.call("cudaFree", address)


class PinnedMemory:
    """Pinned memory of the host, ``host`` [size] uint8, which is copied to and from a device."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._cuda, self.size = cuda, size
        self._address = int(cuda.call("cudaHostAlloc", size, cuda.runtime.cudaHostAllocDefault))
        self.host: npt.NDArray[np.uint8] = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self._address))

    def upload(self, to: int, stream: int, size: int | None = None) -> None:
        """Queue the copy of the first ``size`` bytes (all) to an address of the device."""
        self._queue_copy(to, self._address, self.size if size is None else size, "cudaMemcpyHostToDevice", stream)

    def download(self, source: int, stream: int, size: int | None = None, start: int = 0) -> None:
        """Queue the copy of ``size`` bytes (all) from an address of the device to the byte ``start``."""
        size = self.size if size is None else size
        self._queue_copy(self._address + start, source, size, "cudaMemcpyDeviceToHost", stream)

    def _queue_copy(self, to: int, source: int, size: int, kind: str, stream: int) -> None:
        self._cuda.call("cudaMemcpyAsync", to, source, size, getattr(self._cuda.runtime.cudaMemcpyKind, kind), stream)

    def close(self) -> None:
        address, self._address = self._address, 0
        if address:
            self.host = np.empty(0, np.uint8)
            self._cuda.call("cudaFreeHost", address)


class PinnedBuffer:
    """Pinned memory of the host, ``host`` [size] uint8, and as much on the device, at ``address``: written here and uploaded, or
    downloaded and read here."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._pinned = PinnedMemory(cuda, size)
        try:
            self._device = DeviceMemory(cuda, size)
        except BackendError:
            self._pinned.close()
            raise
        self.address, self.host = self._device.address, self._pinned.host

    def upload(self, stream: int, size: int | None = None) -> None:
        """Queue the copy of the first ``size`` bytes (all) to the device."""
        self._pinned.upload(self.address, stream, size)

    def download(self, stream: int, size: int | None = None, start: int = 0) -> None:
        """Queue the copy of ``size`` bytes (all) from ``start`` on to the host."""
        self._pinned.download(self.address + start, stream, size, start)

    def close(self) -> None:
        self.host = np.empty(0, np.uint8)
        self._device.close()
        self._pinned.close()


class Stream:
    """A stream that does not wait for the default one."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.handle = int(cuda.call("cudaStreamCreateWithFlags", cuda.runtime.cudaStreamNonBlocking))

    def synchronize(self) -> None:
        self._cuda.call("cudaStreamSynchronize", self.handle)

    def wait_for(self, other: int) -> None:
        """What is queued here from now on starts after what is queued on ``other`` now."""
        _order(self._cuda, first=other, then=self.handle)

    def hold(self, other: int) -> None:
        """What is queued on ``other`` from now on starts after what is queued here now."""
        _order(self._cuda, first=self.handle, then=other)

    def capture(self, queue: Callable[[], None]) -> Graph:
        """Record what ``queue`` puts on this stream, without running it. Raises BackendError if it cannot be recorded."""
        mode = self._cuda.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._cuda.call("cudaStreamBeginCapture", self.handle, mode)
        try:
            queue()
        except BaseException:
            self._abandon_capture()
            raise
        captured = self._cuda.call("cudaStreamEndCapture", self.handle)
        try:
            return Graph(self._cuda, self._cuda.call("cudaGraphInstantiate", captured, 0))
        finally:
            self._cuda.call("cudaGraphDestroy", captured)

    def _abandon_capture(self) -> None:
        """Leave capture mode whatever went wrong, or the stream could not be used again."""
        error, *captured = self._cuda.runtime.cudaStreamEndCapture(self.handle)
        if int(error) == 0 and captured and captured[0]:
            self._cuda.call("cudaGraphDestroy", captured[0])

    def close(self) -> None:
        handle, self.handle = self.handle, 0
        if handle:
            self._cuda.call("cudaStreamDestroy", handle)


class Event:
    """A place in a stream's work that can be waited for."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._handle = cuda.call("cudaEventCreateWithFlags", cuda.runtime.cudaEventDisableTiming)

    def record(self, stream: int) -> None:
        """Move it behind what is queued now."""
        self._cuda.call("cudaEventRecord", self._handle, stream)

    def synchronize(self) -> None:
        """Wait until the work before it is done; at once if it was never recorded."""
        self._cuda.call("cudaEventSynchronize", self._handle)

    def hold(self, stream: int) -> None:
        """What is queued on a stream from now on starts after it."""
        self._cuda.call("cudaStreamWaitEvent", stream, self._handle, 0)

    def close(self) -> None:
        """CUDA keeps it until it was reached."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._cuda.call("cudaEventDestroy", handle)


class Graph:
    """A recorded stream, ready to be replayed."""

    def __init__(self, cuda: Cuda, executable: Any) -> None:
        self._cuda, self._executable = cuda, executable

    def launch(self, stream: int) -> None:
        self._cuda.call("cudaGraphLaunch", self._executable, stream)

    def close(self) -> None:
        executable, self._executable = self._executable, None
        if executable is not None:
            self._cuda.call("cudaGraphExecDestroy", executable)


def _order(cuda: Cuda, *, first: int, then: int) -> None:
    with closing(Event(cuda)) as event:
        event.record(first)
        event.hold(then)
