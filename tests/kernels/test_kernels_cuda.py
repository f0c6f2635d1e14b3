"""The CUDA kernels against the CPU's: one arithmetic, so nearly the same bits. (test_kernels.py runs them against the
reference.)"""

from __future__ import annotations

import loose
import numpy as np
import pytest
from frames import COLORS, face_affine, random_frame, template_boxes
from tolerances import assert_close

from lgin_edge.errors import BackendError
from lgin_edge.frames import Color

pytestmark = pytest.mark.cuda

#: Face sides in a 720p frame: enlarging, reducing, and one that leaves the frame on all sides.
SIDES = (90.0, 400.0, 1500.0)


def faces(side: float) -> np.ndarray:
    """Three overlapping faces [3, 2, 3], one of them half outside."""
    centers = ((200.0, 150.0), (260.0, 170.0), (20.0, 300.0))
    return np.array([face_affine(center, side, angle) for center, angle in zip(centers, (0.0, 0.4, -2.5), strict=True)])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("side", SIDES)
def test_crop_equals_the_cpu(side: float, color: Color, dtype: str) -> None:
    frame = random_frame(np.random.default_rng(1), 360, 480, color)
    arguments = {"face_size": 96, "patch_size": 40, "color": color, "dtype": dtype}
    cpu = loose.region_crop(frame, faces(side), template_boxes(3), **arguments)
    cuda = loose.region_crop(frame, faces(side), template_boxes(3), device="cuda", **arguments)
    for a, b in zip(cuda, cpu, strict=True):
        assert_close(a, b, kind="view", device_pair=True)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("side", SIDES)
def test_paste_equals_the_cpu(side: float, color: Color, dtype: str) -> None:
    rng = np.random.default_rng(2)
    frame = random_frame(rng, 360, 480, color)
    face = rng.uniform(-1, 1, (3, 3, 64, 64)).astype(dtype)
    patches = rng.uniform(-1, 1, (3, 5, 3, 32, 32)).astype(dtype)
    cpu = loose.region_paste(frame, faces(side), template_boxes(3), face, patches, color=color)
    cuda = loose.region_paste(frame, faces(side), template_boxes(3), face, patches, color=color, device="cuda")
    assert_close(cuda, cpu, kind="frame", device_pair=True)


def test_a_device_that_is_not_there_is_a_backend_error() -> None:
    with pytest.raises(BackendError, match="usable CUDA devices"):
        loose.region_crop(np.zeros((8, 8, 3), np.uint8), faces(8.0), template_boxes(3), device="cuda:9999")


def test_a_failed_call_leaves_the_device_usable() -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(BackendError):
        loose.region_crop(frame, faces(8.0), template_boxes(3), device="cuda:9999")
    face, _ = loose.region_crop(frame, faces(8.0), template_boxes(3), face_size=8, patch_size=4, device="cuda")
    assert (face == -1).all()


def test_a_row_of_a_wider_frame_is_read_to_its_end_and_no_further() -> None:
    """NumPy calls an array of one row contiguous, whatever its stride: these rows would lie a terabyte apart."""
    row = random_frame(np.random.default_rng(3), 1, 40, "rgb")
    wide = np.lib.stride_tricks.as_strided(row, row.shape, (1 << 40, 3, 1))
    affine, sizes = face_affine((20.0, 0.5), 12.0)[None], {"face_size": 8, "patch_size": 4}
    for a, b in zip(
        loose.region_crop(wide, affine, template_boxes(1), **sizes, device="cuda"),
        loose.region_crop(row, affine, template_boxes(1), **sizes),
        strict=True,
    ):
        assert_close(a, b, kind="view", device_pair=True)
