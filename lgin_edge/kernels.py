"""Cutting faces out of a frame and pasting edits into it: the only Python file that touches ``lgin_edge._native``.

The definitions stand in ``geometry`` and, readable, in ``reference``: same names, same arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ._process import native_call
from .arguments import check_floats, check_integer
from .edits import Edits
from .errors import BackendError, InputError, raised_by_caller
from .faces import FaceBatch
from .frames import Floats, Frame, PixelFormat, Rectangle, check_result, same_elements, shares_memory
from .geometry import EDIT_FORMATS, MAX_VIEW_SIDE, ViewSpec

try:
    from . import _native
except ImportError as error:
    raise ImportError(
        f"the kernels of lgin-edge are not built beside {__file__}: is this a checkout that hides the installed package? "
        f"Run ./bootstrap.sh there, or start Python in another folder ({error})"
    ) from error

_Result = TypeVar("_Result")

MAX_FRAME_SIDE, MAX_FACES, MAX_THREADS = 1 << 24, 1 << 20, 1024
MAX_ADDRESS = (1 << 63) - 1
MAX_PITCH = 1 << 32
MAX_ORDINAL = 9999
#: What a launch on a device takes for its numbers; those that are not here are addresses.
_RANGES = {
    "count": (0, MAX_FACES),
    **dict.fromkeys(("first", "faces", "ages"), (0, MAX_FACES)),
    **dict.fromkeys(("face_size", "patch_size"), (1, MAX_VIEW_SIDE)),
    **dict.fromkeys(("coarse_size", "line_size"), (0, MAX_VIEW_SIDE)),
    **dict.fromkeys(("pixels", "sizes"), (1, MAX_ADDRESS)),
    "age_step": (0, MAX_ADDRESS),
    "device": (0, MAX_ORDINAL),
    "edit_format": EDIT_FORMATS,
    **dict.fromkeys(("stream", "flow", "place", "lines"), (0, MAX_ADDRESS)),  # 0: the default one, or none
}


class FacePlan:
    """Everything about the faces of one frame that does not depend on its pixels: made once, used by crop and paste.

    Args:
        faces: affines with sides of 1 to 65536 px, boxes within +-16, strengths of 0 to 1.
        spec: how the model is fed and pasted.
        height, width: of the frame in pixels (of an NV12 frame: of its Y, both even).
        pixel_format: of the frame.

    Attributes:
        rectangle: (x0, y0, x1, y1), the smallest rectangle of the frame with even corners (a corner on an odd frame's right
            or lower border is odd) that holds all that the crop of these faces reads and all that their paste may write. It
            lies in the frame and is never empty.
        disjoint: whether a device may paste all faces in one launch: none writes what another reads, and they are at most 256.

    Raises InputError: a value out of range.
    """

    def __init__(self, faces: FaceBatch, spec: ViewSpec, height: int, width: int, pixel_format: PixelFormat) -> None:
        self.faces, self.spec, self.pixel_format = faces, spec, pixel_format
        self.height = check_integer("height", height, 1, MAX_FRAME_SIDE)
        self.width = check_integer("width", width, 1, MAX_FRAME_SIDE)
        self.native = _call(
            _native.FacePlan,
            faces.affines,
            faces.boxes,
            faces.strengths,
            spec.face_size,
            spec.patch_size,
            spec.face_taper,
            spec.region_taper,
            spec.face_box,
            spec.edit_format,
            self.height,
            self.width,
            pixel_format.value,
        )
        self.rectangle: Rectangle = self.native.rectangle

    @property
    def disjoint(self) -> bool:
        return self.native.disjoint

    @staticmethod
    def of(frame: Frame, faces: FaceBatch, spec: ViewSpec, pixel_format: PixelFormat = PixelFormat.RGB) -> FacePlan:
        """The plan of faces in this frame. Raises InputError."""
        pixel_format.check("frame", frame)
        return FacePlan(faces, spec, *pixel_format.size(frame), pixel_format)

    def check(self, name: str, frame: Frame) -> None:
        """Raise InputError unless this is a frame that the plan was made for."""
        self.pixel_format.check(name, frame)
        expected = self.pixel_format.shape(self.height, self.width)
        if frame.shape != expected:
            raise InputError(f"{name}: expected the plan's shape {expected}, got {frame.shape}")

    def write_block(
        self,
        block: npt.NDArray[np.uint8],  # [block_size(pixel_format, N)], written
        address: int,
        pitch: int,
        rectangle: Rectangle | None = None,
    ) -> None:
        """Write what ``launch_crop`` and ``launch_paste`` read of a frame and its faces: where it lies, and the plan.

        Copied to a device (or in memory mapped into it), the block serves every launch of that frame; a captured graph of
        launches, replayed with another block in the same place, works on another frame.

        Args:
            block: uint8, C-contiguous, writable; of exactly ``block_size`` bytes, in host memory.
            address: device address of the rectangle's first byte.
            pitch: bytes from a row to the next. In NV12 the rows of UV follow those of Y, ``pitch * (y1 - y0)`` bytes on.
            rectangle: what of the frame lies at ``address``; ``self.rectangle`` when not given, and it holds that in any
                case. Its corners are even in NV12. The results are those of the whole frame, bit for bit.

        Raises InputError: an argument has the wrong type, shape, dtype or value; the block is then as it was.
        """
        if not isinstance(block, np.ndarray) or block.dtype != np.uint8:
            raise InputError(f"block: expected a uint8 array, got {getattr(block, 'dtype', type(block).__name__)}")
        part = self.rectangle if rectangle is None else rectangle
        if not isinstance(part, tuple) or len(part) != 4:
            raise InputError(f"rectangle: expected (x0, y0, x1, y1), got {part!r}")
        corners = tuple(check_integer("rectangle", side, 0, MAX_FRAME_SIDE) for side in part)
        _call(
            self.native.write_block,
            block,
            _check_address("address", address),
            check_integer("pitch", pitch, 1, MAX_PITCH),
            corners,
        )


def region_crop(
    plan: FacePlan,
    frame: Frame,  # [H, W, C] or [H * 3/2, W] uint8
    *,
    dtype: npt.DTypeLike = np.float32,
    threads: int = 1,
    device: str = "cpu",
) -> tuple[Floats, Floats]:
    """Cut the face view and the five local views of each face out of a frame.

    A view pixel is the mean of bilinear samples over its footprint in the frame (one sample where the view enlarges), the
    frame's border replicated. A face wholly outside the frame is cut from the replicated border.

    Args:
        plan: the faces in the frame.
        frame: uint8 in the plan's size and format. Any strides, also negative.
        dtype: float32 or float16.
        threads: CPU threads, at least 1.
        device: "cpu", "cuda" or "cuda:1".

    Returns: face [N, 3, S, S] and patches [N, 5, 3, P, P]: planar RGB in [-1, 1].

    Raises:
        InputError: an argument has the wrong type, shape, dtype or value.
        BackendError: the device is not there, or this build has no CUDA kernels.
    """
    plan.check("frame", frame)
    kind, ordinal = _check_dtype(dtype), _device_ordinal(device)
    workers = check_integer("threads", threads, 1, MAX_THREADS)
    n, s, p = len(plan.faces), plan.spec.face_size, plan.spec.patch_size
    face: Floats = np.empty((n, 3, s, s), kind)
    patches: Floats = np.empty((n, 5, 3, p, p), kind)
    source = frame if ordinal < 0 else np.ascontiguousarray(frame)
    _call(_native.region_crop, plan.native, source, face, patches, workers, ordinal)
    return face, patches


def region_paste(
    plan: FacePlan,
    frame: Frame,  # [H, W, C] or [H * 3/2, W] uint8
    edits: Edits,
    *,
    out: Frame | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> Frame:
    """Make the edits of each face in a frame, under its square. With the frame's value v in [0, 1], at a canonical position u:

        v1 = v + w_0 s (Y(v) - v)                       greyed; Y is luma
        v2 = (1 + G) (v1 + (l - 1) Y(v)) + D            l = exp(w_0 m L(place)); clamped to [0, 1], rounded to a byte
        v3 = v2(u + w_0 f)                              moved: Catmull-Rom; exactly v2 where f is 0
        G = w_0 g_0 + sum_r w_r g_r      D = (w_0 d_0 + sum_r w_r d_r) / 2

    with ``geometry.window``'s products as weights, f flow, s grey, g gain, d residual, m skin and L lines, each sampled
    bilinearly with its border replicated. ``u + w_0 f`` is kept inside the face view's box, 1 + G at 0 and above, and what is
    read outside the frame is its border. So is format 4 (``ViewSpec.edit_format``). In formats 2 and 3 v2 is
    ``(1 + G) l v1 + D``; format 2 moves first, and edits ``v(u + w_0 f)``; of format 1 this is ``v + D``.

    Every byte outside the squares, and alpha, stays as it is; so does a byte where all edits are 0. Faces are pasted in order,
    each on what those before it left. From format 2 on a square without colour stays without: D counts by its luma there. In NV12
    an edit changes a pixel's Y by the BT.601 luma of ``v2 - v``, a block's U and V by its chroma at the block's centre.

    Args:
        plan, frame, threads, device: as in ``region_crop``.
        edits: of the plan's N faces.
        out: where the result goes: None for a new C-contiguous array, ``frame`` itself for in place, or another writable
            array of the frame's shape that shares no memory with it. Only the bytes under the squares are written, but on
            a CUDA device, or with an array other than ``frame``, the whole of ``out``.

    Returns: The changed frame: ``out``, or the new array.

    Raises:
        InputError: an argument has the wrong type, shape, dtype or value.
        BackendError: the device is not there, or this build has no CUDA kernels.
    """
    plan.check("frame", frame)
    if not isinstance(edits, Edits):
        raise InputError(f"edits: expected kernels.Edits, got {type(edits).__name__}")
    arrays = edits.checked(len(plan.faces), plan.spec.face_size, plan.spec.patch_size)
    ordinal, workers = _device_ordinal(device), check_integer("threads", threads, 1, MAX_THREADS)
    if out is not None:
        _check_out(plan, out, frame)
    # Only a call that cannot fail any more writes to ``out``.
    work = out if out is not None and ordinal < 0 and same_elements(out, frame) else frame.copy("C")
    paste = _native.region_paste if edits.residuals_alone else _native.edit_paste
    _call(paste, plan.native, work, *arrays, workers, ordinal)
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
    pixel_format: PixelFormat = PixelFormat.RGB,
    dtype: npt.DTypeLike = np.float32,
    threads: int = 1,
) -> Floats:
    """One view of a frame, sampled as ``region_crop`` samples (a detector's input).

    Args:
        frame, dtype, threads: as in ``region_crop``.
        affine: [2, 3], the view's unit square to frame pixels; ``[[W, 0, 0], [0, H, 0]]`` is the whole frame.
        height, width: of the view, 1 to 4096 pixels.

    Returns: [3, height, width] planar RGB in [-1, 1].
    Raises InputError: an argument has the wrong type, shape, dtype or value.
    """
    pixel_format.check("frame", frame)
    matrix = check_floats("affine", affine, (2, 3))
    height = check_integer("height", height, 1, MAX_VIEW_SIDE, "of pixels ")
    width = check_integer("width", width, 1, MAX_VIEW_SIDE, "of pixels ")
    view: Floats = np.empty((3, height, width), _check_dtype(dtype))
    _call(_native.resample, frame, pixel_format.value, matrix, view, check_integer("threads", threads, 1, MAX_THREADS))
    return view


# ---- on a device: everything that changes from frame to frame lies in one block, so that launches can be captured ----


def block_size(pixel_format: PixelFormat, count: int) -> int:
    """Bytes of the block of ``count`` faces (``FacePlan.write_block``); all packed formats have the same. Raises InputError."""
    return _call(_native.block_size, pixel_format.value, check_integer("count", count, 0, MAX_FACES))


def cuda_is_host() -> bool:
    """Whether the CUDA kernels of this build run on the CPU, in host memory (``LGIN_CUDA=HOST``, for tests)."""
    return _native.cuda_is_host


def cuda_built() -> bool:
    """Whether this build has the CUDA kernels."""
    return _native.cuda_built


def cuda_device_count() -> int:
    """CUDA devices that the kernels can use; 0 without a driver or in a build without CUDA. Never raises."""
    return _native.cuda_device_count()


def _call(function: Callable[..., _Result], *arguments: Any, **named: Any) -> _Result:
    """Call a native function, with its exceptions as this package's."""
    try:
        with native_call():
            return function(*arguments, **named)
    except (ValueError, RuntimeError) as error:
        if raised_by_caller(error):
            raise
        raise (InputError if isinstance(error, ValueError) else BackendError)(str(error)) from error


def _launch(
    function: Callable[..., None],
    *,
    half: bool,
    pixel_format: PixelFormat | None = None,
    **numbers: int | list[int],
) -> None:
    """Call a native launch with its numbers by name, or lists of them: those of ``_RANGES``, and addresses."""

    def check(name: str, value: int) -> int:
        return check_integer(name, value, *_RANGES[name]) if name in _RANGES else _check_address(name, value)

    checked = {
        name: [check(name, one) for one in value] if isinstance(value, list) else check(name, value)
        for name, value in numbers.items()
    }
    kind: dict[str, Any] = {} if pixel_format is None else {"pixel_format": pixel_format.value}
    _call(function, half=bool(half), **kind, **checked)


#: Start ``region_crop`` on a CUDA device, or ``region_paste``: of the residuals of format 1, or (in two and three launches) of the edits
#: of later ones. Nothing is allocated, copied or waited for. The first launch of a process may load the kernel: make one before a
#: capture. A paste is of all faces at once if ``FacePlan.disjoint``, else of one after another on one stream.
#:
#: All arguments are given by name (``_native.pyi``). Of crop and paste:
#:     block: device address of what ``FacePlan.write_block`` wrote, a multiple of 16; pixel_format, count: its own, N faces.
#:     face_size, patch_size: S and P, with which the block was written.
#:     half: the views or edits are float16 instead of float32.
#:     device, stream: number of the CUDA device; handle of the stream (cudaStream_t), 0 for the default one.
#: Of the crop: face, patches: device addresses of [N, 3, S, S] and [N, 5, 3, P, P], written.
#: Of both pastes:
#:     first, faces: which of the block's faces, ``first`` to ``first + faces - 1``; ages: at how many ages, G.
#:     face_edit, patch_edit: device addresses of all faces' edits, [N, G, 3 or 6, S, S] and [N, G, 5, 3 or 4, P, P].
#:     pixels: how many pixels to start threads for, at least 1. It decides the speed alone: for a smaller face the surplus returns
#:         at once, a bigger one is worked off in turns. The rectangle's area is a good value.
#:     age_step: bytes from the frame that is changed at one age, a copy, to that of the next; the first is the block's own.
#: From format 2 on:
#:     edit_format: ``ViewSpec.edit_format``.
#:     flow, place, lines: device addresses of [N, G, 2, F, F], [N, 2, F, F] and [N, G, A, A], each or 0; coarse_size, line_size: F
#:         and A.
#:     scratch: device address, a multiple of 16, of G frames laid out as the block's, ``age_step`` bytes apart: keeps what faces
#:         move from. Launches that follow one another on one stream may share it.
#:     coloured: device address of [N, G] bytes, 0 before: become 1 where a face's square has colour.
#: Of the check whether values are finite, which has no block and no faces:
#:     values, sizes: lists of up to eight device addresses, and how many values are there, float32 or, with ``half``, float16.
#:     found: device address of as many uint32, which become 1 where one of them is NaN or infinite, and else stay as they are.
#:
#: They raise InputError for an argument of the wrong type or value and an address that is null or misaligned, BackendError if the
#: device is not there, the launch failed, or this build has no CUDA kernels.
launch_crop = partial(_launch, _native.launch_crop)
launch_paste = partial(_launch, _native.launch_paste)
launch_edit_paste = partial(_launch, _native.launch_edit_paste)
launch_finite_check = partial(_launch, _native.launch_finite_check)


def _check_out(plan: FacePlan, out: Frame, frame: Frame) -> None:
    plan.check("out", out)
    check_result(out)
    if not same_elements(out, frame) and shares_memory(out, frame):
        raise InputError(
            "out: shares memory with frame but is not the same array; give frame itself or a separate array"
        )


def _check_address(name: str, address: int) -> int:
    if not isinstance(address, (int, np.integer)) or not 0 < address <= MAX_ADDRESS:
        raise InputError(f"{name}: expected an address in device memory, got {address!r}")
    return int(address)


def _check_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        kind: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise InputError(f"dtype: expected float32 or float16, got {dtype!r}") from error
    if kind not in (np.float32, np.float16):
        raise InputError(f"dtype: expected float32 or float16, got {kind}")
    return kind


def _device_ordinal(device: str) -> int:
    """-1 for the CPU, else the CUDA device's number."""
    match = re.fullmatch(r"cpu|cuda(?::(\d{1,4}))?", device) if isinstance(device, str) else None
    if match is None:
        raise InputError(f"device: expected 'cpu', 'cuda' or 'cuda:1', got {device!r}")
    return -1 if device == "cpu" else int(match[1] or 0)
