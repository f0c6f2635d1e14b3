"""What the frame path on a GPU keeps: memory for pixels, and for each shape of work its other memory and its recorded graph."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import kernels
from ..frames import PixelFormat
from .cuda import Cuda, DeviceMemory, Event, Graph, PinnedBuffer, PinnedMemory
from .interfaces import Engine, EngineCall

#: Frames of one shape that may be in flight, each with parameters of its own.
PARAMETER_SETS = 4

#: Parts of the parameters' memory begin at multiples of this, as TensorRT asks of each tensor (``setTensorAddress``).
_ALIGNMENT = 256
#: Least bytes of a rectangle's memory: a face of 150 pixels.
_LEAST_CAPACITY = 1 << 16


class FrameMemory:
    """Pixels of one frame at all its ages, and the scratch of the paste. All shapes of work share it, one after another.

    Args:
        scratch: whether the model's paste needs one.

    Attributes:
        capacity: bytes of one copy of the pixels. It doubles, so that a face that comes nearer ends recorded graphs a few times.
        pixels: the copies, on the host and on the device; None while all frames are on the device.
        scratch: its address.
    """

    def __init__(self, cuda: Cuda, *, scratch: bool) -> None:
        self._cuda, self._needs_scratch = cuda, scratch
        self.capacity = self._copies = self.scratch = 0
        self.pixels: PinnedBuffer | None = None
        self._owned = ExitStack()

    def fits(self, size: int, copies: int) -> bool:
        return size <= self.capacity and copies <= self._copies

    def grow(self, size: int, copies: int) -> None:
        """Make room; what was there is lost. Raises BackendError, with no memory left."""
        capacity = max(self.capacity, _LEAST_CAPACITY, 1 << (size - 1).bit_length())
        copies = max(self._copies, copies)
        self.close()
        with ExitStack() as stack:
            pixels = stack.enter_context(closing(PinnedBuffer(self._cuda, copies * capacity))) if copies else None
            size = max(copies, 1) * capacity if self._needs_scratch else 0
            scratch = stack.enter_context(closing(DeviceMemory(self._cuda, size))).address
            self._owned = stack.pop_all()
        self.capacity, self._copies, self.pixels, self.scratch = capacity, copies, pixels, scratch

    def close(self) -> None:
        """Free it. Raises BackendError."""
        self.capacity = self._copies = self.scratch = 0
        self.pixels = None
        self._owned.pop_all().close()


@dataclass(frozen=True)
class GraphKey:
    """What a recorded graph is for."""

    pixel_format: PixelFormat
    faces: int  # N
    ages: int  # G
    disjoint: bool  # ``FacePlan.disjoint``


class Parameters:
    """What is of one frame alone, in pinned memory, which is written again once that frame is done.

    Attributes:
        running: whether a frame that uses it was queued, and not waited for.
        done: the end of that frame's work.
        not_finite: what came down: whether each output, in the description's order, has values that are not finite.
        coloured: zeros, from which the paste begins.
        block: of the frame's faces.
        inputs: boxes and ages of the faces of each call of the engine.
    """

    def __init__(self, cuda: Cuda, layout: np.dtype[Any]) -> None:
        self.running = False
        with ExitStack() as stack:
            self._memory = stack.enter_context(closing(PinnedMemory(cuda, layout.itemsize)))
            self.done = stack.enter_context(closing(Event(cuda)))
            self._owned = stack.pop_all()
        self._memory.host[:] = 0
        record = self._memory.host.view(layout)[0]
        self.not_finite, self.block = record["not_finite"], record["block"]
        calls = sum(name.startswith("boxes") for name in layout.fields or ())
        self.inputs = [(record[f"boxes{i}"], record[f"age{i}"]) for i in range(calls)]

    @staticmethod
    def layout(key: GraphKey, engine: Engine) -> np.dtype[Any]:
        """Where everything lies, here and on the device."""
        about, n = engine.description, key.faces
        fields: dict[str, tuple[npt.DTypeLike, tuple[int, ...]]] = {
            "not_finite": (np.uint32, (len(about.outputs),)),
            "coloured": (np.uint8, (n * key.ages,)),
            "block": (np.uint8, (kernels.block_size(key.pixel_format, n),)),
        }
        for i, faces in enumerate(faces_of_calls(n, engine)):
            fields[f"boxes{i}"] = (engine.dtypes["boxes"], (faces, 5, 4))
            fields[f"age{i}"] = (engine.dtypes["age"], (faces * key.ages, len(about.groups)))
        sizes = [-(-np.dtype(field).itemsize // _ALIGNMENT) * _ALIGNMENT for field in fields.values()]
        ends = list(accumulate(sizes))
        offsets = [end - size for end, size in zip(ends, sizes, strict=True)]
        return np.dtype(
            {"names": list(fields), "formats": list(fields.values()), "offsets": offsets, "itemsize": ends[-1]}
        )

    def upload(self, to: int, stream: int) -> None:
        """Queue the copy to the device, of all of it."""
        self._memory.upload(to, stream)

    def download(self, source: int, stream: int) -> None:
        """Queue the copy of ``not_finite``, which comes first, from the device."""
        self._memory.download(source, stream, self.not_finite.nbytes)

    def close(self) -> None:
        """Free it. Raises BackendError."""
        self.not_finite = self.block = np.empty(0, np.uint8)
        self.inputs = []
        self._owned.close()


def faces_of_calls(faces: int, engine: Engine) -> list[int]:
    """How many faces each call of an engine has."""
    return [min(engine.max_faces, faces - first) for first in range(0, faces, engine.max_faces)]


class GraphCacheEntry:
    """The memory of one shape of work, and its graph once it is recorded."""

    def __init__(self, cuda: Cuda, key: GraphKey, engine: Engine) -> None:
        about, dtypes = engine.description, engine.dtypes
        n, g = key.faces, key.ages
        self.key = key
        #: Bytes of each tensor for one face at all its ages.
        self.per_face = {
            name: math.prod(about.shape(name, 1, g)) * dtypes[name].itemsize for name in about.inputs | about.outputs
        }
        self.half = dtypes["face"] == np.float16
        self.graph: Graph | None = None
        self.runs = 0
        self.record = engine.capturable  # whether its second run is recorded
        layout = Parameters.layout(key, engine)
        with ExitStack() as stack:
            #: In turns, the last used last.
            self.parameters = [stack.enter_context(closing(Parameters(cuda, layout))) for _ in range(PARAMETER_SETS)]
            memory = stack.enter_context(closing(DeviceMemory(cuda, layout.itemsize)))
            memories = {
                name: stack.enter_context(closing(DeviceMemory(cuda, n * self.per_face[name])))
                for name in ("face", "patches", *about.outputs)
            }
            #: Device addresses of the parameters, by their names, and of the tensors.
            assert layout.fields is not None
            self.addresses = {name: memory.address + field[1] for name, field in layout.fields.items()}
            self.addresses |= {name: memory.address for name, memory in memories.items()}
            #: As many as the engine needs for all faces.
            self.calls: list[EngineCall] = []
            for i, faces in enumerate(faces_of_calls(n, engine)):
                first = i * engine.max_faces
                part = {name: self.addresses[name] + first * self.per_face[name] for name in memories}
                part |= {name: self.addresses[f"{name}{i}"] for name in ("boxes", "age")}
                self.calls.append(stack.enter_context(closing(engine.bind(part, faces, g))))
            self._owned = stack.pop_all()

    def free_parameters(self) -> Parameters:
        """Parameters that no frame uses. Raises BackendError."""
        oldest = self.parameters.pop(0)
        self.parameters.append(oldest)
        if oldest.running:
            oldest.done.synchronize()
        return oldest

    def forget_graph(self) -> None:
        """Drop the recording; the next run makes another. Raises BackendError."""
        graph, self.graph = self.graph, None
        self.runs = min(self.runs, 1)
        if graph is not None:
            graph.close()

    def close(self) -> None:
        """Free the memory and the graph, going on after a failure. Raises BackendError."""
        self._owned.callback(self.forget_graph)
        self.calls, self.parameters = [], []
        self._owned.close()
