"""Cutting faces out of a frame and pasting residuals into it: the only Python file that touches ``lgin_edge._native``.

The definitions stand in ``geometry`` and, readable, in ``reference``: same names, same arguments.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from . import _native
from .errors import BackendError, InputError
from .geometry import FACE_SIZE, FACE_TAPER, PATCH_SIZE, REGION_TAPER

#: Channel order of a frame: packed 8-bit [H, W, 3 or 4], or NV12 [H * 3/2, W].
Color: TypeAlias = Literal["rgb", "bgr", "rgba", "bgra", "nv12"]
Frame: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float16]

_CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}
_MAX_SIDE = 4096


def region_crop(
    frame: Frame,  # [H, W, C] or [H * 3/2, W] uint8
    affines: npt.ArrayLike,  # [N, 2, 3]
    boxes: npt.ArrayLike,  # [N, 5, 4]
    *,
    face_size: int = FACE_SIZE,
    patch_size: int = PATCH_SIZE,
    color: Color = "rgb",
    dtype: npt.DTypeLike = np.float32,
    threads: int = 1,
    device: str = "cpu",
) -> tuple[Floats, Floats]:
    """Cut the face view and the five local views of each face out of a frame.

    A view pixel is the mean of bilinear samples over its footprint in the frame (one sample where the view enlarges), the
    frame's border replicated. A face wholly outside the frame is cut from the replicated border.

    Args:
        frame: uint8, packed [H, W, 3 or 4] in the order ``color``, or NV12 [H * 3/2, W] with even H and W (BT.601, limited
            range). Any strides, also negative.
        affines: [N, 2, 3] canonical to frame pixels (``geometry.fit_similarity``). Sides of 1 to 65536 px.
        boxes: [N, 5, 4] (x0, y0, x1, y1), canonical (``geometry.region_boxes``).
        face_size, patch_size: S and P, 1 to 4096 pixels.
        color: channel order of the frame.
        dtype: float32 or float16.
        threads: CPU threads, at least 1.
        device: "cpu", "cuda" or "cuda:1".

    Returns:
        face [N, 3, S, S] and patches [N, 5, 3, P, P]: planar RGB in [-1, 1].

    Raises:
        InputError: an argument has the wrong type, shape, dtype or value.
        BackendError: the device is not there, or this build has no CUDA kernels.
    """
    _check_frame(frame, color)
    a, b = _check_faces(affines, boxes)
    s, p = _check_side("face_size", face_size), _check_side("patch_size", patch_size)
    kind = _check_dtype(dtype)
    _check_threads(threads)
    face = np.empty((len(a), 3, s, s), kind)
    patches = np.empty((len(a), 5, 3, p, p), kind)
    try:
        _native.region_crop(frame, color, a, b, face, patches, threads)
    except ValueError as error:
        raise InputError(str(error)) from error
    return face, patches


def resample(
    frame: Frame,  # [H, W, C] or [H * 3/2, W] uint8
    affine: npt.ArrayLike,  # [2, 3]
    height: int,
    width: int,
    *,
    color: Color = "rgb",
    dtype: npt.DTypeLike = np.float32,
    threads: int = 1,
) -> Floats:
    """One view of a frame, sampled as ``region_crop`` samples (a detector's input).

    Args:
        frame: as in ``region_crop``.
        affine: [2, 3], the view's unit square to frame pixels; ``[[W, 0, 0], [0, H, 0]]`` is the whole frame.
        height, width: of the view, 1 to 4096 pixels.
        color, dtype, threads: as in ``region_crop``.

    Returns:
        [3, height, width] planar RGB in [-1, 1].

    Raises:
        InputError: an argument has the wrong type, shape, dtype or value.
    """
    _check_frame(frame, color)
    matrix = _check_floats("affine", affine, (2, 3))
    size = (3, _check_side("height", height), _check_side("width", width))
    _check_threads(threads)
    view = np.empty(size, _check_dtype(dtype))
    try:
        _native.resample(frame, color, matrix, view, threads)
    except ValueError as error:
        raise InputError(str(error)) from error
    return view


def _check_frame(frame: Frame, color: str) -> None:
    if color not in get_args(Color):
        raise InputError(f"color: expected one of {', '.join(get_args(Color))}, got {color!r}")
    if not isinstance(frame, np.ndarray):
        raise InputError(f"frame: expected a NumPy array, got {type(frame).__name__}")
    if frame.dtype != np.uint8:
        raise InputError(f"frame: expected dtype uint8, got {frame.dtype}; convert to 8 bits a channel first")
    if frame.size == 0:
        raise InputError(f"frame: expected at least one pixel, got shape {frame.shape}")
    if color == "nv12":
        if frame.ndim != 2 or frame.shape[0] % 3 or frame.shape[1] % 2:
            raise InputError(
                f"frame: NV12 is [H * 3/2, W] with even H and W (the rows of Y, then the rows of U and V), got shape "
                f"{frame.shape}"
            )
    elif frame.ndim != 3 or frame.shape[2] != _CHANNELS[color]:
        hint = "; repeat a grey picture three times" if frame.ndim == 2 or frame.shape[-1] == 1 else ""
        raise InputError(f"frame: color {color!r} is [H, W, {_CHANNELS[color]}], got shape {frame.shape}{hint}")


def _check_floats(name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """``value`` as a C-contiguous float64 array of ``shape``, where -1 stands for any length."""
    try:
        array = np.require(np.asarray(value), np.float64, ["C", "A"])
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers of shape {shape}, got {type(value).__name__}: {error}") from error
    if array.ndim != len(shape) or any(want not in (-1, got) for got, want in zip(array.shape, shape, strict=True)):
        raise InputError(f"{name}: expected shape {str(shape).replace('-1', 'N')}, got {array.shape}")
    return array


def _check_faces(
    affines: npt.ArrayLike, boxes: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a = _check_floats("affines", affines, (-1, 2, 3))
    return a, _check_floats("boxes", boxes, (len(a), 5, 4))


def _check_side(name: str, side: int) -> int:
    if not isinstance(side, (int, np.integer)) or not 1 <= side <= _MAX_SIDE:
        raise InputError(f"{name}: expected a whole number of pixels from 1 to {_MAX_SIDE}, got {side!r}")
    return int(side)


def _check_dtype(dtype: npt.DTypeLike) -> np.dtype[np.float32] | np.dtype[np.float16]:
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise InputError(f"dtype: expected float32 or float16, got {dtype!r}") from error
    if kind not in (np.float32, np.float16):
        raise InputError(f"dtype: expected float32 or float16, got {kind}")
    return kind


def _check_threads(threads: int) -> None:
    if not isinstance(threads, (int, np.integer)) or not 1 <= threads <= 1024:
        raise InputError(f"threads: expected a whole number from 1 to 1024, got {threads!r}")
