"""Every example is run: on films of the astronaut, without a screen, and on a stand-in for CUDA. What cannot be says so."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import cuda_stand_in
import cv2
import numpy as np
import pytest
from test_gpu_frame_path import QueuedEngine
from test_stream_films import Floats, Image8, background, film, move

import lgin_edge
from lgin_edge import Transformer, _ops

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SERVICE = EXAMPLES / "service"
#: A side that is no multiple of 4, so that GStreamer pads its rows.
SIZE = 198
#: Levels by which the tiny model darkens a face at 70 years, and lightens it at 30.
SHIFT = 51

if not EXAMPLES.is_dir():
    pytest.skip(f"no examples at {EXAMPLES}: they are in a checkout, not in a wheel", allow_module_level=True)


def load(path: Path) -> Any:
    """An example as a module, without running it."""
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and annotations look
    spec.loader.exec_module(module)
    return module


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
    return result


def execute(*command: object, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, timeout=60, check=False)


def middle(picture: Image8, landmarks: Floats) -> float:
    """How bright the middle of a face is, levels."""
    x, y = np.rint(landmarks.mean(axis=0)).astype(int)
    return float(picture[y - 6 : y + 6, x - 6 : x + 6].mean())


@pytest.fixture(scope="module")
def shot(astronaut: Image8) -> tuple[Image8, Floats]:
    """A frame [SIZE, SIZE, 3] RGB, grey enough for the shift to have room; and the landmarks of its face."""
    one = film(astronaut, [move((SIZE * 0.42, SIZE * 0.5), 36)], SIZE)[0]
    return (60 + 0.5 * one.frame).astype(np.uint8), one.faces[0]


def write_film(path: Path, picture: Image8, frames: int) -> Path:
    av = pytest.importorskip("av", reason="makes the film: pip install 'lgin-edge[test]'")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width = stream.height = SIZE
        stream.pix_fmt, stream.options = "yuvj420p", {"qscale": "2"}
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory, shot: tuple[Image8, Floats]) -> Path:
    """A film of ten seconds in which nothing moves."""
    return write_film(tmp_path_factory.mktemp("film") / "film.mkv", shot[0], 300)


class Fake:
    """A camera: the same picture at about 60 frames a second, until it is pulled out; it can be opened again."""

    def __init__(self, picture: Image8) -> None:
        self.picture = picture
        self.opened = 0
        self.pulled = threading.Event()

    def __iter__(self) -> Iterator[Image8]:
        self.opened += 1
        while not self.pulled.wait(1 / 60):
            yield self.picture
        raise lgin_edge.StreamError("the camera was unplugged")


# ---- all of them


def test_the_readme_names_every_example() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    for path in [*EXAMPLES.glob("*.py"), *SERVICE.iterdir()]:
        if path.is_file():
            assert f"({path.relative_to(EXAMPLES)})" in readme, path
    for target in re.findall(r"\]\(([^)#]+)", readme):
        if target.startswith("../") and not (ROOT / "docs").is_dir():
            continue  # the tests of a wheel run beside the examples alone
        assert target.startswith("https://") or (EXAMPLES / target).exists(), target


# ---- opencv_loop.py


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """OpenCV's window, which the headless OpenCV lacks: keeps what is shown, and has Esc pressed after ``keys`` frames."""
    seen = SimpleNamespace(frames=[], keys=1000)
    monkeypatch.setattr(cv2, "imshow", lambda _, frame: seen.frames.append(frame.copy()), raising=False)
    monkeypatch.setattr(cv2, "waitKey", lambda _: 27 if len(seen.frames) >= seen.keys else -1, raising=False)
    return seen


def opencv_loop(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["opencv_loop.py", *arguments])
    runpy.run_path(str(EXAMPLES / "opencv_loop.py"), run_name="__main__")


def test_opencv_loop(
    monkeypatch: pytest.MonkeyPatch, window: Any, movie: Path, shot: tuple[Image8, Floats], tiny_model: Path
) -> None:
    monkeypatch.setattr("lgin_edge.transformer.WEIGHTS", tiny_model)
    window.keys = 80
    opencv_loop(monkeypatch, str(movie))
    assert len(window.frames) == 80
    picture, landmarks = shot
    assert middle(window.frames[-1], landmarks) == pytest.approx(middle(picture, landmarks) - SHIFT, abs=4)
    assert np.abs(window.frames[-1][-8:, ..., ::-1].astype(int) - picture[-8:]).mean() < 6  # BGR stayed BGR


def test_opencv_loop_without_a_camera(monkeypatch: pytest.MonkeyPatch, window: Any, movie: Path) -> None:
    with pytest.raises(SystemExit, match="is it plugged in"):
        opencv_loop(monkeypatch, str(movie.with_name("none.mkv")))
    assert window.frames == []


def test_opencv_loop_is_short() -> None:
    text = (EXAMPLES / "opencv_loop.py").read_text().split('"""')[2]
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 15


# ---- gstreamer_nv12.py

GSTREAMER = "apt install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base, for this Python's version"


@pytest.fixture(scope="module")
def gi_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with PyGObject alone in it: the system's, if it fits this Python."""
    folder = tmp_path_factory.mktemp("gi")
    system = Path("/usr/lib/python3/dist-packages/gi")
    if importlib.util.find_spec("gi") is None and system.is_dir():
        (folder / "gi").symlink_to(system)
    check = "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstVideo', '1.0'); from gi.repository import Gst"
    check += "; Gst.init(None); assert Gst.ElementFactory.find('rawvideoparse')"
    run = execute(sys.executable, "-c", check, env=os.environ | {"PYTHONPATH": str(folder)})
    if run.returncode:
        pytest.skip(f"no GStreamer for {sys.executable} ({run.stderr.strip().splitlines()[-1]}): {GSTREAMER}")
    return folder


@pytest.fixture
def nv12(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example, for its functions that need no GStreamer."""
    monkeypatch.setitem(sys.modules, "gi", MagicMock())
    monkeypatch.setitem(sys.modules, "gi.repository", MagicMock())
    return load(EXAMPLES / "gstreamer_nv12.py")


def planes(width: int, height: int, stride: int, gap: int) -> tuple[bytes, list[int], list[int], Image8]:
    """A buffer with padded rows and a gap before the UV plane: bytes, strides, offsets; and the frame that is in it."""
    frame = np.random.default_rng(3).integers(0, 256, (height * 3 // 2, width), np.uint8)
    data = np.full(stride * height * 3 // 2 + gap, 0xEE, np.uint8)
    y = data[: stride * height].reshape(height, stride)
    uv = data[stride * height + gap :].reshape(height // 2, stride)
    y[:, :width], uv[:, :width] = frame[:height], frame[height:]
    return data.tobytes(), [stride, stride, 0, 0], [0, stride * height + gap, 0, 0], frame


@pytest.mark.parametrize(("stride", "gap"), [(20, 0), (20, 96), (32, 0), (256, 4096)])
def test_nv12_is_repacked(nv12: Any, stride: int, gap: int) -> None:
    data, strides, offsets, frame = planes(20, 8, stride, gap)
    got = nv12.from_gstreamer(data, 20, 8, strides, offsets)
    np.testing.assert_array_equal(got, frame)
    assert got.flags.c_contiguous
    assert got.flags.writeable  # its own memory: the buffer goes back


def test_nv12_that_is_cut_off_is_refused(nv12: Any) -> None:
    data, strides, offsets, _ = planes(20, 8, 32, 0)
    with pytest.raises((ValueError, TypeError)):
        nv12.from_gstreamer(data[:-40], 20, 8, strides, offsets)


@pytest.mark.parametrize("width", [16, 18])
def test_nv12_goes_back_as_gstreamer_expects_it(nv12: Any, width: int) -> None:
    stride = -(-width // 4) * 4  # GST_ROUND_UP_4, as gst_video_info_set_format has it
    frame = planes(width, 8, stride, 0)[3]
    back = nv12.from_gstreamer(nv12.to_gstreamer(frame), width, 8, [stride] * 2, [0, stride * 8])
    np.testing.assert_array_equal(back, frame)


def gstreamer_nv12(
    gi_path: Path, env: dict[str, str], *arguments: object, code: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the example; ``code`` before it, with the module of the example in ``m``."""
    env = env | {"PYTHONPATH": f"{gi_path}{os.pathsep}{env['PYTHONPATH']}"}
    env.pop("PYTHONWARNINGS")  # PyGObject has its own
    run = [str(EXAMPLES / "gstreamer_nv12.py")]
    if code:
        run = ["-c", f"import sys, runpy; sys.path.insert(0, {str(EXAMPLES)!r}); import gstreamer_nv12 as m; {code}"]
    return execute(sys.executable, *run, *arguments, env=env)


def test_gstreamer_film(
    gi_path: Path, subprocess_env: dict[str, str], tmp_path: Path, shot: tuple[Image8, Floats], tiny_model: Path
) -> None:
    """NV12 frames with padded rows in, through the model, and out again."""
    picture, landmarks = shot
    i420 = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
    chroma = i420[SIZE:].reshape(2, -1).T.reshape(SIZE // 2, SIZE)
    frame = np.concatenate([i420[:SIZE], chroma])
    padded = np.pad(frame, ((0, 0), (0, -SIZE % 4)))
    (tmp_path / "in.nv12").write_bytes(padded.tobytes() * 45)
    source = (
        f"filesrc location={tmp_path}/in.nv12 ! rawvideoparse format=nv12 width={SIZE} height={SIZE} framerate=30/1"
    )
    run = gstreamer_nv12(
        gi_path, subprocess_env, "--source", f"{source} ! identity sync=true", "--model", tiny_model, "--years", 70,
        "--sink", f"filesink location={tmp_path}/out.nv12",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    out = np.fromfile(tmp_path / "out.nv12", np.uint8).reshape(-1, *padded.shape)[..., :SIZE]
    assert len(out) >= 20
    assert f"{len(out)} frames" in run.stdout
    assert "1 faces" in run.stdout
    np.testing.assert_array_equal(out[-1][:, -30:], frame[:, -30:])  # beside the face not a byte, in no plane
    gray = frame[:SIZE].astype(float)
    # A level of RGB is 219/255 of one of Y.
    assert middle(out[-1], landmarks) == pytest.approx(middle(gray, landmarks) - SHIFT * 219 / 255, abs=4)


def test_gstreamer_pipelines_of_a_jetson(gi_path: Path, subprocess_env: dict[str, str]) -> None:
    """NVIDIA's elements replaced by those that are everywhere: what stands around them can be parsed and runs."""
    code = (
        "swap = lambda t: t.replace('nvarguscamerasrc sensor-id={sensor}', 'videotestsrc is-live=true')"
        ".replace('(memory:NVMM)', '').replace('nvvidconv', 'videoconvert').replace('nv3dsink', 'fakesink'); "
        "m.CAMERA, m.SCREEN = swap(m.CAMERA), swap(m.SCREEN); assert 'nv' not in m.CAMERA.replace('convert', ''); "
        "m.Gst.init(None); source = m.CAMERA.format(sensor=0, width=320, height=240); "
        "m.run(source, m.SCREEN, years=70, model=None, seconds=0.3)"
    )
    run = gstreamer_nv12(gi_path, subprocess_env, code=code)
    assert run.returncode == 0, run.stderr
    assert re.match(r"\d+ frames.* 0 faces", run.stdout), run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "filesrc location=/nonexistent", "--sink", "fakesink"], "error: GStreamer: filesrc0: "),
        (["--source", "nosuchthing"], 'error: GStreamer: no element "nosuchthing"'),
        (["--test-source", "--sink", "filesink location=/nonexistent/x"], "error: GStreamer: filesink0: "),
        (["--test-source", "--width", "321", "--sink", "fakesink"], "error: frame: color 'nv12' is"),
    ],
)
def test_gstreamer_errors(gi_path: Path, subprocess_env: dict[str, str], arguments: list[str], message: str) -> None:
    run = gstreamer_nv12(gi_path, subprocess_env, *arguments)
    assert run.returncode == 1
    assert run.stderr.startswith(message), run.stderr


# ---- qt_kiosk.py


@pytest.fixture(scope="module")
def qt() -> Iterator[Any]:
    """The example as a module, with a Qt application that has no screen."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    widgets = pytest.importorskip(
        "PySide6.QtWidgets", reason="needs Qt: pip install 'lgin-edge[qt]'", exc_type=ImportError
    )
    app = widgets.QApplication.instance() or widgets.QApplication(["kiosk"])
    yield load(EXAMPLES / "qt_kiosk.py")
    app.quit()


@pytest.fixture
def kiosk(qt: Any, tiny: Transformer) -> Iterator[Callable[..., Any]]:
    """Opens a kiosk of 500 x 300; it is closed at the end, and no thread of it may be left."""
    windows = []

    def make(source: Any, transformer: Transformer = tiny, **options: Any) -> Any:
        window = qt.Kiosk(source, transformer, **options)
        windows.append(window)
        window.resize(500, 300)
        window.show()
        return window

    yield make
    for window in windows:
        window.close()
        assert window.camera.isFinished()
        window.deleteLater()
    wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("lgin-")])


def spin(condition: Callable[[], Any]) -> Any:
    """Let Qt work until something is so."""
    from PySide6.QtWidgets import QApplication

    def ask() -> Any:
        QApplication.processEvents()
        return condition()

    return wait_for(ask)


def grab(window: Any) -> Image8:
    """What the window shows, [H, W, 3] RGB."""
    from PySide6.QtGui import QImage

    image = window.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def shown(picture: Image8, window: Image8, landmarks: Floats) -> tuple[float, float]:
    """How bright the middle of a face is in a frame, and where a window of 500 x 300 shows it: covered, in a mirror."""
    x, y = landmarks.mean(axis=0) * (500 / SIZE)
    at = np.array([[500 - x, y - (500 - 300) / 2]])
    return middle(picture, landmarks), middle(window, at)


def test_kiosk(kiosk: Callable[..., Any], movie: Path, shot: tuple[Image8, Floats]) -> None:
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest

    window = kiosk(str(movie))
    spin(lambda: window._picture is not None and window._picture.faces)
    was, old = spin(lambda: (pair := shown(shot[0], grab(window), shot[1]))[1] < pair[0] - SHIFT + 5 and pair)
    assert old == pytest.approx(was - SHIFT, abs=5)
    assert window.message.isHidden()
    # A finger at the left end, then the button.
    QTest.mouseClick(window.slider, Qt.MouseButton.LeftButton, pos=QPoint(2, window.slider.height() // 3))
    assert window.slider.value() == 30
    young = spin(lambda: (level := shown(shot[0], grab(window), shot[1])[1]) > was + SHIFT - 5 and level)
    assert young == pytest.approx(was + SHIFT, abs=5)
    QTest.mousePress(window.compare, Qt.MouseButton.LeftButton)
    assert shown(shot[0], grab(window), shot[1])[1] == pytest.approx(was, abs=4)
    QTest.mouseRelease(window.compare, Qt.MouseButton.LeftButton)
    assert shown(shot[0], grab(window), shot[1])[1] > was + SHIFT - 8
    QTest.keyClick(window, Qt.Key.Key_Escape)
    assert not window.isVisible()
    assert window.camera.isFinished()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None cannot be lost from Python 3.12 on")
def test_qt_counts_its_references(kiosk: Callable[..., Any], shot: tuple[Image8, Floats]) -> None:
    """PySide 6.12.0 does not, and a kiosk on it aborts after some hundred frames; pyproject.toml keeps it away."""
    window = kiosk(Fake(shot[0]))
    spin(lambda: window._picture is not None)
    before = sys.getrefcount(None)
    for _ in range(100):
        grab(window)
    assert before - sys.getrefcount(None) < 500  # it lost 30 and more a frame


def test_kiosk_with_nobody_there(qt: Any, kiosk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes is invited, and finds the age as it was."""
    monkeypatch.setattr(qt, "INVITE", 0.2)
    window = kiosk(Fake(np.ascontiguousarray(background(SIZE))), years=60)
    window.slider.setValue(40)
    spin(lambda: "Step in front" in window.message.text() and not window.message.isHidden())
    assert window.slider.value() == 40
    monkeypatch.setattr(qt, "RESET", 0.3)
    spin(lambda: window.slider.value() == 60)


def test_kiosk_whose_camera_goes_away(
    qt: Any,
    kiosk: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shot: tuple[Image8, Floats],
) -> None:
    monkeypatch.setattr(qt, "RETRY", 0.05)
    camera = Fake(shot[0])
    window = kiosk(camera)
    spin(lambda: window._picture is not None)
    camera.pulled.set()
    spin(lambda: "away" in window.message.text())
    assert window.slider.isHidden()
    assert np.ptp(grab(window)[:60]) < 40  # a dark window, not the last picture of somebody
    assert "the camera was unplugged" in capsys.readouterr().err
    camera.pulled.clear()
    spin(lambda: window._picture is not None)
    assert not window.slider.isHidden()
    assert camera.opened >= 2


def test_kiosk_ends_with_an_error_that_stays(
    kiosk: Callable[..., Any], tiny_model: Path, shot: tuple[Image8, Floats]
) -> None:
    with Transformer(tiny_model) as transformer:
        window = kiosk(Fake(shot[0]), transformer)
        spin(lambda: window._picture is not None)
        transformer.close()
        spin(lambda: not window.isVisible())
        assert window.broken.startswith("ClosedError")


@pytest.mark.usefixtures("qt")
def test_kiosk_as_a_program(subprocess_env: dict[str, str], tmp_path: Path, tiny_model: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "qt_kiosk.py"), str(tmp_path / "none.mkv"), "--windowed", "--model"]
    env = subprocess_env | {"QT_QPA_PLATFORM": "offscreen"}
    with subprocess.Popen([*command, str(tiny_model)], env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "no such file" not in (line := process.stderr.readline()):  # it runs, and waits for its camera
            assert line, "it ended by itself"
        process.terminate()
        assert process.wait(15) == 0
        assert "Error" not in process.stderr.read()
    run = execute(*command, "none.onnx", env=env)
    assert run.returncode == 1
    assert run.stderr.startswith("error: none.onnx")


# ---- gpu_frames.py


class DeviceArray:
    """What CuPy would give: an array whose memory is the stand-in's."""

    def __init__(self, runtime: cuda_stand_in.Runtime, view: np.ndarray) -> None:
        self.runtime, self.view = runtime, view
        self.shape = view.shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        view = self.view
        return {"shape": view.shape, "strides": view.strides, "typestr": "|u1", "version": 3, "stream": 1,
                "data": (view.__array_interface__["data"][0], False)}  # fmt: skip

    def __getitem__(self, part: Any) -> DeviceArray:
        return DeviceArray(self.runtime, self.view[part])


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> SimpleNamespace:
    """A GPU that is a stand-in, with a CuPy for it, and what was copied down from it."""
    from lgin_edge.gpu import frame_path
    from lgin_edge.gpu.cuda import Cuda, Stream

    runtime = cuda_stand_in.Runtime()
    launches = cuda_stand_in.queue_launches(runtime, monkeypatch)
    down: list[int] = []

    def open_path(model: Path, device: int | str, sha256: str | None = None) -> frame_path.GpuFramePath:
        cuda = Cuda(0, runtime)
        return frame_path.GpuFramePath(cuda, Stream(cuda), QueuedEngine(tiny_model, runtime))

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
    monkeypatch.setattr("lgin_edge.gpu.open_path", open_path)
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
    assert [name for name, _ in gpu.launches[:2]] == ["launch_crop", "launch_paste"]
    assert not any(
        name == "cudaMemcpy2DAsync" for name in gpu.runtime.names()
    )  # no frame was taken down behind its back
    picture, landmarks = shot
    out = cv2.imread(str(last))
    assert out is not None
    if _ops.cuda_is_host():  # the kernels are run
        assert middle(out, landmarks) == pytest.approx(middle(picture, landmarks) - SHIFT, abs=4)
    else:
        assert middle(out, landmarks) == pytest.approx(middle(picture, landmarks), abs=4)


def test_gpu_frames_without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(EXAMPLES / "gpu_frames.py")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="needs CuPy or PyTorch"):
        module.arrays()


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


# ---- the service


@pytest.fixture
def service() -> Any:
    return load(SERVICE / "service.py")


@contextlib.contextmanager
def serving(service: Any, source: Any, transformer: Transformer) -> Iterator[tuple[Any, str]]:
    """The service in this process: its camera, and its address."""
    camera = service.Camera(source, transformer, 70.0)
    with service.Server("127.0.0.1", 0, camera) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        camera.start()
        try:
            yield camera, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            camera.stop()
            server.shutdown()
            thread.join(10)
    assert not camera._thread.is_alive()


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Status and body."""
    request = urllib.request.Request(url, body, headers, method="GET" if body is None else "PUT")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def brightness(url: str, landmarks: Floats) -> float:
    """Of the face in a snapshot."""
    status, body = ask(f"{url}/snapshot.jpg")
    assert status == 200
    return middle(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR), landmarks)


def test_service_as_a_program(
    subprocess_env: dict[str, str], tmp_path: Path, movie: Path, shot: tuple[Image8, Floats], tiny_model: Path
) -> None:
    """Started as systemd starts it; watched by OpenCV; stopped as systemd and container engines stop it."""
    picture, landmarks = shot
    was = middle(picture, landmarks)
    env = subprocess_env | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "LGIN_SOURCE": str(movie), "LGIN_YEARS": "70",
                            "LGIN_MODEL": str(tiny_model), "LGIN_LISTEN": "127.0.0.1:0"}  # fmt: skip
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        bell.bind(str(tmp_path / "notify"))
        bell.settimeout(20)
        command = [sys.executable, str(SERVICE / "service.py")]
        with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert bell.recv(100) == b"READY=1"
                assert bell.recv(100) == b"WATCHDOG=1"
                assert process.stderr is not None
                match = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
                assert match is not None
                url = match[0]
                status, body = ask(f"{url}/health")
                assert status == 200
                assert json.loads(body)["faces"] == 1
                capture = cv2.VideoCapture(f"{url}/stream.mjpg")
                seen = [capture.read() for _ in range(40)]
                assert all(there for there, _ in seen)
                assert middle(seen[-1][1], landmarks) == pytest.approx(was - SHIFT, abs=5)
                assert ask(f"{url}/years", b"30") == (200, b"30\n")
                for _ in range(60):
                    there, frame = capture.read()
                    assert there
                assert middle(frame, landmarks) == pytest.approx(was + SHIFT, abs=5)
                capture.release()
                process.send_signal(signal.SIGTERM)
                assert process.wait(15) == 0
            finally:
                process.kill()
            assert "Traceback" not in process.stderr.read()
        bell.setblocking(False)
        told = []
        with contextlib.suppress(BlockingIOError):
            while True:
                told.append(bell.recv(100))
        assert told[-1] == b"STOPPING=1"


def test_service_waits_for_its_camera(
    service: Any, monkeypatch: pytest.MonkeyPatch, tiny: Transformer, shot: tuple[Image8, Floats]
) -> None:
    monkeypatch.setattr(service, "RETRY", 0.05)
    camera_ = Fake(shot[0])
    camera_.pulled.set()
    with serving(service, camera_, tiny) as (camera, url):
        wait_for(lambda: "unplugged" in camera.problem)
        status, body = ask(f"{url}/health")
        assert status == 503
        assert json.loads(body)["problem"] == "the camera was unplugged"
        camera_.pulled.clear()
        wait_for(lambda: ask(f"{url}/health")[0] == 200)
        assert ask(f"{url}/snapshot.jpg")[0] == 200
        camera_.pulled.set()
        wait_for(lambda: ask(f"{url}/health")[0] == 503)
        assert ask(f"{url}/snapshot.jpg") == (503, b"the camera was unplugged\n")  # no picture of somebody who went


def test_service_refuses(service: Any, monkeypatch: pytest.MonkeyPatch, tiny: Transformer, shot: Any) -> None:
    monkeypatch.setattr(service, "WATCHERS", 1)
    monkeypatch.setattr(service, "IDLE", 0.02)
    with serving(service, Fake(shot[0]), tiny) as (camera, url):
        wait_for(lambda: not camera.problem)
        for body in (b"old", b"nan", b"-1", b"900", b"", b"7" * 100):
            assert ask(f"{url}/years", body)[0] == 400
        assert ask(f"{url}/years") == (200, b"70\n")
        assert ask(f"{url}/other")[0] == 404
        assert ask(f"{url}/other", b"1")[0] == 404
        for path in ("health", "years", "snapshot.jpg", "stream.mjpg"):  # another site, by a name for our address
            assert ask(f"{url}/{path}", Host="evil.example")[0] == 421
        assert ask(f"{url}/years", b"30", Host="evil.example:8090")[0] == 421
        for host in ("localhost:8090", "192.168.1.5", "[::1]:8090", "kiosk.local", "lgin-edge:80"):
            assert ask(f"{url}/years", Host=host)[0] == 200
        with urllib.request.urlopen(f"{url}/stream.mjpg", timeout=10) as first:
            assert first.readline() == b"--frame\r\n"
            assert ask(f"{url}/stream.mjpg") == (503, b"too many watch already\n")
            assert json.loads(ask(f"{url}/health")[1])["watchers"] == 1
        wait_for(lambda: json.loads(ask(f"{url}/health")[1])["watchers"] == 0)


def test_service_sleeps_while_nobody_watches(
    service: Any, monkeypatch: pytest.MonkeyPatch, tiny: Transformer, shot: tuple[Image8, Floats]
) -> None:
    monkeypatch.setattr(service, "IDLE", 0.3)
    with serving(service, Fake(shot[0]), tiny) as (camera, url):
        wait_for(lambda: camera.health.get("frames"))
        before = camera.health["frames"]
        time.sleep(0.7)
        assert 1 <= camera.health["frames"] - before <= 4
        with urllib.request.urlopen(f"{url}/stream.mjpg", timeout=10):
            before = camera.health["frames"]
            wait_for(lambda: camera.health["frames"] - before > 15, 3)


def test_service_ends_with_wrong_options(subprocess_env: dict[str, str]) -> None:
    for option, message in (("--years=900", "error: years"), ("--model=none.onnx", "error: none.onnx")):
        run = execute(sys.executable, SERVICE / "service.py", "0", option, "--listen=127.0.0.1:0", env=subprocess_env)
        assert run.returncode == 1
        assert run.stderr.startswith(message), run.stderr


def test_systemd_unit(tmp_path: Path, subprocess_env: dict[str, str]) -> None:
    unit = (SERVICE / "lgin-edge.service").read_text()
    assert "NoNewPrivileges=yes" in unit
    assert "DynamicUser=yes" in unit
    command = re.search(r"^ExecStart=(\S+) (\S+)$", unit, re.MULTILINE)
    assert command is not None
    for name in command.groups():  # the commands at the top of the file put them there
        assert name in unit[: unit.index("[Unit]")] or name == "/opt/lgin-edge/bin/python"
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze: apt install systemd")
    here = tmp_path / "lgin-edge.service"
    here.write_text(unit.replace(command[1], sys.executable).replace(command[2], str(SERVICE / "service.py")))
    run = execute(analyze, "verify", "--man=no", here, env=subprocess_env)
    assert (run.returncode, run.stderr) == (0, "")
    score = execute(analyze, "security", "--offline=yes", "--threshold=25", here, env=subprocess_env)
    assert score.returncode == 0, score.stdout.splitlines()[-1]  # 2.5 of 10 at most, where less is safer


def test_options_of_the_environment() -> None:
    """What the unit's and the containers' files set is what the program reads."""
    read = set(re.findall(r'"(LGIN_\w+)"', (SERVICE / "service.py").read_text()))
    for name in ("lgin-edge.env", "Containerfile", "Containerfile.jetson"):
        text = re.sub(r"LGIN_CUDA=\w+", "", (SERVICE / name).read_text())
        used = set(re.findall(r"\b(LGIN_\w+)=", text))
        assert used
        assert used <= read


def instructions(path: Path) -> list[tuple[str, str]]:
    """A container file's instructions, with their continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    return [
        (name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())
    ]


@pytest.mark.parametrize("name", ["Containerfile", "Containerfile.jetson"])
def test_container_files(name: str) -> None:
    steps = instructions(SERVICE / name)
    known = {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "EXPOSE", "VOLUME", "STOPSIGNAL", "HEALTHCHECK",
             "ENTRYPOINT"}  # fmt: skip
    assert {step for step, _ in steps} <= known
    copied = set()
    for step, rest in steps:
        words = shlex.split(rest)
        if step == "COPY" and not words[0].startswith("--from="):
            assert len(words) == 2 or words[-1].endswith("/")
            copied |= set(words[:-1])
    assert {"CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE", "csrc", "lgin_edge"} <= copied
    if (ROOT / "csrc").is_dir():  # the tests of a wheel run beside the examples alone
        assert all((ROOT / source).exists() for source in copied), copied
    assert all((ROOT / source).exists() for source in copied if source.startswith("examples/"))
    order = [step for step, _ in steps]
    assert order.index("USER") > max(i for i, step in enumerate(order) if step in ("RUN", "COPY"))  # root ends there
    entry = json.loads(dict(steps)["ENTRYPOINT"])
    assert f"examples/service/{Path(entry[-1]).name}" in copied
    health = dict(steps)["HEALTHCHECK"]
    check = json.loads(health[health.index("CMD") + 3 :])
    compile(check[2], "HEALTHCHECK", "exec")
    assert "127.0.0.1:8090/health" in check[2]
    assert dict(steps)["EXPOSE"] == "8090"


def test_the_jetson_container_installs_what_is_needed() -> None:
    """OpenCV is Ubuntu's there, so the others are named one by one: as ``pyproject.toml`` does."""
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {*project["dependencies"], *project["optional-dependencies"]["engine"]}
    (install,) = [rest for step, rest in instructions(SERVICE / "Containerfile.jetson") if "apt-get" in rest]
    installed = {name.replace("<2", "") for name in re.findall(r'"([^"]+)"', install)}

    def bare(names: set[str]) -> set[str]:
        return {name.rstrip(",") for name in names if not name.startswith(("opencv", "cuda-python", "${"))}

    assert bare(installed) == bare(needed)


def test_engine_first(tmp_path: Path, subprocess_env: dict[str, str], tiny_model: Path) -> None:
    """The engine is built when there is none, and not again; then the service runs. The builder is a stand-in."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (commands / "python").chmod(0o755)
    builder = commands / "lgin-edge"
    builder.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/built"\ncp "{tiny_model}" "$4"\n')
    builder.chmod(0o755)
    env = subprocess_env | {"PATH": f"{commands}:{os.environ['PATH']}", "LGIN_MODEL": str(tmp_path / "model.onnx")}
    for _ in range(2):
        run = execute("sh", SERVICE / "engine_first.sh", "--help", env=env)
        assert run.returncode == 0, run.stderr
        assert "--listen" in run.stdout
    assert (tmp_path / "built").read_text() == f"build --overwrite --out {tmp_path}/model.onnx\n"
    assert "building the engine" not in run.stderr
    builder.write_text("#!/bin/sh\nexit 5\n")
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    run = execute("sh", SERVICE / "engine_first.sh", env=env)
    assert run.returncode == 5
    assert "building the engine, which takes minutes: " in run.stderr
