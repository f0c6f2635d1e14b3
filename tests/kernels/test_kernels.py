"""region_crop, region_paste and resample against the reference, and what must hold exactly."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import loose
import numpy as np
import pytest
from frames import DEVICES, face_affine, in_layout, random_frame, template_boxes
from hypothesis import given
from hypothesis import strategies as st
from kernel_scenes import Scene, properties, scenes
from tolerances import assert_close, assert_identical

from lgin_edge import geometry
from lgin_edge.frames import Color

# ---- against the reference ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@properties
@given(scene=scenes())
def test_crop_equals_the_reference(device: str, scene: Scene) -> None:
    frame = in_layout(scene.frame(), scene.layout)
    sizes = {"face_size": scene.face_size, "patch_size": scene.patch_size}
    common = {**sizes, "color": scene.color, "dtype": scene.dtype}
    face, patches = loose.region_crop(
        frame, scene.affines(), scene.boxes(), threads=scene.threads, device=device, **common
    )
    expected_face, expected_patches = loose.reference_crop(frame, scene.affines(), scene.boxes(), **common)
    assert_close(face, expected_face, kind="view")
    assert_close(patches, expected_patches, kind="view")


@properties
@given(scene=scenes())
def test_no_strength_is_all_of_it_and_zero_is_nothing(scene: Scene) -> None:
    frame, count = scene.frame(), len(scene.affines())
    arguments = (frame, scene.affines(), scene.boxes(), *scene.residuals())
    whole = loose.region_paste(*arguments, color=scene.color)
    assert_identical(loose.region_paste(*arguments, color=scene.color, strengths=np.ones(count)), whole)
    assert_identical(loose.region_paste(*arguments, color=scene.color, strengths=[0] * count), frame)


@pytest.mark.parametrize("device", DEVICES)
@properties
@given(scene=scenes(), taper=st.sampled_from([(0.12, 0.30), (0.5, 0.5), (0.01, 0.02)]))
def test_paste_equals_the_reference(device: str, scene: Scene, taper: tuple[float, float]) -> None:
    frame = in_layout(scene.frame(), scene.layout)
    arguments = (frame, scene.affines(), scene.boxes(), *scene.residuals())
    strengths = np.linspace(1.0, 0.25, len(scene.affines()))
    common = {"color": scene.color, "face_taper": taper[0], "region_taper": taper[1], "strengths": strengths}
    result = loose.region_paste(*arguments, threads=scene.threads, device=device, **common)
    assert_close(result, loose.reference_paste(*arguments, **common), kind="frame")


@properties
@given(scene=scenes(max_faces=1), height=st.integers(1, 60), width=st.integers(1, 60))
def test_resample_equals_the_reference(scene: Scene, height: int, width: int) -> None:
    frame = in_layout(scene.frame(), scene.layout)
    affine = scene.affines()[0] if scene.faces else np.array([[scene.width, 0.0, 0.0], [0.0, scene.height, 0.0]])
    view = loose.resample(frame, affine, height, width, color=scene.color, dtype=scene.dtype, threads=scene.threads)
    expected = loose.reference_resample(frame, affine, height, width, color=scene.color, dtype=scene.dtype)
    assert_close(view, expected, kind="view")


def test_a_tiny_paste_worked_out_by_hand() -> None:
    # A face of 4 px fills a 4x4 frame; d_g = 0.2 everywhere, the regions are 0. Pixel centres lie at 1/8, 3/8, 5/8 and
    # 7/8, so with a taper of 1/2 the window is (1 - cos(pi/4))/2 = 0.146447 and (1 - cos(3 pi/4))/2 = 0.853553.
    # 127.5 * 0.2 = 25.5 levels; corners 25.5 * 0.146447^2 = 0.547, edges 25.5 * 0.125 = 3.1875, middle 18.578.
    frame = np.full((4, 4, 3), 100, np.uint8)
    face = np.full((1, 3, 2, 2), 0.2, np.float32)
    patches = np.zeros((1, 5, 3, 2, 2), np.float32)
    affine = np.array([[[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]]])
    result = loose.region_paste(frame, affine, template_boxes(1), face, patches, face_taper=0.5)
    expected = [[101, 103, 103, 101], [103, 119, 119, 103], [103, 119, 119, 103], [101, 103, 103, 101]]
    assert result[..., 0].tolist() == result[..., 1].tolist() == result[..., 2].tolist() == expected


def test_a_tiny_crop_worked_out_by_hand() -> None:
    # Columns 0, 100, 200, 40 of a 1x4 frame, cut to two view pixels: each is the mean of two samples at pixel centres.
    frame = np.repeat(np.array([[0, 100, 200, 40]], np.uint8)[..., None], 3, axis=2)
    half = loose.resample(frame, [[4.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 1, 2)
    assert_close(half, np.full((3, 1, 2), [50 / 127.5 - 1, 120 / 127.5 - 1], np.float32), kind="view")
    # Enlarged to eight: samples at 0.25, 0.75, 1.25, ... px; the first and last are the border's pixel.
    double = loose.resample(frame, [[4.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 1, 8)
    levels = np.array([0, 25, 75, 125, 175, 160, 80, 40])
    assert_close(double, np.tile(levels / 127.5 - 1, (3, 1, 1)).astype(np.float32), kind="view")


# ---- what holds exactly ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@properties
@given(scene=scenes(), level=st.integers(0, 255))
def test_a_flat_picture_crops_to_its_colour(device: str, scene: Scene, level: int) -> None:
    frame = np.full((scene.height, scene.width, 3), level, np.uint8)
    for view in loose.region_crop(frame, scene.affines(), scene.boxes(), face_size=9, patch_size=5, device=device):
        assert (view == np.float32(level) / np.float32(127.5) - np.float32(1)).all()


@pytest.mark.parametrize("angle", [0.0, 0.3, -2.0])
@pytest.mark.parametrize("side", [7.0, 21.0, 60.0])
def test_a_linear_ramp_crops_to_a_linear_ramp(side: float, angle: float) -> None:
    # Bilinear samples and means of symmetric sets of them reproduce a ramp inside the frame.
    y, x = np.mgrid[0:100, 0:100]
    frame = np.stack([x, y, (x + y) // 2 * 2 // 2], axis=-1).astype(np.uint8)
    affine = face_affine((50.0, 50.0), side, angle)
    face, _ = loose.region_crop(frame, affine[None], template_boxes(1), face_size=16, patch_size=8)
    v, u = np.mgrid[0:16, 0:16] / 16 + 1 / 32
    position = geometry.apply(affine, np.stack([u, v], axis=-1)) - 0.5
    expected = np.moveaxis(position, -1, 0) / 127.5 - 1
    assert_close(face[0, :2], expected.astype(np.float32), kind="view")


@properties
@given(scene=scenes())
def test_layouts_and_threads_change_no_bit(scene: Scene) -> None:
    plain, other = scene.frame(), in_layout(scene.frame(), scene.layout)
    sizes = {"face_size": scene.face_size, "patch_size": scene.patch_size, "color": scene.color, "dtype": scene.dtype}
    one = loose.region_crop(plain, scene.affines(), scene.boxes(), **sizes)
    many = loose.region_crop(other, scene.affines(), scene.boxes(), threads=scene.threads, **sizes)
    for a, b in zip(one, many, strict=True):
        assert_identical(a, b)
    rest = (scene.affines(), scene.boxes(), *scene.residuals())
    pasted = loose.region_paste(plain, *rest, color=scene.color)
    assert_identical(loose.region_paste(other, *rest, color=scene.color, threads=scene.threads), pasted)


@properties
@given(scene=scenes(), reverse=st.booleans())
def test_channel_orders_are_the_same_picture(scene: Scene, reverse: bool) -> None:
    rng = np.random.default_rng(scene.seed)
    rgba = random_frame(rng, scene.height, scene.width, "rgba")
    frames: dict[Color, np.ndarray] = {
        "rgb": np.ascontiguousarray(rgba[..., :3]),
        "bgr": rgba[..., 2::-1] if reverse else np.ascontiguousarray(rgba[..., 2::-1]),
        "rgba": rgba,
        "bgra": np.ascontiguousarray(rgba[..., [2, 1, 0, 3]]),
    }
    arguments = (scene.affines(), scene.boxes())
    crops = {c: loose.region_crop(f, *arguments, face_size=8, patch_size=4, color=c) for c, f in frames.items()}
    pasted = {c: loose.region_paste(f, *arguments, *scene.residuals(), color=c) for c, f in frames.items()}
    for color in ("bgr", "rgba", "bgra"):
        assert_identical(crops[color][0], crops["rgb"][0])
        assert_identical(crops[color][1], crops["rgb"][1])
    assert_identical(pasted["rgba"][..., :3].copy(), pasted["rgb"])
    assert_identical(pasted["bgr"][..., ::-1].copy(), pasted["rgb"])
    assert_identical(pasted["bgra"][..., 2::-1].copy(), pasted["rgb"])
    assert_identical(pasted["rgba"][..., 3].copy(), rgba[..., 3].copy())
    assert_identical(pasted["bgra"][..., 3].copy(), rgba[..., 3].copy())


@pytest.mark.parametrize("device", DEVICES)
@properties
@given(scene=scenes())
def test_bytes_outside_the_square_stay(device: str, scene: Scene) -> None:
    frame = scene.frame()
    result = loose.region_paste(
        frame, scene.affines(), scene.boxes(), *scene.residuals(), color=scene.color, device=device
    )
    height, width = (frame.shape[0] // 3 * 2, frame.shape[1]) if scene.color == "nv12" else frame.shape[:2]
    y, x = np.mgrid[0:height, 0:width] + 0.5
    centers = np.stack([x, y], axis=-1)
    blocks = centers[::2, ::2] + 0.5
    outside = np.ones((height, width), bool)
    outside_blocks = np.ones(blocks.shape[:2], bool)
    for affine in scene.affines():
        for points, mask in ((centers, outside), (blocks, outside_blocks)):
            u = geometry.apply(geometry.invert(affine), points)
            mask &= ~((u > 0) & (u < 1)).all(axis=-1)
    if scene.color == "nv12":
        assert (result[:height] == frame[:height])[outside].all()
        chroma = (result[height:] == frame[height:]).reshape(height // 2, width // 2, 2)
        assert chroma[outside_blocks].all()
    else:
        assert (result == frame)[outside].all()


@pytest.mark.parametrize("device", DEVICES)
@properties
@given(scene=scenes(), value=st.sampled_from([0.0, -0.0, float("nan")]))
def test_no_residual_changes_no_byte(device: str, scene: Scene, value: float) -> None:
    frame = scene.frame()
    face, patches = (np.full_like(residual, value) for residual in scene.residuals())
    result = loose.region_paste(frame, scene.affines(), scene.boxes(), face, patches, color=scene.color, device=device)
    assert_identical(result, frame)


@pytest.mark.parametrize("taper", [0.05, 0.12, 0.3, 0.5])
def test_a_constant_residual_shows_the_window(taper: float) -> None:
    # frame + 127.5 c w_0 on a big face; c is chosen so that a level is 1/250 of the window.
    size = 257
    frame = np.zeros((size, size, 3), np.uint8)
    c = 250 / 127.5
    result = loose.region_paste(
        frame,
        np.array([[[float(size), 0.0, 0.0], [0.0, float(size), 0.0]]]),
        template_boxes(1),
        np.full((1, 3, 4, 4), c, np.float32),
        np.zeros((1, 5, 3, 4, 4), np.float32),
        face_taper=taper,
    )
    w = geometry.window((np.arange(size) + 0.5) / size, taper)
    expected = np.floor(250 * np.outer(w, w) + 0.5).astype(np.uint8)
    assert_close(result, np.repeat(expected[..., None], 3, axis=2), kind="frame")


@pytest.mark.parametrize("device", DEVICES)
@properties
@given(scene=scenes())
def test_in_place_and_into_another_array_equal_the_copy(device: str, scene: Scene) -> None:
    rest = (scene.affines(), scene.boxes(), *scene.residuals())
    frame = in_layout(scene.frame(), scene.layout)
    before = frame.copy()
    copy = loose.region_paste(frame, *rest, color=scene.color, device=device)
    assert copy.flags.c_contiguous
    assert_identical(frame.copy(), before)
    other = in_layout(np.zeros_like(before), "padded")
    assert loose.region_paste(frame, *rest, color=scene.color, out=other, device=device) is other
    assert_identical(other.copy(), copy)
    assert_identical(frame.copy(), before)
    assert loose.region_paste(frame, *rest, color=scene.color, out=frame, device=device) is frame
    assert_identical(frame.copy(), copy)


def test_faces_are_pasted_in_order() -> None:
    # Clamping makes the order visible: +, - on a bright frame is not -, + on it.
    frame = np.full((30, 30, 3), 200, np.uint8)
    affines = np.repeat(face_affine((15.0, 15.0), 28.0)[None], 2, axis=0)
    face = np.stack([np.full((3, 4, 4), 1.0, np.float32), np.full((3, 4, 4), -1.0, np.float32)])
    patches = np.zeros((2, 5, 3, 4, 4), np.float32)
    both = loose.region_paste(frame, affines, template_boxes(2), face, patches)
    one = loose.region_paste(frame, affines[:1], template_boxes(1), face[:1], patches[:1])
    assert_identical(both, loose.region_paste(one, affines[1:], template_boxes(1), face[1:], patches[1:]))
    assert both[15, 15, 0] != loose.region_paste(frame, affines, template_boxes(2), face[::-1], patches)[15, 15, 0]


def test_nv12_agrees_with_rgb_on_a_grey_picture() -> None:
    # Grey has no chroma: RGB = 1.164 (Y - 16) at every sample.
    luma = np.random.default_rng(0).integers(16, 236, (40, 60), dtype=np.uint8)
    nv12 = np.concatenate([luma, np.full((20, 60), 128, np.uint8)])
    affine = face_affine((30.0, 20.0), 25.0, 0.3)[None]
    face, patches = loose.region_crop(nv12, affine, template_boxes(1), face_size=16, patch_size=8, color="nv12")
    grey = loose.region_crop(
        np.repeat(luma[..., None], 3, axis=2), affine, template_boxes(1), face_size=16, patch_size=8
    )
    for view, same in zip((face, patches), grey, strict=True):
        rgb = np.clip(1.164 * ((same.astype(np.float64) + 1) * 127.5 - 16), 0, 255) / 127.5 - 1
        assert_close(view, rgb.astype(np.float32), kind="view")


VECTORS = """
import hashlib, numpy as np
from frames import face_affine, random_frame, template_boxes
import loose
rng = np.random.default_rng(7)
for color in ("rgb", "bgra", "nv12"):
    frame = random_frame(rng, 120, 160, color)
    where = np.array([face_affine((80, 60), side, 0.2) for side in (30.0, 90.0, 200.0)]), template_boxes(3)
    face, patches = loose.region_crop(frame, *where, face_size=48, patch_size=32, color=color)
    deltas = (rng.normal(0, 0.3, a.shape).astype(np.float32) for a in (face, patches))
    out = loose.region_paste(frame, *where, *deltas, color=color)
    print(color, hashlib.sha256(face.tobytes() + patches.tobytes() + out.tobytes()).hexdigest())
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="AVX2 is for x86 alone")
def test_with_and_without_avx2_the_bytes_are_the_same() -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    printed = [
        subprocess.run(
            [sys.executable, "-c", VECTORS],
            env={**os.environ, "PYTHONPATH": paths, **without},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for without in ({}, {"LGIN_NO_AVX2": "1"})
    ]
    assert len(printed[0].splitlines()) == 3
    assert printed[0] == printed[1]
