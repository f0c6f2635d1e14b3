"""Cutting faces out of a frame and pasting residuals into it: the only Python file that touches ``lgin_edge._native``.

The definitions stand in ``geometry`` and, readable, in ``reference``: same names, same arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from ._process import native_call
from .errors import BackendError, InputError
from .geometry import FACE_SIZE, FACE_TAPER, PATCH_SIZE, REGION_TAPER

try:
    from . import _native
except ImportError as error:
    raise ImportError(
        f"the kernels of lgin-edge are not built beside {__file__}: is this a checkout that hides the installed package? "
        f"Run ./bootstrap.sh there, or start Python in another folder ({error})"
    ) from error

#: Channel order of a frame: packed 8-bit [H, W, 3 or 4], or NV12 [H * 3/2, W].
Color: TypeAlias = Literal["rgb", "bgr", "rgba", "bgra", "nv12"]
Frame: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float16]
#: x0, y0, x1, y1 in frame pixels: columns x0 to x1 - 1, rows y0 to y1 - 1.
Rectangle: TypeAlias = tuple[int, int, int, int]

_Result = TypeVar("_Result")

_CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}
_MAX_SIDE = 4096
_MAX_FRAME_SIDE = 1 << 24
_MAX_FACES = 1 << 20
_MAX_ADDRESS = (1 << 63) - 1
_MAX_PITCH = 1 << 32
_MAX_ORDINAL = 9999


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
    a, b = _check_faces(affines, boxes)
    s, p = _check_side("face_size", face_size), _check_side("patch_size", patch_size)
    kind = _check_dtype(dtype)
    _check_threads(threads)
    ordinal = _device_ordinal(device)
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
    a, b = _check_faces(affines, boxes)
    s = _check_strengths(strengths, len(a))
    face, patches = _check_residuals(face_delta, patch_delta, len(a))
    tapers = _check_real("face_taper", face_taper), _check_real("region_taper", region_taper)
    _check_threads(threads)
    ordinal = _device_ordinal(device)
    if out is not None:
        _check_out(out, frame, color)
    # Only a call that cannot fail any more writes to ``out``.
    work = out if out is not None and ordinal < 0 and _same_elements(out, frame) else frame.copy("C")
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
    matrix = _check_floats("affine", affine, (2, 3))
    size = (3, _check_side("height", height), _check_side("width", width))
    _check_threads(threads)
    view: Floats = np.empty(size, _check_dtype(dtype))
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
    size = _check_integer("height", height, 1, _MAX_FRAME_SIDE), _check_integer("width", width, 1, _MAX_FRAME_SIDE)
    sides = _check_side("face_size", face_size), _check_side("patch_size", patch_size)
    return _call(_native.face_rectangle, _check_color(color), *size, *_check_faces(affines, boxes), *sides)


def block_size(color: Color, count: int) -> int:
    """Bytes of the block of ``count`` faces; all packed colours have the same.

    Raises:
        InputError: an argument has the wrong type or value.
    """
    return _call(_native.block_size, _check_color(color), _check_integer("count", count, 0, _MAX_FACES))


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
        _check_color(color),
        _check_address("address", address),
        _check_integer("pitch", pitch, 1, _MAX_PITCH),
        _check_integer("height", height, 1, _MAX_FRAME_SIDE),
        _check_integer("width", width, 1, _MAX_FRAME_SIDE),
        tuple(_check_integer("rectangle", side, 0, _MAX_FRAME_SIDE) for side in rectangle),
        *(faces := _check_faces(affines, boxes)),
        _check_strengths(strengths, len(faces[0])),
        _check_side("face_size", face_size),
        _check_side("patch_size", patch_size),
        _check_real("face_taper", face_taper),
        _check_real("region_taper", region_taper),
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
        _check_address("block", block),
        _check_color(color),
        _check_integer("count", count, 0, _MAX_FACES),
        _check_address("face", face),
        _check_address("patches", patches),
        _check_side("face_size", face_size),
        _check_side("patch_size", patch_size),
        bool(half),
        _check_integer("device", device, 0, _MAX_ORDINAL),
        _check_integer("stream", stream, 0, _MAX_ADDRESS),
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
        _check_address("block", block),
        _check_color(color),
        _check_integer("count", count, 0, _MAX_FACES),
        _check_integer("index", index, 0, _MAX_FACES),
        _check_address("face_delta", face_delta),
        _check_address("patch_delta", patch_delta),
        _check_side("face_size", face_size),
        _check_side("patch_size", patch_size),
        bool(half),
        _check_integer("pixels", pixels, 1, _MAX_ADDRESS),
        _check_integer("target_offset", target_offset, -_MAX_ADDRESS, _MAX_ADDRESS),
        _check_integer("device", device, 0, _MAX_ORDINAL),
        _check_integer("stream", stream, 0, _MAX_ADDRESS),
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


def _check_color(color: str) -> str:
    if color not in get_args(Color):
        raise InputError(f"color: expected one of {', '.join(get_args(Color))}, got {color!r}")
    return color


def check_frame(name: str, frame: Frame, color: str) -> None:
    _check_color(color)
    if not isinstance(frame, np.ndarray):
        raise InputError(f"{name}: expected a NumPy array, got {type(frame).__name__}")
    if frame.dtype != np.uint8:
        raise InputError(f"{name}: expected dtype uint8, got {frame.dtype}; convert to 8 bits a channel first")
    if frame.size == 0:
        raise InputError(f"{name}: expected at least one pixel, got shape {frame.shape}")
    if color == "nv12":
        if frame.ndim != 2 or frame.shape[0] % 3 or frame.shape[1] % 2:
            raise InputError(
                f"{name}: color 'nv12' is [H * 3/2, W] with even H and W (the rows of Y, then the rows of U and V), got "
                f"shape {frame.shape}"
            )
    elif frame.ndim != 3 or frame.shape[2] != _CHANNELS[color]:
        hint = "; repeat a grey picture three times" if frame.ndim == 2 or frame.shape[-1] == 1 else ""
        raise InputError(f"{name}: color {color!r} is [H, W, {_CHANNELS[color]}], got shape {frame.shape}{hint}")


def _check_out(out: Frame, frame: Frame, color: str) -> None:
    check_frame("out", out, color)
    if out.shape != frame.shape:
        raise InputError(f"out: expected the frame's shape {frame.shape}, got {out.shape}")
    if not out.flags.writeable:
        raise InputError("out: the array is read-only; give a writable copy, or out=None for a new array")
    if _overlaps_itself(out):
        raise InputError(
            f"out: several elements share one byte (strides {out.strides}); give an array of its own memory"
        )
    if not _same_elements(out, frame) and _shares_memory(out, frame):
        raise InputError(
            "out: shares memory with frame but is not the same array; give frame itself or a separate array"
        )


def _same_elements(a: Frame, b: Frame) -> bool:
    return a is b or (a.ctypes.data, a.shape, a.strides) == (b.ctypes.data, b.shape, b.strides)


def _shares_memory(a: Frame, b: Frame) -> bool:
    effort: Any = 10_000
    try:
        return bool(np.shares_memory(a, b, max_work=effort))
    except RuntimeError:  # TooHardError: the strides are so odd that the answer would take long
        return True


def _overlaps_itself(array: Frame) -> bool:
    """Whether two elements may lie at one address: an axis steps less far than the finer axes reach."""
    reach = 0
    for step, length in sorted((abs(step), length) for step, length in zip(array.strides, array.shape, strict=True)):
        if length > 1:
            if step <= reach:
                return True
            reach += step * (length - 1)
    return False


def _check_floats(name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """``value`` as a C-contiguous float64 array of ``shape``, where -1 stands for any length."""
    try:
        array = np.require(np.asarray(value), np.float64, ["C", "A"])
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers of shape {_text(shape)}, got {type(value).__name__}") from error
    if array.ndim != len(shape) or any(want not in (-1, got) for got, want in zip(array.shape, shape, strict=True)):
        raise InputError(f"{name}: expected shape {_text(shape)}, got {array.shape}")
    return array


def _check_faces(
    affines: npt.ArrayLike, boxes: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a = _check_floats("affines", affines, (-1, 2, 3))
    return a, _check_floats("boxes", boxes, (len(a), 5, 4))


def _check_strengths(strengths: npt.ArrayLike | None, count: int) -> npt.NDArray[np.float64]:
    return np.ones(count) if strengths is None else _check_floats("strengths", strengths, (count,))


def _check_residuals(face: Floats, patches: Floats, count: int) -> tuple[Floats, Floats]:
    for name, array, ndim in (("face_delta", face, 4), ("patch_delta", patches, 5)):
        if not isinstance(array, np.ndarray) or array.dtype.newbyteorder("=") not in (np.float32, np.float16):
            got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise InputError(f"{name}: expected a float32 or float16 array, got {got}")
        side = array.shape[-1] if array.ndim else 0
        shape = (count, 3, side, side) if ndim == 4 else (count, 5, 3, side, side)
        if array.shape != shape or not 1 <= side <= _MAX_SIDE:
            expected = f"({count}, 3, S, S)" if ndim == 4 else f"({count}, 5, 3, P, P)"
            raise InputError(f"{name}: expected shape {expected} with sides of 1 to {_MAX_SIDE}, got {array.shape}")
    kind = face.dtype if face.dtype == patches.dtype else np.dtype(np.float32)
    kind = kind.newbyteorder("=")
    return np.require(face, kind, ["C", "A"]), np.require(patches, kind, ["C", "A"])


def _check_integer(name: str, value: int, low: int, high: int) -> int:
    if not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise InputError(f"{name}: expected a whole number from {low} to {high}, got {value!r}")
    return int(value)


def _check_address(name: str, address: int) -> int:
    if not isinstance(address, (int, np.integer)) or not 0 < address <= _MAX_ADDRESS:
        raise InputError(f"{name}: expected an address in device memory, got {address!r}")
    return int(address)


def _check_side(name: str, side: int) -> int:
    if not isinstance(side, (int, np.integer)) or not 1 <= side <= _MAX_SIDE:
        raise InputError(f"{name}: expected a whole number of pixels from 1 to {_MAX_SIDE}, got {side!r}")
    return int(side)


def _check_real(name: str, value: float) -> float:
    if not isinstance(value, (int, float, np.number)):
        raise InputError(f"{name}: expected a number, got {value!r}")
    return float(value)


def _check_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        kind: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise InputError(f"dtype: expected float32 or float16, got {dtype!r}") from error
    if kind not in (np.float32, np.float16):
        raise InputError(f"dtype: expected float32 or float16, got {kind}")
    return kind


def _check_threads(threads: int) -> None:
    if not isinstance(threads, (int, np.integer)) or not 1 <= threads <= 1024:
        raise InputError(f"threads: expected a whole number from 1 to 1024, got {threads!r}")


def _device_ordinal(device: str) -> int:
    """-1 for the CPU, else the CUDA device's number."""
    match = re.fullmatch(r"cpu|cuda(?::(\d{1,4}))?", device) if isinstance(device, str) else None
    if match is None:
        raise InputError(f"device: expected 'cpu', 'cuda' or 'cuda:1', got {device!r}")
    return -1 if device == "cpu" else int(match[1] or 0)


def _text(shape: tuple[int, ...]) -> str:
    return str(shape).replace("-1", "N")
