"""region_crop and region_paste at the edges of their domain: sizes, places, dtypes, views, callers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import loose
import numpy as np
import pytest
from frames import COLORS, DEVICES, face_affine, random_frame, template_boxes
from tolerances import assert_close, assert_identical

from lgin_edge.frames import Color


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("device", DEVICES)
def test_no_faces(color: Color, device: str) -> None:
    frame = random_frame(np.random.default_rng(0), 6, 8, color)
    face, patches = loose.region_crop(
        frame, np.zeros((0, 2, 3)), np.zeros((0, 5, 4)), face_size=8, patch_size=4, color=color, device=device
    )
    assert face.shape == (0, 3, 8, 8)
    assert patches.shape == (0, 5, 3, 4, 4)
    result = loose.region_paste(
        frame, np.zeros((0, 2, 3)), np.zeros((0, 5, 4)), face, patches, color=color, device=device
    )
    assert result is not frame
    assert_identical(result, frame)


@pytest.mark.parametrize("center", [(-500.0, 10.0), (10.0, 9e6), (-9e6, -9e6), (21.1, 10.0)])
def test_a_face_outside_the_frame_is_the_border_and_pastes_nothing(center: tuple[float, float]) -> None:
    frame = random_frame(np.random.default_rng(0), 20, 16, "rgb")
    affine = face_affine(center, 10.0)[None]
    face, patches = loose.region_crop(frame, affine, template_boxes(1), face_size=8, patch_size=4)
    expected = loose.reference_crop(frame, affine, template_boxes(1), face_size=8, patch_size=4)
    if max(map(abs, center)) < 1e6:  # beyond, float's rounding moves the samples along the border
        assert_close(face, expected[0], kind="view")
        assert_close(patches, expected[1], kind="view")
    pasted = loose.region_paste(frame, affine, template_boxes(1), np.ones_like(face), np.ones_like(patches))
    assert_identical(pasted, frame)


def test_a_frame_of_one_pixel() -> None:
    frame = np.array([[[10, 20, 30]]], np.uint8)
    affine = face_affine((0.5, 0.5), 1.0, 0.7)[None]
    face, patches = loose.region_crop(frame, affine, template_boxes(1), face_size=4, patch_size=2)
    for c, level in enumerate((10, 20, 30)):
        assert (face[0, c] == np.float32(level) / np.float32(127.5) - 1).all()
    result = loose.region_paste(frame, affine, template_boxes(1), np.ones_like(face), np.zeros_like(patches))
    assert_identical(result, np.array([[[138, 148, 158]]], np.uint8))


@pytest.mark.parametrize("side", [16384.0, 65536.0])
def test_a_16k_frame_full_of_one_face(side: float) -> None:
    # A frame of 768 MB that lies in 48 kB: all rows are the same bytes.
    row = random_frame(np.random.default_rng(0), 1, 16384, "rgb")
    frame = np.broadcast_to(row, (16384, 16384, 3))
    affine = face_affine((8192.0, 8192.0), side, 0.01)[None]
    face, patches = loose.region_crop(frame, affine, template_boxes(1), face_size=8, patch_size=4, threads=2)
    expected = loose.reference_crop(frame, affine, template_boxes(1), face_size=8, patch_size=4)
    assert_close(face, expected[0], kind="large view")
    assert_close(patches, expected[1], kind="large view")


def test_positions_stay_exact_far_from_the_frames_origin() -> None:
    frame = np.zeros((64, 16384, 3), np.uint8)
    tile = random_frame(np.random.default_rng(0), 64, 64, "rgb")
    frame[:, 16300:16364] = tile
    near = face_affine((32.0, 32.0), 30.0, 0.2)
    far = near + np.array([[0, 0, 16300.0], [0, 0, 0]])
    for a, b in zip(
        loose.region_crop(frame, far[None], template_boxes(1), face_size=32, patch_size=16),
        loose.region_crop(tile, near[None], template_boxes(1), face_size=32, patch_size=16),
        strict=True,
    ):
        assert_close(a, b, kind="view")
    rng = np.random.default_rng(1)
    residuals = (
        rng.uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32),
        rng.uniform(-1, 1, (1, 5, 3, 8, 8)).astype(np.float32),
    )
    pasted = loose.region_paste(frame, far[None], template_boxes(1), *residuals)
    expected = loose.region_paste(tile, near[None], template_boxes(1), *residuals)
    assert_close(pasted[:, 16300:16364].copy(), expected, kind="frame")


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3e38, -3e38])
def test_huge_residuals_clamp(value: float) -> None:
    frame = np.full((20, 20, 3), 100, np.uint8)
    face = np.full((1, 3, 4, 4), value, np.float32)
    patches = np.zeros((1, 5, 3, 4, 4), np.float32)
    result = loose.region_paste(frame, face_affine((10.0, 10.0), 12.0)[None], template_boxes(1), face, patches)
    assert set(np.unique(result)) <= {0, 100, 255}


def test_float16_is_rounded_and_read_as_numpy_does() -> None:
    # Every level of grey through the rounding; every half, subnormal and infinite ones too, through the reading.
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    whole = [[256.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    single = loose.resample(ramp, whole, 3, 1111)
    assert_identical(loose.resample(ramp, whole, 3, 1111, dtype=np.float16), single.astype(np.float16))

    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(1, 1, 256, 256)
    face = np.repeat(halves, 3, axis=1)
    patches = np.zeros((1, 5, 3, 4, 4), np.float16)
    frame = np.full((256, 256, 3), 128, np.uint8)
    arguments = (frame, np.array([[[256.0, 0.0, 0.0], [0.0, 256.0, 0.0]]]), template_boxes(1))
    with np.errstate(invalid="ignore"):  # ARM's own conversion, which NumPy uses, reports the signalling NaNs
        wide = face.astype(np.float32)
    assert_identical(
        loose.region_paste(*arguments, face, patches),
        loose.region_paste(*arguments, wide, patches.astype(np.float32)),
    )


def test_mixed_residual_dtypes_are_read_as_they_are() -> None:
    rng = np.random.default_rng(5)
    frame = random_frame(rng, 40, 40, "rgb")
    face = rng.uniform(-1, 1, (1, 3, 8, 8)).astype(np.float16)
    patches = rng.uniform(-1, 1, (1, 5, 3, 6, 6)).astype(np.float32)
    arguments = (frame, face_affine((20.0, 20.0), 30.0)[None], template_boxes(1))
    assert_identical(
        loose.region_paste(*arguments, face, patches),
        loose.region_paste(*arguments, face.astype(np.float32), patches),
    )
    swapped = face.astype(face.dtype.newbyteorder()), patches.astype(patches.dtype.newbyteorder())
    assert_identical(loose.region_paste(*arguments, *swapped), loose.region_paste(*arguments, face, patches))


def test_a_paste_into_a_view_keeps_the_bytes_between() -> None:
    rng = np.random.default_rng(3)
    whole = random_frame(rng, 40, 90, "rgba")
    before = whole.copy()
    view = whole[::2, 1::3, :3]
    rest = (face_affine((15.0, 10.0), 14.0, 0.4)[None], template_boxes(1))
    residuals = rng.uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32), np.ones((1, 5, 3, 8, 8), np.float32)
    loose.region_paste(view, *rest, *residuals, out=view)
    expected = before.copy()
    expected[::2, 1::3, :3] = loose.region_paste(before[::2, 1::3, :3], *rest, *residuals)
    assert_identical(whole, expected)


def test_eight_python_threads_at_once_equal_one_after_the_other() -> None:
    rng = np.random.default_rng(0)
    frames = [random_frame(rng, 120, 160, "rgb") for _ in range(8)]
    affines = [face_affine((80.0, 60.0), 60.0 + 5 * i, 0.1 * i)[None] for i in range(8)]
    residuals = (
        rng.uniform(-1, 1, (1, 3, 32, 32)).astype(np.float32),
        rng.uniform(-1, 1, (1, 5, 3, 16, 16)).astype(np.float32),
    )
    barrier = threading.Barrier(8)

    def work(i: int, together: bool = False) -> list[np.ndarray]:
        if together:
            barrier.wait()
        views = loose.region_crop(
            frames[i], affines[i], template_boxes(1), face_size=64, patch_size=32, threads=1 + i % 3
        )
        return [*views, loose.region_paste(frames[i], affines[i], template_boxes(1), *residuals, threads=1 + i % 3)]

    alone = [work(i) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: work(i, True), range(8)))
    for a, b in zip(alone, together, strict=True):
        for x, y in zip(a, b, strict=True):
            assert_identical(x, y)
