"""The right answers, by the slow and readable way: kernels in NumPy and in double, the model on one thread of the CPU."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import numpy as np

from .. import geometry, reference
from ..faces import Face, FaceBatch
from ..frames import Floats, Frame
from ..inference.interfaces import Backend
from ..inference.loader import open_model
from ..kernels import Edits, FacePlan
from ..models.description import Description
from ..models.engine_file import is_engine
from ..transformer import WEIGHTS
from .scene import Scene


class Expected:
    """What a model must answer on its scene; computed when first asked for.

    Args:
        path: the model. An engine is compared with the bundled model if it was built of it; else there is no reference.
        stack: closes the model.
    """

    def __init__(self, path: Path, about: Description, scene: Scene, stack: ExitStack) -> None:
        self._path, self._about, self._scene, self._stack = path, about, scene, stack
        self._residuals: dict[int, tuple[Floats, ...]] = {}
        self._aged: dict[tuple[bytes, int], Frame] = {}

    @cached_property
    def onnx(self) -> Path | None:
        """The ONNX file that answers; None if there is none for an engine."""
        if not is_engine(self._path):
            return self._path
        same = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == self._about.onnx_sha256
        return WEIGHTS if same else None

    @cached_property
    def views(self) -> tuple[Floats, Floats]:
        """Crop of the scene's face: face [1, 3, S, S] and patches [1, 5, 3, P, P]."""
        return self._crop(self._scene.face)

    @cached_property
    def pasted(self) -> Frame:
        """The frame with the scene's residuals."""
        return self._paste(self._scene.face, self._scene.residuals())

    def residuals(self, faces: int, ages: int) -> tuple[Floats, Floats] | None:
        """The engine's answer to ``Scene.engine_inputs``; every face's is the same."""
        if self._backend is None:
            return None
        if ages not in self._residuals:
            self._residuals[ages] = self._backend.run(*self._scene.engine_inputs(1, ages))
        face, patches = self._residuals[ages]
        return np.concatenate([face] * faces), np.concatenate([patches] * faces)

    def aged(self, landmarks: geometry.Float64, groups: Sequence[int]) -> list[Frame] | None:
        """The frame with the face at these landmarks [5, 2] at each of some age groups."""
        if self._backend is None:
            return None
        face = Face(landmarks)
        key = landmarks.tobytes()
        new = [group for group in groups if (key, group) not in self._aged]
        if new:
            codes = np.eye(self._scene.groups, dtype=np.float32)[new]
            boxes = face.boxes[None].astype(np.float32)
            whole, patches = self._backend.run(*self._crop(face), boxes, codes)
            for i, group in enumerate(new):
                self._aged[key, group] = self._paste(face, (whole[i : i + 1], patches[i : i + 1]))
        return [self._aged[key, group] for group in groups]

    @cached_property
    def _backend(self) -> Backend | None:
        if self.onnx is None:
            return None
        backend = open_model(self.onnx, providers=("CPUExecutionProvider",), threads=1)
        self._stack.callback(backend.close)
        return backend

    def _crop(self, face: Face) -> tuple[Floats, Floats]:
        frame = self._scene.frame
        return reference.region_crop(FacePlan.of(frame, FaceBatch.of([face]), self._about.views), frame)

    def _paste(self, face: Face, deltas: tuple[Floats, Floats]) -> Frame:
        rows, columns = around = self._scene.surroundings
        moved = face.affine - np.array([(0.0, 0.0, columns.start), (0.0, 0.0, rows.start)])
        frame: Frame = self._scene.frame.copy()
        faces = FaceBatch(moved[None], face.boxes[None])
        plan = FacePlan.of(frame[around], faces, self._about.views)
        frame[around] = reference.region_paste(plan, frame[around], Edits(*deltas))
        return frame
