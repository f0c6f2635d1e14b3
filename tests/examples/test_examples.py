"""Every example is run: on films of the astronaut, without a screen, on a stand-in for CUDA. What cannot be says so. Qt, GStreamer and
the service have files of their own."""

from __future__ import annotations

import re
import runpy
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cuda_stand_in
import cv2
import numpy as np
import pytest
from cuda_stand_in import DeviceArray, QueuedEngine
from example_runs import (
    EXAMPLES,
    ROOT,
    SERVICE,
    SHIFT,
    SIZE,
    load,
    middle,
    write_film,
)
from support.films import Floats, Image8

from lgin_edge import Transformer, kernels

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason=f"no examples at {EXAMPLES}: they are in a checkout, not in a wheel"
)


def test_the_readme_names_every_example() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    for path in [*EXAMPLES.glob("*.py"), *SERVICE.iterdir()]:
        if path.is_file():
            assert f"({path.relative_to(EXAMPLES)})" in readme, path
    for target in re.findall(r"\]\(([^)#]+)", readme):
        if target.startswith("../") and not (ROOT / "docs").is_dir():
            continue  # the tests of a wheel run beside the examples alone
        assert target.startswith("https://") or (EXAMPLES / target).exists(), target


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """OpenCV's window, which the headless OpenCV lacks: keeps what is shown, and has Esc pressed once a frame is as it is to become.

    It takes its time, as a camera does: faces are found beside the frames, and fade in by the clock.
    """
    seen = SimpleNamespace(frames=[], complete=lambda frame: False)

    def wait_key(_: int) -> int:
        time.sleep(0.01)
        return 27 if seen.frames and seen.complete(seen.frames[-1]) else -1

    monkeypatch.setattr(cv2, "imshow", lambda _, frame: seen.frames.append(frame.copy()), raising=False)
    monkeypatch.setattr(cv2, "waitKey", wait_key, raising=False)
    return seen


def opencv_loop(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["opencv_loop.py", *arguments])
    runpy.run_path(str(EXAMPLES / "opencv_loop.py"), run_name="__main__")


def test_opencv_loop(
    monkeypatch: pytest.MonkeyPatch, window: Any, movie: Path, shot: tuple[Image8, Floats], tiny_model: Path
) -> None:
    monkeypatch.setattr("lgin_edge.transformer.WEIGHTS", tiny_model)
    picture, landmarks = shot
    window.complete = lambda frame: middle(frame, landmarks) < middle(picture, landmarks) - SHIFT + 4
    opencv_loop(monkeypatch, str(movie))
    assert middle(window.frames[-1], landmarks) == pytest.approx(middle(picture, landmarks) - SHIFT, abs=4)
    assert np.abs(window.frames[-1][-8:, ..., ::-1].astype(int) - picture[-8:]).mean() < 6  # BGR stayed BGR


def test_opencv_loop_without_a_camera(monkeypatch: pytest.MonkeyPatch, window: Any, movie: Path) -> None:
    with pytest.raises(SystemExit, match="is it plugged in"):
        opencv_loop(monkeypatch, str(movie.with_name("none.mkv")))
    assert window.frames == []


def test_opencv_loop_is_short() -> None:
    text = (EXAMPLES / "opencv_loop.py").read_text().split('"""')[2]
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 15


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> SimpleNamespace:
    """A GPU that is a stand-in, with a CuPy for it, and what was copied down from it."""
    from lgin_edge.inference import gpu
    from lgin_edge.inference.cuda import Cuda, Stream

    runtime = cuda_stand_in.Runtime()
    launches = cuda_stand_in.queue_launches(runtime, monkeypatch)
    down: list[int] = []

    def open_path(model: Path, device: int | str, sha256: str | None = None, limits: object = None) -> gpu.GpuFramePath:
        cuda = Cuda(0, runtime)
        return gpu.GpuFramePath(cuda, Stream(cuda), QueuedEngine(tiny_model, runtime))

    def asnumpy(array: DeviceArray) -> np.ndarray:
        runtime.run(1)
        down.append(array.view.size)
        return array.view.copy()

    cupy: Any = ModuleType("cupy")
    cupy.__spec__ = ModuleSpec("cupy", None)
    cupy.asarray = lambda frame: DeviceArray(runtime, frame.copy())
    cupy.asnumpy = asnumpy
    cupy.cuda = SimpleNamespace(Device=lambda: SimpleNamespace(synchronize=lambda: runtime.run(1)))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr("lgin_edge.inference.loader.open_gpu_path", open_path)
    return SimpleNamespace(runtime=runtime, launches=launches, down=down)


def test_gpu_frames(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gpu: Any, tmp_path: Path,
    shot: tuple[Image8, Floats],
) -> None:  # fmt: skip
    module = load(EXAMPLES / "gpu_frames.py")
    monkeypatch.setattr(module, "SEARCHED", SIZE // 2)  # as a 720p frame is larger than 640
    short, last = write_film(tmp_path / "short.mkv", shot[0], 20), tmp_path / "last.png"
    monkeypatch.setattr(sys, "argv", ["gpu_frames.py", str(short), "--years", "70", "--out", str(last)])
    module.main()
    assert re.match(r"20 frames, .* faces in 20\n", capsys.readouterr().out)
    assert gpu.down[:-1] == [3 * (SIZE // 2) ** 2] * 20  # every second pixel of every second row; the last is --out
    assert gpu.runtime.live == {}
    assert [name for name, _ in gpu.launches[:3]] == ["launch_crop", "launch_finite_check", "launch_paste"]
    assert not any(
        name == "cudaMemcpy2DAsync" for name in gpu.runtime.names()
    )  # no frame was taken down behind its back
    picture, landmarks = shot
    out = cv2.imread(str(last))
    assert out is not None
    if kernels.cuda_is_host():  # the kernels are run
        assert middle(out, landmarks) == pytest.approx(middle(picture, landmarks) - SHIFT, abs=4)
    else:
        assert middle(out, landmarks) == pytest.approx(middle(picture, landmarks), abs=4)


def test_gpu_frames_without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(EXAMPLES / "gpu_frames.py")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="needs CuPy or PyTorch"):
        module.arrays()


def test_jetson_camera(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gpu: Any, shot: tuple[Image8, Floats]
) -> None:
    """On what jetson-utils documents of itself; frames are never taken down but for the small copy."""
    module = load(EXAMPLES / "jetson_camera.py")
    monkeypatch.setitem(sys.modules, "jetson_utils", None)
    with pytest.raises(SystemExit, match="jetson_utils cannot be imported"):
        module.jetson_utils()

    class Image(DeviceArray):
        height, width = property(lambda self: self.shape[0]), property(lambda self: self.shape[1])

    frames = [None, *(Image(gpu.runtime, shot[0][..., ::-1].copy()) for _ in range(4))]
    shown: list[Any] = []

    def render(image: Image) -> None:
        gpu.runtime.run(1)
        shown.append(image)

    def resize(image: Image, small: Image) -> None:
        gpu.runtime.run(1)
        small.view[...] = cv2.resize(image.view, small.view.shape[1::-1], interpolation=cv2.INTER_AREA)

    utils: Any = ModuleType("jetson_utils")
    utils.videoSource = lambda name: SimpleNamespace(
        IsStreaming=lambda: bool(frames), Capture=lambda format, timeout: frames.pop(0)
    )
    utils.videoOutput = lambda name: SimpleNamespace(IsStreaming=lambda: True, Render=render)
    utils.cudaAllocMapped = lambda width, height, format: Image(gpu.runtime, np.zeros((height, width, 3), np.uint8))
    utils.cudaResize, utils.cudaToNumpy, utils.cudaDeviceSynchronize = resize, lambda image: image.view, lambda: None
    monkeypatch.setitem(sys.modules, "jetson_utils", utils)
    monkeypatch.setattr(module, "SEARCHED", SIZE // 2)
    monkeypatch.setattr(sys, "argv", ["jetson_camera.py", "--years", "70"])
    module.main()
    assert len(shown) == 4
    assert "cudaMemcpy2DAsync" not in gpu.runtime.names()
    if kernels.cuda_is_host():
        for image in shown:
            changed = middle(image.view[..., ::-1], shot[1])
            assert changed == pytest.approx(middle(shot[0], shot[1]) - SHIFT, abs=4)


@pytest.mark.gpu
@pytest.mark.parametrize("library", ["CuPy", "Torch"])
def test_gpu_frames_on_a_gpu(library: str, shot: tuple[Image8, Floats], tiny_model: Path, tiny: Transformer) -> None:
    pytest.importorskip(library.lower())
    module = load(EXAMPLES / "gpu_frames.py")
    gpu, picture = getattr(module, library)(), np.ascontiguousarray(shot[0][..., ::-1])
    with Transformer(tiny_model, device=0) as transformer:
        frame = gpu.up(picture)
        assert module.older(transformer, gpu, frame, 70) == 1
        out = gpu.down(frame)
    assert np.abs(out.astype(int) - tiny.age(picture, years=70, color="bgr")).max() <= 2
