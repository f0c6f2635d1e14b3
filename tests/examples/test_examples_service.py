"""examples/service: the program, run and watched; the unit and the container files, as far as they can be checked."""

from __future__ import annotations

import contextlib
import json
import os
import re
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from example_runs import (
    EXAMPLES,
    ROOT,
    SERVICE,
    SHIFT,
    Fake,
    execute,
    load,
    middle,
    wait_for,
)
from support.films import Floats, Image8

from lgin_edge import Transformer

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason=f"no examples at {EXAMPLES}: they are in a checkout, not in a wheel"
)


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

                def comes_to(level: float) -> bool:
                    there, frame = capture.read()
                    assert there
                    return bool(abs(middle(frame, landmarks) - level) <= 5)

                wait_for(lambda: comes_to(was - SHIFT))
                assert ask(f"{url}/years", b"30") == (200, b"30\n")
                wait_for(lambda: comes_to(was + SHIFT))
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
    assert (tmp_path / "built").read_text() == f"build --overwrite --out {tmp_path}/model.onnx --workspace 1024\n"
    assert "building the engine" not in run.stderr
    builder.write_text("#!/bin/sh\nexit 5\n")
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    run = execute("sh", SERVICE / "engine_first.sh", env=env)
    assert run.returncode == 5
    assert "building the engine, which takes minutes: " in run.stderr
