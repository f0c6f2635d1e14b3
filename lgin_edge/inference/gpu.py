"""Crop, engine and paste on one stream, recorded once for each shape of work and replayed as one CUDA graph.

A frame's way: the rectangle that its faces need goes into pinned memory and up; the crop kernel cuts the views out of it; the
engine makes edits; the paste kernel changes the rectangle; it comes down and into the frame. The pixels are copied as calls, as
many as there are; all between is the graph. What differs from frame to frame (where the pixels and the faces are, the ages)
stands in small parameters that go up with it, so that the recorded graph stays as it is. On a Jetson, too, memory is copied:
what is mapped there is not cached for the GPU, and the kernels read each pixel many times.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import kernels
from ..errors import BackendError, ClosedError, InputError
from ..faces import FaceBatch
from ..frames import Frame, PixelFormat, Rectangle
from ..kernels import FacePlan
from .cuda import Cuda, OutOfMemory, Stream
from .device_array import DeviceFrame
from .graph_cache import FrameMemory, GraphCacheEntry, GraphKey, Parameters
from .interfaces import Engine, Stage, not_finite

#: Shapes of work that are kept with their memory and graph; the one that was not used for longest goes first.
KEPT_GRAPHS = 16
#: A model's outputs as the kernels name them, in the description's order.
_EDITS = ("face_edit", "patch_edit", "flow", "place", "lines")


class GpuFramePath:
    """The frame path on a GPU; ``cpu.CpuFramePath`` is its other.

    Calls of several threads take turns: one stream, one memory for pixels.

    Args:
        cuda: the device.
        stream: the stream that everything runs on; owned by the path.
        engine: the model; closed with the path.

    Attributes:
        record: whether the second frame of a shape is recorded, and the following ones are replayed; may be set to False.
        entries: buffers and recordings by shape, the last used last.
        memory: of the pixels, which all shapes share.
    """

    def __init__(self, cuda: Cuda, stream: Stream, engine: Engine) -> None:
        self.cuda, self.stream, self.engine = cuda, stream, engine
        self.device, self.description = cuda.device, engine.description
        self.entries: OrderedDict[GraphKey, GraphCacheEntry] = OrderedDict()
        self.memory = FrameMemory(cuda, scratch=engine.description.format != 1)
        self.record = engine.capturable
        self._running: list[Parameters] = []  # of frames that were queued, the first first
        self._interrupted = False  # while a frame is being queued
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
            ModelError: the model gave NaN or infinite values; of a frame on the device this is known, and raised, at a later
                call.
            ClosedError: after ``close``.
        """
        plan = FacePlan.of(source, faces, self.description.views, pixel_format)
        with stage("gpu"), self._turn():
            # A call that failed or was interrupted may have left work, which would read and write this frame's memory.
            self._finish()
            changed: list[npt.NDArray[np.uint8]] = []  # at each age, the rectangle's bytes
            for first in range(0, len(codes), self.engine.max_ages):
                changed = [one.copy() for one in changed]  # the pinned memory is written anew
                changed += self._changed(source, plan, codes[first : first + self.engine.max_ages])
            for result, there in zip(results, changed, strict=True):
                for part, here in _staged(pixel_format.planes(result, plan.rectangle), there):
                    part[...] = here

    def _changed(self, source: Frame, plan: FacePlan, codes: npt.NDArray[np.float32]) -> list[npt.NDArray[np.uint8]]:
        """The bytes of the rectangle at ages of one call of the engine, in pinned memory."""
        (x0, y0, x1, y1), pixel_format = plan.rectangle, plan.pixel_format
        pitch = (x1 - x0) * pixel_format.channels
        size = pitch * pixel_format.rows(y1 - y0)
        ages, stream = len(codes), self.stream.handle
        entry = self._entry(GraphKey(pixel_format, len(plan.faces), ages, plan.disjoint), size, ages)
        pixels, step = self.memory.pixels, self.memory.capacity
        assert pixels is not None
        for part, here in _staged(pixel_format.planes(source, plan.rectangle), pixels.host):
            here[...] = part
        parameters = self._write(entry, plan, pixels.address, pitch, plan.rectangle, codes)
        pixels.upload(stream, size)
        kind = self.cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        for i in range(1, ages):
            self.cuda.call("cudaMemcpyAsync", pixels.address + i * step, pixels.address, size, kind, stream)
        self._run(entry, parameters)
        for i in range(ages):
            pixels.download(stream, size, i * step)
        self._finish()
        return [pixels.host[i * step : i * step + size] for i in range(ages)]

    def change_on_device(
        self,
        frame: DeviceFrame,
        faces: FaceBatch,
        code: npt.NDArray[np.float32],  # [K]
        stage: Stage,
    ) -> None:
        """Change a frame that is on the device, in place and in the order of the frame's stream.

        Returns as soon as the work is queued: what the caller queues on its stream next sees the changed frame. Waits only for a
        shape of work that is new, and where ``PARAMETER_SETS`` frames are in flight, for the first of them.

        Raises: as ``change``, and InputError for a frame on another GPU.
        """
        plan = FacePlan(faces, self.description.views, frame.height, frame.width, frame.pixel_format)
        with stage("gpu"), self._turn():
            self._check_place(frame)
            self._look()
            size = frame.pitch * frame.pixel_format.rows(frame.height)
            entry = self._entry(GraphKey(frame.pixel_format, len(faces), 1, plan.disjoint), size, 0)
            whole = (0, 0, frame.width, frame.height)
            parameters = self._write(entry, plan, frame.address, frame.pitch, whole, code[None])
            self.stream.wait_for(frame.stream)
            self._run(entry, parameters)
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
                stack.callback(self.memory.close)
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

    def _entry(self, key: GraphKey, size: int, copies: int) -> GraphCacheEntry:
        """The entry of a shape, with room for ``size`` bytes of pixels and ``copies`` copies of them.

        Where memory is short, other shapes give theirs up. Nothing is running unless it was recorded, or tried to be, with this
        memory.
        """
        try:
            return self._found_or_made(key, size, copies)
        except OutOfMemory:
            self._finish()
            while self.entries:
                self.entries.popitem()[1].close()
            self.memory.close()
            return self._found_or_made(key, size, copies)

    def _found_or_made(self, key: GraphKey, size: int, copies: int) -> GraphCacheEntry:
        found = self.entries.get(key)
        if found is None or found.runs < 2 or not self.memory.fits(size, copies):
            self._finish()
        if not self.memory.fits(size, copies):
            for entry in self.entries.values():
                entry.forget_graph()  # it knows where the memory was
            self.memory.grow(size, copies)
        if found is None:
            while len(self.entries) >= KEPT_GRAPHS:
                self.entries.popitem(last=False)[1].close()
            found = self.entries[key] = GraphCacheEntry(self.cuda, key, self.engine)
        self.entries.move_to_end(key)
        return found

    def _write(
        self,
        entry: GraphCacheEntry,
        plan: FacePlan,
        address: int,
        pitch: int,
        rectangle: Rectangle,
        codes: npt.NDArray[np.float32],
    ) -> Parameters:
        """Write what is of this frame alone."""
        parameters = entry.free_parameters()
        self._check([parameters])
        plan.write_block(parameters.block, address, pitch, rectangle)
        first = 0
        for boxes, age in parameters.inputs:
            boxes[:] = plan.faces.boxes[first : first + len(boxes)]
            age[:] = np.tile(codes, (len(boxes), 1))
            first += len(boxes)
        return parameters

    def _run(self, entry: GraphCacheEntry, parameters: Parameters) -> None:
        """Queue an entry's work: as calls the first time, which also warms everything up, and as its graph from then on."""
        self._interrupted = True
        if self.record and entry.record and entry.runs and entry.graph is None:
            entry.record = all(call.capturable(self.stream.handle) for call in entry.calls)
            try:
                entry.graph = self.stream.capture(lambda: self._queue(entry)) if entry.record else None
            except BackendError:
                entry.record = False  # it cannot be recorded after all: go on with calls
        stream, at = self.stream.handle, entry.addresses["not_finite"]
        parameters.running = True
        self._running = [one for one in self._running if one is not parameters] + [parameters]
        parameters.upload(at, stream)
        if entry.graph is not None:
            entry.graph.launch(stream)
        else:
            self._queue(entry)
        parameters.download(at, stream)
        parameters.done.record(stream)
        entry.runs += 1  # not of a run that failed: the first one warms everything up
        self._interrupted = False

    def _finish(self) -> None:
        """Wait for what was queued. Raises as ``_look``."""
        self.stream.synchronize()
        self._interrupted = False
        running, self._running = self._running, []
        for one in running:
            one.running = False
        self._check(running)

    def _look(self) -> None:
        """Wait for nothing unless a call failed or was interrupted. Raises BackendError, and ModelError if the model is known to
        have given what is not finite."""
        if self._interrupted:
            self._finish()
        self._check(self._running)

    def _check(self, frames: list[Parameters]) -> None:
        bad = next((int(one.not_finite.argmax()) for one in frames if one.not_finite.any()), None)
        if bad is not None:
            for one in frames:
                one.not_finite[:] = 0  # it is said once
            raise not_finite(self.description.model, list(self.description.outputs)[bad])

    def _queue(self, entry: GraphCacheEntry) -> None:
        stream = self.stream.handle
        self.queue_crop(entry)
        for call in entry.calls:
            call.enqueue(stream)
        self.queue_checks(entry)
        self.queue_paste(entry)

    def queue_checks(self, entry: GraphCacheEntry) -> None:
        """Queue the search for NaN and infinities in what the model gave."""
        outputs = list(self.description.outputs)
        kernels.launch_finite_check(
            values=[entry.addresses[name] for name in outputs],
            sizes=[entry.key.faces * entry.per_face[name] // (2 if entry.half else 4) for name in outputs],
            found=entry.addresses["not_finite"],
            half=entry.half,
            device=self.device,
            stream=self.stream.handle,
        )

    def _launch_options(self, entry: GraphCacheEntry) -> dict[str, Any]:
        """What every launch of an entry's kernels is given."""
        key, about = entry.key, self.description
        return {
            "block": entry.addresses["block"],
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
        """Queue the paste of all ages at once into their copies of the pixels, and of all faces at once if they are apart."""
        key, about, at, step = entry.key, self.description, entry.addresses, self.memory.capacity
        # Threads for the pixels that fit into the memory; of NV12, whose rows of UV have none of their own, two thirds.
        pixels = step * 2 // 3 if key.pixel_format.is_nv12 else step // key.pixel_format.channels
        # Format 1 has but the first two edits, under other names.
        edits = {name: at[output] for name, output in zip(_EDITS, about.outputs, strict=False)}
        options = self._launch_options(entry) | edits | {"ages": key.ages, "pixels": pixels, "age_step": step}
        launch: Callable[..., None] = kernels.launch_paste
        if about.format != 1:
            launch = kernels.launch_edit_paste
            options |= {"scratch": self.memory.scratch, "coloured": at["coloured"]}
            options |= {"coarse_size": about.outputs["flow"][-1], "line_size": about.lines_size}
            options |= {"edit_format": about.format}
        together = key.faces if key.disjoint else 1
        for first in range(0, key.faces, together):
            launch(**options, first=first, faces=together)


def _staged(parts: Sequence[Frame], staging: npt.NDArray[np.uint8]) -> Iterator[tuple[Frame, Frame]]:
    """Each part of a frame with the place of its bytes in memory that holds them one after the other."""
    for part in parts:
        yield part, staging[: part.size].reshape(part.shape)
        staging = staging[part.size :]
