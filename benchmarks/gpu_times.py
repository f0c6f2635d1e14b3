"""The steps of ``gpu_check`` that time our kernels and a frame's way."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from functools import partial

import numpy as np

from lgin_edge.faces import FaceBatch
from lgin_edge.frames import Frame, PixelFormat
from lgin_edge.inference import graph_cache
from lgin_edge.inference.cpu import CpuFramePath
from lgin_edge.inference.cuda import Stream
from lgin_edge.inference.gpu import GpuFramePath
from lgin_edge.kernels import FacePlan
from lgin_edge.models.description import Description

from .gpu_scenes import FORMATS, SIZES, Fixed, batch, bundled, edited, frame_on_device, noise
from .gpu_steps import Step

SIDES = (100, 300, 600, 1000)
#: Frames of one timing; the first are not counted.
FRAMES, WARM_UP = 200, 40
#: Two frames may differ by this many levels of a byte where the network ran in FP16 on one side, in FP32 on the other.
NETWORK_LEVELS = 16


def kernel_times(step: Step) -> None:
    """Crop and paste of one face in FP16, against the bytes that must move and the bandwidth of a copy."""
    about = bundled()
    with closing(Stream(step.cuda)) as stream:
        copy_gb_s = step.copy_gb_s(stream, 1 if step.quick else 1024)
    for pixel_format in (PixelFormat.RGB, PixelFormat.NV12):
        for size in SIZES[:1] if step.quick else SIZES[::2]:
            for side in SIDES[:1] if step.quick else SIDES:
                with closing(GpuFramePath(step.cuda, Stream(step.cuda), Fixed(step.cuda, about))) as path:
                    _time_kernels(step, path, pixel_format, size, side, copy_gb_s)


def _time_kernels(
    step: Step, path: GpuFramePath, pixel_format: PixelFormat, size: tuple[int, int], side: int, copy_gb_s: float
) -> None:
    about, frame, faces = path.description, noise(pixel_format, *size), batch(side, *size)
    path.change(frame, pixel_format, faces, np.eye(len(about.groups), dtype=np.float32)[:1], [frame], nullcontext)
    (entry,) = path.entries.values()
    x0, y0, x1, y1 = FacePlan.of(frame, faces, about.views, pixel_format).rectangle
    there = (x1 - x0) * pixel_format.channels * pixel_format.rows(y1 - y0)
    views = entry.per_face["face"] + entry.per_face["patches"]
    edits = sum(entry.per_face[name] for name in about.outputs)
    # Each pass of a paste reads the pixels and writes them: they are kept and changed (format 2), or kept, changed and moved.
    passes = 2 if about.format == 2 else 3
    for what, queue, moved in (
        ("crop", path.queue_crop, there + views),
        ("paste", path.queue_paste, 2 * passes * there + edits),
        ("finite check", path.queue_checks, edits),
    ):
        us = step.per_launch_us(path.stream, partial(queue, entry))
        floor_us = 1e-3 * moved / copy_gb_s
        step.row(what, format=pixel_format.value, frame=f"{size[1]}x{size[0]}", side=side, us=us, floor_us=floor_us)


def paste_times(step: Step) -> None:
    """Microseconds of a paste in FP16: of several ages in one launch and one after another, and so of faces."""
    size, sides = ((60, 100), (10,)) if step.quick else (SIZES[0], (100, 300))
    for about, pixel_format, side in itertools.product(edited(), (PixelFormat.RGB, PixelFormat.NV12), sides):
        with closing(GpuFramePath(step.cuda, Stream(step.cuda), Fixed(step.cuda, about))) as path:
            for faces, ages in ((1, 1), (1, 2), (1, 6), (3, 1)):
                once = _paste_us(step, path, pixel_format, size, side, faces, ages)
                separate = _paste_us(step, path, pixel_format, size, side, 1, 1, faces * ages)
                numbers = {"us": once, "separate_us": separate, "model_format": about.format}
                step.row("paste", format=pixel_format.value, side=side, faces=faces, ages=ages, **numbers)


def _paste_us(
    step: Step,
    path: GpuFramePath,
    pixel_format: PixelFormat,
    size: tuple[int, int],
    side: int,
    faces: int,
    ages: int,
    times: int = 1,
) -> float:
    """Of so many pastes of faces that are apart."""
    frame, codes = noise(pixel_format, *size), np.eye(len(path.description.groups), dtype=np.float32)[:ages]
    where = batch(side, *size, faces, 2.5 * side)
    path.change(frame, pixel_format, where, codes, [frame.copy() for _ in codes], nullcontext)
    entry = next(reversed(path.entries.values()))

    def queue() -> None:
        for _ in range(times):
            path.queue_paste(entry)

    return step.per_launch_us(path.stream, queue)


def path_times(step: Step) -> None:
    """Milliseconds of a frame's way but the network: from the host with and without a graph, and on the device."""
    about = bundled()
    engine = Fixed(step.cuda, about)
    with closing(GpuFramePath(step.cuda, Stream(step.cuda), engine)) as path:
        _time_path(step, "frame without network", path, about, (20, 60) if step.quick else (100, 300, 600))


def whole_frame(step: Step) -> None:
    """A frame's whole way with the network in PyTorch FP16 in the same graph, against the CPU in FP32."""
    from .gpu_network import TorchEngine

    about = bundled()
    queue = None if step.runtime is None else step.runtime.queue
    engine, cpu = TorchEngine(about, queue), CpuFramePath(TorchEngine(about, None, half=False), 1)
    with closing(GpuFramePath(step.cuda, Stream(step.cuda), engine)) as path:
        codes = np.eye(len(about.groups), dtype=np.float32)
        for pixel_format in FORMATS[:1] if step.quick else FORMATS:
            for seed, side in enumerate((200, 300, 300, 300)):
                frame = noise(pixel_format, 720, 1280, seed)
                where, have, want = batch(side, 720, 1280), frame.copy(), frame.copy()
                path.change(frame, pixel_format, where, codes[-1:], [have], nullcontext)
                cpu.change(frame, pixel_format, where, codes[-1:], [want], nullcontext)
                difference = np.abs(have.astype(int) - want)
                step.row(
                    "whole frame against the CPU's",
                    format=pixel_format.value,
                    side=side,
                    graph=any(entry.graph is not None for entry in path.entries.values()),
                    worst_levels=int(difference.max()),
                    bytes_that_differ=int((difference != 0).sum()),
                    **({"failed": True} if difference.max() > NETWORK_LEVELS or (have == frame).all() else {}),
                )
        sides = SIDES[:1] if step.quick else (300, 600)
        frame_ms = _time_path(step, "whole frame", path, about, sides)
        for side in sides:
            frame = noise(PixelFormat.RGB, 720, 1280)
            path.change(frame, PixelFormat.RGB, batch(side, 720, 1280), codes[-1:], [frame], nullcontext)
            entry = next(reversed(path.entries.values()))
            us = [
                step.per_launch_us(path.stream, partial(queue, entry)) for queue in (path.queue_crop, path.queue_paste)
            ]
            fraction = 1e-3 * sum(us) / frame_ms[side]
            step.row("crop and paste in a whole frame", side=side, crop_us=us[0], paste_us=us[1], fraction=fraction)


def _time_path(step: Step, what: str, path: GpuFramePath, about: Description, sides: Sequence[int]) -> dict[int, float]:
    """Median milliseconds of a frame on the device by the face's side."""
    height, width = (side // (5 if step.quick else 1) for side in SIZES[0])
    on_device: dict[int, float] = {}
    codes = np.eye(len(about.groups), dtype=np.float32)[-1:]
    frame = noise(PixelFormat.RGB, height, width)
    stack = ExitStack()
    at = frame_on_device(step, path, frame, PixelFormat.RGB, stack)
    for side in sides:
        where, out = batch(side, height, width), frame.copy()

        def host(where: FaceBatch = where, out: Frame = out) -> None:
            path.change(frame, PixelFormat.RGB, where, codes, [out], nullcontext)

        def device(where: FaceBatch = where) -> None:
            path.change_on_device(at, where, codes[0], nullcontext)
            path.stream.synchronize()

        for record, source, run in ((True, "host", host), (False, "host", host), (True, "device", device)):
            path.record, kept = record and path.engine.capturable, path.record
            _forget(path)
            samples = []
            for _ in range(4 if step.quick else FRAMES):
                start = time.perf_counter()
                run()
                samples.append(1e3 * (time.perf_counter() - start))
            counted = samples[1 if step.quick else WARM_UP :]
            graph = any(entry.graph is not None for entry in path.entries.values())
            median, p95 = np.percentile(counted, (50, 95))
            step.row(what, side=side, frame_from=source, graph=graph, median_ms=float(median), p95_ms=float(p95))
            path.record = kept
            if source == "device":
                on_device[side] = float(median)
        for sets in (1, graph_cache.PARAMETER_SETS):
            _forget(path)
            with _parameter_sets(sets):
                frames = 4 if step.quick else FRAMES
                for _ in range(3):
                    path.change_on_device(at, where, codes[0], nullcontext)
                path.stream.synchronize()
                start = time.perf_counter()
                for _ in range(frames):
                    path.change_on_device(at, where, codes[0], nullcontext)
                path.stream.synchronize()
                mean_ms = 1e3 * (time.perf_counter() - start) / frames
            step.row(f"{what}, one after another", side=side, frame_from="device", in_flight=sets, mean_ms=mean_ms)
    path.stream.synchronize()
    stack.close()
    return on_device


def _forget(path: GpuFramePath) -> None:
    """Drop all shapes of work: one that ran without a graph is not recorded later."""
    path.stream.synchronize()
    for entry in path.entries.values():
        entry.close()
    path.entries.clear()


@contextmanager
def _parameter_sets(count: int) -> Iterator[None]:
    """At most so many frames in flight."""
    kept, graph_cache.PARAMETER_SETS = graph_cache.PARAMETER_SETS, count
    try:
        yield
    finally:
        graph_cache.PARAMETER_SETS = kept
