"""examples/gstreamer_nv12.py: its layouts as functions, and itself on a GStreamer where there is one."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest
from example_runs import (
    EXAMPLES,
    SHIFT,
    SIZE,
    execute,
    load,
    middle,
)
from support.films import Floats, Image8

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason=f"no examples at {EXAMPLES}: they are in a checkout, not in a wheel"
)


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
    (tmp_path / "in.nv12").write_bytes(padded.tobytes() * 75)
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
