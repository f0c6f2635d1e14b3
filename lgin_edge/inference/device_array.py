"""Frames that are on a GPU already: CuPy, PyTorch and Numba arrays by ``__cuda_array_interface__``, others by DLPack."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

from ..arguments import check_integer
from ..errors import InputError
from ..frames import Color, PixelFormat
from ..kernels import MAX_ADDRESS

#: Handle of the default stream that waits for all others, as CUDA and both protocols number it.
LEGACY_STREAM = 1

_DLPACK_CUDA, _DLPACK_UNSIGNED = 2, 1


@dataclass(frozen=True)
class DeviceFrame:
    """A frame in device memory: 8-bit packed rows, or NV12 with the UV rows right after the Y rows."""

    address: int  # of the first byte
    pitch: int  # bytes from a row to the next
    height: int  # of the picture, pixels
    width: int
    pixel_format: PixelFormat
    stream: int  # what is queued on it comes before our work and what is queued on it later comes after
    device: int | None  # number of its GPU; None where the protocol does not say
    owner: Any  # keeps the memory alive


def is_on_device(image: Any) -> bool:
    """Whether something is an array on a GPU; nothing is imported, copied or waited for."""
    if hasattr(image, "__cuda_array_interface__"):  # PyTorch raises here for a tensor that is elsewhere
        return True
    device = getattr(image, "__dlpack_device__", None)
    return device is not None and hasattr(image, "__dlpack__") and int(device()[0]) == _DLPACK_CUDA


def device_frame(image: Any, color: Color | None, stream: int | None = None) -> DeviceFrame:
    """What the frame path needs to know of an array on a GPU.

    Args:
        image: [H, W, 3 or 4] uint8, or NV12 [H * 3/2, W]; rows may have a pitch, pixels lie side by side.
        color: as for ``Transformer.age``.
        stream: handle of the stream that the array is made and used on, 0 and 1 being the legacy default one; what the array says
            when not given.

    Raises:
        InputError: another dtype, shape or layout, read-only, or no such stream can be.
    """
    if stream is not None:
        stream = check_integer("stream", stream, 0, MAX_ADDRESS) or LEGACY_STREAM
    interface = getattr(image, "__cuda_array_interface__", None)
    strides: tuple[int, ...] | None  # bytes
    if interface is not None:
        if interface["typestr"][1:] != "u1":  # of one byte's order, jetson-utils says "<"
            raise InputError(f"image: expected uint8 on the device, got {interface['typestr']}")
        address, read_only = interface["data"]
        if read_only:
            raise InputError("image: a frame on the device is changed in place, and this one is read-only")
        shape, strides, device, owner = tuple(interface["shape"]), interface.get("strides"), None, image
        if stream is None:
            stream = int(interface.get("stream") or _pytorch_stream(image) or LEGACY_STREAM)
    else:
        # A consumer that names a stream is promised that the producer's work is ordered before it.
        stream = stream or LEGACY_STREAM
        owner = image.__dlpack__(stream=stream)
        address, shape, strides, device = _read_capsule(owner)
    pixel_format = PixelFormat.of(color, shape)
    pixel_format.check_shape("image", shape)
    height, width = pixel_format.size_of(shape)
    step = pixel_format.channels
    dense = (width, 1) if pixel_format.is_nv12 else (width * step, step, 1)
    strides = dense if strides is None else tuple(strides)
    if strides[1:] != dense[1:] or strides[0] < dense[0]:
        raise InputError(
            f"image: expected pixels side by side and rows one after another (strides {dense}, or a larger first), got "
            f"{strides}; make it contiguous"
        )
    return DeviceFrame(int(address), strides[0], height, width, pixel_format, stream, device, owner)


def _pytorch_stream(image: Any) -> int:
    """The stream that PyTorch works on, which its interface does not name; 0 for its default one, and for other arrays."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(image, torch.Tensor):
        return 0
    return int(torch.cuda.current_stream(image.device).cuda_stream)


class _Tensor(ctypes.Structure):
    """``DLTensor`` of dlpack.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),  # elements
        ("byte_offset", ctypes.c_uint64),
    )


def _read_capsule(capsule: Any) -> tuple[int, tuple[int, ...], tuple[int, ...] | None, int]:
    """Address, shape, strides and device. The capsule stays ours and unconsumed: its producer's destructor frees what it holds."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    if '"dltensor"' not in repr(capsule):
        raise InputError(f"image: expected a DLPack capsule named dltensor, got {capsule!r}")
    tensor = _Tensor.from_address(get(capsule, b"dltensor"))
    if tensor.device_type != _DLPACK_CUDA:
        raise InputError(f"image: expected memory of a CUDA device, got DLPack device type {tensor.device_type}")
    if (tensor.code, tensor.bits, tensor.lanes) != (_DLPACK_UNSIGNED, 8, 1):
        raise InputError(f"image: expected uint8, got DLPack type {tensor.code} of {tensor.bits} bits")
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    strides = tuple(tensor.strides[i] for i in range(tensor.ndim)) if tensor.strides else None
    return int(tensor.data or 0) + int(tensor.byte_offset), shape, strides, int(tensor.device_id)
