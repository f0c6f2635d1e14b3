"""What the kiosk keeps for the staff, and for nobody else."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest
from support.kiosk_server import Image8, Visitor, encoded, serving, wait_for

from lgin_edge import InputError, Transformer
from lgin_edge.kiosk import gallery as module
from lgin_edge.kiosk.gallery import Gallery
from lgin_edge.kiosk.settings import Settings

PASSWORD = "twelve or more, für alle"


def test_for_the_staff_alone(tiny: Transformer, astronaut: Image8, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with (
        serving(tiny, Settings(gallery=Gallery(folder, 86400, 1e9, PASSWORD))) as server,
        Visitor(server.url) as visitor,
        httpx.Client(base_url=server.url, trust_env=False, auth=("anna", PASSWORD.encode())) as staff,
        httpx.Client(base_url=server.url, trust_env=False) as other,
    ):
        visitor.start().be_seen(encoded(astronaut))
        tokens = []
        for _ in range(2):
            visitor.say(type="still")
            tokens.append(visitor.hear()[0]["token"])
        visitor.say(type="forget", token=tokens[0])
        wait_for(lambda: len(list(folder.iterdir())) == 1)
        (path,) = folder.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert path.read_bytes() == other.get(f"/stills/{tokens[1]}.jpg").content
        assert staff.get("/staff/pictures").json() == [path.name]
        assert staff.get(f"/staff/pictures/{path.name}").content == path.read_bytes()
        for address in ("/staff", "/staff/pictures", f"/staff/pictures/{path.name}"):
            for auth in (None, ("anna", "wrong"), ("anna", "")):
                answer = other.get(address, auth=auth)
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "staff")
                assert answer.headers["www-authenticate"].startswith("Basic ")
        for wrong in (b"Basic %", b"Basic \xe9", b"Bearer x", b""):
            assert other.get("/staff", headers={b"authorization": wrong}).status_code == 401
        assert other.delete(f"/staff/pictures/{path.name}").status_code == 401
        (tmp_path / "secret.jpg").touch()
        for name in ("..%2Fsecret.jpg", "secret.jpg", path.name.replace("jpg", "gif")):
            assert staff.get(f"/staff/pictures/{name}").status_code == 404
        elsewhere = {"origin": "https://evil.example"}
        assert staff.delete(f"/staff/pictures/{path.name}", headers=elsewhere).status_code == 403
        assert staff.delete(f"/staff/pictures/{path.name}").status_code == 204
        assert list(folder.iterdir()) == []
    with serving(tiny) as server:
        assert httpx.get(f"{server.url}/staff", trust_env=False).status_code == 404


def test_for_its_time_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = Gallery(tmp_path, 60, 6, PASSWORD)
    now = 1e9
    monkeypatch.setattr(module.time, "time", lambda: now)
    monkeypatch.setattr(module.time, "gmtime", lambda seconds=None, real=module.time.gmtime: real(seconds or now))
    (tmp_path / "holiday.jpg").touch()  # is another's
    for token in ("a" * 22, "b" * 18 + "-bcd"):
        gallery.add(token, "gif", b"GIF")
        now += 40
    gallery.sweep()
    assert gallery.names() == [f"20010909-014720-{token}.gif"]
    assert (tmp_path / "holiday.jpg").exists()
    for wrong in ("*", "bcd", ""):  # of whoever tries
        gallery.delete(wrong)
    assert len(gallery.names()) == 1
    gallery.add("c/" * 11, "jpg", b"1")  # cannot be written, as where the disk is full
    assert "was not kept" in caplog.text
    for third in ("d" * 22, "e" * 22):  # with the one before them nine bytes
        now += 1
        gallery.add(third, "jpg", b"JPG")
    assert [name[16:38] for name in gallery.names()] == ["e" * 22, "d" * 22]
    for token in ("d" * 22, "e" * 22):
        gallery.delete(token)
    assert gallery.names() == []
    (tmp_path / "holiday.jpg").unlink()
    tmp_path.rmdir()  # as a disk that is unplugged
    gallery.sweep()
    gallery.delete(token)


def test_a_time_longer_than_there_are_years_keeps_all(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, 86400 * 500_000, 1e9, PASSWORD)
    for token in ("a" * 22, "b" * 22):
        gallery.add(token, "jpg", b"a picture")
    assert len(gallery.names()) == 2


def test_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="12 characters or more, got 5"):
        Gallery(tmp_path, 60, 1e9, "short")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="no folder that pictures can be kept in"):
        Gallery(tmp_path / "file", 60, 1e9, PASSWORD)
