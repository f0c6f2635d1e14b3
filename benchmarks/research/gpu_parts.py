"""The parts of a frame's way on a GPU, one by one.

After a frame has gone through, its entry on the device holds all that its parts need; so each part can be queued alone and
waited for. What a part takes so includes one launch and one wait, which a graph saves: parts add up to more than the whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.stages import measure
from benchmarks.stages.measure import Candidate, WrongAnswer
from benchmarks.stages.scene import HEIGHT, WIDTH
from benchmarks.stages.stages import Model, Target
from lgin_edge.faces import FaceBatch
from lgin_edge.frames import PixelFormat
from lgin_edge.inference.gpu import GpuFramePath
from lgin_edge.inference.graph_cache import GraphCacheEntry
from lgin_edge.kernels import FacePlan

PARTS = ("upload", "crop", "model", "paste", "download")


class Parts:
    """One frame in its entry on the device, and the parts of its way, on the inputs that the CPU's stages have.

    Args:
        target: on a GPU; a transformer of its own is made, whose entry nobody else writes to.
        faces: the same face so many times.
    """

    def __init__(self, model: Model, target: Target, faces: int = 1) -> None:
        self.model, self.faces = model, faces
        self.target = Target(target.name, target.threads, target.stack, device=target.device)
        self.path = path_of(model, self.target)
        scene, about, frame = model.scene, model.description, model.scene.frame.copy()
        landmarks = np.repeat(scene.landmarks[None], faces, axis=0)
        self.target.transformer(model).age(frame, group=scene.groups - 1, landmarks=landmarks, out=frame)
        self.entry: GraphCacheEntry = next(reversed(self.path.entries.values()))
        self.stream, self.cuda = self.path.stream, self.path.cuda
        assert self.path.memory.pixels is not None
        self.pixels = self.path.memory.pixels
        batch = FaceBatch.of([scene.face] * faces)
        x0, y0, x1, y1 = FacePlan(batch, about.views, HEIGHT, WIDTH, PixelFormat.RGB).rectangle
        self.rectangle = slice(y0, y1), slice(x0, x1)
        self.original = np.ascontiguousarray(scene.frame[self.rectangle])
        dtypes, face, patches = self.path.engine.dtypes, *scene.engine_inputs(faces)[:2]
        deltas = [np.repeat(delta, faces, axis=0) for delta in scene.edits()]
        self._views = {"face": face.astype(dtypes["face"]), "patches": patches.astype(dtypes["patches"])}
        self._deltas = {name: delta.astype(dtypes[name]) for name, delta in zip(about.outputs, deltas, strict=True)}

    def candidate(self, part: str) -> Candidate:
        """The candidate of a part, one of ``PARTS``."""
        scene, moves_pixels = self.model.scene, part in ("upload", "download")
        inputs: dict[str, list[npt.NDArray[Any]]] = {
            "model": list(scene.engine_inputs(self.faces)),
            "paste": [*scene.inputs, *scene.edits()],
        }
        setups = {"model": lambda: self._give(self._views), "paste": self._before_paste}
        return Candidate(
            part,
            f"{self.model.label}{self.target.name}",
            getattr(self, f"_{part}"),
            getattr(self, f"_check_{'copies' if moves_pixels else part}"),
            inputs.get(part, scene.inputs),
            setups.get(part, self.cuda.activate),
            self.stream.synchronize,
            dtype=self.model.description.precision,
            size=f"{self.original.shape[1]}x{self.original.shape[0]}" if moves_pixels else self.model.size,
            batch=self.faces,
            threads=self.target.threads,
            device=self.target.device,
        )

    # ---- what is timed: queued on the path's stream

    def _upload(self) -> None:
        self.entry.parameters[-1].upload(self.entry.addresses["not_finite"], self.stream.handle)
        self.pixels.upload(self.stream.handle, self.original.size)

    def _crop(self) -> None:
        self.path.queue_crop(self.entry)

    def _model(self) -> None:
        for call in self.entry.calls:
            call.enqueue(self.stream.handle)
        self.path.queue_checks(self.entry)

    def _paste(self) -> None:
        self.path.queue_paste(self.entry)

    def _download(self) -> None:
        self.pixels.download(self.stream.handle, self.original.size)

    # ---- what comes before, and whether it was right

    def _before_paste(self) -> None:
        self.pixels.host[: self.original.size] = self.original.ravel()
        self._upload()
        self._give(self._deltas)

    def _check_copies(self, _: object) -> str:
        self._before_paste()
        self.pixels.host[: self.original.size] = 0
        if not np.array_equal(self._downloaded(), self.original):
            raise WrongAnswer("the bytes that came back are not those that went up")
        return "the same bytes"

    def _check_crop(self, _: object) -> str:
        self._before_paste()
        self._crop()
        return measure.check_edits(self._first("face", "patches"), self.model.expected.views, exact=False)

    def _check_model(self, _: object) -> str:
        answer = self._first(*self.model.description.outputs)
        return measure.check_edits(answer, self.model.expected.edits(1, 1), exact=False)

    def _check_paste(self, _: object) -> str:
        scene, frame = self.model.scene, self.model.scene.frame.copy()
        frame[self.rectangle] = self._downloaded()
        if self.faces > 1:
            return measure.check_changed(frame, scene.frame, scene.surroundings)
        return measure.check_frame(frame, self.model.expected.pasted, scene.surroundings, exact=False)

    def _downloaded(self) -> npt.NDArray[np.uint8]:
        self._download()
        self.stream.synchronize()
        here: npt.NDArray[np.uint8] = self.pixels.host[: self.original.size].reshape(self.original.shape).copy()
        return here

    def _give(self, tensors: dict[str, npt.NDArray[Any]]) -> None:
        """Copy tensors to where the entry has them."""
        self.cuda.activate()
        kind = self.cuda.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        for name, array in tensors.items():
            to = self.entry.addresses[name]
            self.cuda.call("cudaMemcpyAsync", to, array.ctypes.data, array.nbytes, kind, self.stream.handle)
        self.stream.synchronize()

    def _first(self, *names: str) -> list[npt.NDArray[np.float32]]:
        """Tensors of the first face, from the device."""
        kind = self.cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        found = []
        for name, like in zip(names, (self._deltas if names[0] in self._deltas else self._views).values(), strict=True):
            host = np.empty_like(like[:1])
            self.cuda.call(
                "cudaMemcpyAsync", host.ctypes.data, self.entry.addresses[name], host.nbytes, kind, self.stream.handle
            )
            self.stream.synchronize()
            found.append(host.astype(np.float32))
        return found


def path_of(model: Model, target: Target) -> GpuFramePath:
    """The frame path of a model on a GPU."""
    path = target.transformer(model).frame_path()
    assert isinstance(path, GpuFramePath)
    return path
