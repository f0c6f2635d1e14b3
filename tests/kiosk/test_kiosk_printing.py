"""Printing, by small commands that stand in for lp."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import httpx
import pytest
from support.kiosk_server import Image8, Visitor, encoded, serving

from lgin_edge import InputError, Transformer
from lgin_edge.kiosk.printing import Printer, PrintError, checked, cups
from lgin_edge.kiosk.settings import Settings


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def shell(line: str, *words: str) -> tuple[str, ...]:
    return ("sh", "-c", line, *words)


def test_a_picture_reaches_the_command(tmp_path: Path) -> None:
    out, data = tmp_path / "printed", os.urandom(300_000)  # more than a pipe holds
    before = len(list(Path("/proc/self/fd").iterdir()))
    Printer(shell(f"cat > {out}"), 9).print(data)
    assert out.read_bytes() == data
    Printer(shell(f'cat "$1" "$1" > {out}; echo "$1" > {out}.name', "fake", "{file}"), 9).print(data)
    assert out.read_bytes() == data + data
    assert Path(f"{out}.name").read_text().startswith("/proc/self/fd/")  # no file of any disk
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_so_many_an_hour(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock, jam = Clock(), tmp_path / "jam"
    printer = Printer(shell(f"if test -e {jam}; then echo paper jam >&2; exit 3; fi"), 2, clock)
    printer.print(b"1")
    clock.now += 1800
    jam.touch()
    with caplog.at_level(logging.ERROR), pytest.raises(PrintError) as failed:
        printer.print(b"2")
    assert failed.value.code == "print_failed"
    assert "paper jam" in caplog.text
    jam.unlink()
    printer.print(b"2")  # what failed does not count
    with pytest.raises(PrintError) as full:
        printer.print(b"3")
    assert full.value.code == "print_hour"
    clock.now += 1801  # an hour after the first
    printer.print(b"3")


def test_a_printer_that_cups_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its spool would take the picture, and the visitor wait for it."""
    for name, line in (("lp", f"cat >> {tmp_path}/spool"), ("lpstat", f"cat {tmp_path}/state")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    printer = Printer(cups("photo"), 9)
    (tmp_path / "state").write_text("printer photo disabled since Thu Nov 26 23:16:48 2026 -\n\tPaused\n")
    with caplog.at_level(logging.ERROR), pytest.raises(PrintError) as failed:
        printer.print(b"1")
    assert failed.value.code == "print_failed"
    assert "cupsenable photo" in caplog.text
    (tmp_path / "state").write_text("printer photo is idle.  enabled since Thu Nov 26 23:16:48 2026\n")
    printer.print(b"2")
    assert (tmp_path / "spool").read_bytes() == b"2"


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(InputError, match="'no-such-program' is no program of this machine"):
        checked(("no-such-program", "{file}"))
    with pytest.raises(PrintError):
        Printer(("no-such-program", "{file}"), 1).print(b"")
    assert checked(()) == ()
    assert cups("photo")[:3] == ("lp", "-d", "photo")


def test_a_visitor_prints(tiny: Transformer, astronaut: Image8, tmp_path: Path) -> None:
    out = tmp_path / "printed"
    settings = Settings(print_command=shell(f"cat > {out}"), prints_per_visit=1)
    with serving(tiny, settings) as server, Visitor(server.url) as visitor:
        visitor.start().be_seen(encoded(astronaut))
        visitor.say(type="still")
        token = visitor.hear()[0]["token"]
        for asked, answer in (("never-was", "print_gone"), (token, None), (token, "print_visit")):
            visitor.say(type="print", token=asked)
            head = visitor.hear()[0]
            assert head == {"type": "printed"} if answer is None else head["code"] == answer
        assert out.read_bytes() == httpx.get(f"{server.url}/stills/{token}.jpg", trust_env=False).content
        metrics = httpx.get(f"{server.url}/metrics", trust_env=False).text
        for result in ("print_gone", "printed", "print_visit"):
            assert f'lgin_kiosk_prints_total{{result="{result}"}} 1.0' in metrics
