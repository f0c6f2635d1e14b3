"""A batch in this process: what is missing is done, and nothing else."""

from __future__ import annotations

import csv
import os
import sys
import types
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from support.batches import blank, decoded, encoded, files, is_older, journal, read_tar, settings, write_tar
from support.bombs import progressive_jpeg
from typer.testing import CliRunner

from lgin_edge import InputError, ModelError
from lgin_edge.batch import run, tasks, worker
from lgin_edge.batch.tasks import Outcome, Task
from lgin_edge.batch.worker import Settings, Worker
from lgin_edge.cli import app as cli

ALL = ["a.jpg", "deep/b.png", "shard.tar"]


@pytest.fixture
def source(tmp_path: Path, astronaut: np.ndarray) -> Path:
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(encoded(astronaut, "JPEG", quality=95))
    (folder / "deep" / "b.gif").write_bytes(encoded(astronaut, "GIF"))
    (folder / "blank.png").write_bytes(blank())
    (folder / "broken.png").write_bytes(b"I am not a picture")
    (folder / "notes.txt").write_text("nor am I")
    (folder / ".hidden.png").write_bytes(encoded(astronaut))
    write_tar(folder / "shard.tar", [("0.png", encoded(astronaut)), ("1.png", blank())])
    return folder


class Recorder:
    """The local executor, which remembers what it was given."""

    def __init__(self) -> None:
        self.tasks: list[str] = []

    def __call__(self, tasks: Sequence[Task], settings: Settings) -> Generator[Outcome, None, None]:
        self.tasks += [task.name for task in tasks]
        return run.local(tasks, settings)


def results(out: Path) -> list[str]:
    return [name for name in files(out) if name not in ("report.jsonl", "failures.csv")]


def test_a_folder(source: Path, tmp_path: Path, tiny_model: Path, astronaut: np.ndarray) -> None:
    out = tmp_path / "out"
    before = {name: (source / name).read_bytes() for name in files(source)}
    seen: list[tuple[int, int]] = []
    summary = run.run(source, out, settings(tiny_model), progress=lambda done, of: seen.append((done, of)))
    assert summary == run.Summary(tasks=5, before=0, aged=3, faces=3, without_face=2, failed=1)
    assert seen == [(i, 5) for i in range(1, 6)]
    assert results(out) == ALL
    assert is_older(read_tar(out / "shard.tar")["0.png"], astronaut)
    assert {name: (source / name).read_bytes() for name in files(source)} == before
    with (out / "failures.csv").open(newline="") as file:
        rows = dict(csv.reader(file))
    assert rows["blank.png"] == rows["shard.tar/1"] == "no face"
    assert "broken.png: not an image" in rows["broken.png"]
    assert len(rows) == 4


def test_a_mark(source: Path, tmp_path: Path, tiny_model: Path, astronaut: np.ndarray) -> None:
    out = tmp_path / "out"
    run.run(source, out, settings(tiny_model, mark=True))
    for data in ((out / "a.jpg").read_bytes(), read_tar(out / "shard.tar")["0.png"]):
        change = np.abs(decoded(data).astype(int) - astronaut)
        assert change[-30:, -150:].max() > 60
        assert change[-30:, :150].max() < 60


def test_a_picture_that_takes_too_long_fails(
    tmp_path: Path, tiny_model: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_DECODE_TIMEOUT_S", 1.0)
    folder, bomb = tmp_path / "source", progressive_jpeg(2000, 2000, scans=800)
    folder.mkdir()
    (folder / "a.jpg").write_bytes(bomb)
    write_tar(folder / "b.tar", [("0.jpg", bomb), ("1.jpg", encoded(astronaut, "JPEG"))])
    summary = run.run(folder, tmp_path / "out", settings(tiny_model))
    assert (summary.aged, summary.failed) == (1, 2)
    with (tmp_path / "out" / "failures.csv").open(newline="") as file:
        rows = dict(csv.reader(file))
    assert "a.jpg: takes more than 1 s" in rows["a.jpg"]
    assert "takes more than 1 s" in rows["b.tar/0"]


def test_a_time_limit_of_the_callers_ends_the_batch(
    source: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the exception of its signal handler is an OSError, too: no picture failed of it."""

    def interrupted(*_: object, **__: object) -> int:
        raise TimeoutError("time is up")

    monkeypatch.setattr(worker.jobs, "age_file", interrupted)
    with pytest.raises(TimeoutError, match="time is up"):
        run.run(source, tmp_path / "out", settings(tiny_model))
    assert not [row for row in journal(tmp_path / "out") if "name" in row]


def test_the_same_again_does_what_is_missing(
    source: Path, tmp_path: Path, tiny_model: Path, astronaut: np.ndarray
) -> None:
    out, executor = tmp_path / "out", Recorder()

    def again() -> tuple[list[str], run.Summary]:
        executor.tasks = []
        summary = run.run(source, out, settings(tiny_model), executor=executor)
        return executor.tasks, summary

    assert len(again()[0]) == 5
    bytes_before = {name: (out / name).read_bytes() for name in results(out)}
    assert again() == (["broken.png"], run.Summary(5, 4, 3, 3, 2, 1))  # it might be mended
    (source / "broken.png").write_bytes(encoded(astronaut))
    assert again() == (["broken.png"], run.Summary(5, 4, 4, 4, 2, 0))
    assert again()[0] == []
    (out / "a.jpg").unlink()
    assert again()[0] == ["a.jpg"]
    (out / "a.jpg").write_bytes(b"")  # as a power failure leaves it
    assert again()[0] == ["a.jpg"]
    (source / "new.png").write_bytes(encoded(astronaut))
    os.utime(source / "deep" / "b.gif", ns=(1, 1))
    assert again()[0] == ["deep/b.gif", "new.png"]
    (source / "new.png").write_bytes(blank())
    assert again()[0] == ["new.png"]
    assert results(out) == ["a.jpg", "broken.png", *ALL[1:]]  # the result of what is there no more is gone
    assert {name: (out / name).read_bytes() for name in bytes_before} == bytes_before


def test_interrupted_in_the_middle(source: Path, tmp_path: Path, tiny_model: Path) -> None:
    out, executor = tmp_path / "out", Recorder()

    def stop(done: int, of: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.run(source, out, settings(tiny_model), progress=stop)
    assert [row["name"] for row in journal(out)[1:]] == ["a.jpg", "blank.png"]
    (out / ".b.png.01ab23cd.tmp").touch()  # as a killed process leaves it
    run.run(source, out, settings(tiny_model), executor=executor)
    assert executor.tasks == ["broken.png", "deep/b.gif", "shard.tar"]
    assert results(out) == ALL


def test_other_questions_are_refused(source: Path, tmp_path: Path, tiny_model: Path) -> None:
    out = tmp_path / "out"
    run.run(source, out, settings(tiny_model))
    before = (out / "a.jpg").read_bytes()
    other = models.save(tmp_path / "other.onnx", face_gain=0.1)
    for asked, message in (
        (settings(tiny_model, group=None, years=40), r"{'group': 4, 'years': None}, and now"),
        (settings(other), "{'model': "),
    ):
        with pytest.raises(InputError, match=message):
            run.run(source, out, asked)
    with pytest.raises(InputError, match=r"\{.source.: "):
        run.run(source / "deep", out, settings(tiny_model))
    assert (out / "a.jpg").read_bytes() == before
    run.run(source, out, settings(tiny_model, group=0), overwrite=True)
    assert (out / "a.jpg").read_bytes() != before


def test_wrong_questions_leave_nothing(source: Path, tmp_path: Path, tiny_model: Path, tiny_age_model: Path) -> None:
    out = tmp_path / "out"
    for asked, error in (
        (settings(tiny_model, group=9), InputError),
        (settings(tiny_model, group=None, years=-1), InputError),
        (settings(tiny_age_model), ModelError),
    ):
        with pytest.raises(error):
            run.run(source, out, asked)
    with pytest.raises(ModelError, match="cannot be read"):
        settings(tmp_path / "missing.onnx")
    assert not out.exists()


def test_wrong_places(source: Path, tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "empty").mkdir()
    for wrong, out, message in (
        (tmp_path / "missing", tmp_path / "out", "expected a folder or a file"),
        (source / "notes.txt", tmp_path / "out", "expected a folder or a file"),
        (tmp_path / "empty", tmp_path / "out", r"no pictures in .*\.tar"),
        (source, source, "would be replaced"),
    ):
        with pytest.raises(InputError, match=message):
            run.run(wrong, out, settings(tiny_model))
    assert not (tmp_path / "out").exists()


def test_results_inside_the_source(source: Path, tiny_model: Path) -> None:
    for _ in range(2):
        assert run.run(source, source / "older", settings(tiny_model)).tasks == 5
    assert results(source / "older") == ALL


def test_one_file(source: Path, tmp_path: Path, tiny_model: Path) -> None:
    assert run.run(source / "shard.tar", tmp_path / "out", settings(tiny_model)).aged == 1
    assert results(tmp_path / "out") == ["shard.tar"]


def test_a_worker_with_another_model_refuses(tmp_path: Path, tiny_model: Path) -> None:
    asked = settings(tiny_model)
    other = models.save(tmp_path / "other.onnx", face_gain=0.1)
    with pytest.raises(ModelError, match="is another model here"):
        Worker(Settings(str(other), asked.sha256, group=1))


def test_the_bundled_models_go_by_their_names() -> None:
    assert run.settings(None, years=70).model is None
    assert run.settings(Path("int8"), years=70).model == "int8"


def test_only_half_written_results_are_swept(tmp_path: Path) -> None:
    for name in (
        ".a.jpg.0123abcd.tmp",
        "deep/.b.png.89abcdef.tmp",
        "a.jpg",
        ".a.tmp",
        ".a.jpg.short.tmp",
        "b.0123abcd.tmp",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    tasks.sweep(tmp_path)
    assert files(tmp_path) == [".a.jpg.short.tmp", ".a.tmp", "a.jpg", "b.0123abcd.tmp"]


def batch(*arguments: Any) -> Any:
    return CliRunner().invoke(cli.app, ["batch", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_command(source: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for name in ("a.NEF", "b.nef", "c.MOV", "d.heic"):
        (source / name).write_bytes(b"from a camera")
    out, common = tmp_path / "out", ["--model", tiny_model, "--group", 4]
    first = batch(source, out, *common)
    assert first.exit_code == 4
    assert f"2 pictures with 2 faces in {out}\n" in first.stdout
    assert f"1 without a face, 2 failed: {out / 'failures.csv'}" in first.stderr
    for told in (
        "2 .nef left out: not read",
        "1 .mov left out: films",
        "1 .heic left out: pip install pillow-heif",
        "1 .tar left out: integrations/datasets/batch.py reads them",
    ):
        assert told in first.stderr
    for name in ("broken.png", "d.heic"):
        (source / name).unlink()
    second = batch(source, out, *common)
    assert second.exit_code == 0, second.output
    assert "; 3 of 3 files were done before" in second.stdout
    assert batch(source / "blank.png", tmp_path / "none", *common).exit_code == 3
    refused = batch(source, out, "--model", tiny_model, "--group", 3)
    assert refused.exit_code == 2
    assert "holds the results of" in refused.stderr
    for wrong in (
        ["--group", 1, "--years", 50],
        [],
        ["--group", 1, "--overwrit"],
    ):
        assert batch(source, tmp_path / "other", "--model", tiny_model, *wrong).exit_code == 2
    assert not (tmp_path / "other").exists()


def test_results_of_one_name_stand_side_by_side(tmp_path: Path, astronaut: np.ndarray) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.gif", "a.png", "b.gif", "c.bmp"):
        (source / name).write_bytes(b"")
    found = tasks.find(source, tmp_path / "out")
    assert [Path(one.target).name for one in found] == ["a.gif.png", "a.png", "b.png", "c.bmp"]


@pytest.mark.parametrize("where", ["..", "../.."])
def test_results_never_stand_above_the_sources(tmp_path: Path, where: str) -> None:
    source = tmp_path / "a" / "in"
    source.mkdir(parents=True)
    (source / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="lies above the sources"):
        tasks.find(source, source / where)


def test_names_that_no_file_system_takes(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        tasks.find(tmp_path / ("x" * 5000), tmp_path / "out")


def test_a_reader_of_shards_that_waited_for_too_long_fails_alone(tmp_path: Path, tiny_model: Path) -> None:
    """It is no time limit of the caller's, which a signal handler in another module raises."""
    reader = types.ModuleType("reader")
    exec("def age_shard(*_): raise TimeoutError('the store did not answer')", vars(reader))  # noqa: S102 - code of its own
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.tar").touch()
    done = run.run(source, out, run.settings(tiny_model, years=70, shards={".tar": reader.age_shard}))
    assert (done.aged, done.failed) == (0, 1)
    assert "the store did not answer" in (out / "failures.csv").read_text()
