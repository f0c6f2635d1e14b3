"""The steps of ``gpu_check`` that run our kernels (``gpu_steps``)."""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from lgin_edge import geometry, kernels
from lgin_edge.errors import BackendError, LginError, ModelError
from lgin_edge.faces import Face, FaceBatch
from lgin_edge.frames import Frame, PixelFormat
from lgin_edge.inference import graph_cache
from lgin_edge.inference.cpu import CpuFramePath
from lgin_edge.inference.cuda import Cuda, DeviceMemory, PinnedBuffer, Stream
from lgin_edge.inference.device_array import DeviceFrame, device_frame
from lgin_edge.inference.gpu import GpuFramePath
from lgin_edge.kernels import FacePlan
from lgin_edge.models import tensorrt_variants
from lgin_edge.models.description import Description
from lgin_edge.models.model_file import read_description
from lgin_edge.transformer import WEIGHTS, Transformer

from .gpu_steps import BoundCall, Step

SIZES = ((720, 1280), (1080, 1920), (2160, 3840))
SIDES = (100, 300, 600, 1000)
FORMATS = (PixelFormat.RGB, PixelFormat.BGRA, PixelFormat.NV12)
#: Faces, ages, side in pixels and whether the faces are apart, of one call after another: shapes come back after others were
#: recorded.
CALLS = (
    (1, 1, 300, False),
    (2, 1, 200, False),
    (3, 6, 100, True),
    (1, 6, 300, False),
    (3, 2, 150, False),
    (1, 1, 420, False),
    (3, 6, 100, True),
    (1, 6, 300, False),
    (3, 2, 150, False),
)
#: Frames of one timing; the first are not counted.
FRAMES, WARM_UP = 200, 40
#: Two frames may differ by this many levels of a byte where the network ran in FP16 on one side, in FP32 on the other.
NETWORK_LEVELS = 16


def kernel_times(step: Step) -> None:
    """Crop and paste of one face in FP16, against the bytes that must move and the bandwidth of a copy."""
    about = _description()
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
    about, frame, faces = path.description, _noise(pixel_format, *size), batch(side, *size)
    path.change(frame, pixel_format, faces, np.eye(len(about.groups), dtype=np.float32)[:1], [frame], nullcontext)
    (entry,) = path.entries.values()
    x0, y0, x1, y1 = FacePlan.of(frame, faces, about.views, pixel_format).rectangle
    there = (x1 - x0) * pixel_format.channels * pixel_format.rows(y1 - y0)
    views = entry.per_face["face"] + entry.per_face["patches"]
    edits = sum(entry.per_face[name] for name in about.outputs)
    for what, queue, moved in (
        ("crop", path.queue_crop, there + views),
        ("paste", path.queue_paste, 4 * there + edits),  # the frame is kept, then changed: each reads it and writes it
        ("finite check", path.queue_checks, edits),
    ):
        us = step.per_launch_us(path.stream, partial(queue, entry))
        floor_us = 1e-3 * moved / copy_gb_s
        step.row(what, format=pixel_format.value, frame=f"{size[1]}x{size[0]}", side=side, us=us, floor_us=floor_us)


def path_answers(step: Step) -> None:
    """Everything of a frame's way but the network, on random frames: the CPU's bytes, whatever order shapes come in."""
    for about in _edited():
        _path_answers(step, about)


def _path_answers(step: Step, about: Description) -> None:
    shrink = 5 if step.quick else 1
    height, width = (side // shrink for side in SIZES[0])
    engine = Fixed(step.cuda, about)
    with closing(GpuFramePath(step.cuda, Stream(step.cuda), engine)) as path:
        cpu = CpuFramePath(engine, 1, batch=64)  # all faces in one call, as on the GPU: edits are by their place in it
        for pixel_format in FORMATS:
            worst = differ = 0
            for seed, (faces, ages, side, apart) in enumerate(CALLS[:5] if step.quick else CALLS * 3):
                frame = _noise(pixel_format, height, width, seed)
                codes = np.eye(len(about.groups), dtype=np.float32)[:ages]
                where = batch(side / shrink, height, width, faces, 2.5 * side / shrink if apart else 40)
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
        _check_finite(step, path, engine, _noise(PixelFormat.RGB, height, width))


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
    frames = [_noise(pixel_format, height, width, seed) for seed in range(3 if step.quick else 24)]
    code = np.eye(len(path.description.groups), dtype=np.float32)[0]
    with ExitStack() as stack:
        there = [_on_device(step, path, frame, pixel_format, stack) for frame in frames]
        where = [batch(height * (0.1 + 0.01 * i), height, width, 1 + i % 2) for i in range(len(frames))]
        spare = _on_device(step, path, frames[0], pixel_format, stack)
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


def paste_times(step: Step) -> None:
    """Microseconds of a paste in FP16: of several ages in one launch and one after another, and so of faces."""
    size, sides = ((60, 100), (10,)) if step.quick else (SIZES[0], (100, 300))
    for about, pixel_format, side in itertools.product(_edited(), (PixelFormat.RGB, PixelFormat.NV12), sides):
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
    frame, codes = _noise(pixel_format, *size), np.eye(len(path.description.groups), dtype=np.float32)[:ages]
    where = batch(side, *size, faces, 2.5 * side)
    path.change(frame, pixel_format, where, codes, [frame.copy() for _ in codes], nullcontext)
    entry = next(reversed(path.entries.values()))

    def queue() -> None:
        for _ in range(times):
            path.queue_paste(entry)

    return step.per_launch_us(path.stream, queue)


def path_times(step: Step) -> None:
    """Milliseconds of a frame's way but the network: from the host with and without a graph, and on the device."""
    about = _description()
    engine = Fixed(step.cuda, about)
    with closing(GpuFramePath(step.cuda, Stream(step.cuda), engine)) as path:
        _time_path(step, "frame without network", path, about, (20, 60) if step.quick else (100, 300, 600))


def whole_frame(step: Step) -> None:
    """A frame's whole way with the network in PyTorch FP16 in the same graph, against the CPU in FP32."""
    from .gpu_network import TorchEngine

    about = _description()
    queue = None if step.runtime is None else step.runtime.queue
    engine, cpu = TorchEngine(about, queue), CpuFramePath(TorchEngine(about, None, half=False), 1)
    with closing(GpuFramePath(step.cuda, Stream(step.cuda), engine)) as path:
        codes = np.eye(len(about.groups), dtype=np.float32)
        for pixel_format in FORMATS[:1] if step.quick else FORMATS:
            for seed, side in enumerate((200, 300, 300, 300)):
                frame = _noise(pixel_format, 720, 1280, seed)
                where, have, want = batch(side, 720, 1280), frame.copy(), frame.copy()
                path.change(frame, pixel_format, where, codes[-1:], [have], nullcontext)
                cpu.change(frame, pixel_format, where, codes[-1:], [want], nullcontext)
                difference = np.abs(have.astype(int) - want)
                step.row(
                    "whole frame against the CPU's",
                    format=pixel_format.value,
                    side=side,
                    graph=path.record,
                    worst_levels=int(difference.max()),
                    bytes_that_differ=int((difference != 0).sum()),
                    **({"failed": True} if difference.max() > NETWORK_LEVELS or (have == frame).all() else {}),
                )
        sides = SIDES[:1] if step.quick else (300, 600)
        frame_ms = _time_path(step, "whole frame", path, about, sides)
        for side in sides:
            frame = _noise(PixelFormat.RGB, 720, 1280)
            path.change(frame, PixelFormat.RGB, batch(side, 720, 1280), codes[-1:], [frame], nullcontext)
            entry = next(reversed(path.entries.values()))
            us = [
                step.per_launch_us(path.stream, partial(queue, entry)) for queue in (path.queue_crop, path.queue_paste)
            ]
            fraction = 1e-3 * sum(us) / frame_ms[side]
            step.row("crop and paste in a whole frame", side=side, crop_us=us[0], paste_us=us[1], fraction=fraction)


def arrays(step: Step) -> None:
    """Frames of PyTorch and CuPy on streams of theirs: they become what a frame from the host becomes, although the GPU is still
    busy with what makes them when the call returns."""
    about = _description()
    frame, where, code = (
        _noise(PixelFormat.RGB, *SIZES[0]),
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


def target_times(step: Step) -> None:
    """A 720p frame with one face by each target that is here, candidates in turn, beside the CPU."""
    frame, landmarks = _noise(PixelFormat.RGB, *SIZES[0]), geometry.TEMPLATE * 300 + (490, 210)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        candidates = {"CPU": stack.enter_context(Transformer())}
        for name, path in _targets(step, folder):
            try:
                recorded, called = (stack.enter_context(Transformer(path, device=0)) for _ in range(2))
            except LginError as error:  # noqa: PERF203
                step.row(name, failed=True, detail=str(error))
            else:
                called.frame_path().record = False  # type: ignore[union-attr]
                candidates |= {name: recorded, f"{name}, without graph": called}
        samples: dict[str, list[float]] = {name: [] for name in candidates}
        for i in range(WARM_UP + FRAMES):
            for name, transformer in candidates.items():
                start = time.perf_counter()
                transformer.age(frame, group=4, landmarks=landmarks, out=frame)
                if i >= WARM_UP:
                    samples[name].append(round(1e3 * (time.perf_counter() - start), 4))
    for name, times in samples.items():
        median, p95 = np.percentile(times, (50, 95))
        step.row(name, median_ms=float(median), p95_ms=float(p95), samples_ms=times)


def _targets(step: Step, folder: Path) -> Iterator[tuple[str, Path]]:
    """The models to time by the name of the target; a row for each that is not here."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        yield "ONNX Runtime CUDA", WEIGHTS
    else:
        step.row("ONNX Runtime CUDA", skipped="this onnxruntime has no CUDA provider")
    for variant in tensorrt_variants.VARIANTS.values():
        if not variant.installed or importlib.util.find_spec("onnx_graphsurgeon") is None:
            step.row(variant.name, skipped="not installed")
            continue
        from lgin_edge.engine import build

        path = folder / f"{variant.name}.plan"
        try:
            build.build(build.prepare(WEIGHTS), path, variant=variant)
        except LginError as error:
            step.row(variant.name, skipped=str(error))
        else:
            yield variant.name, path


STEPS: dict[str, Callable[[Step], None]] = {
    "path": path_answers,
    "kernels": kernel_times,
    "paste-times": paste_times,
    "path-times": path_times,
    "frame": whole_frame,
    "arrays": arrays,
    "target-times": target_times,
}


def find(name: str) -> Callable[[Step], None]:
    """A step by its name. Raises BackendError in a build without CUDA kernels."""
    if not kernels.cuda_built() or kernels.cuda_is_host():
        raise BackendError("this build of lgin-edge has no CUDA kernels (LGIN_CUDA=ON ./bootstrap.sh test)")
    return STEPS[name]


def _time_path(step: Step, what: str, path: GpuFramePath, about: Description, sides: Sequence[int]) -> dict[int, float]:
    """Median milliseconds of a frame on the device by the face's side."""
    height, width = (side // (5 if step.quick else 1) for side in SIZES[0])
    on_device: dict[int, float] = {}
    codes = np.eye(len(about.groups), dtype=np.float32)[-1:]
    frame = _noise(PixelFormat.RGB, height, width)
    stack = ExitStack()
    at = _on_device(step, path, frame, PixelFormat.RGB, stack)
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


# ---- what they work on ----------------------------------------------------------------------------------------------------


class Fixed:
    """Random edits, other ones for each face and age, in place of a network: ``interfaces.Engine`` by copies on the device, and
    ``interfaces.Backend`` for the CPU."""

    max_faces, capturable = 3, True
    _AGES = 6

    def __init__(self, cuda: Cuda, about: Description) -> None:
        self.description, self._cuda = about, cuda
        half, single = np.dtype(np.float16), np.dtype(np.float32)
        self.dtypes = {**dict.fromkeys(("face", "patches", *about.outputs), half), "boxes": single, "age": single}
        rng = np.random.default_rng(0)
        self._edits = {
            name: rng.uniform(*_RANGES[name], about.shape(name, self.max_faces, self._AGES)).astype(np.float16)
            for name in about.outputs
        }
        self._buffers = {name: PinnedBuffer(cuda, edits.nbytes) for name, edits in self._edits.items()}
        for name in self._edits:
            self._upload(name)

    def _upload(self, name: str) -> None:
        buffer = self._buffers[name]
        buffer.host[:] = self._edits[name].reshape(-1).view(np.uint8)
        with closing(Stream(self._cuda)) as stream:
            buffer.upload(stream.handle)
            stream.synchronize()

    @contextmanager
    def not_finite(self, name: str) -> Iterator[None]:
        """With NaN as the last value of an edit of the first face at the first age."""
        values = self._edits[name].reshape(-1)
        last = self._size(name, 1) // values.itemsize - 1
        kept, values[last] = values[last], np.nan
        self._upload(name)
        try:
            yield
        finally:
            values[last] = kept
            self._upload(name)

    def _size(self, name: str, ages: int) -> int:
        """Bytes of a face's edits."""
        size = self._edits[name][0].nbytes
        return size if name == "place" else size // self._AGES * ages

    def bind(self, addresses: Mapping[str, int], faces: int, ages: int) -> BoundCall:
        return BoundCall(partial(self._enqueue, addresses, faces, ages))

    def _enqueue(self, addresses: Mapping[str, int], faces: int, ages: int, stream: int) -> None:
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        for name, buffer in self._buffers.items():
            stride, size = self._edits[name][0].nbytes, self._size(name, ages)
            for n in range(faces):
                to, source = addresses[name] + n * size, buffer.address + n * stride
                self._cuda.call("cudaMemcpyAsync", to, source, size, kind, stream)

    def run(self, face: Any, patches: Any, boxes: Any, age: Any) -> tuple[npt.NDArray[np.float16], ...]:
        n, g, about = len(face), len(age) // len(face), self.description
        parts = {name: edits[:n] if name == "place" else edits[:n, :g] for name, edits in self._edits.items()}
        return tuple(about.rows(name, np.ascontiguousarray(part)) for name, part in parts.items())

    def close(self) -> None:
        for buffer in self._buffers.values():
            buffer.close()


_RANGES = {
    "face_edit": (0, 0.5),
    "patch_edit": (-0.5, 0.5),
    "flow": (-0.02, 0.02),
    "place": (0, 1),
    "lines": (-0.3, 0.3),
}


def _description() -> Description:
    about = read_description(WEIGHTS)
    assert isinstance(about, Description)
    return about


def _edited() -> list[Description]:
    """The bundled model's with its edits where the picture is before it moves (format 2), and where it shows them (format 3)."""
    return [replace(_description(), format=number) for number in (2, 3)]


def _noise(pixel_format: PixelFormat, height: int, width: int, seed: int = 0) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, pixel_format.shape(height, width), dtype=np.uint8)


def _on_device(
    step: Step, path: GpuFramePath, frame: Frame, pixel_format: PixelFormat, stack: ExitStack
) -> DeviceFrame:
    """A copy on the device, which the path's stream has once it is waited for."""
    memory = stack.enter_context(closing(PinnedBuffer(step.cuda, frame.nbytes)))
    memory.host[:] = frame.reshape(-1)
    memory.upload(path.stream.handle)
    height, width = pixel_format.size(frame)
    pitch = width * pixel_format.channels
    return DeviceFrame(memory.address, pitch, height, width, pixel_format, path.stream.handle, 0, memory)


def batch(side: float, height: int, width: int, faces: int = 1, step: float = 40) -> FaceBatch:
    """Faces from the frame's middle on, each ``step`` pixels further and turned a little more: at 40 they overlap."""
    found = []
    for i in range(faces):
        cos, sin = side * np.cos(0.1 + 0.2 * i), side * np.sin(0.1 + 0.2 * i)
        centre = (width / 2 + step * (i - (faces - 1) / 2), height / 2 + 20 * i)
        found.append(Face((geometry.TEMPLATE - 0.5) @ np.array([[cos, sin], [-sin, cos]]) + centre))
    return FaceBatch.of(found)
