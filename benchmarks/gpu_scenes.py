"""What the steps of ``gpu_check`` work on: frames, faces, and random edits in place of a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from lgin_edge import geometry
from lgin_edge.faces import Face, FaceBatch
from lgin_edge.frames import Frame, PixelFormat
from lgin_edge.inference.cuda import Cuda, PinnedBuffer, Stream
from lgin_edge.inference.device_array import DeviceFrame
from lgin_edge.inference.gpu import GpuFramePath
from lgin_edge.models.description import Description
from lgin_edge.models.model_file import read_description
from lgin_edge.transformer import WEIGHTS

from .gpu_steps import BoundCall, Step

SIZES = ((720, 1280), (1080, 1920), (2160, 3840))
FORMATS = (PixelFormat.RGB, PixelFormat.BGRA, PixelFormat.NV12)


class Fixed:
    """Random edits, other ones for each face and age, in place of a network: ``interfaces.Engine`` by copies on the device, and
    ``interfaces.Backend`` for the CPU."""

    max_faces, capturable = 3, True

    def __init__(self, cuda: Cuda, about: Description) -> None:
        self.description, self._cuda, self.max_ages = about, cuda, len(about.groups)
        half, single = np.dtype(np.float16), np.dtype(np.float32)
        self.dtypes = {**dict.fromkeys(("face", "patches", *about.outputs), half), "boxes": single, "age": single}
        rng = np.random.default_rng(0)
        self._edits = {
            name: rng.uniform(*_RANGES[name], about.shape(name, self.max_faces, self.max_ages)).astype(np.float16)
            for name in about.outputs
        }
        self._buffers = {name: PinnedBuffer(cuda, edits.nbytes) for name, edits in self._edits.items()}
        for name in self._edits:
            self._upload(name)

    def _upload(self, name: str) -> None:
        buffer = self._buffers[name]
        buffer.host[:] = self._edits[name].reshape(-1).view(np.uint8)
        with closing(Stream(self._cuda)) as stream:
            buffer.upload(stream.handle)
            stream.synchronize()

    @contextmanager
    def not_finite(self, name: str) -> Iterator[None]:
        """With NaN as the last value of an edit of the first face at the first age."""
        values = self._edits[name].reshape(-1)
        last = self._size(name, 1) // values.itemsize - 1
        kept, values[last] = values[last], np.nan
        self._upload(name)
        try:
            yield
        finally:
            values[last] = kept
            self._upload(name)

    def _size(self, name: str, ages: int) -> int:
        """Bytes of a face's edits."""
        size = self._edits[name][0].nbytes
        return size if name == "place" else size // self.max_ages * ages

    def bind(self, addresses: Mapping[str, int], faces: int, ages: int) -> BoundCall:
        return BoundCall(partial(self._enqueue, addresses, faces, ages))

    def _enqueue(self, addresses: Mapping[str, int], faces: int, ages: int, stream: int) -> None:
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        for name, buffer in self._buffers.items():
            stride, size = self._edits[name][0].nbytes, self._size(name, ages)
            for n in range(faces):
                to, source = addresses[name] + n * size, buffer.address + n * stride
                self._cuda.call("cudaMemcpyAsync", to, source, size, kind, stream)

    def run(self, face: Any, patches: Any, boxes: Any, age: Any) -> tuple[npt.NDArray[np.float16], ...]:
        n, g, about = len(face), len(age) // len(face), self.description
        parts = {name: edits[:n] if name == "place" else edits[:n, :g] for name, edits in self._edits.items()}
        return tuple(about.rows(name, np.ascontiguousarray(part)) for name, part in parts.items())

    def close(self) -> None:
        for buffer in self._buffers.values():
            buffer.close()


_RANGES = {
    "face_edit": (0, 0.5),
    "patch_edit": (-0.5, 0.5),
    "flow": (-0.02, 0.02),
    "place": (0, 1),
    "lines": (-0.3, 0.3),
}


def bundled() -> Description:
    about = read_description(WEIGHTS)
    assert isinstance(about, Description)
    return about


def edited() -> list[Description]:
    """The bundled model's with its edits where the picture is before it moves (format 2), and where it shows them (formats 3 and 4)."""
    return [replace(bundled(), format=number) for number in (2, 3, 4)]


def noise(pixel_format: PixelFormat, height: int, width: int, seed: int = 0, *, grey: bool = False) -> Frame:
    """A frame of noise; a grey one has no colour, and none may come into it."""
    random = np.random.default_rng(seed)
    frame = random.integers(0, 256, pixel_format.shape(height, width), dtype=np.uint8)
    if grey and pixel_format.is_nv12:
        frame[height:] = 128
    elif grey:
        frame[..., :3] = frame[..., :1]
    return frame


def frame_on_device(
    step: Step, path: GpuFramePath, frame: Frame, pixel_format: PixelFormat, stack: ExitStack, padding: int = 0
) -> DeviceFrame:
    """A copy on the device, which the path's stream has once it is waited for; with ``padding`` bytes behind each row."""
    height, width = pixel_format.size(frame)
    rows, row = pixel_format.rows(height), width * pixel_format.channels
    memory = stack.enter_context(closing(PinnedBuffer(step.cuda, rows * (row + padding))))
    memory.host.reshape(rows, row + padding)[:, :row] = frame.reshape(rows, row)
    memory.upload(path.stream.handle)
    return DeviceFrame(memory.address, row + padding, height, width, pixel_format, path.stream.handle, 0, memory)


def batch(
    side: float,
    height: int,
    width: int,
    faces: int = 1,
    step: float = 40,
    *,
    corner: bool = False,
    faint: bool = False,
) -> FaceBatch:
    """Faces from the frame's middle (or upper left corner) on, each ``step`` pixels further and turned a little more: at 40 they overlap.
    With ``faint`` every other one is shown at a strength of 0.6."""
    found = []
    for i in range(faces):
        cos, sin = side * np.cos(0.1 + 0.2 * i), side * np.sin(0.1 + 0.2 * i)
        x, y = (4.0, 6.0) if corner else (width / 2 - step * (faces - 1) / 2, height / 2)
        centre = (x + step * i, y + 20 * i)
        found.append(Face((geometry.TEMPLATE - 0.5) @ np.array([[cos, sin], [-sin, cos]]) + centre))
    return FaceBatch.of(found, np.resize([0.6, 1.0], faces) if faint else None)
