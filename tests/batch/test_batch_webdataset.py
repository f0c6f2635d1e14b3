"""WebDataset shards: samples stay together, and files other than pictures stay as they are."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from support.batches import blank, encoded, is_older, read_tar, settings, task, write_tar

from lgin_edge.batch import webdataset
from lgin_edge.batch.worker import Worker
from lgin_edge.limits import Limits


@pytest.mark.parametrize(
    ("name", "key", "ending"),
    [
        ("a.jpg", "a", ".jpg"),
        ("x.y/a.seg.png", "x.y/a", ".seg.png"),
        ("x/readme", "x/readme", ""),
        ("./a.b/c.d", "./a.b/c", ".d"),
    ],
)
def test_keys(name: str, key: str, ending: str) -> None:
    assert webdataset.split(name) == (key, ending)


def test_a_shard(tmp_path: Path, tiny_model: Path, astronaut: np.ndarray) -> None:
    face, mask = encoded(astronaut), encoded(astronaut[..., 0])
    source = write_tar(
        tmp_path / "a.tar",
        [
            ("d/0.json", b"{}"),
            ("d/0.JPG", encoded(astronaut, "JPEG", quality=95)),
            ("d/0.seg.png", mask),
            ("d/1.png", blank()),
            ("d/1.json", b"1"),
            ("d/2.png", b"I am not a picture"),
            ("d/3.cls", b"7"),
            ("d/4.gif", encoded(astronaut, "GIF")),
            ("d/4.txt", b"four"),
            ("d/5.png", face),
        ],
    )
    target = tmp_path / "out" / "a.tar"
    with Worker(settings(tiny_model)) as worker:
        outcome = worker(task(source, target))
    assert (outcome.aged, outcome.faces, outcome.complete) == (3, 3, True)
    reasons = dict(outcome.left_out)
    assert list(reasons) == ["a.tar/d/1", "a.tar/d/2", "a.tar/d/3"]
    assert reasons["a.tar/d/1"] == "no face"
    assert "not an image" in reasons["a.tar/d/2"]
    assert "no picture in this sample" in reasons["a.tar/d/3"]
    found = read_tar(target)
    assert list(found) == ["d/0.json", "d/0.JPG", "d/0.seg.png", "d/4.png", "d/4.txt", "d/5.png"]
    assert (found["d/0.json"], found["d/0.seg.png"], found["d/4.txt"]) == (b"{}", mask, b"four")
    assert found["d/0.JPG"][:2] == b"\xff\xd8"
    assert is_older(found["d/5.png"], astronaut)
    with tarfile.open(target) as tar:
        member = tar.getmember("d/5.png")
        assert (member.mtime, member.mode) == (1_700_000_000, 0o640)
    assert [one.name for one in target.parent.iterdir()] == ["a.tar"]


def test_the_same_shard_gives_the_same_bytes(tmp_path: Path, tiny_model: Path, astronaut: np.ndarray) -> None:
    source = write_tar(tmp_path / "a.tar", [(f"{'long' * 40}{i}.png", encoded(astronaut)) for i in range(2)])
    with Worker(settings(tiny_model)) as worker:
        for name in ("1.tar", "2.tar"):
            assert worker(task(source, tmp_path / name)).aged == 2
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_a_shard_without_any_face_has_no_result(tmp_path: Path, tiny_model: Path) -> None:
    source, target = write_tar(tmp_path / "a.tar", [("0.png", blank())]), tmp_path / "out" / "a.tar"
    with Worker(settings(tiny_model)) as worker:
        outcome = worker(task(source, target))
    assert (outcome.aged, outcome.complete, outcome.left_out) == (0, True, (("a.tar/0", "no face"),))
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("damage", ["text", "cut", "empty"])
def test_damaged_shards_are_to_be_tried_again(
    tmp_path: Path, tiny_model: Path, astronaut: np.ndarray, damage: str
) -> None:
    source, target = write_tar(tmp_path / "a.tar", [("0.png", encoded(astronaut))] * 2), tmp_path / "a.out.tar"
    data = source.read_bytes()
    source.write_bytes({"text": b"I am not a shard" * 100, "cut": data[: len(data) // 2], "empty": b""}[damage])
    with Worker(settings(tiny_model)) as worker:
        outcome = worker(task(source, target))
    assert not outcome.complete
    assert outcome.left_out[0][0] == "a.tar"
    assert "not a whole tar file" in outcome.left_out[0][1]
    assert [one.name for one in tmp_path.iterdir()] == ["a.tar"]


def test_pictures_that_are_too_large_are_not_read(
    tmp_path: Path, tiny_model: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(astronaut)
    monkeypatch.setattr(webdataset, "LIMITS", Limits(image_bytes=len(data) - 1))
    source = write_tar(tmp_path / "a.tar", [("0.png", data)])
    with Worker(settings(tiny_model)) as worker:
        outcome = worker(task(source, tmp_path / "a.out.tar"))
    assert "a picture has at most" in outcome.left_out[0][1]


def test_links_and_devices_are_passed_over(tmp_path: Path, tiny_model: Path, astronaut: np.ndarray) -> None:
    source = write_tar(tmp_path / "a.tar", [("0.png", encoded(astronaut))])
    with tarfile.open(source, "a") as tar:
        for name, kind in (("1.png", tarfile.SYMTYPE), ("2.png", tarfile.LNKTYPE), ("3.png", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    with Worker(settings(tiny_model)) as worker:
        outcome = worker(task(source, tmp_path / "b.tar"))
    assert (outcome.aged, outcome.left_out) == (1, ())
    assert list(read_tar(tmp_path / "b.tar")) == ["0.png"]
