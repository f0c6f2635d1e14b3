"""The steps of ``gpu_check`` that compare answers: frames on the GPU with the CPU's, arrays of PyTorch and CuPy with NumPy's."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from lgin_edge.errors import ModelError
from lgin_edge.frames import Frame, PixelFormat
from lgin_edge.inference.cpu import CpuFramePath
from lgin_edge.inference.cuda import DeviceMemory, Stream
from lgin_edge.inference.device_array import device_frame
from lgin_edge.inference.gpu import GpuFramePath
from lgin_edge.models.description import Description

from .gpu_scenes import FORMATS, SIZES, Fixed, batch, bundled, edited, frame_on_device, noise
from .gpu_steps import Step


@dataclass(frozen=True)
class Call:
    """Faces of one side in pixels, at so many ages. A grey frame has no colour; a face at a corner lies partly off the frame."""

    faces: int
    ages: int
    side: int
    apart: bool = False
    grey: bool = False
    corner: bool = False


#: One after another: shapes come back after others were recorded. The first ``QUICK`` twice are all there is under a sanitizer, so that
#: graphs are replayed there, too.
CALLS = (
    Call(1, 1, 300),
    Call(2, 1, 200),
    Call(3, 7, 100, apart=True),
    Call(2, 1, 200, grey=True),
    Call(1, 1, 300, corner=True),
    Call(1, 6, 300),
    Call(3, 2, 150, corner=True),
    Call(1, 1, 420),
    Call(3, 7, 100, apart=True, grey=True),
    Call(1, 6, 300),
    Call(3, 2, 150),
)
QUICK = 5


def path_answers(step: Step) -> None:
    """Everything of a frame's way but the network, on random frames: the CPU's bytes, whatever order shapes come in."""
    for about in edited():
        _path_answers(step, about)


def _path_answers(step: Step, about: Description) -> None:
    shrink = 5 if step.quick else 1
    height, width = (side // shrink for side in SIZES[0])
    engine = Fixed(step.cuda, about)
    with closing(GpuFramePath(step.cuda, Stream(step.cuda), engine)) as path:
        cpu = CpuFramePath(engine, 1, batch=64)  # all faces in one call, as on the GPU: edits are by their place in it
        for pixel_format in FORMATS:
            worst = differ = 0
            for seed, call in enumerate(CALLS[:QUICK] * 2 if step.quick else CALLS * 3):
                frame = noise(pixel_format, height, width, seed, grey=call.grey)
                codes = np.eye(len(about.groups), dtype=np.float32)[: call.ages]
                side = call.side / shrink
                apart = 2.5 * side if call.apart else 40
                where = batch(side, height, width, call.faces, apart, corner=call.corner, faint=True)
                results = [[frame.copy() for _ in codes] for _ in range(2)]
                for one, result in zip((path, cpu), results, strict=True):
                    one.change(frame, pixel_format, where, codes, result, nullcontext)
                for have, want in zip(*results, strict=True):
                    difference = np.abs(have.astype(int) - want)
                    worst, differ = max(worst, int(difference.max())), differ + int((difference != 0).sum())
            step.row(
                "frames against the CPU's",
                model_format=about.format,
                format=pixel_format.value,
                worst_levels=worst,
                bytes_that_differ=differ,
                graphs=sum(entry.graph is not None for entry in path.entries.values()),
                **({"failed": True} if worst > 1 else {}),
            )
            _check_frames_in_flight(step, path, cpu, pixel_format, height, width)
        _check_finite(step, path, engine, noise(PixelFormat.RGB, height, width))


def _check_finite(step: Step, path: GpuFramePath, engine: Fixed, frame: Frame) -> None:
    """That a NaN as the last value of each output is found."""
    where, codes = batch(frame.shape[0] / 3, *frame.shape[:2]), np.eye(len(engine.description.groups), dtype=np.float32)
    found = []
    for name in engine.description.outputs:
        with engine.not_finite(name):
            try:
                path.change(frame, PixelFormat.RGB, where, codes[:1], [frame.copy()], nullcontext)
            except ModelError as error:
                found += [name] if f"gave {name} with NaN" in str(error) else []
    step.row("NaN", found=found, **({} if found == list(engine.description.outputs) else {"failed": True}))


def _check_frames_in_flight(
    step: Step, path: GpuFramePath, cpu: CpuFramePath, pixel_format: PixelFormat, height: int, width: int
) -> None:
    """Frames on the device, each queued while the GPU is still busy with those before, against the CPU's."""
    frames = [noise(pixel_format, height, width, seed) for seed in range(3 if step.quick else 24)]
    code = np.eye(len(path.description.groups), dtype=np.float32)[0]
    with ExitStack() as stack:
        there = [
            frame_on_device(step, path, frame, pixel_format, stack, padding=64 * (i % 2))
            for i, frame in enumerate(frames)
        ]
        where = [
            batch(height * (0.1 + 0.01 * i), height, width, 1 + i % 2, corner=i % 3 == 1) for i in range(len(frames))
        ]
        spare = frame_on_device(step, path, frames[0], pixel_format, stack)
        for faces in (where[0], where[1]) * 2:  # as calls, then recorded
            path.change_on_device(spare, faces, code, nullcontext)
        path.stream.synchronize()
        busy = stack.enter_context(closing(DeviceMemory(step.cuda, (1 if step.quick else 1024) << 20)))
        for _ in range(1 if step.quick else 40):  # 30 ms of an H200
            step.cuda.call("cudaMemsetAsync", busy.address, 0, busy.size, path.stream.handle)
        start = time.perf_counter()
        for frame, faces in zip(there, where, strict=True):
            path.change_on_device(frame, faces, code, nullcontext)
        queued_ms = 1e3 * (time.perf_counter() - start)
        path.stream.synchronize()
        differ = 0
        for frame, at, faces in zip(frames, there, where, strict=True):
            want = frame.copy()
            cpu.change(frame, pixel_format, faces, code[None], [want], nullcontext)
            differ += int((path.download(at) != want).sum())
    step.row(
        "frames in flight against the CPU's",
        model_format=path.description.format,
        format=pixel_format.value,
        frames=len(frames),
        queued_ms=queued_ms,
        bytes_that_differ=differ,
        **({"failed": True} if differ else {}),
    )


def arrays(step: Step) -> None:
    """Frames of PyTorch and CuPy on streams of theirs: they become what a frame from the host becomes, although the GPU is still
    busy with what makes them when the call returns."""
    about = bundled()
    frame, where, code = (
        noise(PixelFormat.RGB, *SIZES[0]),
        batch(300, *SIZES[0]),
        np.eye(len(about.groups), dtype="f")[0],
    )
    with closing(GpuFramePath(step.cuda, Stream(step.cuda), Fixed(step.cuda, about))) as path:
        want = frame.copy()
        path.change(frame, PixelFormat.RGB, where, code[None], [want], nullcontext)

        def change(image: Any) -> None:
            path.change_on_device(device_frame(image, "rgb"), where, code, nullcontext)

        for what, changed in (("PyTorch", _in_pytorch), ("DLPack", _by_dlpack), ("CuPy", _in_cupy)):
            if importlib.util.find_spec("cupy" if what == "CuPy" else "torch") is None:
                step.row(what, skipped="not installed")
                continue
            differ = [int((changed(frame, change) != want).sum()) for _ in range(4)]
            step.row(what, bytes_that_differ=differ, **({"failed": True} if any(differ) else {}))


_BUSY_BYTES, _BUSY_TIMES = 1 << 28, 80  # of writing before a frame is made: 8 ms of an H100


def _in_pytorch(frame: Frame, change: Callable[[Any], None]) -> Frame:
    import torch

    with torch.cuda.stream(torch.cuda.Stream()):
        image = _late_tensor(frame)
        change(image)
        return image.clone().cpu().numpy()


def _by_dlpack(frame: Frame, change: Callable[[Any], None]) -> Frame:
    """An array that has nothing but DLPack is used on the default stream afterwards."""
    import torch

    with torch.cuda.stream(torch.cuda.Stream()):
        image = _late_tensor(frame)
        change(SimpleNamespace(__dlpack__=image.__dlpack__))
    return image.clone().cpu().numpy()


def _late_tensor(frame: Frame) -> Any:
    """A frame that comes to be long after this returns."""
    import torch

    there, busy = torch.from_numpy(frame).cuda(), torch.empty(_BUSY_BYTES, dtype=torch.uint8, device="cuda")
    for _ in range(_BUSY_TIMES):
        busy.zero_()
    return there.clone()


def _in_cupy(frame: Frame, change: Callable[[Any], None]) -> Frame:
    import cupy

    with cupy.cuda.Stream(non_blocking=True):
        there, busy = cupy.asarray(frame), cupy.empty(_BUSY_BYTES, cupy.uint8)
        for _ in range(_BUSY_TIMES):
            busy.fill(0)
        image = there.copy()
        change(image)
        return cupy.asnumpy(image)
