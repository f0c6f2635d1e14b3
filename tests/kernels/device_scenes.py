"""Frames with faces, as the tests of the kernels on a device take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import loose
import numpy as np
from frames import face_affine
from kernel_scenes import Scene

from lgin_edge import kernels
from lgin_edge.frames import Color, PixelFormat, Rectangle
from lgin_edge.kernels import Edits, FacePlan

#: How much of each face's residual is pasted.
STRENGTHS = np.tile([1.0, 0.5, 0.8, 0.3], 8)


#: Faces (centre x and y, side, angle) in a frame of 60 x 80: inside, half outside at each border and corner, wholly
#: outside, far outside, of one pixel, larger than the frame and as large as may be.
PLACES = {
    "inside": (40.0, 30.0, 21.0, 0.0),
    "inside, turned": (40.3, 30.6, 20.0, 0.7),
    "upside down": (33.0, 25.0, 18.5, 3.1),
    "left": (0.0, 30.0, 20.0, 0.2),
    "right": (80.0, 30.0, 20.0, -0.2),
    "top": (40.0, 0.0, 20.0, 1.6),
    "bottom": (40.0, 60.0, 20.0, -1.6),
    "corner": (80.0, 60.0, 24.0, 0.5),
    "outside": (130.0, -40.0, 20.0, 0.5),
    "just outside": (91.0, 30.0, 20.0, 0.0),
    "far": (9e6, -9e6, 30.0, 1.0),
    "a pixel": (40.2, 30.7, 1.0, 0.3),
    "a pixel in the corner": (79.5, 59.5, 1.0, 0.0),
    "large": (40.0, 30.0, 200.0, 0.4),
    "huge": (40.0, 30.0, 65536.0, 0.4),
    "huge, at the border": (-32760.0, 30.0, 65536.0, 0.0),
}


def one_face(place: str, color: Color, height: int = 60, width: int = 80) -> Scene:
    x, y, side, angle = PLACES[place]
    return Face(1, height, width, color, "plain", ((x, y, side, angle),), 12, 6, "float32", 1)


class Face(Scene):
    """A scene whose faces are in pixels, of any size."""

    def affines(self) -> np.ndarray:
        return np.array([face_affine((x, y), side, angle) for x, y, side, angle in self.faces]).reshape(-1, 2, 3)


def plan_of(scene: Scene, strengths: np.ndarray | None = None) -> FacePlan:
    sizes = {"face_size": scene.face_size, "patch_size": scene.patch_size}
    return loose.plan_of(scene.frame(), scene.affines(), scene.boxes(), strengths=strengths, color=scene.color, **sizes)


def rectangle_of(scene: Scene) -> Rectangle:
    return plan_of(scene).rectangle


def parts(frame: np.ndarray, color: Color, rectangle: Rectangle) -> list[np.ndarray]:
    """Views of what lies in a rectangle: the packed pixels, or the rows of Y and the rows of UV."""
    return PixelFormat(color).planes(frame, rectangle)


def crop(scene: Scene, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return loose.region_crop(
        frame,
        scene.affines(),
        scene.boxes(),
        face_size=scene.face_size,
        patch_size=scene.patch_size,
        color=scene.color,
        dtype=scene.dtype,
    )


def paste(scene: Scene, frame: np.ndarray, residuals: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    strengths = STRENGTHS[: len(scene.affines())]
    return loose.region_paste(frame, scene.affines(), scene.boxes(), *residuals, strengths=strengths, color=scene.color)


def aligned(size: int) -> np.ndarray:
    """``size`` bytes that start where a device allocation could."""
    memory = np.zeros(size + 15, np.uint8)
    start = -memory.ctypes.data % 16
    return memory[start : start + size]


@dataclass
class Device:
    """A scene as it lies on a device: ``copies`` of a rectangle of its frame, room for its views, and its block."""

    scene: Scene
    rectangle: Rectangle
    pad: int = 0
    copies: int = 1

    def __post_init__(self) -> None:
        scene, (x0, y0, x1, y1) = self.scene, self.rectangle
        pixel_format = PixelFormat(scene.color)
        self.row = (x1 - x0) * pixel_format.channels
        self.pitch = self.row + self.pad
        rows = pixel_format.rows(y1 - y0)
        n, s, p = len(scene.faces), scene.face_size, scene.patch_size
        self.memory = np.full((self.copies, rows, self.pitch), 0xA5, np.uint8)
        self.face = np.full((n, 3, s, s), np.nan, scene.dtype)
        self.patches = np.full((n, 5, 3, p, p), np.nan, scene.dtype)
        self.block = aligned(kernels.block_size(pixel_format, n))
        self.launch: dict[str, Any] = {"block": self.block.ctypes.data, "pixel_format": pixel_format, "count": n}
        self.launch |= {"face_size": s, "patch_size": p, "half": scene.dtype == "float16", "device": 0, "stream": 0}

    def upload(self, frame: np.ndarray) -> None:
        row = 0
        for part in parts(frame, self.scene.color, self.rectangle):
            self.memory[:, row : row + len(part), : self.row] = part.reshape(len(part), -1)
            row += len(part)

    def download(self, frame: np.ndarray, copy: int = 0) -> np.ndarray:
        """The frame with the rectangle as it is on the device; what lies between the rows must be as it was."""
        assert (self.memory[:, :, self.row :] == 0xA5).all()
        result, row = frame.copy(), 0
        for part in parts(result, self.scene.color, self.rectangle):
            part[...] = self.memory[copy, row : row + len(part), : self.row].reshape(part.shape)
            row += len(part)
        return result

    def write(self, scene: Scene | None = None, rectangle: Rectangle | None = None) -> None:
        scene = scene or self.scene
        plan = plan_of(scene, STRENGTHS[: len(scene.affines())])
        plan.write_block(self.block, self.memory.ctypes.data, self.pitch, rectangle or self.rectangle)

    def crop(self) -> None:
        views = {"face": self.face.ctypes.data, "patches": self.patches.ctypes.data}
        if self.scene.faces:
            kernels.launch_crop(**self.launch, **views)

    def paste_edits(self, edits: Edits, pixels: int = 500, edit_format: int = 4) -> None:
        """Edits [N, copies, ...] (place [N, ...]), all faces; the scratch holds nothing of use before."""
        scratch = aligned(self.memory.size)
        scratch[:] = 0x5A
        coloured = np.zeros(len(self.scene.faces) * self.copies, np.uint8)
        self._launch_paste(
            kernels.launch_edit_paste,
            pixels,
            **{name: 0 if array is None else array.ctypes.data for name, array in vars(edits).items()},
            coarse_size=0 if edits.flow is None else edits.flow.shape[-1],
            line_size=0 if edits.lines is None else edits.lines.shape[-1],
            edit_format=edit_format,
            scratch=scratch.ctypes.data,
            coloured=coloured.ctypes.data,
        )

    def paste(self, residuals: tuple[np.ndarray, np.ndarray], pixels: int = 500) -> None:
        """Residuals [N, copies, ...], all faces."""
        face, patches = (residual.ctypes.data for residual in residuals)
        self._launch_paste(kernels.launch_paste, pixels, face_edit=face, patch_edit=patches)

    def _launch_paste(self, launch: Any, pixels: int, **named: Any) -> None:
        """At once if the faces are apart, else in order."""
        count, step = len(self.scene.faces), self.memory.strides[0]
        together = max(count, 1) if plan_of(self.scene).disjoint else 1
        for first in range(0, count, together):
            launch(**self.launch, **named, first=first, faces=together, ages=self.copies, pixels=pixels, age_step=step)
