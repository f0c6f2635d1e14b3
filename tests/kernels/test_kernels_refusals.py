"""What region_crop, region_paste and resample refuse, and that a refused call has changed nothing."""

from __future__ import annotations

from typing import Any

import loose
import numpy as np
import pytest
from frames import face_affine, template_boxes

from lgin_edge import kernels
from lgin_edge.errors import BackendError, InputError, LginError

GOOD_AFFINE = face_affine((10.0, 10.0), 8.0)
BAD_AFFINES = {
    "nan": GOOD_AFFINE * np.nan,
    "inf": GOOD_AFFINE + np.array([[0, 0, np.inf], [0, 0, 0]]),
    "zero": GOOD_AFFINE * 0,
    "singular": np.array([[8.0, 8.0, 0.0], [8.0, 8.0, 0.0]]),
    "mirrored": GOOD_AFFINE * [[-1], [1]],
    "tiny": face_affine((10.0, 10.0), 0.5),
    "huge": face_affine((10.0, 10.0), 70000.0),
    "enormous": GOOD_AFFINE * 1e300,
    "far": GOOD_AFFINE + np.array([[0, 0, 1e12], [0, 0, 0]]),
}
BAD_BOXES = {
    "nan": (0.1, np.nan, 0.4, 0.5),
    "inf": (0.1, 0.1, np.inf, 0.5),
    "empty": (0.4, 0.4, 0.4, 0.5),
    "reversed": (0.4, 0.4, 0.3, 0.5),
    "thin": (0.1, 0.1, 0.5, 0.1 + 1e-9),
    "far": (1e6, 0.1, 1e6 + 1, 0.5),
}


@pytest.mark.parametrize("name", BAD_AFFINES)
def test_bad_affines_are_refused(name: str) -> None:
    frame = np.zeros((20, 20, 3), np.uint8)
    affines = np.stack([GOOD_AFFINE, BAD_AFFINES[name]])
    residuals = np.ones((2, 3, 4, 4), np.float32), np.ones((2, 5, 3, 4, 4), np.float32)
    with pytest.raises(InputError, match=r"affines\[1\]"):
        loose.region_crop(frame, affines, template_boxes(2))
    with pytest.raises(InputError, match=r"affines\[1\]"):
        loose.region_paste(frame, affines, template_boxes(2), *residuals, out=frame)
    assert not frame.any()
    with pytest.raises(InputError, match="affine"):
        loose.resample(frame, BAD_AFFINES[name], 4, 4)


@pytest.mark.parametrize("name", BAD_BOXES)
def test_bad_boxes_are_refused(name: str) -> None:
    frame = np.zeros((20, 20, 3), np.uint8)
    boxes = template_boxes(1)
    boxes[0, 3] = BAD_BOXES[name]
    residuals = np.ones((1, 3, 4, 4), np.float32), np.ones((1, 5, 3, 4, 4), np.float32)
    with pytest.raises(InputError, match=r"boxes\[0, 3\]"):
        loose.region_crop(frame, GOOD_AFFINE[None], boxes)
    with pytest.raises(InputError, match=r"boxes\[0, 3\]"):
        loose.region_paste(frame, GOOD_AFFINE[None], boxes, *residuals, out=frame)
    assert not frame.any()


@pytest.mark.parametrize("strengths", [[1.5], [-0.1], [np.nan], [0.5, 0.5], 0.5, "half"])
def test_bad_strengths_are_refused(strengths: object) -> None:
    frame = np.zeros((20, 20, 3), np.uint8)
    residuals = np.ones((1, 3, 4, 4), np.float32), np.ones((1, 5, 3, 4, 4), np.float32)
    with pytest.raises(InputError, match="strengths"):
        loose.region_paste(frame, GOOD_AFFINE[None], template_boxes(1), *residuals, strengths=strengths, out=frame)
    assert not frame.any()


FRAME = np.zeros((12, 10, 3), np.uint8)
BAD_FRAMES = {
    "a list": (FRAME.tolist(), "rgb"),
    "none": (None, "rgb"),
    "float": (FRAME.astype(np.float32), "rgb"),
    "16 bit": (FRAME.astype(np.uint16), "rgb"),
    "grey": (FRAME[..., 0], "rgb"),
    "one channel": (FRAME[..., :1], "rgb"),
    "a batch": (FRAME[None], "rgb"),
    "no rows": (FRAME[:0], "rgb"),
    "no columns": (FRAME[:, :0], "rgb"),
    "three for four": (FRAME, "rgba"),
    "nv12 of three axes": (FRAME, "nv12"),
    "nv12 of odd width": (FRAME[:, :9, 0], "nv12"),
    "nv12 of odd height": (FRAME[:11, :, 0], "nv12"),
    "unknown colour": (FRAME, "yuv"),
    "colour not a name": (FRAME, 3),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frames_are_refused(name: str) -> None:
    frame, color = BAD_FRAMES[name]
    faces = GOOD_AFFINE[None], template_boxes(1)
    residuals = np.ones((1, 3, 4, 4), np.float32), np.ones((1, 5, 3, 4, 4), np.float32)
    with pytest.raises(InputError, match=r"frame|color"):
        loose.region_crop(frame, *faces, color=color)
    with pytest.raises(InputError, match=r"frame|color"):
        loose.region_paste(frame, *faces, *residuals, color=color)
    with pytest.raises(InputError, match=r"frame|color"):
        loose.resample(frame, GOOD_AFFINE, 4, 4, color=color)


BAD_CROPS = {
    "affines": {"affines": np.zeros((1, 3, 3))},
    "affines of text": {"affines": "abc"},
    "affines ragged": {"affines": [[1, 2], [3]]},
    "boxes": {"boxes": np.zeros((2, 5, 4))},
    "boxes of one region": {"boxes": np.zeros((1, 1, 4))},
    "face_size 0": {"face_size": 0},
    "face_size huge": {"face_size": 10**9},
    "patch_size float": {"patch_size": 8.0},
    "dtype": {"dtype": np.float64},
    "dtype unknown": {"dtype": "half a float"},
    "threads 0": {"threads": 0},
    "threads many": {"threads": 10**9},
    "device": {"device": "gpu"},
    "device number": {"device": 0},
    "device out of range": {"device": "cuda:123456789"},
}


@pytest.mark.parametrize("name", BAD_CROPS)
def test_bad_crop_arguments_are_refused(name: str) -> None:
    arguments = {"affines": GOOD_AFFINE[None], "boxes": template_boxes(1), **BAD_CROPS[name]}
    with pytest.raises(InputError, match=name.split()[0]):
        loose.region_crop(FRAME, **arguments)


FACE, PATCHES = np.ones((1, 3, 4, 4), np.float32), np.ones((1, 5, 3, 4, 4), np.float32)
READ_ONLY = FRAME.copy()
READ_ONLY.flags.writeable = False
BAD_PASTES = {
    "face_edit double": {"face_edit": FACE.astype(np.float64)},
    "face_edit list": {"face_edit": FACE.tolist()},
    "face_edit oblong": {"face_edit": FACE[..., :3]},
    "face_edit scalar": {"face_edit": np.float32(1)},
    "face_edit empty": {"face_edit": FACE[..., :0, :0]},
    "face_edit of two faces": {"face_edit": np.repeat(FACE, 2, axis=0)},
    "patch_edit of four regions": {"patch_edit": PATCHES[:, :4]},
    "patch_edit flat": {"patch_edit": PATCHES[:, 0]},
    "face_taper": {"face_taper": 0.0},
    "face_taper nan": {"face_taper": float("nan")},
    "region_taper": {"region_taper": 0.6},
    "region_taper text": {"region_taper": "wide"},
    "out read-only": {"out": READ_ONLY},
    "out shape": {"out": np.zeros((10, 12, 3), np.uint8)},
    "out dtype": {"out": np.zeros(FRAME.shape, np.float32)},
    "out repeated": {"out": np.lib.stride_tricks.as_strided(np.zeros(30, np.uint8), FRAME.shape, (0, 3, 1))},
}


@pytest.mark.parametrize("name", BAD_PASTES)
def test_bad_paste_arguments_are_refused(name: str) -> None:
    arguments: dict[str, Any] = {"face_edit": FACE, "patch_edit": PATCHES, **BAD_PASTES[name]}
    edits = arguments.pop("face_edit"), arguments.pop("patch_edit")
    with pytest.raises(InputError, match=name.split()[0]):
        loose.region_paste(FRAME, GOOD_AFFINE[None], template_boxes(1), *edits, **arguments)


def test_an_out_that_overlaps_the_frame_is_refused() -> None:
    memory = np.zeros((13, 10, 3), np.uint8)
    frame, shifted = memory[:-1], memory[1:]
    with pytest.raises(InputError, match="shares memory"):
        loose.region_paste(frame, GOOD_AFFINE[None], template_boxes(1), FACE, PATCHES, out=shifted)
    with pytest.raises(InputError, match="shares memory"):
        loose.region_paste(frame, GOOD_AFFINE[None], template_boxes(1), FACE, PATCHES, out=frame[::-1])
    same = memory[:-1]  # another view of the same elements is in place
    assert loose.region_paste(frame, GOOD_AFFINE[None], template_boxes(1), FACE, PATCHES, out=same) is same
    assert memory.any()


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_missing_device_is_a_backend_error(device: str) -> None:
    if kernels.cuda_device_count() > 7 or (device == "cuda" and kernels.cuda_device_count()):
        pytest.skip("this machine has the device")
    with pytest.raises(BackendError, match="cuda"):
        loose.region_crop(FRAME, GOOD_AFFINE[None], template_boxes(1), device=device)
    frame = FRAME.copy()
    with pytest.raises(BackendError, match="cuda"):
        loose.region_paste(frame, GOOD_AFFINE[None], template_boxes(1), FACE, PATCHES, device=device, out=frame)
    assert not frame.any()


@pytest.mark.parametrize("threads", [0, -1, -(2**31), 1025, 2**31 - 1])
def test_the_binding_checks_threads_itself(threads: int) -> None:
    """The loop over threads would overflow; ``kernels`` checks, and so does the module below it."""
    native: Any = vars(kernels)["_native"]
    plan = loose.plan_of(FRAME, GOOD_AFFINE[None], template_boxes(1), face_size=4, patch_size=4)
    frame = FRAME.copy()
    for call in (
        lambda: native.region_crop(plan.native, frame, FACE.copy(), PATCHES.copy(), threads, -1),
        lambda: native.region_paste(plan.native, frame, FACE, PATCHES, threads, -1),
        lambda: native.edit_paste(
            plan.native,
            frame,
            np.zeros((1, 6, 4, 4), np.float32),
            np.zeros((1, 5, 4, 4, 4), np.float32),
            None,
            None,
            None,
            threads,
            -1,
        ),
        lambda: native.resample(frame, "rgb", GOOD_AFFINE, FACE[0].copy(), threads),
    ):
        with pytest.raises(ValueError, match="threads: expected a whole number from 1 to 1024"):
            call()
    assert not frame.any()


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
def test_an_exception_of_a_signal_handler_is_the_callers(kind: type[Exception]) -> None:
    def interrupted() -> None:
        raise kind("time is up")

    with pytest.raises(kind, match="time is up") as caught:
        vars(kernels)["_call"](interrupted)
    assert not isinstance(caught.value, LginError)
