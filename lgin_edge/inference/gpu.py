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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import kernels
from ..errors import BackendError, ClosedError, InputError
from ..faces import FaceBatch
from ..frames import Frame, PixelFormat, Rectangle
from ..kernels import FacePlan
from ..models.description import Description
from .cuda import Cuda, DeviceMemory, Freed, Graph, Staging, Stream
from .device_array import DeviceFrame
from .interfaces import Engine, Stage

#: Shapes of work that are kept with their memory and graph; the one that was not used for longest goes first.
KEPT_SHAPES = 16
#: Parts of the parameters' memory begin at multiples of this.
_ALIGNMENT = 256


@dataclass(frozen=True)
class Shape:
    """What a recorded graph is for.

    Attributes:
        pixel_format: of the frame.
        faces, ages: N and G.
        capacity: bytes of the rectangle's memory, rounded up so that a face that comes nearer needs few graphs.
        staged: the frame is the host's; otherwise it is on the device already and changed in place.
    """

    pixel_format: PixelFormat
    faces: int
    ages: int
    capacity: int
    staged: bool


class Slot:
    """The memory of one shape of work, and its graph once it is recorded."""

    def __init__(self, cuda: Cuda, shape: Shape, engine: Engine) -> None:
        about, dtypes = engine.description, engine.dtypes
        n, g, k = shape.faces, shape.ages, len(about.groups)
        self.shape = shape
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
        self._owned = Freed()
        with self._owned:
            block = _aligned(kernels.block_size(shape.pixel_format, n))
            boxes = _aligned(n * self.per_face["boxes"])
            self.parameters: Staging = self._owned.own(
                Staging(cuda, block + boxes + _aligned(n * self.per_face["age"]))
            )
            self.pixels: Staging | None = None
            if shape.staged:
                self.pixels = self._owned.own(Staging(cuda, shape.ages * shape.capacity))
            memories = {
                name: self._owned.own(DeviceMemory(cuda, n * self.per_face[name]))
                for name in ("face", "patches", *about.outputs)
            }
            if about.format != 1:
                scratch = self._owned.own(DeviceMemory(cuda, kernels.scratch_size(shape.capacity)))
                self.scratch = scratch.address
        base = self.parameters.address
        self.block = base
        self.addresses = {"boxes": base + block, "age": base + block + boxes}
        self.addresses |= {name: memory.address for name, memory in memories.items()}
        host = self.parameters.host
        self.block_bytes = host[: kernels.block_size(shape.pixel_format, n)]
        self.boxes = host[block : block + n * self.per_face["boxes"]].view(dtypes["boxes"]).reshape(n, 5, 4)
        ages = host[block + boxes : block + boxes + n * self.per_face["age"]]
        self.ages = ages.view(dtypes["age"]).reshape(n * g, k)

    def free(self) -> None:
        if self.graph is not None:
            self._owned.own(self.graph)
            self.graph = None
        self.block_bytes = self.boxes = self.ages = np.empty(0, np.uint8)
        self._owned.free()


class GpuFramePath:
    """The frame path on a GPU; ``cpu.CpuFramePath`` is its other.

    Calls of several threads take turns: one stream, one engine context, one set of buffers a shape.

    Args:
        cuda: the device.
        stream: the stream that everything runs on; owned by the path.
        engine: the model; closed with the path.

    Attributes:
        record: whether the second frame of a shape is recorded, and the following ones are replayed; may be set to False.
        slots: buffers and recordings by shape, the last used last.
    """

    def __init__(self, cuda: Cuda, stream: Stream, engine: Engine) -> None:
        self.cuda, self.stream, self.engine = cuda, stream, engine
        self.slots: OrderedDict[Shape, Slot] = OrderedDict()
        self.record = engine.capturable
        self._lock = threading.Lock()
        self._closed = False

    @property
    def description(self) -> Description:
        return self.engine.description

    @property
    def device(self) -> int:
        """Number of the CUDA device."""
        return self.cuda.device

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
            ClosedError: after ``close``.
        """
        plan = FacePlan.of(source, faces, self.description.views, pixel_format)
        with stage("gpu"), self._lock:
            self._begin()
            # A call that failed or was interrupted may have left work, which would read and write this frame's memory.
            self.stream.synchronize()
            x0, y0, x1, y1 = plan.rectangle
            pitch = (x1 - x0) * pixel_format.channels
            size = pitch * pixel_format.rows(y1 - y0)
            slot = self._slot(Shape(pixel_format, len(faces), len(codes), capacity(size), staged=True))
            pixels = slot.pixels
            assert pixels is not None
            _copy_in(pixel_format.planes(source, plan.rectangle), pixels.host[:size])
            self._write(slot, plan, pixels.address, pitch, plan.rectangle, codes)
            self._run(slot)
            self.stream.synchronize()
            for i, result in enumerate(results):
                start = i * slot.shape.capacity
                _copy_out(pixels.host[start : start + size], pixel_format.planes(result, plan.rectangle))

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
        if frame.device not in (None, self.device):
            raise InputError(f"image: lies on GPU {frame.device}, and this Transformer works on GPU {self.device}")
        plan = FacePlan(faces, self.description.views, frame.height, frame.width, frame.pixel_format)
        with stage("gpu"), self._lock:
            self._begin()
            # The block of the frame before is read until its work is done; then it may be written.
            self.stream.synchronize()
            size = frame.pitch * frame.pixel_format.rows(frame.height)
            slot = self._slot(Shape(frame.pixel_format, len(faces), 1, capacity(size), staged=False))
            whole = (0, 0, frame.width, frame.height)
            self._write(slot, plan, frame.address, frame.pitch, whole, code[None])
            self.stream.wait_for(frame.stream)
            self._run(slot)
            self.stream.hold(frame.stream)

    def download(self, frame: DeviceFrame) -> Frame:
        """A copy of a frame on the device, as it is when the work on its stream is done.

        Raises: as ``change``.
        """
        rows, row = frame.pixel_format.rows(frame.height), frame.width * frame.pixel_format.channels
        host = np.empty((rows, row), np.uint8)
        with self._lock:
            self._begin()
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
            owned = Freed()
            owned.own(self.stream)
            for slot in self.slots.values():
                owned.own(slot)
            self.slots.clear()
            failure: BackendError | None = None
            for step in (self.cuda.activate, self.stream.synchronize, owned.free, self.engine.close):
                try:
                    step()
                except BackendError as error:  # noqa: PERF203 - each has its turn, whatever the others do
                    failure = failure or error
            if failure is not None:
                raise failure

    def _begin(self) -> None:
        if self._closed:
            raise ClosedError("this model was closed")
        self.cuda.activate()

    def _slot(self, shape: Shape) -> Slot:
        slot = self.slots.get(shape)
        if slot is None:
            while len(self.slots) >= KEPT_SHAPES:
                _, oldest = self.slots.popitem(last=False)
                self.stream.synchronize()
                oldest.free()
            slot = self.slots[shape] = Slot(self.cuda, shape, self.engine)
        self.slots.move_to_end(shape)
        return slot

    def _write(
        self,
        slot: Slot,
        plan: FacePlan,
        address: int,
        pitch: int,
        rectangle: Rectangle,
        codes: npt.NDArray[np.float32],
    ) -> None:
        """Write what is of this frame alone into the slot's pinned memory."""
        plan.write_block(slot.block_bytes, address, pitch, rectangle)
        slot.boxes[:] = plan.faces.boxes
        slot.ages[:] = np.tile(codes, (len(plan.faces), 1))

    def _run(self, slot: Slot) -> None:
        """Queue a slot's work: as calls the first time, which also warms everything up, and as its graph from then on."""
        if self.record and slot.runs == 1:
            try:
                slot.graph = self.stream.capture(lambda: self._queue(slot))
            except BackendError:
                self.record = False  # this engine cannot be recorded after all: go on with calls
        slot.runs += 1
        if slot.graph is not None:
            slot.graph.launch(self.stream.handle)
        else:
            self._queue(slot)

    def _queue(self, slot: Slot) -> None:
        shape, stream, device, at = slot.shape, self.stream.handle, self.cuda.device, slot.addresses
        about = self.description
        sizes: dict[str, Any] = {"face_size": about.face_size, "patch_size": about.patch_size, "half": slot.half}
        where: dict[str, Any] = {"device": device, "stream": stream}
        slot.parameters.upload(stream)
        if slot.pixels is not None:
            slot.pixels.upload(stream, shape.capacity)
        pixels, count = shape.pixel_format, shape.faces
        kernels.launch_crop(slot.block, pixels, count, at["face"], at["patches"], **sizes, **where)
        for first in range(0, count, self.engine.max_faces):
            n = min(self.engine.max_faces, count - first)
            part = {name: address + first * slot.per_face[name] for name, address in at.items()}
            self.engine.enqueue(part, n, shape.ages, stream)
        kind = self.cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        for i in range(1, shape.ages):
            assert slot.pixels is not None
            source = slot.pixels.address
            self.cuda.call("cudaMemcpyAsync", source + i * shape.capacity, source, shape.capacity, kind, stream)
        sizes["pixels"] = capacity_pixels(pixels, shape.capacity)
        if about.format != 1:
            sizes |= {"coarse_size": about.outputs["flow"][-1], "line_size": about.lines_size, "scratch": slot.scratch}
        launch: Callable[..., None] = kernels.launch_paste if about.format == 1 else kernels.launch_edit_paste
        for i in range(shape.ages):
            for n in range(count):
                edits = (at[name] + n * slot.per_face[name] + i * step for name, step in slot.per_age.items())
                launch(slot.block, pixels, count, n, *edits, **sizes, target_offset=i * shape.capacity, **where)
        if slot.pixels is not None:
            slot.pixels.download(stream)


def capacity(size: int) -> int:
    """Bytes that are kept for a rectangle of ``size`` bytes: rounded up by at most a quarter, in steps of 4096 at least."""
    step = max(4096, 1 << max(0, size.bit_length() - 3))
    return -(-size // step) * step


def capacity_pixels(pixel_format: PixelFormat, size: int) -> int:
    """Pixels that fit into so many bytes."""
    return size * 2 // 3 if pixel_format.is_nv12 else size // pixel_format.channels


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _copy_in(parts: Sequence[Frame], staging: npt.NDArray[np.uint8]) -> None:
    for part in parts:
        here, staging = staging[: part.size], staging[part.size :]
        here.reshape(part.shape)[...] = part


def _copy_out(staging: npt.NDArray[np.uint8], parts: Sequence[Frame]) -> None:
    for part in parts:
        here, staging = staging[: part.size], staging[part.size :]
        part[...] = here.reshape(part.shape)
