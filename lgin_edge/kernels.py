"""Cutting faces out of a frame and pasting residuals into it: the only Python file that touches ``lgin_edge._native``.

The definitions stand in ``geometry`` and, readable, in ``reference``: same names, same arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ._process import native_call
from .errors import BackendError, InputError
from .frames import (
    MAX_ADDRESS,
    MAX_FACES,
    MAX_FRAME_SIDE,
    MAX_ORDINAL,
    MAX_PITCH,
    Color,
    Floats,
    Frame,
    Rectangle,
    check_address,
    check_color,
    check_dtype,
    check_faces,
    check_floats,
    check_frame,
    check_integer,
    check_out,
    check_real,
    check_residuals,
    check_side,
    check_strengths,
    check_threads,
    device_ordinal,
    same_elements,
)
from .geometry import FACE_SIZE, FACE_TAPER, PATCH_SIZE, REGION_TAPER

try:
    from . import _native
except ImportError as error:
    raise ImportError(
        f"the kernels of lgin-edge are not built beside {__file__}: is this a checkout that hides the installed package? "
        f"Run ./bootstrap.sh there, or start Python in another folder ({error})"
    ) from error

_Result = TypeVar("_Result")


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
    check_frame("frame", frame, color)
    a, b = check_faces(affines, boxes)
    s, p = check_side("face_size", face_size), check_side("patch_size", patch_size)
    kind = check_dtype(dtype)
    check_threads(threads)
    ordinal = device_ordinal(device)
    face: Floats = np.empty((len(a), 3, s, s), kind)
    patches: Floats = np.empty((len(a), 5, 3, p, p), kind)
    source = frame if ordinal < 0 else np.ascontiguousarray(frame)
    _call(_native.region_crop, source, color, a, b, face, patches, int(threads), ordinal)
    return face, patches


def region_paste(
    frame: Frame,  # [H, W, C] or [H * 3/2, W] uint8
    affines: npt.ArrayLike,  # [N, 2, 3]
    boxes: npt.ArrayLike,  # [N, 5, 4]
    face_delta: Floats,  # [N, 3, S, S]
    patch_delta: Floats,  # [N, 5, 3, P, P]
    *,
    strengths: npt.ArrayLike | None = None,  # [N]
    color: Color = "rgb",
    face_taper: float = FACE_TAPER,
    region_taper: float = REGION_TAPER,
    out: Frame | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> Frame:
    """Add the residuals of each face to a frame: ``frame + 127.5 s d(u)`` under the face's square, clamped and rounded.

    ``d(u) = w_0(u) d_g(u) + sum_r w_r(u) d_r(u)`` with ``geometry.window``'s products as weights, each residual sampled
    bilinearly. Every byte outside the squares, and alpha, stays as it is. Faces are pasted in order; where they overlap,
    they add up. A residual that is not a number counts as 0. In NV12 a pixel's Y changes by the BT.601 luma of the
    change, a block's U and V by the chroma of the change at the block's centre.

    Args:
        frame, affines, boxes, color, threads, device: as in ``region_crop``.
        face_delta: [N, 3, S, S] float32 or float16, residual of the face view in [-2, 2] (1 is 127.5 levels).
        patch_delta: [N, 5, 3, P, P], residuals of the local views.
        strengths: ``s`` of each face, 0 (it stays as it is) to 1; all 1 when not given.
        face_taper, region_taper: rise of the windows w_0 and w_r as a share of the side, 0.001 to 0.5.
        out: where the result goes: None for a new C-contiguous array, ``frame`` itself for in place, or another writable
            array of the frame's shape that shares no memory with it. Only the bytes under the squares are written, but on
            a CUDA device, or with an array other than ``frame``, the whole of ``out``.

    Returns:
        The changed frame: ``out``, or the new array.

    Raises:
        InputError: an argument has the wrong type, shape, dtype or value.
        BackendError: the device is not there, or this build has no CUDA kernels.
    """
    check_frame("frame", frame, color)
    a, b = check_faces(affines, boxes)
    s = check_strengths(strengths, len(a))
    face, patches = check_residuals(face_delta, patch_delta, len(a))
    tapers = check_real("face_taper", face_taper), check_real("region_taper", region_taper)
    check_threads(threads)
    ordinal = device_ordinal(device)
    if out is not None:
        check_out(out, frame, color)
    # Only a call that cannot fail any more writes to ``out``.
    work = out if out is not None and ordinal < 0 and same_elements(out, frame) else frame.copy("C")
    _call(_native.region_paste, work, color, a, b, s, face, patches, *tapers, int(threads), ordinal)
    if out is None:
        return work
    if out is not work:
        np.copyto(out, work)
    return out


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
    check_frame("frame", frame, color)
    matrix = check_floats("affine", affine, (2, 3))
    size = (3, check_side("height", height), check_side("width", width))
    check_threads(threads)
    view: Floats = np.empty(size, check_dtype(dtype))
    _call(_native.resample, frame, color, matrix, view, int(threads))
    return view


# ---- on a device: everything that changes from frame to frame lies in one block, so that launches can be captured ----


def face_rectangle(
    color: Color,
    height: int,
    width: int,
    affines: npt.ArrayLike,  # [N, 2, 3]
    boxes: npt.ArrayLike,  # [N, 5, 4]
    face_size: int = FACE_SIZE,
    patch_size: int = PATCH_SIZE,
) -> Rectangle:
    """The rectangle of a frame that these faces need: all that their crop reads and all that their paste may write.

    It is the smallest one with even corners (a corner on an odd frame's right or lower border is odd). It lies in the
    frame and is never empty. ``write_block`` makes the results from it those of the whole frame, bit for bit.

    Args:
        color: channel order of the frame, which decides what a sample reads.
        height, width: of the frame in pixels (of an NV12 frame: of its Y, both even).
        affines, boxes, face_size, patch_size: as in ``region_crop``.

    Returns:
        (x0, y0, x1, y1) in frame pixels.

    Raises:
        InputError: an argument has the wrong type, shape or value.
    """
    size = check_integer("height", height, 1, MAX_FRAME_SIDE), check_integer("width", width, 1, MAX_FRAME_SIDE)
    sides = check_side("face_size", face_size), check_side("patch_size", patch_size)
    return _call(_native.face_rectangle, check_color(color), *size, *check_faces(affines, boxes), *sides)


def block_size(color: Color, count: int) -> int:
    """Bytes of the block of ``count`` faces; all packed colours have the same.

    Raises:
        InputError: an argument has the wrong type or value.
    """
    return _call(_native.block_size, check_color(color), check_integer("count", count, 0, MAX_FACES))


def write_block(
    block: npt.NDArray[np.uint8],  # [block_size(color, N)], written
    color: Color,
    address: int,
    pitch: int,
    height: int,
    width: int,
    rectangle: Rectangle,
    affines: npt.ArrayLike,  # [N, 2, 3]
    boxes: npt.ArrayLike,  # [N, 5, 4]
    strengths: npt.ArrayLike | None = None,  # [N]
    face_size: int = FACE_SIZE,
    patch_size: int = PATCH_SIZE,
    face_taper: float = FACE_TAPER,
    region_taper: float = REGION_TAPER,
) -> None:
    """Write what ``launch_crop`` and ``launch_paste`` read of a frame and its faces: where it lies, and the plans.

    Copied to a device (or in memory mapped into it), the block serves every launch of that frame; a captured graph of
    launches, replayed with another block in the same place, works on another frame.

    Args:
        block: uint8, C-contiguous, writable; of exactly ``block_size`` bytes, in host memory.
        color: channel order of the frame.
        address: device address of the rectangle's first byte.
        pitch: bytes from a row to the next. In NV12 the rows of UV follow those of Y, ``pitch * (y1 - y0)`` bytes on.
        height, width: of the whole frame in pixels (of an NV12 frame: of its Y).
        rectangle: (x0, y0, x1, y1), what of the frame lies at ``address``: ``(0, 0, width, height)`` for all of it. It
            holds ``face_rectangle``; its corners are even in NV12.
        affines, boxes, face_size, patch_size: as in ``region_crop``.
        strengths, face_taper, region_taper: as in ``region_paste``.

    Raises:
        InputError: an argument has the wrong type, shape, dtype or value; the block is then as it was.
    """
    if not isinstance(block, np.ndarray) or block.dtype != np.uint8:
        raise InputError(f"block: expected a uint8 array, got {getattr(block, 'dtype', type(block).__name__)}")
    if not isinstance(rectangle, tuple) or len(rectangle) != 4:
        raise InputError(f"rectangle: expected (x0, y0, x1, y1), got {rectangle!r}")
    _call(
        _native.write_block,
        block,
        check_color(color),
        check_address("address", address),
        check_integer("pitch", pitch, 1, MAX_PITCH),
        check_integer("height", height, 1, MAX_FRAME_SIDE),
        check_integer("width", width, 1, MAX_FRAME_SIDE),
        tuple(check_integer("rectangle", side, 0, MAX_FRAME_SIDE) for side in rectangle),
        *(faces := check_faces(affines, boxes)),
        check_strengths(strengths, len(faces[0])),
        check_side("face_size", face_size),
        check_side("patch_size", patch_size),
        check_real("face_taper", face_taper),
        check_real("region_taper", region_taper),
    )


def launch_crop(
    block: int,
    color: Color,
    count: int,
    face: int,
    patches: int,
    face_size: int,
    patch_size: int,
    half: bool,
    device: int,
    stream: int,
) -> None:
    """Start ``region_crop`` on a CUDA device: nothing is allocated, copied or waited for.

    The first launch of a process may load the kernel: make one before a capture.

    Args:
        block: device address of what ``write_block`` wrote, a multiple of 16.
        color, count: the block's, N faces.
        face, patches: device addresses of [N, 3, S, S] and [N, 5, 3, P, P], float32 or, with ``half``, float16; written.
        face_size, patch_size: S and P, with which the block was written.
        half: float16 instead of float32.
        device: number of the CUDA device, 0 or more.
        stream: handle of the stream (cudaStream_t), 0 for the default one.

    Raises:
        InputError: an argument has the wrong type or value, an address is null or misaligned.
        BackendError: the device is not there, the launch failed, or this build has no CUDA kernels.
    """
    _call(
        _native.launch_crop,
        check_address("block", block),
        check_color(color),
        check_integer("count", count, 0, MAX_FACES),
        check_address("face", face),
        check_address("patches", patches),
        check_side("face_size", face_size),
        check_side("patch_size", patch_size),
        bool(half),
        check_integer("device", device, 0, MAX_ORDINAL),
        check_integer("stream", stream, 0, MAX_ADDRESS),
    )


def launch_paste(
    block: int,
    color: Color,
    count: int,
    index: int,
    face_delta: int,
    patch_delta: int,
    face_size: int,
    patch_size: int,
    half: bool,
    pixels: int,
    target_offset: int,
    device: int,
    stream: int,
) -> None:
    """Start ``region_paste`` of one face on a CUDA device: nothing is allocated, copied or waited for.

    Faces that may overlap are launched one after another on one stream.

    Args:
        block, color, count, half, device, stream: as in ``launch_crop``.
        index: which of the block's faces, 0 to N - 1.
        face_delta, patch_delta: device addresses of this face's residuals, [3, S, S] and [5, 3, P, P].
        face_size, patch_size: S and P of the residuals.
        pixels: how many pixels to start threads for, at least 1. It decides the speed alone: for a smaller face the
            surplus returns at once, a bigger one is worked off in turns. The rectangle's area is a good value.
        target_offset: bytes from the block's frame to the one that is changed: 0 for itself, more for a copy of it.

    Raises:
        InputError: an argument has the wrong type or value, an address is null or misaligned.
        BackendError: the device is not there, the launch failed, or this build has no CUDA kernels.
    """
    _call(
        _native.launch_paste,
        check_address("block", block),
        check_color(color),
        check_integer("count", count, 0, MAX_FACES),
        check_integer("index", index, 0, MAX_FACES),
        check_address("face_delta", face_delta),
        check_address("patch_delta", patch_delta),
        check_side("face_size", face_size),
        check_side("patch_size", patch_size),
        bool(half),
        check_integer("pixels", pixels, 1, MAX_ADDRESS),
        check_integer("target_offset", target_offset, -MAX_ADDRESS, MAX_ADDRESS),
        check_integer("device", device, 0, MAX_ORDINAL),
        check_integer("stream", stream, 0, MAX_ADDRESS),
    )


def cuda_is_host() -> bool:
    """Whether the CUDA kernels of this build run on the CPU, in host memory (``LGIN_CUDA=HOST``, for tests)."""
    return _native.cuda_is_host


def cuda_built() -> bool:
    """Whether this build has the CUDA kernels."""
    return _native.cuda_built


def cuda_device_count() -> int:
    """CUDA devices that the kernels can use; 0 without a driver or in a build without CUDA. Never raises."""
    return _native.cuda_device_count()


def _call(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Call a native function, with its exceptions as this package's."""
    try:
        with native_call():
            return function(*arguments)
    except ValueError as error:
        raise InputError(str(error)) from error
    except RuntimeError as error:
        raise BackendError(str(error)) from error
