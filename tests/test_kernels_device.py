"""Launches on device memory: the rectangle of a frame that is there, the block that they read, and what is refused.

Launches take addresses. Here they are those of NumPy arrays, which only the kernels built for the host can read
(LGIN_CUDA=HOST, tests/sanitizers.sh); tests/gpu does the same with a GPU's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from frames import COLORS, face_affine, template_boxes
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import Scene, properties, scenes
from tolerances import assert_identical

from lgin_edge import _ops, geometry
from lgin_edge._arrays import Color, Rectangle
from lgin_edge.errors import BackendError, InputError

needs_host_memory = pytest.mark.skipif(
    _ops.cuda_built() and not _ops.cuda_is_host(), reason="gives the kernels addresses of host memory"
)

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


def size_of(frame: np.ndarray, color: Color) -> tuple[int, int]:
    """Height and width of the picture."""
    return (frame.shape[0] // 3 * 2 if color == "nv12" else frame.shape[0]), frame.shape[1]


def rectangle_of(scene: Scene) -> Rectangle:
    size = size_of(scene.frame(), scene.color)
    return _ops.face_rectangle(scene.color, *size, scene.affines(), scene.boxes(), scene.face_size, scene.patch_size)


def parts(frame: np.ndarray, color: Color, rectangle: Rectangle) -> list[np.ndarray]:
    """Views of what lies in a rectangle: the packed pixels, or the rows of Y and the rows of UV."""
    x0, y0, x1, y1 = rectangle
    if color != "nv12":
        return [frame[y0:y1, x0:x1]]
    height, _ = size_of(frame, color)
    return [frame[y0:y1, x0:x1], frame[height + y0 // 2 : height + y1 // 2, x0:x1]]


def crop(scene: Scene, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _ops.region_crop(
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
    return _ops.region_paste(frame, scene.affines(), scene.boxes(), *residuals, strengths=strengths, color=scene.color)


# ---- the rectangle --------------------------------------------------------------------------------------------------


def check_nothing_else_is_touched(scene: Scene) -> None:
    """Other bytes outside the rectangle change no bit of the crop, and paste changes none of them."""
    frame, other = scene.frame(), scene.frame() ^ 0xFF
    rectangle = rectangle_of(scene)
    for target, source in zip(parts(other, scene.color, rectangle), parts(frame, scene.color, rectangle), strict=True):
        target[...] = source
    for a, b in zip(crop(scene, other), crop(scene, frame), strict=True):
        assert_identical(a, b)
    pasted = paste(scene, frame, scene.residuals())
    for target in parts(pasted, scene.color, rectangle):
        target[...] = 0
    expected = frame.copy()
    for target in parts(expected, scene.color, rectangle):
        target[...] = 0
    assert_identical(pasted, expected)


def needed(scene: Scene) -> Rectangle:
    """``face_rectangle`` once more, in double and from the definitions: samples of the corner pixels and their taps."""
    height, width = size_of(scene.frame(), scene.color)
    columns, rows = [], []
    for affine, boxes in zip(scene.affines(), scene.boxes(), strict=True):
        square = geometry.apply(affine, np.array([(0, 0), (0, 1), (1, 0), (1, 1)], np.float64))
        (x0, y0), (x1, y1) = np.floor(square.min(axis=0)), np.ceil(square.max(axis=0))
        x0, x1, y0, y1 = max(x0, 0), min(x1, width), max(y0, 0), min(y1, height)
        if x0 < x1 and y0 < y1:
            columns += [x0, x1 - 1]
            rows += [y0, y1 - 1]
        sides = [scene.face_size] + 5 * [scene.patch_size]
        for box, side in zip([geometry.FULL_BOX, *boxes], sides, strict=True):
            view = geometry.view_affine(affine, box)
            a, b = (np.clip(np.ceil(np.hypot(*view[:, axis]) / side - 1e-3), 1, 64) for axis in (0, 1))
            u, v = 0.5 / (a * side), 0.5 / (b * side)  # the outermost samples, as a share of the view
            corners = np.array([(s, t) for s in (u, 1 - u) for t in (v, 1 - v)])
            for pixels, position in zip((columns, rows), (geometry.apply(view, corners) - 0.5).T, strict=True):
                for low, size in ((np.floor(position), 1), (2 * np.floor(position / 2 - 0.25), 2)):
                    if size == 1 or scene.color == "nv12":
                        pixels += [low.min(), low.max() + 2 * size - 1]
    low = [int(np.clip(min(pixels), 0, size - 1)) // 2 * 2 for pixels, size in ((columns, width), (rows, height))]
    high = [
        min(int(np.clip(max(pixels), 0, size - 1)) // 2 * 2 + 2, size)
        for pixels, size in ((columns, width), (rows, height))
    ]
    return low[0], low[1], high[0], high[1]


def check_no_more_than_needed(scene: Scene) -> None:
    """A position near a whole pixel may round to either side of it, which is worth two columns; else it is exact."""
    assert np.abs(np.subtract(rectangle_of(scene), needed(scene))).max() <= 2


@properties
@given(scene=scenes())
def test_nothing_outside_the_rectangle_is_touched(scene: Scene) -> None:
    check_nothing_else_is_touched(scene)


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_outside_the_rectangle_of_one_face_is_touched(place: str, color: Color) -> None:
    check_nothing_else_is_touched(one_face(place, color))


@properties
@given(scene=scenes(max_faces=2).filter(lambda scene: scene.faces))
def test_the_rectangle_is_what_is_needed(scene: Scene) -> None:
    check_no_more_than_needed(scene)


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("place", [place for place in PLACES if "huge" not in place])
def test_the_rectangle_of_one_face_is_what_it_needs(place: str, color: Color) -> None:
    check_no_more_than_needed(one_face(place, color))


@properties
@given(scene=scenes())
def test_a_rectangle_is_even_not_empty_and_in_the_frame(scene: Scene) -> None:
    x0, y0, x1, y1 = rectangle_of(scene)
    height, width = size_of(scene.frame(), scene.color)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert x0 % 2 == y0 % 2 == 0
    assert x1 % 2 == 0 or x1 == width
    assert y1 % 2 == 0 or y1 == height


def test_rectangles_worked_out_by_hand() -> None:
    # A face of 8 px at (4, 4), views of 8 and 1 px: its samples are the centres of the pixels 4 to 11, whose right-hand
    # neighbour 12 is read too (with weight 0). Boxes inside the square add nothing.
    boxes = np.broadcast_to([0.25, 0.25, 0.75, 0.75], (1, 5, 4))
    affine = np.array([[[8.0, 0.0, 4.0], [0.0, 8.0, 4.0]]])
    assert _ops.face_rectangle("rgb", 40, 50, affine, boxes, 8, 1) == (4, 4, 14, 14)
    # Chroma samples lie at 0.5, 2.5, 4.5, ...: that before pixel 4 belongs to the pixels 2 and 3.
    assert _ops.face_rectangle("nv12", 40, 50, affine, boxes, 8, 1) == (2, 2, 14, 14)
    # Enlarged twice, the first sample lies at 3.75 and the last at 11.25: the pixels 3 to 12.
    assert _ops.face_rectangle("rgb", 40, 50, affine, boxes, 16, 1) == (2, 2, 14, 14)
    # Reduced to one pixel, it is the mean of 8 x 8 samples, the same ones as in the first case.
    assert _ops.face_rectangle("rgb", 40, 50, affine, boxes, 1, 1) == (4, 4, 14, 14)
    assert _ops.face_rectangle("rgb", 9, 11, affine, boxes, 8, 1) == (4, 4, 11, 9)
    # Reduced 200 times, the 64 samples of a pixel leave out the square's last pixels, which paste writes: 5 to 204.
    large = np.array([[[200.0, 0.0, 5.0], [0.0, 200.0, 5.0]]])
    assert _ops.face_rectangle("rgb", 300, 300, large, boxes, 1, 1) == (4, 4, 206, 206)
    # Outside, the border is replicated.
    moved = affine + np.array([[0, 0, 90], [0, 0, 0]])
    assert _ops.face_rectangle("rgb", 40, 51, moved, boxes, 8, 1) == (50, 4, 51, 14)
    assert _ops.face_rectangle("rgb", 40, 51, np.zeros((0, 2, 3)), np.zeros((0, 5, 4))) == (0, 0, 2, 2)
    assert _ops.face_rectangle("rgb", 1, 1, affine, boxes) == (0, 0, 1, 1)


# ---- launches -------------------------------------------------------------------------------------------------------


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
        pixel = {"nv12": 1, "rgb": 3, "bgr": 3}.get(scene.color, 4)
        self.row = (x1 - x0) * pixel
        self.pitch = self.row + self.pad
        rows = (y1 - y0) * 3 // 2 if scene.color == "nv12" else y1 - y0
        n, s, p = len(scene.faces), scene.face_size, scene.patch_size
        self.memory = np.full((self.copies, rows, self.pitch), 0xA5, np.uint8)
        self.face = np.full((n, 3, s, s), np.nan, scene.dtype)
        self.patches = np.full((n, 5, 3, p, p), np.nan, scene.dtype)
        self.block = aligned(_ops.block_size(scene.color, n))
        self.sizes: dict[str, Any] = {"face_size": s, "patch_size": p}
        self.queue: dict[str, Any] = {"half": scene.dtype == "float16", "device": 0, "stream": 0}

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
        _ops.write_block(
            self.block,
            scene.color,
            self.memory.ctypes.data,
            self.pitch,
            *size_of(scene.frame(), scene.color),
            rectangle or self.rectangle,
            scene.affines(),
            scene.boxes(),
            STRENGTHS[: len(scene.affines())],
            **self.sizes,
        )

    def crop(self) -> None:
        scene, views = self.scene, (self.face.ctypes.data, self.patches.ctypes.data)
        if scene.faces:
            _ops.launch_crop(self.block.ctypes.data, scene.color, len(scene.faces), *views, **self.sizes, **self.queue)

    def paste(self, residuals: tuple[np.ndarray, np.ndarray], copy: int = 0, pixels: int = 500) -> None:
        """All faces in order."""
        for n in range(len(self.scene.faces)):
            _ops.launch_paste(
                self.block.ctypes.data,
                self.scene.color,
                len(self.scene.faces),
                n,
                residuals[0][n].ctypes.data,
                residuals[1][n].ctypes.data,
                **self.sizes,
                **self.queue,
                pixels=pixels,
                target_offset=copy * self.memory.strides[0],
            )


def check_equals_the_cpu(scene: Scene, device: Device) -> None:
    frame, residuals = scene.frame(), scene.residuals()
    device.upload(frame)
    device.write()
    device.crop()
    for view, expected in zip((device.face, device.patches), crop(scene, frame), strict=True):
        assert_identical(view, expected)
    device.paste(residuals)
    assert_identical(device.download(frame), paste(scene, frame, residuals))


@needs_host_memory
@pytest.mark.cuda
@properties
@given(scene=scenes(), pad=st.integers(0, 9))
def test_the_rectangle_alone_gives_the_whole_frames_result(scene: Scene, pad: int) -> None:
    check_equals_the_cpu(scene, Device(scene, rectangle_of(scene), pad))


@needs_host_memory
@pytest.mark.cuda
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("place", PLACES)
def test_the_rectangle_of_one_face_gives_the_whole_frames_result(place: str, color: Color) -> None:
    scene = one_face(place, color)
    check_equals_the_cpu(scene, Device(scene, rectangle_of(scene)))


@needs_host_memory
@pytest.mark.cuda
@properties
@given(scene=scenes(), pad=st.integers(0, 9))
def test_a_whole_frame_on_the_device(scene: Scene, pad: int) -> None:
    height, width = size_of(scene.frame(), scene.color)
    check_equals_the_cpu(scene, Device(scene, (0, 0, width, height), pad))


@needs_host_memory
@pytest.mark.cuda
@properties
@given(scene=scenes(max_faces=2), copies=st.integers(2, 4))
def test_copies_of_the_frame_are_changed_each_for_itself(scene: Scene, copies: int) -> None:
    frame = scene.frame()
    device = Device(scene, rectangle_of(scene), copies=copies)
    device.upload(frame)
    device.write()
    residuals = [tuple(residual * (0.5 - i) for residual in scene.residuals()) for i in range(copies)]
    for i in range(1, copies):
        device.paste(residuals[i], copy=i)
    assert_identical(device.download(frame), frame)
    for i in range(1, copies):
        assert_identical(device.download(frame, copy=i), paste(scene, frame, residuals[i]))


@needs_host_memory
@pytest.mark.cuda
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("pixels", [1, 256, 257, 4096, 100_000])
def test_any_number_of_threads_pastes_the_whole_face(pixels: int, color: Color) -> None:
    scene = Face(3, 120, 150, color, "plain", ((70.0, 60.0, 90.0, 0.4),), 16, 8, "float32", 1)
    frame, residuals = scene.frame(), scene.residuals()
    device = Device(scene, rectangle_of(scene))
    device.upload(frame)
    device.write()
    device.paste(residuals, pixels=pixels)
    assert_identical(device.download(frame), paste(scene, frame, residuals))


@needs_host_memory
@pytest.mark.cuda
@pytest.mark.parametrize("color", COLORS)
def test_the_same_launches_with_another_block_work_on_another_frame(color: Color) -> None:
    """What a captured graph does when it is replayed: nothing but memory may have changed."""
    scenes = [
        Face(seed, height, width, color, "plain", faces, 16, 8, "float16", 1)
        for seed, height, width, faces in (
            (1, 60, 80, ((40.0, 30.0, 30.0, 0.4), (50.0, 35.0, 21.0, -0.3))),
            (2, 90, 50, ((-30.0, 30.0, 20.0, 0.4), (20.0, 50.0, 80.0, 3.0))),
            (3, 40, 200, ((190.0, 10.0, 60.0, 1.2), (12.0, 12.0, 4.0, 0.0))),
        )
    ]
    device = Device(scenes[0], (0, 0, 200, 90))
    pixels = np.zeros(200 * 90 * 4, np.uint8)
    deltas = scenes[0].residuals()
    for scene in scenes:
        now = Device(scene, rectangle_of(scene))
        now.upload(scene.frame())
        size = now.memory.size
        pixels[:size] = now.memory.reshape(-1)
        device.memory, device.pitch = pixels, now.pitch
        device.write(scene, now.rectangle)
        for delta, residual in zip(deltas, scene.residuals(), strict=True):
            delta[...] = residual
        # From here on every argument is the first scene's.
        device.crop()
        device.paste(deltas)
        for view, expected in zip((device.face, device.patches), crop(scene, scene.frame()), strict=True):
            assert_identical(view, expected)
        now.memory[...] = pixels[:size].reshape(now.memory.shape)
        assert_identical(now.download(scene.frame()), paste(scene, scene.frame(), deltas))


@needs_host_memory
@pytest.mark.cuda
def test_a_block_may_be_written_at_any_alignment_and_is_its_bytes_alone() -> None:
    scene = one_face("inside, turned", "bgra")
    device = Device(scene, rectangle_of(scene))
    device.write()
    expected = device.block.copy()
    memory = np.full(device.block.size + 3, 0x5A, np.uint8)
    device.block = memory[1:-2]
    device.write()
    assert_identical(memory[1:-2].copy(), expected)
    assert memory[[0, -2, -1]].tolist() == [0x5A] * 3


# ---- refusals -------------------------------------------------------------------------------------------------------

FACES: dict[str, Any] = {"affines": face_affine((10.0, 10.0), 8.0)[None], "boxes": template_boxes(1)}
SIZES: dict[str, Any] = {"face_size": 8, "patch_size": 4}
BAD_RECTANGLES = {
    "color": {"color": "yuv"},
    "height": {"height": 0},
    "height float": {"height": 20.0},
    "width": {"width": 1 << 25},
    "height odd": {"color": "nv12", "height": 21},
    "affines": {"affines": np.zeros((1, 2, 3))},
    "affines flat": {"affines": np.zeros((2, 3))},
    "boxes": {"boxes": template_boxes(2)},
    "face_size": {"face_size": 0},
    "patch_size": {"patch_size": 5000},
}


@pytest.mark.parametrize("name", BAD_RECTANGLES)
def test_bad_rectangle_arguments_are_refused(name: str) -> None:
    arguments = {"color": "rgb", "height": 20, "width": 20, **FACES, **SIZES, **BAD_RECTANGLES[name]}
    with pytest.raises(InputError, match=name.split()[0]):
        _ops.face_rectangle(**arguments)


@pytest.mark.parametrize("name", ["color", "count", "count many", "count float"])
def test_bad_block_sizes_are_refused(name: str) -> None:
    bad = {"color": ("yuv", 1), "count": ("rgb", -1), "count many": ("rgb", 1 << 21), "count float": ("rgb", 1.0)}
    with pytest.raises(InputError, match=name.split()[0]):
        _ops.block_size(*bad[name])


def test_a_block_grows_by_the_face() -> None:
    for color in COLORS:
        none, one, two = (_ops.block_size(color, n) for n in range(3))
        assert none % 16 == one % 16 == 0
        assert two - one == one - none > 0
        assert (color == "nv12") == (none != _ops.block_size("rgb", 0))


BLOCK = {
    "color": "rgb",
    "address": 4096,
    "pitch": 60,
    "height": 20,
    "width": 20,
    "rectangle": (0, 0, 20, 20),
    **FACES,
    **SIZES,
}
READ_ONLY = np.zeros(_ops.block_size("rgb", 1), np.uint8)
READ_ONLY.flags.writeable = False
BAD_BLOCKS = {
    **BAD_RECTANGLES,
    "block": {"block": np.zeros(16, np.uint8)},
    "block too long": {"block": np.zeros(_ops.block_size("rgb", 1) + 1, np.uint8)},
    "block of floats": {"block": np.zeros(_ops.block_size("rgb", 1) // 4, np.float32)},
    "block in two axes": {"block": np.zeros((1, _ops.block_size("rgb", 1)), np.uint8)},
    "block with steps": {"block": np.zeros(2 * _ops.block_size("rgb", 1), np.uint8)[::2]},
    "block read-only": {"block": READ_ONLY},
    "block list": {"block": [0]},
    "address": {"address": 0},
    "address negative": {"address": -4096},
    "address float": {"address": 4096.0},
    "pitch": {"pitch": 59},
    "pitch negative": {"pitch": -60},
    "pitch that overflows": {"pitch": (1 << 63) - 1},
    "rectangle": {"rectangle": (0, 0, 21, 20)},
    "rectangle empty": {"rectangle": (4, 4, 4, 20)},
    "rectangle negative": {"rectangle": (-2, 0, 20, 20)},
    "rectangle of three": {"rectangle": (0, 0, 20)},
    "rectangle odd": {"color": "nv12", "rectangle": (1, 0, 20, 20)},
    "rectangle small": {"rectangle": (8, 0, 20, 20)},
    "face_taper": {"face_taper": 0.0},
    "region_taper": {"region_taper": 0.6},
}


@pytest.mark.parametrize("name", BAD_BLOCKS)
def test_bad_block_arguments_are_refused(name: str) -> None:
    arguments = {
        "block": np.zeros(_ops.block_size("rgb", 1), np.uint8),
        **BLOCK,
        **BAD_BLOCKS[name],
    }
    with pytest.raises(InputError, match=name.split()[0]):
        _ops.write_block(**arguments)
    assert not np.any(arguments["block"])


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("side", range(4))
def test_a_rectangle_that_leaves_something_out_is_refused(side: int, color: Color) -> None:
    scene = one_face("inside, turned", color)
    device = Device(scene, rectangle_of(scene))
    smaller = np.array(device.rectangle) + 2 * np.eye(4, dtype=int)[side] * (1 if side < 2 else -1)
    with pytest.raises(InputError, match="rectangle: expected one that holds what the faces need"):
        device.write(rectangle=tuple(smaller.tolist()))
    assert not device.block.any()


BAD_LAUNCHES = {
    "block": {"block": 0},
    "block misaligned": {"block": 4096 + 8},
    "color": {"color": "yuv"},
    "count": {"count": -1},
    "face_size": {"face_size": 0},
    "patch_size": {"patch_size": 1 << 20},
    "device": {"device": -1},
    "device float": {"device": 0.0},
    "stream": {"stream": -1},
    "stream none": {"stream": None},
}
BAD_CROPS = {
    "face": {"face": 0},
    "face misaligned": {"face": 4096 + 2},
    "patches": {"patches": 4096 + 1, "half": True},
}
BAD_PASTES = {
    "index": {"index": 2},
    "index negative": {"index": -1},
    "face_delta": {"face_delta": 0},
    "face_delta misaligned": {"face_delta": 4096 + 2},
    "patch_delta": {"patch_delta": 4096 + 1, "half": True},
    "pixels": {"pixels": 0},
    "pixels float": {"pixels": 9.5},
    "target_offset": {"target_offset": 1 << 64},
}
LAUNCH = {"block": 4096, "color": "rgb", "count": 2, **SIZES, "half": False, "device": 0, "stream": 0}
CROP: dict[str, Any] = {**LAUNCH, "face": 4096, "patches": 4096}
PASTE: dict[str, Any] = {
    **LAUNCH,
    "index": 0,
    "face_delta": 4096,
    "patch_delta": 4096,
    "pixels": 100,
    "target_offset": 0,
}


@pytest.mark.parametrize("name", [*BAD_LAUNCHES, *BAD_CROPS])
def test_bad_crop_launches_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name.split()[0]):
        _ops.launch_crop(**{**CROP, **{**BAD_LAUNCHES, **BAD_CROPS}[name]})


@pytest.mark.parametrize("name", [*BAD_LAUNCHES, *BAD_PASTES])
def test_bad_paste_launches_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name.split()[0]):
        _ops.launch_paste(**{**PASTE, **{**BAD_LAUNCHES, **BAD_PASTES}[name]})


def test_a_launch_on_a_device_that_is_not_there_is_a_backend_error() -> None:
    reason = "usable CUDA devices" if _ops.cuda_built() else "CPU kernels only"
    with pytest.raises(BackendError, match=reason):
        _ops.launch_crop(**{**CROP, "device": 999})
    with pytest.raises(BackendError, match=reason):
        _ops.launch_paste(**{**PASTE, "device": 999})
