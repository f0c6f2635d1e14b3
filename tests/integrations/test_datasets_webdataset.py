"""WebDataset shards: samples stay together, and files other than pictures stay as they are."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import webdataset_shards
from support.batches import blank, encoded, is_older, read_tar, settings, task, write_tar

from lgin_edge.batch.worker import Worker
from lgin_edge.limits import Limits


@pytest.fixture(scope="module")
def worker(tiny_model: Path) -> Iterator[Worker]:
    with Worker(settings(tiny_model)) as one:
        yield one


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
    assert webdataset_shards.split(name) == (key, ending)


def test_a_shard(tmp_path: Path, worker: Worker, astronaut: np.ndarray) -> None:
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


def test_the_same_shard_gives_the_same_bytes(tmp_path: Path, worker: Worker, astronaut: np.ndarray) -> None:
    source = write_tar(tmp_path / "a.tar", [(f"{'long' * 40}{i}.png", encoded(astronaut)) for i in range(2)])
    for name in ("1.tar", "2.tar"):
        assert worker(task(source, tmp_path / name)).aged == 2
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_a_shard_without_any_face_has_no_result(tmp_path: Path, worker: Worker) -> None:
    source, target = write_tar(tmp_path / "a.tar", [("0.png", blank())]), tmp_path / "out" / "a.tar"
    outcome = worker(task(source, target))
    assert (outcome.aged, outcome.complete, outcome.left_out) == (0, True, (("a.tar/0", "no face"),))
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("damage", ["text", "cut", "empty", "header", "zeroed header", "cut between files", "no end"])
def test_damaged_shards_are_to_be_tried_again(
    tmp_path: Path, worker: Worker, astronaut: np.ndarray, damage: str
) -> None:
    files = [(f"{i}.png", encoded(astronaut)) for i in range(2)]
    source, target = write_tar(tmp_path / "a.tar", files), tmp_path / "a.out.tar"
    data = source.read_bytes()
    with tarfile.open(source) as tar:
        second = tar.getmembers()[1].offset
        end = tar.offset
    source.write_bytes(
        {
            "text": b"I am not a shard" * 100,
            "cut": data[: len(data) // 2],
            "empty": b"",
            "header": data[: second + 150] + b"?" + data[second + 151 :],
            "zeroed header": data[:second] + bytes(512) + data[second + 512 :],
            "cut between files": data[:second],
            "no end": data[:end],
        }[damage]
    )
    outcome = worker(task(source, target))
    assert not outcome.complete
    assert outcome.left_out[0][0] == "a.tar"
    assert "not a whole tar file" in outcome.left_out[0][1]
    assert [one.name for one in tmp_path.iterdir()] == ["a.tar"]


def test_pictures_that_are_too_large_are_not_read(
    tmp_path: Path, worker: Worker, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(astronaut)
    monkeypatch.setattr(webdataset_shards, "LIMITS", Limits(image_bytes=len(data) - 1))
    source = write_tar(tmp_path / "a.tar", [("0.png", data)])
    outcome = worker(task(source, tmp_path / "a.out.tar"))
    assert "a file has at most" in outcome.left_out[0][1]


def test_links_and_devices_are_told(tmp_path: Path, worker: Worker, astronaut: np.ndarray) -> None:
    source = write_tar(tmp_path / "a.tar", [("0.png", encoded(astronaut))])
    with tarfile.open(source, "a") as tar:
        for name, kind in (("1.png", tarfile.SYMTYPE), ("2.png", tarfile.LNKTYPE), ("3.png", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        folder = tarfile.TarInfo("4")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    outcome = worker(task(source, tmp_path / "b.tar"))
    assert outcome.aged == 1
    assert [name for name, _ in outcome.left_out] == ["a.tar/1", "a.tar/2", "a.tar/3"]
    assert all("only plain files are read" in reason for _, reason in outcome.left_out)
    assert list(read_tar(tmp_path / "b.tar")) == ["0.png"]


def test_a_sample_that_would_fill_the_disk_is_left_out(tmp_path: Path, worker: Worker, astronaut: np.ndarray) -> None:
    """A sparse file, whose hole of gigabytes takes no room in the shard."""
    source = write_tar(tmp_path / "a.tar", [("0.png", encoded(astronaut)), ("1.png", encoded(astronaut))])
    header = bytearray(tarfile.TarInfo("1.bin").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[124:136] = header[386:398] = header[398:410] = b"00000000000\0"
    header[483:495] = b"%011o\0" % (3 << 30)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with tarfile.open(source) as tar:
        tar.getmembers()
        end = tar.offset
    source.write_bytes(source.read_bytes()[:end] + header + bytes(1024))
    outcome = worker(task(source, tmp_path / "b.tar"))
    assert outcome.aged == 1
    assert [name for name, _ in outcome.left_out] == ["a.tar/1"]
    assert list(read_tar(tmp_path / "b.tar")) == ["0.png"]


def test_a_doubled_name_loses_its_sample_alone(tmp_path: Path, worker: Worker, astronaut: np.ndarray) -> None:
    face = encoded(astronaut)
    source = write_tar(tmp_path / "a.tar", [("0.png", face), ("1.png", face), ("1.png", face), ("2.png", face)])
    outcome = worker(task(source, tmp_path / "b.tar"))
    assert [name for name, _ in outcome.left_out] == ["a.tar/1"]
    assert list(read_tar(tmp_path / "b.tar")) == ["0.png", "2.png"]


def test_results_of_one_sample_keep_names_of_their_own(tmp_path: Path, worker: Worker, astronaut: np.ndarray) -> None:
    files = [("0.gif", encoded(astronaut, "GIF")), ("0.png", encoded(astronaut))]
    worker(task(write_tar(tmp_path / "a.tar", files), tmp_path / "b.tar"))
    assert list(read_tar(tmp_path / "b.tar")) == ["0.gif.png", "0.png"]
