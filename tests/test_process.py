"""What a process may use of its machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lgin_edge import _process


@pytest.mark.parametrize(
    ("limits", "cores"),
    [
        ({}, 8),
        ({"": "max 100000"}, 8),
        ({"": "200000 100000"}, 2),
        ({"": "max 100000", "system.slice/kiosk.service": "150000 100000"}, 2),
        ({"system.slice": "10000 100000", "system.slice/kiosk.service": "max 100000"}, 1),
        ({"": "1600000 100000"}, 8),
    ],
)
def test_a_container_has_as_many_cores_as_it_has_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, str], cores: int
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("1:cpu:/old\n0::/system.slice/kiosk.service\n")
    for group, limit in limits.items():
        (tmp_path / "groups" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / group / "cpu.max").write_text(limit + "\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(_process, "_MY_CGROUP", mine)
    monkeypatch.setattr(_process, "_CGROUPS", tmp_path / "groups")
    assert _process.usable_cores() == cores
    mine.unlink()
    assert _process.usable_cores() == 8
