"""What is measured on: a 720p frame with one drawn face, whose landmarks are known and which the detector finds.

Only integers and exact float operations (no exp, no cos, no BLAS) make the pixels, so that the bytes and their SHA-256 are the
same on every machine. The right answers come by the slow and readable way: kernels in NumPy and in double, the model on one thread
of the CPU.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lgin_edge import geometry, reference
from lgin_edge.edits import Edits
from lgin_edge.faces import Face, FaceBatch
from lgin_edge.files import sha256
from lgin_edge.frames import Floats, Frame
from lgin_edge.inference.interfaces import Backend
from lgin_edge.inference.loader import open_model
from lgin_edge.kernels import FacePlan
from lgin_edge.models.description import Description
from lgin_edge.models.engine_file import is_engine
from lgin_edge.transformer import WEIGHTS

HEIGHT, WIDTH = 720, 1280
#: Side of the face's square and its centre, frame pixels; its roll as (cos, sin), 5.7 degrees: no face is quite upright.
FACE, CENTER = 300, (640, 360)
_COS, _SIN = 399 / 401, 40 / 401
#: (centre, radii, softness of the rim, opacity, colour), canonical units; painted in this order.
_STROKES: tuple[tuple[tuple[float, float], tuple[float, float], float, float, tuple[int, int, int]], ...] = (
    ((0.5, 1.45), (0.75, 0.5), 0.05, 1.0, (60, 60, 90)),  # shoulders
    ((0.5, 0.42), (0.42, 0.5), 0.08, 1.0, (60, 42, 30)),  # hair
    ((0.5, 0.95), (0.16, 0.25), 0.15, 1.0, (190, 145, 120)),  # neck
    ((0.5, 0.55), (0.31, 0.43), 0.06, 1.0, (224, 178, 150)),  # face
    ((0.68, 0.62), (0.12, 0.3), 1.0, 0.5, (180, 130, 105)),  # its shadow side
    *(
        stroke
        for x in (0.3769, 0.6229)
        for stroke in (
            ((x, 0.455), (0.085, 0.06), 0.8, 0.6, (150, 105, 90)),  # socket
            ((x, 0.469), (0.055, 0.022), 0.3, 1.0, (245, 240, 235)),  # eye
            ((x, 0.469), (0.022, 0.022), 0.3, 1.0, (50, 35, 25)),  # iris
            ((x, 0.447), (0.06, 0.008), 0.8, 1.0, (60, 40, 30)),  # lid
            ((x, 0.4), (0.075, 0.014), 0.6, 1.0, (70, 48, 35)),  # brow
        )
    ),
    ((0.47, 0.55), (0.02, 0.1), 1.0, 0.5, (170, 120, 100)),  # side of the nose
    ((0.501, 0.635), (0.05, 0.02), 0.8, 0.6, (150, 95, 80)),  # under it
    ((0.5, 0.6), (0.03, 0.03), 1.0, 0.4, (250, 215, 195)),  # its tip
    ((0.475, 0.638), (0.012, 0.008), 0.8, 1.0, (80, 45, 40)),  # nostrils
    ((0.528, 0.638), (0.012, 0.008), 0.8, 1.0, (80, 45, 40)),
    ((0.502, 0.725), (0.105, 0.03), 0.5, 1.0, (185, 90, 85)),  # lips
    ((0.502, 0.725), (0.1, 0.006), 0.8, 1.0, (100, 40, 40)),  # between them
)


@dataclass(frozen=True)
class Scene:
    """One frame, one face, and what the stages need of them for a model with views of S and P pixels and K groups."""

    face_size: int
    patch_size: int
    groups: int
    lines_size: int = 0  # A; 0 in format 1, which has residuals alone
    reach: float = 0.5  # how far the face's view goes from the middle of its square, in sides of the square

    @staticmethod
    def of(about: Description) -> Scene:
        """The scene of a model."""
        reach = max(abs(corner - 0.5) for corner in about.face_box)
        return Scene(about.face_size, about.patch_size, len(about.groups), about.lines_size, reach)

    @cached_property
    def frame(self) -> Frame:
        """[720, 1280, 3] uint8 RGB; read-only: candidates that write get ``working_copy``."""
        frame = draw()
        frame.flags.writeable = False
        return frame

    @property
    def landmarks(self) -> geometry.Float64:
        """[5, 2] (x, y), frame pixels."""
        x, y = _to_frame(*geometry.TEMPLATE.T)
        points: geometry.Float64 = np.stack([x, y], axis=-1)
        return points

    @property
    def inputs(self) -> list[npt.NDArray[Any]]:
        """What all that works on the frame and its face is given, for the hash."""
        return [self.frame, self.landmarks]

    @cached_property
    def face(self) -> Face:
        return Face(self.landmarks)

    @property
    def surroundings(self) -> tuple[slice, slice]:
        """Rows and columns of the frame round the face's view, with room for landmarks that are off a little."""
        reach = int(FACE * self.reach * (_COS + _SIN)) + 24
        x, y = CENTER
        return slice(y - reach, y + reach), slice(x - reach, x + reach)

    def engine_inputs(self, faces: int = 1, ages: int = 1) -> tuple[Floats, Floats, Floats, Floats]:
        """``face``, ``patches``, ``boxes`` and ``age`` for N faces at G ages, the oldest group last.

        The views are cut by taking the nearest pixel, and the boxes are the template's: the crop kernel must not decide
        whether two versions of the package measure their engines on the same input.
        """
        view = _nearest(self.frame, geometry.FULL_BOX, self.face_size)
        patches = np.stack([_nearest(self.frame, box, self.patch_size) for box in geometry.REGION_BOXES])
        boxes = geometry.REGION_BOXES.astype(np.float32)
        codes = np.eye(self.groups, dtype=np.float32)[[-1 - i % self.groups for i in reversed(range(ages))]]
        views, locals_, places = (np.repeat(one[None], faces, axis=0) for one in (view, patches, boxes))
        return views, locals_, places, np.tile(codes, (faces, 1))

    def edits(self) -> tuple[Floats, ...]:
        """Smooth edits of one face, as a model's outputs: residuals and gains of up to 1/8, all parts from format 2 on."""
        alone = not self.lines_size
        face = _waves(3 if alone else 6, self.face_size)
        patches = np.stack([_waves(3 if alone else 4, self.patch_size) for _ in geometry.REGION_NAMES])
        if alone:
            return face[None], patches[None]
        face[4:] = np.abs(face[4:])
        side = self.face_size // 8
        centres = ((np.arange(side) + 0.5) / side).astype(np.float32)
        place = np.stack(np.meshgrid(centres, centres))
        flow, lines = np.float32(0.125) * _waves(2, side), _waves(1, self.lines_size)
        return tuple(one[None] for one in (face, patches, flow, place, lines))


class Expected:
    """What a model must answer on its scene; computed when first asked for.

    Args:
        path: the model. An engine is compared with the bundled model if it was built of it; else there is no reference.
        stack: closes the model.
    """

    def __init__(self, path: Path, about: Description, scene: Scene, stack: ExitStack) -> None:
        self._path, self._about, self._scene, self._stack = path, about, scene, stack
        self._edits: dict[int, tuple[Floats, ...]] = {}
        self._aged: dict[tuple[bytes, int], Frame] = {}

    @cached_property
    def onnx(self) -> Path | None:
        """The ONNX file that answers; None if there is none for an engine."""
        if not is_engine(self._path):
            return self._path
        return WEIGHTS if sha256(WEIGHTS) == self._about.onnx_sha256 else None

    @cached_property
    def views(self) -> tuple[Floats, Floats]:
        """Crop of the scene's face: face [1, 3, S, S] and patches [1, 5, 3, P, P]."""
        return self._crop(self._scene.face)

    @cached_property
    def pasted(self) -> Frame:
        """The frame with the scene's edits."""
        return self._paste(self._scene.face, self._scene.edits())

    def edits(self, faces: int, ages: int) -> tuple[Floats, ...] | None:
        """The engine's answer to ``Scene.engine_inputs``; every face's is the same."""
        if self._backend is None:
            return None
        if ages not in self._edits:
            self._edits[ages] = self._backend.run(*self._scene.engine_inputs(1, ages))
        return tuple(np.concatenate([output] * faces) for output in self._edits[ages])

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
            found = self._backend.run(*self._crop(face), boxes, codes)
            for i, group in enumerate(new):
                at_age = (output[i : i + 1] if len(output) > 1 else output for output in found)
                self._aged[key, group] = self._paste(face, tuple(at_age))
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

    def _paste(self, face: Face, edits: tuple[Floats, ...]) -> Frame:
        rows, columns = around = self._scene.surroundings
        moved = face.affine - np.array([(0.0, 0.0, columns.start), (0.0, 0.0, rows.start)])
        frame: Frame = self._scene.frame.copy()
        faces = FaceBatch(moved[None], face.boxes[None])
        plan = FacePlan.of(frame[around], faces, self._about.views)
        frame[around] = reference.region_paste(plan, frame[around], Edits(*edits))
        return frame


def digest(arrays: Sequence[npt.NDArray[Any]]) -> str:
    """SHA-256 over dtype, shape and bytes of some arrays."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def draw() -> Frame:
    """The frame: a background of two gradients, a person, and grain of three levels."""
    row, column = np.arange(HEIGHT)[:, None], np.arange(WIDTH)[None, :]
    frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    frame[..., 0] = 90 + 60 * row // HEIGHT
    frame[..., 1] = 110 + 50 * column // WIDTH
    frame[..., 2] = 140 - 40 * row // HEIGHT
    for stroke in _STROKES:
        _ellipse(frame, *stroke)
    # In place and in bytes: the bench's child processes measure peak memory, and the frame must not be what they find.
    frame += np.random.default_rng(0).integers(0, 4, frame.shape, dtype=np.uint8)
    return frame


def _to_frame(u: Any, v: Any) -> tuple[Any, Any]:
    """Canonical to frame pixels, exact products and sums alone."""
    u, v = FACE * (u - 0.5), FACE * (v - 0.5)
    return CENTER[0] + _COS * u - _SIN * v, CENTER[1] + _SIN * u + _COS * v


def _ellipse(
    frame: Frame,
    center: tuple[float, float],
    radii: tuple[float, float],
    rim: float,
    opacity: float,
    color: tuple[int, int, int],
) -> None:
    middle, reach = _to_frame(*center), FACE * (1.0 + rim) * max(radii)  # the rim lies half outside
    low = [max(0, int(m - reach)) for m in middle]
    high = [min(size, int(m + reach) + 1) for m, size in zip(middle, (WIDTH, HEIGHT), strict=True)]
    y, x = np.ogrid[low[1] : high[1], low[0] : high[0]]
    x, y = x + 0.5 - middle[0], y + 0.5 - middle[1]
    u, v = (_COS * x + _SIN * y) / (FACE * radii[0]), (_COS * y - _SIN * x) / (FACE * radii[1])
    t = np.clip((1.0 - np.sqrt(u * u + v * v)) / rim + 0.5, 0.0, 1.0)
    weight = (opacity * (t * t * (3.0 - 2.0 * t)))[..., None]
    part = frame[low[1] : high[1], low[0] : high[0]]
    part[...] = np.floor(part + weight * (np.array(color, np.float64) - part) + 0.5)


def _nearest(frame: Frame, box: npt.ArrayLike, side: int) -> npt.NDArray[np.float32]:
    """A view of the box [3, side, side] in [-1, 1]: the frame's nearest pixels."""
    x0, y0, x1, y1 = np.asarray(box, np.float64)
    t = (np.arange(side) + 0.5) / side
    columns, rows = _to_frame((x0 + t * (x1 - x0))[None, :], (y0 + t * (y1 - y0))[:, None])
    pixels = frame[rows.astype(np.int64), columns.astype(np.int64)]
    view: npt.NDArray[np.float32] = (pixels.transpose(2, 0, 1) / 127.5 - 1.0).astype(np.float32)
    return view


def _waves(channels: int, side: int) -> npt.NDArray[np.float32]:
    """Triangle waves of 64 pixels along rows and columns, [channels, side, side], at most 16 levels of 127.5 a unit."""
    c, i, j = np.ogrid[:channels, :side, :side]
    wave = (np.abs((i + 8 * c) % 64 - 32) - 16) / 2.0 + (np.abs((j + 16 * c) % 64 - 32) - 16) / 2.0
    residual: npt.NDArray[np.float32] = (wave / 127.5).astype(np.float32)
    return residual
