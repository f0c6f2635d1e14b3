"""What is refused before anything is launched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from device_scenes import Device, one_face, rectangle_of
from frames import COLORS, face_affine, template_boxes

from lgin_edge import kernels
from lgin_edge.errors import BackendError, InputError
from lgin_edge.faces import FaceBatch
from lgin_edge.frames import Color, PixelFormat
from lgin_edge.geometry import ViewSpec
from lgin_edge.kernels import FacePlan

needs_host_memory = pytest.mark.skipif(
    kernels.cuda_built() and not kernels.cuda_is_host(), reason="gives the kernels addresses of host memory"
)


FACES: dict[str, Any] = {"affines": face_affine((10.0, 10.0), 8.0)[None], "boxes": template_boxes(1)}


SIZES: dict[str, Any] = {"face_size": 8, "patch_size": 4}


def make_plan(
    color: str, height: int, width: int, affines: Any, boxes: Any, strengths: Any = None, **spec: Any
) -> FacePlan:
    return FacePlan(FaceBatch(affines, boxes, strengths), ViewSpec(**spec), height, width, PixelFormat.parse(color))


BAD_PLANS = {
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
    "face_taper": {"face_taper": 0.0},
    "region_taper": {"region_taper": 0.6},
    "strengths": {"strengths": [1.5]},
    "face_box empty": {"face_box": (0.0, 0.0, 0.0, 1.0)},
    "face_box far": {"face_box": (0.0, -1.5, 1.0, 1.0)},
    "face_box nan": {"face_box": (0.0, float("nan"), 1.0, 1.0)},
    "face_box of three": {"face_box": (0.0, 0.0, 1.0)},
}


@pytest.mark.parametrize("name", BAD_PLANS)
def test_bad_plans_are_refused(name: str) -> None:
    arguments = {"color": "rgb", "height": 20, "width": 20, **FACES, **SIZES, **BAD_PLANS[name]}
    with pytest.raises(InputError, match=name.split()[0]):
        make_plan(**arguments)


@pytest.mark.parametrize("name", ["count", "count many", "count float"])
def test_bad_block_sizes_are_refused(name: str) -> None:
    bad: dict[str, Any] = {"count": -1, "count many": 1 << 21, "count float": 1.0}
    with pytest.raises(InputError, match=name.split()[0]):
        kernels.block_size(PixelFormat.RGB, bad[name])


def test_a_block_grows_by_the_face() -> None:
    for pixel_format in PixelFormat:
        none, one, two = (kernels.block_size(pixel_format, n) for n in range(3))
        assert none % 16 == one % 16 == 0
        assert two - one == one - none > 0
        assert pixel_format.is_nv12 == (none != kernels.block_size(PixelFormat.RGB, 0))


BLOCK: dict[str, Any] = {"address": 4096, "pitch": 60, "rectangle": (0, 0, 20, 20)}
ONE = kernels.block_size(PixelFormat.RGB, 1)


READ_ONLY = np.zeros(ONE, np.uint8)
READ_ONLY.flags.writeable = False


BAD_BLOCKS = {
    "block": {"block": np.zeros(16, np.uint8)},
    "block too long": {"block": np.zeros(ONE + 1, np.uint8)},
    "block of floats": {"block": np.zeros(ONE // 4, np.float32)},
    "block in two axes": {"block": np.zeros((1, ONE), np.uint8)},
    "block with steps": {"block": np.zeros(2 * ONE, np.uint8)[::2]},
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
}


@pytest.mark.parametrize("name", BAD_BLOCKS)
def test_bad_block_arguments_are_refused(name: str) -> None:
    arguments = {"block": np.zeros(ONE, np.uint8), **BLOCK, **BAD_BLOCKS[name]}
    plan = make_plan(arguments.pop("color", "rgb"), 20, 20, **FACES, **SIZES)
    with pytest.raises(InputError, match=name.split()[0]):
        plan.write_block(**arguments)
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
    "first": {"first": 2},
    "first negative": {"first": -1},
    "faces": {"first": 1, "faces": 2},
    "faces none": {"faces": 0},
    "ages": {"ages": 0},
    "face_edit": {"face_edit": 0},
    "face_edit misaligned": {"face_edit": 4096 + 2},
    "patch_edit": {"patch_edit": 4096 + 1, "half": True},
    "pixels": {"pixels": 0},
    "pixels float": {"pixels": 9.5},
    "age_step": {"age_step": -1},
}


LAUNCH = {"block": 4096, "pixel_format": PixelFormat.RGB, "count": 2, **SIZES, "half": False, "device": 0, "stream": 0}


CROP: dict[str, Any] = {**LAUNCH, "face": 4096, "patches": 4096}


PASTE: dict[str, Any] = {
    **LAUNCH,
    "first": 0,
    "faces": 1,
    "ages": 1,
    "face_edit": 4096,
    "patch_edit": 4096,
    "pixels": 100,
    "age_step": 0,
}


FINITE_CHECK: dict[str, Any] = {
    "values": [4096, 5120],
    "sizes": [1, 2],
    "found": 8192,
    "half": False,
    "device": 0,
    "stream": 0,
}
EDIT_PASTE: dict[str, Any] = {
    **PASTE,
    "flow": 4096,
    "place": 4096,
    "lines": 4096,
    "coarse_size": 4,
    "line_size": 9,
    "edit_format": 4,
    "scratch": 4096,
    "coloured": 4096,
}


BAD_EDIT_PASTES = {
    **BAD_PASTES,
    "flow misaligned": {"flow": 4096 + 2},
    "lines without": {"place": 0},
    "coarse_size": {"coarse_size": 0},
    "coarse_size huge": {"coarse_size": 5000},
    "line_size": {"line_size": 0},
    "edit_format": {"edit_format": 5},
    "scratch": {"scratch": 0},
    "scratch misaligned": {"scratch": 4096 + 8},
    "coloured": {"coloured": 0},
}


@pytest.mark.parametrize("name", [*BAD_LAUNCHES, *BAD_EDIT_PASTES])
def test_bad_launches_of_edits_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name.split()[0]):
        kernels.launch_edit_paste(**{**EDIT_PASTE, **{**BAD_LAUNCHES, **BAD_EDIT_PASTES}[name]})


@pytest.mark.parametrize("name", [*BAD_LAUNCHES, *BAD_CROPS])
def test_bad_crop_launches_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name.split()[0]):
        kernels.launch_crop(**{**CROP, **{**BAD_LAUNCHES, **BAD_CROPS}[name]})


@pytest.mark.parametrize("name", [*BAD_LAUNCHES, *BAD_PASTES])
def test_bad_paste_launches_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name.split()[0]):
        kernels.launch_paste(**{**PASTE, **{**BAD_LAUNCHES, **BAD_PASTES}[name]})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("values", [wrong]) for wrong in (0, 4098)),
        ("sizes", [0]),
        ("sizes", []),
        ("values", [4096] * 9),
        ("found", 0),
        ("found", 4098),
        ("device", -1),
    ],
)
def test_bad_finite_checks_are_refused(name: str, wrong: int) -> None:
    with pytest.raises(InputError, match=name):
        kernels.launch_finite_check(**{**FINITE_CHECK, name: wrong})


def test_a_launch_on_a_device_that_is_not_there_is_a_backend_error() -> None:
    reason = "usable CUDA devices" if kernels.cuda_built() else "CPU kernels only"
    with pytest.raises(BackendError, match=reason):
        kernels.launch_crop(**{**CROP, "device": 999})
    with pytest.raises(BackendError, match=reason):
        kernels.launch_paste(**{**PASTE, "device": 999})
    with pytest.raises(BackendError, match=reason):
        kernels.launch_finite_check(**{**FINITE_CHECK, "device": 999})
