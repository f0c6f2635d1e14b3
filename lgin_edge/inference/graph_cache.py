"""What the frame path on a GPU keeps: memory for pixels, and for each shape of work its other memory and its recorded graph."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import kernels
from ..frames import PixelFormat
from .cuda import Cuda, DeviceMemory, Graph, PinnedBuffer
from .interfaces import Engine, EngineCall

#: Parts of the parameters' memory begin at multiples of this.
_ALIGNMENT = 256
#: Least bytes of a rectangle's memory: a face of 150 pixels.
_LEAST_CAPACITY = 1 << 16


class FrameMemory:
    """Pixels of one frame at all its ages, and the scratch of the paste. All shapes of work share it, one after another.

    Args:
        scratch: whether the model's paste needs one (``kernels.scratch_size``).

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
            size = kernels.scratch_size(capacity) if self._needs_scratch else 0
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
        self.graph: Graph | None = None
        self.runs = 0
        block = _aligned(kernels.block_size(key.pixel_format, n))
        boxes = _aligned(n * self.per_face["boxes"])
        with ExitStack() as stack:
            size = _ALIGNMENT + block + boxes + _aligned(n * self.per_face["age"])
            self.parameters = stack.enter_context(closing(PinnedBuffer(cuda, size)))
            memories = {
                name: stack.enter_context(closing(DeviceMemory(cuda, n * self.per_face[name])))
                for name in ("face", "patches", *about.outputs)
            }
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

    def forget_graph(self) -> None:
        """Drop the recording; the next run makes another. Raises BackendError."""
        graph, self.graph = self.graph, None
        self.runs = min(self.runs, 1)
        if graph is not None:
            graph.close()

    def close(self) -> None:
        """Free the memory and the graph, going on after a failure. Raises BackendError."""
        self._owned.callback(self.forget_graph)
        self.calls = []
        self.block_bytes = self.boxes = self.ages = self.not_finite = np.empty(0, np.uint8)
        self._owned.close()


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
