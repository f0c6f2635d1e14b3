"""Arrays that are on a GPU, as their protocols describe them."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lgin_edge import InputError, Transformer
from lgin_edge.inference.device_array import LEGACY_STREAM, DeviceFrame, _Tensor, device_frame, is_on_device


def array(shape: tuple[int, ...], **changes: Any) -> Any:
    """Something with ``__cuda_array_interface__``."""
    interface = {"shape": shape, "typestr": "|u1", "data": (4096, False), "version": 3, "strides": None} | changes
    return SimpleNamespace(__cuda_array_interface__=interface)


def dlpack(shape: tuple[int, ...], *, device: int = 2, code: int = 1, bits: int = 8, strides: Any = None) -> Any:
    """Something with ``__dlpack__``."""
    dims = (ctypes.c_int64 * len(shape))(*shape)
    steps = (ctypes.c_int64 * len(shape))(*strides) if strides else None
    tensor = _Tensor(4000, device, 1, len(shape), code, bits, 1, dims, steps, 96)
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    asked: list[int] = []

    class Array:
        keep = (tensor, dims, steps)
        streams = asked

        def __dlpack__(self, *, stream: int) -> Any:
            asked.append(stream)
            return new(ctypes.addressof(tensor), b"dltensor", None)

        def __dlpack_device__(self) -> tuple[int, int]:
            return device, 1

    return Array()


def fields(frame: DeviceFrame) -> tuple[Any, ...]:
    return frame.address, frame.pitch, frame.height, frame.width, frame.pixel_format.value, frame.stream, frame.device


def test_array_interface() -> None:
    assert fields(device_frame(array((20, 30, 3)), None)) == (4096, 90, 20, 30, "rgb", LEGACY_STREAM, None)
    assert fields(device_frame(array((20, 30, 4), stream=77, strides=(128, 4, 1)), "bgra")) == (
        4096, 128, 20, 30, "bgra", 77, None,
    )  # fmt: skip
    jetson_utils = array((20, 30, 3))
    jetson_utils.__cuda_array_interface__["typestr"] = "<u1"
    assert fields(device_frame(jetson_utils, None))[0] == 4096
    assert fields(device_frame(array((30, 40)), "nv12")) == (4096, 40, 20, 40, "nv12", LEGACY_STREAM, None)


def test_the_callers_stream_is_the_one_that_counts(tiny: Transformer) -> None:
    assert device_frame(array((20, 30, 3), stream=77), None, 88).stream == 88
    assert device_frame(array((20, 30, 3), stream=77), None, 0).stream == LEGACY_STREAM
    image = dlpack((20, 30, 3))
    assert (device_frame(image, None, 88).stream, image.streams) == (88, [88])
    for wrong in (-1, 1.5, "0"):
        with pytest.raises(InputError, match="stream: expected a whole number"):
            device_frame(array((20, 30, 3)), None, wrong)
    with pytest.raises(InputError, match="stream: belongs to a frame on the GPU"):
        tiny.age(np.zeros((20, 30, 3), np.uint8), group=1, stream=1)


def test_pytorch_works_on_its_current_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tensor(SimpleNamespace):
        device = "cuda:0"

    current = SimpleNamespace(cuda_stream=0)
    torch = SimpleNamespace(Tensor=Tensor, cuda=SimpleNamespace(current_stream=lambda device: current))
    monkeypatch.setitem(sys.modules, "torch", torch)
    tensor = Tensor(__cuda_array_interface__=array((20, 30, 3), version=2).__cuda_array_interface__)
    assert device_frame(tensor, None).stream == LEGACY_STREAM
    current.cuda_stream = 4711
    assert device_frame(tensor, None).stream == 4711
    assert device_frame(array((20, 30, 3)), None).stream == LEGACY_STREAM


def test_dlpack() -> None:
    image = dlpack((20, 30, 3))
    assert fields(device_frame(image, "bgr")) == (4096, 90, 20, 30, "bgr", LEGACY_STREAM, 1)
    assert image.streams == [LEGACY_STREAM]
    assert device_frame(dlpack((20, 30, 3), strides=(96, 3, 1)), None).pitch == 96


def test_what_is_on_a_device() -> None:
    assert is_on_device(array((1, 1, 3)))
    assert is_on_device(dlpack((1, 1, 3)))
    assert not is_on_device(dlpack((1, 1, 3), device=1))
    assert not is_on_device(np.zeros(3))
    assert not is_on_device("picture.jpg")


@pytest.mark.parametrize(
    ("image", "color", "message"),
    [
        (array((20, 30, 3), typestr="<f4"), None, "expected uint8 on the device, got <f4"),
        (array((20, 30, 3), data=(4096, True)), None, "read-only"),
        (array((20, 30)), None, 'if it is NV12, say color="nv12"'),
        (array((20, 30, 2)), None, r"expected \[H, W, 3\] RGB or \[H, W, 4\] RGBA"),
        (array((0, 30, 3)), None, "at least one pixel"),
        (array((20, 30, 3)), "rgba", r"'rgba' is \[H, W, 4\], got shape \(20, 30, 3\)"),
        (array((20, 30)), "nv12", "'nv12' is .* even H and W"),
        (array((30, 41)), "nv12", "'nv12' is .* even H and W"),
        (array((20, 30, 3)), "hsv", "color: expected one of rgb, bgr, rgba, bgra, nv12, got 'hsv'"),
        (array((20, 30, 3), strides=(180, 6, 1)), None, "pixels side by side"),
        (array((20, 30, 3), strides=(-90, 3, 1)), None, "make it contiguous"),
        (dlpack((20, 30, 3), code=2), None, "expected uint8, got DLPack type 2"),
        (dlpack((20, 30, 3), device=1), None, "memory of a CUDA device, got DLPack device type 1"),
        (SimpleNamespace(__dlpack__=lambda stream: object()), None, "expected a DLPack capsule"),
    ],
)
def test_refused(image: Any, color: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        device_frame(image, color)


def test_a_transformer_on_the_cpu_refuses_it(tiny: Transformer) -> None:
    with pytest.raises(InputError, match="works on the CPU; make it with device=0"):
        tiny.age(array((20, 30, 3)), group=1)
    with pytest.raises(InputError, match="changed in place"):
        tiny.age(array((20, 30, 3)), group=1, out=np.zeros((20, 30, 3), np.uint8))
