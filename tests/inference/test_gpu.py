"""The GPU's frame path against a stand-in for the CUDA run time (``cuda_stand_in``): order, sizes, streams, what is freed; and,
where the kernels run on the host (``LGIN_CUDA=HOST``), its pictures against the CPU's."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cuda_stand_in
import models
import numpy as np
import pytest
from cuda_stand_in import DeviceArray, QueuedEngine, needs_kernels
from frames import COLORS, face_affine, random_frame, template_boxes

from lgin_edge import Transformer, transformer
from lgin_edge.errors import BackendError, ClosedError, InputError, ModelError
from lgin_edge.faces import FaceBatch
from lgin_edge.frames import Color, PixelFormat
from lgin_edge.geometry import TEMPLATE
from lgin_edge.inference import gpu as gpu_path
from lgin_edge.inference.cpu import CpuFramePath
from lgin_edge.inference.cuda import Cuda, Stream
from lgin_edge.inference.device_array import DeviceFrame
from lgin_edge.inference.gpu import GpuFramePath
from lgin_edge.inference.graph_cache import PARAMETER_SETS
from lgin_edge.inference.loader import open_model
from lgin_edge.kernels import FacePlan

HEIGHT, WIDTH = 300, 400
CODES = np.eye(5, dtype=np.float32)
#: What a launch reads or writes, by the names of its arguments.
ADDRESSES = {
    "block",
    "face",
    "patches",
    "face_edit",
    "patch_edit",
    "flow",
    "place",
    "lines",
    "scratch",
    "coloured",
    "found",
}


@dataclass
class Gpu:
    """A frame path on the stand-in."""

    path: GpuFramePath
    runtime: cuda_stand_in.Runtime
    engine: QueuedEngine
    launches: list[tuple[str, dict[str, Any]]]

    def change(
        self, frame: np.ndarray, faces: np.ndarray, codes: np.ndarray = CODES[:1], color: Color = "rgb"
    ) -> list[Any]:
        results = [frame.copy() for _ in codes]
        self.path.change(frame, PixelFormat(color), batch(faces), codes, results, stage)
        return results


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    assert name in ("gpu", "crop", "model", "paste")
    yield


@pytest.fixture(scope="module", params=["format1", "format2"])
def model(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A model whose edits depend on the picture and the age: residuals alone, or all kinds of edits."""
    path = tmp_path_factory.mktemp("models") / f"{request.param}.onnx"
    if request.param == "format1":
        return models.save(path, face_gain=0.2, patch_gain=0.3)
    return models.save_edits(path, gain=0.1, grey=0.4, flow=(0.02, -0.01), groups=models.GROUPS, textured=0.5)


def make(model: Path, patch: pytest.MonkeyPatch, **options: Any) -> Gpu:
    runtime = cuda_stand_in.Runtime(devices=2, **options)
    launches = cuda_stand_in.queue_launches(runtime, patch)
    cuda = Cuda(0, runtime)
    engine = QueuedEngine(model, runtime)
    return Gpu(GpuFramePath(cuda, Stream(cuda), engine), runtime, engine, launches)


@pytest.fixture
def gpu(model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    """Whatever a test did, nothing may be left of it after ``close``."""
    gpu = make(model, monkeypatch)
    yield gpu
    gpu.path.close()
    gpu.path.close()
    assert gpu.runtime.live == {}
    assert gpu.engine.closed == 1
    assert gpu.engine.bound == 0


def batch(where: np.ndarray) -> FaceBatch:
    """Faces of which every other fades."""
    return FaceBatch(where, template_boxes(len(where)), np.resize([1.0, 0.6], len(where)))


def faces(*centers: tuple[float, float], side: float = 90.0) -> np.ndarray:
    return np.array([face_affine(center, side, 0.3 * i) for i, center in enumerate(centers)])


def frame(seed: int = 0, color: Color = "rgb") -> np.ndarray:
    return random_frame(np.random.default_rng(seed), HEIGHT, WIDTH, color)


def expected(model: Path, picture: np.ndarray, where: np.ndarray, codes: np.ndarray, color: Color) -> list[np.ndarray]:
    cpu = CpuFramePath(open_model(model, providers=("CPUExecutionProvider",), threads=1), 1)
    results = [picture.copy() for _ in codes]
    cpu.change(picture, PixelFormat(color), batch(where), codes, results, stage)
    cpu.close()
    return results


@needs_kernels
@pytest.mark.parametrize("color", COLORS)
def test_pictures_equal_the_cpus(gpu: Gpu, model: Path, color: Color) -> None:
    for seed in range(4):  # as calls, recorded, replayed, and replayed with other faces
        picture = frame(seed, color)
        where = faces((150 + 20 * seed, 120), (190, 150 + 9 * seed), side=90 + seed)
        for have, want in zip(
            gpu.change(picture, where, CODES[seed % 5][None], color),
            expected(model, picture, where, CODES[seed % 5][None], color),
            strict=True,
        ):
            assert (want != picture).any()
            np.testing.assert_array_equal(have, want)


@needs_kernels
def test_timeline_crowd_and_borders(gpu: Gpu, model: Path) -> None:
    crowd = faces(*((40 * i, 25 * i) for i in range(11)))  # two calls of the engine, some faces outside the frame
    for where, codes in ((crowd, CODES[1:2]), (crowd[:3], CODES), (faces((-500.0, 40.0)), CODES[:1])):
        for have, want in zip(
            gpu.change(frame(), where, codes), expected(model, frame(), where, codes, "rgb"), strict=True
        ):
            np.testing.assert_array_equal(have, want)


@needs_kernels
def test_more_ages_than_an_engine_takes(gpu: Gpu, model: Path) -> None:
    """Are several calls; what fails in the last leaves all results as they were."""
    gpu.engine.max_ages = 2  # type: ignore[misc]
    where = faces((150.0, 120.0), (190.0, 150.0))
    for _ in range(3):  # as calls, recorded, replayed
        results = gpu.change(frame(), where, CODES)
        for have, want in zip(results, expected(model, frame(), where, CODES, "rgb"), strict=True):
            np.testing.assert_array_equal(have, want)
    assert [rows for _, rows, _ in gpu.engine.seen] == [4, 4, 2, 2]  # each shape as a call, and while it is recorded
    results = [frame() for _ in CODES]
    gpu.runtime.fail("cudaGraphLaunch", 2)
    with pytest.raises(BackendError, match="cudaGraphLaunch"):
        gpu.path.change(frame(), PixelFormat.RGB, batch(where), CODES, results, stage)
    for result in results:
        np.testing.assert_array_equal(result, frame())


def test_shapes_give_up_their_memory_where_it_is_short(gpu: Gpu) -> None:
    one, several = faces((150.0, 120.0)), faces(*[(150.0, 120.0)] * 5)
    gpu.change(frame(), one)
    gpu.change(frame(), several)
    assert len(gpu.path.entries) == 2
    gpu.runtime.room = gpu.runtime.held()  # not a byte more
    gpu.change(frame(), faces(*[(150.0, 120.0)] * 4))
    assert len(gpu.path.entries) == 1
    gpu.runtime.room = 1000
    with pytest.raises(BackendError, match="cudaMalloc"):
        gpu.change(frame(), one)
    gpu.runtime.room = None
    gpu.change(frame(), one)


@needs_kernels
def test_a_view_and_in_place(gpu: Gpu, model: Path) -> None:
    picture = frame()[::-1, ::2]  # negative and wide strides
    where = faces((80.0, 120.0))
    (want,) = expected(model, picture.copy(), where, CODES[:1], "rgb")
    result = picture.copy()[::1]
    gpu.path.change(picture, PixelFormat.RGB, batch(where), CODES[:1], [result], stage)
    np.testing.assert_array_equal(result, want)
    gpu.path.change(result, PixelFormat.RGB, batch(where), CODES[:1], [result], stage)
    (twice,) = expected(model, want, where, CODES[:1], "rgb")
    np.testing.assert_array_equal(result, twice)


@needs_kernels
@pytest.mark.parametrize("color", ["rgb", "bgra", "nv12"])
def test_frames_on_the_device(gpu: Gpu, model: Path, color: Color) -> None:
    where = faces((150.0, 120.0), (180.0, 140.0))
    for seed in range(4):
        picture = frame(seed, color)
        rows = np.zeros((picture.shape[0], 2048), np.uint8)  # a pitch of its own
        flat = picture.reshape(picture.shape[0], -1)
        rows[:, : flat.shape[1]] = flat
        stream = 77
        on_device = DeviceFrame(rows.ctypes.data, 2048, HEIGHT, WIDTH, PixelFormat(color), stream, 0, rows)
        np.testing.assert_array_equal(gpu.path.download(on_device), picture)
        late = rows.copy()
        rows[:] = 0
        gpu.runtime.queue(
            stream, lambda late=late, rows=rows: np.copyto(rows, late)
        )  # the caller's own work, not done yet
        gpu.path.change_on_device(on_device, batch(where), CODES[4], stage)
        gpu.runtime.run(stream)  # what the caller queues next, or its wait, has the changed frame
        (want,) = expected(model, picture, where, CODES[4:], color)
        np.testing.assert_array_equal(rows[:, : flat.shape[1]].reshape(picture.shape), want)
        assert not rows[:, flat.shape[1] :].any()


@needs_kernels
def test_frames_on_the_device_do_not_wait_for_one_another(gpu: Gpu, model: Path) -> None:
    """Until so many are in flight, each with parameters of its own."""
    where, pictures = faces((150.0, 120.0)), [frame(seed) for seed in range(2 + 2 * PARAMETER_SETS)]
    there = [picture.copy() for picture in pictures]
    waits = []
    for i, now in enumerate(there):
        on_device = DeviceFrame(now.ctypes.data, 3 * WIDTH, HEIGHT, WIDTH, PixelFormat.RGB, 77, 0, now)
        before = len(gpu.runtime.calls)
        gpu.path.change_on_device(on_device, batch(where + i), CODES[i % 5], stage)
        waits.append(any("Synchronize" in name for name in gpu.runtime.names()[before:]))
    shape_is_new, in_flight = 2, PARAMETER_SETS - 1  # the last frame of a new shape is in flight too
    assert waits == [True] * shape_is_new + [False] * in_flight + [True] * (PARAMETER_SETS + 1)
    gpu.runtime.run(77)
    for i, (now, picture) in enumerate(zip(there, pictures, strict=True)):
        np.testing.assert_array_equal(now, expected(model, picture, where + i, CODES[i % 5][None], "rgb")[0])


@needs_kernels
def test_values_that_are_no_numbers_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a frame on the device at a later call, for nobody waits for it."""
    path = models.save_edits(tmp_path / "bad.onnx", flow=(0.0, np.nan), groups=models.GROUPS)
    gpu = make(path, monkeypatch)
    picture, where = frame(), faces((150.0, 120.0), (190.0, 150.0))
    for _ in range(3):  # as calls, recorded, replayed
        result = picture.copy()
        with pytest.raises(ModelError, match="gave flow with NaN or infinite values"):
            gpu.path.change(picture, PixelFormat.RGB, batch(where), CODES[:2], [result, result], stage)
        np.testing.assert_array_equal(result, picture)
    on_device = DeviceFrame(result.ctypes.data, 3 * WIDTH, HEIGHT, WIDTH, PixelFormat.RGB, 77, 0, result)
    gpu.path.change_on_device(on_device, batch(where), CODES[4], stage)
    with pytest.raises(ModelError, match="gave flow"):  # a frame before the shape is recorded is waited for
        gpu.path.change_on_device(on_device, batch(where), CODES[4], stage)
    for _ in range(PARAMETER_SETS):
        gpu.path.change_on_device(on_device, batch(where), CODES[4], stage)
    with pytest.raises(ModelError, match="gave flow"):
        gpu.path.change_on_device(on_device, batch(where), CODES[4], stage)
    gpu.runtime.run(77)
    gpu.path.close()
    assert gpu.runtime.live == {}


def test_a_frame_on_another_gpu_is_refused(gpu: Gpu) -> None:
    """Whether its protocol says where it is (DLPack), or its address alone does."""
    runtime = gpu.runtime
    with Cuda(1, runtime).current():
        there = runtime.cudaMalloc(HEIGHT * WIDTH * 3)[1]
    for address, device, message in (
        (4096, 3, "lies on GPU 3, and this Transformer works on GPU 0"),
        (there, None, "lies on GPU 1, and this Transformer works on GPU 0"),
        (frame().ctypes.data, None, "its address is in no GPU's memory"),
    ):
        elsewhere = DeviceFrame(address, 3 * WIDTH, HEIGHT, WIDTH, PixelFormat.RGB, 1, device, None)
        with pytest.raises(InputError, match=message):
            gpu.path.change_on_device(elsewhere, batch(faces((9.0, 9.0))), CODES[0], stage)
        with pytest.raises(InputError, match=message):
            gpu.path.download(elsewhere)
    runtime.cudaFree(there)


def test_the_callers_device_stays_current(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = make(model, monkeypatch)
    path, runtime, picture = gpu.path, gpu.runtime, frame()
    address = runtime.cudaMalloc(picture.nbytes)[1]
    runtime.cudaSetDevice(1)
    for call in (
        lambda: gpu.change(picture, faces((150.0, 120.0))),
        lambda: path.download(DeviceFrame(address, 3 * WIDTH, HEIGHT, WIDTH, PixelFormat.RGB, 1, 0, None)),
        path.close,
    ):
        runtime.calls.clear()
        call()
        assert [arguments[0] for name, arguments in runtime.calls if name == "cudaSetDevice"] == [0, 1]
        assert runtime.cudaGetDevice() == (0, 1)
    runtime.cudaFree(address)
    assert runtime.live == {}


def test_order_of_calls(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = make(model, monkeypatch)
    where = faces((150.0, 120.0))
    gpu.change(frame(), where)
    names = gpu.runtime.names()
    copies = [arguments for name, arguments in gpu.runtime.calls if name == "cudaMemcpyAsync"]
    assert [kind for *_, kind, _ in copies] == ["up", "up", "down", "down"]  # pixels, parameters, checks, pixels
    about = gpu.engine.description
    paste = "launch_paste" if about.format == 1 else "launch_edit_paste"
    assert [name for name, _ in gpu.launches] == ["launch_crop", "launch_finite_check", paste]
    addresses = {value for _, call in gpu.launches for name, value in call.items() if name in ADDRESSES}
    assert {gpu.runtime.kind_of(address) for address in addresses} == {
        "device memory"
    }  # pinned is not cached on a Jetson
    last = max(i for i, name in enumerate(names) if name == "cudaMemcpyAsync")
    assert "cudaStreamSynchronize" in names[last:]
    x0, y0, x1, y1 = FacePlan.of(frame(), batch(where), gpu.engine.description.views).rectangle
    needed = 3 * (x1 - x0) * (y1 - y0)
    assert copies[0][2] == copies[3][2] == needed  # of the frame, only the face's rectangle
    assert needed < 0.4 * frame().nbytes
    stream = gpu.path.stream.handle
    assert {call["stream"] for _, call in gpu.launches} | {one[2] for one in gpu.engine.seen} | {
        arguments[-1] for arguments in copies
    } == {stream}
    gpu.path.close()


def test_a_shape_is_recorded_once_and_replayed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = make(model, monkeypatch)
    for i in range(6):
        gpu.change(frame(i), faces((150.0 + i, 120.0)))
    names = gpu.runtime.names()
    assert names.count("cudaStreamBeginCapture") == names.count("cudaGraphInstantiate") == 1
    assert names.count("cudaGraphLaunch") == 5
    assert len(gpu.engine.seen) == 2  # once as a call, once while it was recorded
    gpu.change(frame(), faces((150.0, 120.0)), CODES)  # another number of ages is another shape
    assert len(gpu.path.entries) == 2
    gpu.path.close()


@needs_kernels
def test_a_face_that_comes_nearer_is_recorded_anew_when_the_memory_grows(gpu: Gpu, model: Path) -> None:
    """Host memory, device memory and graphs are shared: sizes, ages and frames on the device in any order."""
    for side, codes in ((60, 1), (60, 1), (61, 1), (170, 1), (60, 1), (170, 3), (60, 1), (170, 3), (280, 1), (60, 1)):
        picture, where = frame(side), faces((200.0, 150.0), side=side)
        for have, want in zip(
            gpu.change(picture, where, CODES[:codes]),
            expected(model, picture, where, CODES[:codes], "rgb"),
            strict=True,
        ):
            np.testing.assert_array_equal(have, want)
    memory = gpu.path.memory
    assert not memory.fits(memory.capacity + 1, 1)
    assert memory.fits(memory.capacity, 3)
    names = gpu.runtime.names()
    assert len(gpu.path.entries) == 2
    assert names.count("cudaGraphLaunch") == 10 - 2  # all but the first of each number of ages
    recorded = names.count("cudaGraphInstantiate")
    for side in range(60, 280, 20):
        gpu.change(frame(), faces((200.0, 150.0), side=side))
    assert gpu.runtime.names().count("cudaGraphInstantiate") == recorded


def test_shapes_that_come_and_go_do_not_pile_up(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = make(model, monkeypatch)
    monkeypatch.setattr(gpu_path, "KEPT_GRAPHS", 4)
    for n in range(1, 2 * gpu_path.KEPT_GRAPHS):
        for _ in range(2):
            gpu.change(frame(), faces(*[(150.0, 120.0)] * n, side=30))
    kinds = list(gpu.runtime.live.values())
    assert kinds.count("executable graph") == gpu_path.KEPT_GRAPHS
    assert kinds.count("pinned memory") == gpu_path.KEPT_GRAPHS * PARAMETER_SETS + 1
    assert kinds.count("event") == gpu_path.KEPT_GRAPHS * PARAMETER_SETS
    assert kinds.count("graph") == 0
    gpu.path.close()
    assert gpu.runtime.live == {}


@pytest.mark.parametrize("on_device", [False, True])
def test_warm_up(model: Path, monkeypatch: pytest.MonkeyPatch, on_device: bool) -> None:
    """The first real frame is replayed, and finds its memory; the one to warm up with stays as it is."""
    gpu = make(model, monkeypatch)
    monkeypatch.setattr(transformer, "open_path", lambda *_, **__: gpu.path)
    with Transformer(model, device=0) as t:
        picture = frame()
        image: Any = DeviceArray(gpu.runtime, picture) if on_device else picture
        t.warm_up(image, faces=2)
        gpu.runtime.run(1)
        np.testing.assert_array_equal(picture, frame())
        gpu.runtime.calls.clear()
        t.age(image, group=3, landmarks=[TEMPLATE * 90 + 20, TEMPLATE * 90 + (250, 150)])
        assert gpu.runtime.names().count("cudaGraphLaunch") == 1
        assert not {"cudaMalloc", "cudaHostAlloc", "cudaStreamBeginCapture"} & set(gpu.runtime.names())
        gpu.runtime.run(1)
    assert gpu.runtime.live == {}


def test_an_engine_that_cannot_be_recorded(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = make(model, monkeypatch)
    gpu.path.record = False
    for _ in range(3):
        gpu.change(frame(), faces((150.0, 120.0)))
    assert "cudaStreamBeginCapture" not in gpu.runtime.names()
    assert len(gpu.engine.seen) == 3
    gpu.path.close()


def test_a_call_that_cannot_be_recorded_says_so_when_it_was_queued(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT-RTX knows once it has seen a shape."""
    gpu = make(model, monkeypatch)
    for i in range(3):
        gpu.change(frame(), faces((150.0, 120.0)))
        gpu.engine.capturable = False  # type: ignore[misc]
        (entry,) = gpu.path.entries.values()
        assert entry.record == (i == 0)
    assert "cudaStreamBeginCapture" not in gpu.runtime.names()
    gpu.path.close()


@pytest.mark.parametrize("name", ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate"])
def test_a_failed_recording_goes_on_with_calls(name: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = make(model, monkeypatch)
    gpu.runtime.fail(name)
    for _ in range(4):
        gpu.change(frame(), faces((150.0, 120.0)))
    assert gpu.runtime.names().count(name) == 1  # tried once, never again
    gpu.path.close()
    assert not [kind for kind in gpu.runtime.live.values() if kind != "graph" or name != "cudaGraphInstantiate"]


@pytest.mark.parametrize(
    "name",
    ["cudaMalloc", "cudaHostAlloc", "cudaMemcpyAsync", "cudaStreamSynchronize", "cudaGraphLaunch", "cudaSetDevice"],
)
@pytest.mark.parametrize("after", [0, 1])
def test_a_failure_is_ours_and_changes_nothing(
    name: str, after: int, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = make(model, monkeypatch)
    gpu.runtime.fail(name, after)
    picture = frame()
    failures = []
    for _ in range(4):
        result = picture.copy()
        try:
            gpu.path.change(picture, PixelFormat.RGB, batch(faces((150.0, 120.0))), CODES[:1], [result], stage)
        except BackendError as error:
            failures.append(str(error))
            np.testing.assert_array_equal(result, picture)
    assert failures
    assert {f"CUDA: {name} failed with error 999, made to fail"} == set(failures)
    gpu.runtime.faults.clear()
    gpu.change(picture, faces((150.0, 120.0)))  # and it works again once the device does
    gpu.path.close()
    assert gpu.runtime.live == {}


def test_threads_take_turns(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = make(model, monkeypatch)
    barrier = threading.Barrier(4)

    def work(i: int) -> Any:
        barrier.wait()
        return [gpu.change(frame(i), faces((150.0 + i, 120.0)))[0] for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))
    for i, several in enumerate(results):
        for one in several:
            np.testing.assert_array_equal(one, gpu.change(frame(i), faces((150.0 + i, 120.0)))[0])
    gpu.path.close()
    with pytest.raises(ClosedError):
        gpu.change(frame(), faces((150.0, 120.0)))
