"""Crop, engine and paste on one stream, recorded once for each shape of work and replayed as one CUDA graph.

A frame's way: the rectangle that its faces need goes into pinned memory and up; the crop kernel cuts the views out of it; the
engine makes edits; the paste kernel changes the rectangle; it comes down and into the frame. What differs from frame
to frame (where the faces are, the ages) stands in one small block that goes up with the pixels, so that the recorded graph
stays as it is. On an integrated GPU (Jetson) the pinned memory is mapped, and nothing is copied.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import kernels
from ..errors import BackendError, ClosedError, InputError
from ..faces import FaceBatch
from ..frames import Frame, PixelFormat, Rectangle
from ..kernels import FacePlan
from .cuda import Cuda, DeviceMemory, Graph, PinnedBuffer, Stream
from .device_array import DeviceFrame
from .interfaces import Engine, EngineCall, Stage, not_finite

#: Shapes of work that are kept with their memory and graph; the one that was not used for longest goes first.
KEPT_GRAPHS = 16
#: A model's outputs as the kernels name them, in the description's order.
_EDITS = ("face_edit", "patch_edit", "flow", "place", "lines")
#: Parts of the parameters' memory begin at multiples of this.
_ALIGNMENT = 256


@dataclass(frozen=True)
class GraphKey:
    """What a recorded graph is for."""

    pixel_format: PixelFormat
    faces: int  # N
    ages: int  # G
    capacity: int  # bytes of the rectangle's memory, rounded up so that a face that comes nearer needs few graphs
    staged: bool  # the frame is the host's; otherwise it is on the device already and changed in place


class GraphCacheEntry:
    """The memory of one shape of work, and its graph once it is recorded."""

    def __init__(self, cuda: Cuda, key: GraphKey, engine: Engine) -> None:
        about, dtypes = engine.description, engine.dtypes
        n, g, k = key.faces, key.ages, len(about.groups)
        self.key = key
        #: Bytes of each tensor for one face at all its ages, and of each output from one age of a face to the next.
        self.per_face = {
            name: math.prod(about.shape(name, 1, g)) * dtypes[name].itemsize for name in about.inputs | about.outputs
        }
        self.per_age = {
            name: 0 if about.shape(name, 1, 1) == about.shape(name, 1, 2) else self.per_face[name] // g
            for name in about.outputs
        }
        self.half = dtypes["face"] == np.float16
        self.scratch = 0
        self.graph: Graph | None = None
        self.runs = 0
        #: Bytes of each output for one value.
        self.item_sizes = {name: dtypes[name].itemsize for name in about.outputs}
        block = _aligned(kernels.block_size(key.pixel_format, n))
        boxes = _aligned(n * self.per_face["boxes"])
        with ExitStack() as stack:
            size = _ALIGNMENT + block + boxes + _aligned(n * self.per_face["age"])
            self.parameters = stack.enter_context(closing(PinnedBuffer(cuda, size)))
            self.pixels: PinnedBuffer | None = None
            if key.staged:
                self.pixels = stack.enter_context(closing(PinnedBuffer(cuda, key.ages * key.capacity)))
            memories = {
                name: stack.enter_context(closing(DeviceMemory(cuda, n * self.per_face[name])))
                for name in ("face", "patches", *about.outputs)
            }
            if about.format != 1:
                self.scratch = stack.enter_context(
                    closing(DeviceMemory(cuda, kernels.scratch_size(key.capacity)))
                ).address
            #: Device address of what ``not_finite`` shows when it was downloaded, and addresses of the rest of the parameters.
            self.checks = self.parameters.address
            self.block = base = self.checks + _ALIGNMENT
            self.addresses = {"boxes": base + block, "age": base + block + boxes}
            self.addresses |= {name: memory.address for name, memory in memories.items()}
            #: As many as the engine needs for all faces.
            self.calls: list[EngineCall] = []
            for first in range(0, n, engine.max_faces):
                part = {name: address + first * self.per_face[name] for name, address in self.addresses.items()}
                call = engine.bind(part, min(engine.max_faces, n - first), g)
                self.calls.append(stack.enter_context(closing(call)))
            self._owned = stack.pop_all()
        #: Whether each output, in the description's order, has values that are not finite.
        self.not_finite: npt.NDArray[Any] = self.parameters.host[: 4 * len(about.outputs)].view(np.uint32)
        host = self.parameters.host[_ALIGNMENT:]
        self.block_bytes = host[: kernels.block_size(key.pixel_format, n)]
        self.boxes: npt.NDArray[Any] = (
            host[block : block + n * self.per_face["boxes"]].view(dtypes["boxes"]).reshape(n, 5, 4)
        )
        ages = host[block + boxes : block + boxes + n * self.per_face["age"]]
        self.ages: npt.NDArray[Any] = ages.view(dtypes["age"]).reshape(n * g, k)

    def close(self) -> None:
        """Free the memory and the graph, going on after a failure. Raises BackendError."""
        if self.graph is not None:
            self._owned.callback(self.graph.close)
            self.graph = None
        self.calls = []
        self.block_bytes = self.boxes = self.ages = self.not_finite = np.empty(0, np.uint8)
        self._owned.close()


class GpuFramePath:
    """The frame path on a GPU; ``cpu.CpuFramePath`` is its other.

    Calls of several threads take turns: one stream, one engine context, one set of buffers a shape.

    Args:
        cuda: the device.
        stream: the stream that everything runs on; owned by the path.
        engine: the model; closed with the path.

    Attributes:
        record: whether the second frame of a shape is recorded, and the following ones are replayed; may be set to False.
        entries: buffers and recordings by shape, the last used last.
    """

    def __init__(self, cuda: Cuda, stream: Stream, engine: Engine) -> None:
        self.cuda, self.stream, self.engine = cuda, stream, engine
        self.device, self.description = cuda.device, engine.description
        self.entries: OrderedDict[GraphKey, GraphCacheEntry] = OrderedDict()
        self.record = engine.capturable
        self._running: GraphCacheEntry | None = None
        self._lock = threading.Lock()
        self._closed = False

    def change(
        self,
        source: Frame,
        pixel_format: PixelFormat,
        faces: FaceBatch,
        codes: npt.NDArray[np.float32],
        results: Sequence[Frame],
        stage: Stage,
    ) -> None:
        """As ``CpuFramePath.change``; everything is the one stage "gpu", and a failure leaves the results as they were.

        Raises:
            BackendError: CUDA or the engine failed.
            ModelError: the model gave NaN or infinite values; of a frame on the device this is known, and raised, at the next
                call.
            ClosedError: after ``close``.
        """
        plan = FacePlan.of(source, faces, self.description.views, pixel_format)
        with stage("gpu"), self._turn():
            # A call that failed or was interrupted may have left work, which would read and write this frame's memory.
            self._finish()
            x0, y0, x1, y1 = plan.rectangle
            pitch = (x1 - x0) * pixel_format.channels
            size = pitch * pixel_format.rows(y1 - y0)
            entry = self._entry(GraphKey(pixel_format, len(faces), len(codes), capacity(size), staged=True))
            pixels = entry.pixels
            assert pixels is not None
            for part, here in _staged(pixel_format.planes(source, plan.rectangle), pixels.host):
                here[...] = part
            self._write(entry, plan, pixels.address, pitch, plan.rectangle, codes)
            self._run(entry)
            self._finish()
            for i, result in enumerate(results):
                planes = pixel_format.planes(result, plan.rectangle)
                for part, here in _staged(planes, pixels.host[i * entry.key.capacity :]):
                    part[...] = here

    def change_on_device(
        self,
        frame: DeviceFrame,
        faces: FaceBatch,
        code: npt.NDArray[np.float32],  # [K]
        stage: Stage,
    ) -> None:
        """Change a frame that is on the device, in place and in the order of the frame's stream.

        Returns as soon as the work is queued: what the caller queues on its stream next sees the changed frame.

        Raises: as ``change``, and InputError for a frame on another GPU.
        """
        plan = FacePlan(faces, self.description.views, frame.height, frame.width, frame.pixel_format)
        with stage("gpu"), self._turn():
            self._check_place(frame)
            # The block of the frame before is read until its work is done; then it may be written.
            self._finish()
            size = frame.pitch * frame.pixel_format.rows(frame.height)
            entry = self._entry(GraphKey(frame.pixel_format, len(faces), 1, capacity(size), staged=False))
            whole = (0, 0, frame.width, frame.height)
            self._write(entry, plan, frame.address, frame.pitch, whole, code[None])
            self.stream.wait_for(frame.stream)
            self._run(entry)
            self.stream.hold(frame.stream)

    def download(self, frame: DeviceFrame) -> Frame:
        """A copy of a frame on the device, as it is when the work on its stream is done. Raises: as ``change``."""
        rows, row = frame.pixel_format.rows(frame.height), frame.width * frame.pixel_format.channels
        host = np.empty((rows, row), np.uint8)
        with self._turn():
            self._check_place(frame)
            self.stream.wait_for(frame.stream)
            kind = self.cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
            to, source = (host.ctypes.data, row), (frame.address, frame.pitch)
            self.cuda.call("cudaMemcpy2DAsync", *to, *source, row, rows, kind, self.stream.handle)
            self.stream.synchronize()
        return host.reshape(frame.pixel_format.shape(frame.height, frame.width))

    def close(self) -> None:
        """Free everything on the device once no call is running.

        Raises:
            BackendError: something could not be freed, as when the GPU was lost; the rest was, and it is closed.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with ExitStack() as stack:  # the last first, each whatever the others do
                with suppress(BackendError):  # a GPU that was lost: what follows says so
                    stack.enter_context(self.cuda.current())
                stack.callback(self.stream.close)
                stack.callback(self.engine.close)
                for entry in self.entries.values():
                    stack.callback(entry.close)
                self.entries.clear()
                stack.callback(self.stream.synchronize)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The calling thread's turn, in which this GPU is its device. Raises ClosedError, BackendError."""
        with self._lock:
            if self._closed:
                raise ClosedError("this model was closed")
            with self.cuda.current():
                yield

    def _check_place(self, frame: DeviceFrame) -> None:
        """Raises InputError for a frame that is not in this GPU's memory: a kernel that reads it would lose all that is there."""
        device = self.cuda.device_of(frame.address) if frame.device is None else frame.device
        if device is None:
            raise InputError("image: said to be on a GPU, and its address is in no GPU's memory")
        if device != self.device:
            raise InputError(f"image: lies on GPU {device}, and this Transformer works on GPU {self.device}")

    def _entry(self, key: GraphKey) -> GraphCacheEntry:
        entry = self.entries.get(key)
        if entry is None:
            while len(self.entries) >= KEPT_GRAPHS:
                _, oldest = self.entries.popitem(last=False)
                self.stream.synchronize()
                oldest.close()
            entry = self.entries[key] = GraphCacheEntry(self.cuda, key, self.engine)
        self.entries.move_to_end(key)
        return entry

    def _write(
        self,
        entry: GraphCacheEntry,
        plan: FacePlan,
        address: int,
        pitch: int,
        rectangle: Rectangle,
        codes: npt.NDArray[np.float32],
    ) -> None:
        """Write what is of this frame alone into the entry's pinned memory."""
        entry.not_finite[:] = 0
        plan.write_block(entry.block_bytes, address, pitch, rectangle)
        entry.boxes[:] = plan.faces.boxes
        entry.ages[:] = np.tile(codes, (len(plan.faces), 1))

    def _run(self, entry: GraphCacheEntry) -> None:
        """Queue an entry's work: as calls the first time, which also warms everything up, and as its graph from then on."""
        if self.record and entry.runs == 1:
            self.record = all(call.capturable(self.stream.handle) for call in entry.calls)
            try:
                entry.graph = self.stream.capture(lambda: self._queue(entry)) if self.record else None
            except BackendError:
                self.record = False  # this engine cannot be recorded after all: go on with calls
        entry.runs += 1
        self._running = entry
        if entry.graph is not None:
            entry.graph.launch(self.stream.handle)
        else:
            self._queue(entry)

    def _finish(self) -> None:
        """Wait for what was queued. Raises BackendError, and ModelError if the model gave what is not finite."""
        self.stream.synchronize()
        entry, self._running = self._running, None
        if entry is not None and entry.not_finite.any():
            raise not_finite(self.description.model, list(entry.item_sizes)[int(entry.not_finite.argmax())])

    def _queue(self, entry: GraphCacheEntry) -> None:
        key, stream = entry.key, self.stream.handle
        entry.parameters.upload(stream)
        if entry.pixels is not None:
            entry.pixels.upload(stream, key.capacity)
        self.queue_crop(entry)
        for call in entry.calls:
            call.enqueue(stream)
        self.queue_checks(entry)
        kind = self.cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        for i in range(1, key.ages):
            assert entry.pixels is not None
            source = entry.pixels.address
            self.cuda.call("cudaMemcpyAsync", source + i * key.capacity, source, key.capacity, kind, stream)
        self.queue_paste(entry)
        if entry.pixels is not None:
            entry.pixels.download(stream)

    def queue_checks(self, entry: GraphCacheEntry) -> None:
        """Queue the search for NaN and infinities in what the model gave, and the way of the answer to ``entry.not_finite``."""
        stream = self.stream.handle
        for i, (name, item_size) in enumerate(entry.item_sizes.items()):
            kernels.launch_finite_check(
                values=entry.addresses[name],
                size=entry.key.faces * entry.per_face[name] // item_size,
                found=entry.checks + 4 * i,
                half=item_size == 2,
                device=self.device,
                stream=stream,
            )
        entry.parameters.download(stream, 4 * len(entry.item_sizes))

    def _launch_options(self, entry: GraphCacheEntry) -> dict[str, Any]:
        """What every launch of an entry's kernels is given."""
        key, about = entry.key, self.description
        return {
            "block": entry.block,
            "pixel_format": key.pixel_format,
            "count": key.faces,
            "face_size": about.face_size,
            "patch_size": about.patch_size,
            "half": entry.half,
            "device": self.cuda.device,
            "stream": self.stream.handle,
        }

    def queue_crop(self, entry: GraphCacheEntry) -> None:
        """Queue the crop of all faces."""
        at = entry.addresses
        kernels.launch_crop(**self._launch_options(entry), face=at["face"], patches=at["patches"])

    def queue_paste(self, entry: GraphCacheEntry) -> None:
        """Queue the paste of all faces at all ages into the entry's pixels."""
        key, about, at = entry.key, self.description, entry.addresses
        # Threads for the pixels that fit into the memory; of NV12, whose rows of UV have none of their own, two thirds.
        pixels = key.capacity * 2 // 3 if key.pixel_format.is_nv12 else key.capacity // key.pixel_format.channels
        options = self._launch_options(entry) | {"pixels": pixels}
        launch: Callable[..., None] = kernels.launch_paste
        if about.format != 1:
            launch = kernels.launch_edit_paste
            options["scratch"] = entry.scratch
            options |= {"coarse_size": about.outputs["flow"][-1], "line_size": about.lines_size}
        for i in range(key.ages):
            for n in range(key.faces):
                edits = (at[name] + n * entry.per_face[name] + i * step for name, step in entry.per_age.items())
                options |= zip(_EDITS, edits, strict=False)  # format 1 has but the first two, under other names
                launch(**options, index=n, target_offset=i * key.capacity)


def capacity(size: int) -> int:
    """Bytes that are kept for a rectangle of ``size`` bytes: rounded up by at most a quarter, in steps of 4096 at least."""
    step = max(4096, 1 << max(0, size.bit_length() - 3))
    return -(-size // step) * step


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _staged(parts: Sequence[Frame], staging: npt.NDArray[np.uint8]) -> Iterator[tuple[Frame, Frame]]:
    """Each part of a frame with the place of its bytes in memory that holds them one after the other."""
    for part in parts:
        yield part, staging[: part.size].reshape(part.shape)
        staging = staging[part.size :]
