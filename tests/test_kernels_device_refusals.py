"""What is refused before anything is launched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from device_scenes import Device, one_face, rectangle_of
from frames import COLORS, face_affine, template_boxes

from lgin_edge import kernels
from lgin_edge.errors import BackendError, InputError
from lgin_edge.frames import Color

needs_host_memory = pytest.mark.skipif(
    kernels.cuda_built() and not kernels.cuda_is_host(), reason="gives the kernels addresses of host memory"
)


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
        kernels.face_rectangle(**arguments)


@pytest.mark.parametrize("name", ["color", "count", "count many", "count float"])
def test_bad_block_sizes_are_refused(name: str) -> None:
    bad = {"color": ("yuv", 1), "count": ("rgb", -1), "count many": ("rgb", 1 << 21), "count float": ("rgb", 1.0)}
    with pytest.raises(InputError, match=name.split()[0]):
        kernels.block_size(*bad[name])


def test_a_block_grows_by_the_face() -> None:
    for color in COLORS:
        none, one, two = (kernels.block_size(color, n) for n in range(3))
        assert none % 16 == one % 16 == 0
        assert two - one == one - none > 0
        assert (color == "nv12") == (none != kernels.block_size("rgb", 0))


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


READ_ONLY = np.zeros(kernels.block_size("rgb", 1), np.uint8)
READ_ONLY.flags.writeable = False


BAD_BLOCKS = {
    **BAD_RECTANGLES,
    "block": {"block": np.zeros(16, np.uint8)},
    "block too long": {"block": np.zeros(kernels.block_size("rgb", 1) + 1, np.uint8)},
    "block of floats": {"block": np.zeros(kernels.block_size("rgb", 1) // 4, np.float32)},
    "block in two axes": {"block": np.zeros((1, kernels.block_size("rgb", 1)), np.uint8)},
    "block with steps": {"block": np.zeros(2 * kernels.block_size("rgb", 1), np.uint8)[::2]},
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
        "block": np.zeros(kernels.block_size("rgb", 1), np.uint8),
        **BLOCK,
        **BAD_BLOCKS[name],
    }
    with pytest.raises(InputError, match=name.split()[0]):
        kernels.write_block(**arguments)
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
        kernels.launch_crop(**{**CROP, **{**BAD_LAUNCHES, **BAD_CROPS}[name]})


@pytest.mark.parametrize("name", [*BAD_LAUNCHES, *BAD_PASTES])
def test_bad_paste_launches_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name.split()[0]):
        kernels.launch_paste(**{**PASTE, **{**BAD_LAUNCHES, **BAD_PASTES}[name]})


def test_a_launch_on_a_device_that_is_not_there_is_a_backend_error() -> None:
    reason = "usable CUDA devices" if kernels.cuda_built() else "CPU kernels only"
    with pytest.raises(BackendError, match=reason):
        kernels.launch_crop(**{**CROP, "device": 999})
    with pytest.raises(BackendError, match=reason):
        kernels.launch_paste(**{**PASTE, "device": 999})
