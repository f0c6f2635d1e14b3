"""Batches on Ray: the same results as in one process, whatever happens to the workers. Each test starts a Ray of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import on_ray
import pytest
from example_runs import INTEGRATIONS, load
from support.batches import blank, encoded, files, journal, settings, write_tar
from typer.testing import CliRunner

from lgin_edge import BackendError, InputError, ModelError
from lgin_edge.batch import run
from lgin_edge.batch.tasks import Task

#: Runs before everything else in a Python process that finds it: a picture of this name kills who reads it.
POISON = """
import os, signal
from lgin_edge.batch.worker import Worker
read = Worker._read
def deadly(self, path, **options):
    if path.name == "poison.png":
        os.kill(os.getpid(), signal.SIGKILL)
    return read(self, path, **options)
Worker._read = deadly
"""
#: Two machines of one core each, as far as Ray can tell, until a line is sent.
CLUSTER = """
import os, sys
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
from ray.cluster_utils import Cluster
node = {"num_cpus": 1, "object_store_memory": 100 << 20}
cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False, "ray_client_server_port": int(sys.argv[1])})
cluster.add_node(**node)
print("there", flush=True)
sys.stdin.readline()
print(sum(not node.dead_processes() for node in cluster.list_all_nodes()), "nodes are there", flush=True)
cluster.shutdown()
"""


@pytest.fixture
def source(tmp_path: Path, astronaut: np.ndarray) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for i in range(24):
        (folder / f"{i:02}.jpg").write_bytes(encoded(np.roll(astronaut, i, axis=1), "JPEG"))
    (folder / "blank.png").write_bytes(blank())
    return folder


@pytest.fixture
def env(subprocess_env: dict[str, str]) -> Iterator[dict[str, str]]:
    """Ray's own warnings are no errors of ours, and what it leaves behind can be found; its sockets want a short path.

    As docs/batch.md says of a cluster: without fork handlers of gRPC, in which its client's server died 3 times in 9.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        ours = {
            "PYTHONWARNINGS": "default",
            "TMPDIR": folder,
            "HOME": folder,
            "ORT_DISABLE_TELEMETRY": "1",
            "GRPC_ENABLE_FORK_SUPPORT": "0",
        }
        yield subprocess_env | ours


def command(*arguments: Any) -> list[str]:
    return [sys.executable, str(INTEGRATIONS / "datasets" / "batch.py"), *map(str, arguments), "--executor", "ray"]


def results(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in files(out) if name.endswith((".jpg", ".tar"))}


def children(pid: int) -> Iterator[tuple[int, str]]:
    """Processes below one, and their names."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                name = (entry / "cmdline").read_text()
            except (OSError, ValueError):
                continue  # it ended
            if parent == pid:
                yield int(entry.name), name
                yield from children(int(entry.name))


def listening(pids: set[int]) -> list[str]:
    """Addresses at which these processes listen, in hexadecimal digits of 32-bit words."""
    sockets = set()
    for pid in pids:
        with suppress(OSError):
            sockets |= {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path("/proc/net", name).read_text().splitlines()[1:]]
    return [row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds Ray's workers in /proc")
def test_killed_workers(source: Path, tmp_path: Path, tiny_model: Path, env: dict[str, str]) -> None:
    """One worker is killed from outside in the middle, and one picture kills every worker that reads it."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'lgin-edge[ray]'")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(POISON)
    (source / "poison.png").write_bytes(blank())
    out, common = tmp_path / "out", ["--model", tiny_model, "--group", 4]
    process = subprocess.Popen(
        command(source, out, *common, "--workers", 2),
        env={**env, "PYTHONPATH": f"{tmp_path / 'site'}:{env['PYTHONPATH']}"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    killed = 0
    while process.poll() is None and not killed:
        time.sleep(0.02)
        if out.is_dir() and any(out.glob("*.jpg")):
            at = listening({process.pid, *(pid for pid, _ in children(process.pid))})
            for pid, name in children(process.pid):
                if name.startswith("ray::MapWorker") and not killed:
                    os.kill(pid, signal.SIGKILL)
                    killed, there = pid, len(list(out.glob("*.jpg")))
    stdout, stderr = process.communicate(timeout=240)
    assert killed, stdout + stderr
    assert at
    assert all(address.endswith("0100007F") for address in at), at  # 127.0.0.1: nobody else is let near
    assert there < 24, "all was done before a worker could be killed"
    assert process.returncode == 4, stderr
    assert "24 pictures with 24 faces" in stdout
    assert "1 without a face, 1 failed" in stderr
    assert "Traceback" not in stderr
    (failed,) = [row for row in journal(out)[1:] if not row["complete"]]
    assert failed["left_out"] == [["poison.png", "3 workers died of it (out of memory?)"]]
    alone = tmp_path / "alone"
    run.run(source, alone, settings(tiny_model))
    assert results(out) == results(alone)
    assert set(files(out)) == {*results(out), "report.jsonl", "failures.csv"}  # nothing half written
    assert list(Path(env["TMPDIR"]).iterdir()) == []  # nor anything of Ray's
    # The same folder goes on in one process: the poison is the one thing left, and here it is none.
    executor: list[str] = []
    summary = run.run(
        source,
        out,
        settings(tiny_model),
        executor=lambda u, s: (executor.extend(x.name for x in u), run.local(u, s))[1],
    )
    assert (executor, summary.before, summary.failed) == (["poison.png"], 25, 0)


@pytest.mark.slow
def test_shards_on_a_cluster(source: Path, tmp_path: Path, tiny_model: Path, env: dict[str, str]) -> None:
    """A Ray of two nodes that runs already is found by RAY_ADDRESS, through Ray's client, and left running."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'lgin-edge[ray]'")
    shards = tmp_path / "shards"
    shards.mkdir()
    pictures = [(path.name, path.read_bytes()) for path in sorted(source.iterdir())]
    for i in range(3):
        write_tar(shards / f"{i}.tar", pictures[i * 4 : i * 4 + 4])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER, str(port)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert cluster.stdout is not None
        assert cluster.stdout.readline() == "there\n", "the cluster did not start"
        done = subprocess.run(
            command(shards, tmp_path / "out", "--model", tiny_model, "--group", 4),
            env={**env, "RAY_ADDRESS": f"ray://127.0.0.1:{port}"}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "12 pictures with 12 faces" in done.stdout
        print("end", file=cluster.stdin, flush=True)
        assert cluster.stdout.readline() == "2 nodes are there\n"
    finally:
        cluster.communicate(timeout=60)
    assert cluster.returncode == 0
    run.run(shards, tmp_path / "alone", settings(tiny_model))
    assert results(tmp_path / "out") == results(tmp_path / "alone")


def test_errors_of_workers_are_raised(tmp_path: Path, tiny_model: Path) -> None:
    """As rows, which a worker sends and the batch's process reads; without a Ray."""
    other = on_ray.RayWorker(replace(settings(tiny_model), sha256="0" * 64), None)
    with pytest.raises(ModelError, match="is another model here"):
        on_ray._outcome(other({}))
    for error, kind in (
        (InputError("x"), InputError),
        (ValueError("x"), BackendError),
        (BackendError("x"), BackendError),
    ):
        with pytest.raises(kind, match="x"):
            on_ray._outcome({"error": on_ray._told(error), "outcome": ""})


def test_folders_of_killed_batches_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(near))
    try:
        for name in ("lgin-ray-left", "lgin-ray-held", "lgin-ray-new", "other"):
            (near / name / "session").mkdir(parents=True)
            if name != "lgin-ray-new":
                os.utime(near / name, (0, 0))
        (tmp_path / "file").touch()
        (near / "lgin-ray-link").symlink_to(tmp_path)
        with on_ray._locked(near / "lgin-ray-held"), on_ray._folder() as folder:
            assert files(tmp_path) == ["file"]
            names = {path.name for path in near.iterdir()}
            assert names == {"lgin-ray-held", "lgin-ray-new", "lgin-ray-link", "other", Path(folder).name}
            with pytest.raises(OSError, match="temporarily unavailable"), on_ray._locked(folder):
                pass
        assert not Path(folder).exists()
    finally:
        shutil.rmtree(near)


def test_attempts() -> None:
    attempts = on_ray.Attempts()
    assert [attempts.begin("a"), attempts.begin("a"), attempts.begin("b")] == [1, 2, 1]
    attempts.end("a")
    assert attempts.begin("a") == 1


def test_without_ray(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    task = Task("a", "a", "a", 0, 0)
    with pytest.raises(BackendError, match=r"pip install 'lgin-edge\[ray\]'"):
        next(on_ray.run([task], settings(tiny_model)))
    assert list(on_ray.run([], settings(tiny_model))) == []  # nothing to do needs no Ray


def test_the_command_in_one_process(source: Path, tmp_path: Path, tiny_model: Path) -> None:
    app, (shards, out) = load(INTEGRATIONS / "datasets" / "batch.py").app, (tmp_path / "shards", tmp_path / "out")
    shards.mkdir()
    write_tar(shards / "a.tar", [(name, (source / name).read_bytes()) for name in ("00.jpg", "blank.png")])

    def batch(*arguments: Any) -> Any:
        return CliRunner().invoke(app, [*map(str, (shards, out, "--model", tiny_model, "--group", 4, *arguments))])

    done = batch()
    assert done.exit_code == 0, done.output
    assert "1 pictures with 1 faces" in done.stdout
    assert files(out) == ["a.tar", "failures.csv", "report.jsonl"]
    other = batch("--column", "photo")
    assert other.exit_code == 2
    assert "{'column': 'image'}" in other.stderr
    assert batch("--workers", 2).exit_code == batch("--address", "auto").exit_code == 2
