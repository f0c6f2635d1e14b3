"""``benchmarks.compare``: noise is no change, a real change is found, and other machines are compared by multiples of the yardstick alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from rich.console import Console

from benchmarks.stages import report
from benchmarks.stages.measure import Candidate, Measured
from lgin_edge.errors import InputError

pytest.importorskip("benchmarks.compare", reason="needs a checkout")

from benchmarks.compare import Change, compare, interval, main, medians, read

MACHINE: dict[str, Any] = {"cpu": "this", "cores": 2}
OTHER: dict[str, Any] = {"cpu": "that", "cores": 4}
File = tuple[dict[str, Any], list[report.Row]]
MEDIANS = {"resnet18": 40.0, "model": 35.0, "crop": 2.0, "paste": 1.5}


def run(seed: int, speed: float = 1.0, machine: dict[str, Any] = MACHINE, n: int = 60, **factors: float) -> File:
    """Rows of a run whose machine is so slow and whose candidates take so many times longer."""
    rng = np.random.default_rng(seed)
    drift = 1 + 0.02 * np.sin(np.arange(n) / 8 + rng.uniform(0, 6))  # slow spells, shared by all
    measured = []
    for name, median in MEDIANS.items():
        noise = rng.lognormal(0, 0.03, n)
        noise[rng.random(n) < 0.05] *= 2  # now and then somebody else has the core
        samples = median * speed * factors.get(name, 1.0) * drift * noise
        candidate = Candidate("work", name, lambda: None, lambda _: "right", [])
        measured.append(Measured(candidate, "right", "hash", 10, 300.0, samples.tolist()))
    return machine, report.rows(measured, "stages")


def verdicts(a: File, b: File) -> dict[str, str]:
    return {change.row["candidate"]: change.verdict for change in compare(a, b).changes}


def of(a: File, b: File, name: str) -> Change:
    return next(change for change in compare(a, b).changes if change.row["candidate"] == name)


def test_noise_is_no_change() -> None:
    found = [verdict for seed in range(15) for verdict in verdicts(run(2 * seed), run(2 * seed + 1)).values()]
    assert len(found) == 60
    assert found.count("no change") == 60


@pytest.mark.parametrize(("factor", "verdict"), [(1.2, "slower"), (1 / 1.2, "faster")])
def test_a_fifth_is_found(factor: float, verdict: str) -> None:
    for seed in range(6):
        found = verdicts(run(2 * seed), run(2 * seed + 1, crop=factor))
        assert found == {"resnet18": "no change", "model": "no change", "crop": verdict, "paste": "no change"}


def test_change_has_its_interval() -> None:
    change = of(run(0), run(1, crop=1.2), "crop")
    assert change.low < 1.2 < change.high
    assert change.low < change.ratio < change.high
    assert change.ratio == pytest.approx(change.after / change.before)


def test_what_the_yardstick_moved_is_no_change() -> None:
    a, b = run(0), run(1, speed=1.08)  # a machine that is 8 % slower today
    assert set(verdicts(a, b).values()) == {"no change", "slower"}
    assert verdicts(a, b)["crop"] == "no change"
    assert verdicts(a, b)["resnet18"] == "slower"
    assert compare(a, b).drift == pytest.approx(1.08, abs=0.03)


def test_other_machines_are_compared_by_multiples() -> None:
    a, b = run(0), run(1, speed=3.0, machine=OTHER, crop=1.3)
    found = compare(a, b)
    assert found.differing == ["cpu", "cores"]
    assert verdicts(a, b) == {"model": "no change", "crop": "slower", "paste": "no change"}
    change = of(a, b, "model")
    assert change.before == pytest.approx(35 / 40, rel=0.05)
    assert change.after == pytest.approx(35 / 40, rel=0.05)


def test_other_gpus_are_other_machines_and_other_clocks_are_not() -> None:
    def with_gpu(name: str, clock: str) -> File:
        machine, found = run(0)
        return machine | {"gpus": [{"name": name, "clock_mhz": clock}]}, found

    assert compare(with_gpu("a", "1"), with_gpu("a", "2")).differing == []
    assert compare(with_gpu("a", "1"), with_gpu("b", "1")).differing == ["gpus"]
    assert compare(with_gpu("a", "1"), run(1)).differing == ["gpus"]


def test_other_input_is_not_compared() -> None:
    a, b = run(0), run(1, crop=2.0)
    for row in b[1]:
        row["inputs_sha256"] = "another"
    assert set(verdicts(a, b).values()) == {"other input"}


def test_rows_that_only_one_has() -> None:
    a, b = run(0), run(1)
    gone = b[1].pop()
    found = compare(a, b)
    assert [row["candidate"] for row in found.only_a] == [gone["candidate"]]
    assert found.only_b == []


def test_nothing_in_common() -> None:
    a, b = run(0), run(1)
    for row in b[1]:
        row["table"] = "another"
    with pytest.raises(InputError, match="no row in common"):
        compare(a, b)
    with pytest.raises(InputError, match="no resnet18"):
        compare((a[0], a[1][1:]), (a[0], a[1][1:]))


def test_files_come_back(tmp_path: Path) -> None:
    machine, found = run(0)
    report.write(tmp_path / "a.json", machine, found)
    assert read(tmp_path / "a.json") == (machine, found)
    content = json.loads((tmp_path / "a.json").read_text())
    assert list(content) == ["machine", "rows"]
    with pytest.raises(InputError, match="cannot be written"):
        report.write(tmp_path / "no" / "a.json", machine, found)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"machine": {}}', '{"machine": {}, "rows": [{}]}', '{"machine": 1, "rows": []}', "\udcff"],
)
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"a\.json"):
        read(path)


def test_rows_without_samples_are_refused(tmp_path: Path) -> None:
    machine, found = run(0)
    for samples in ([], None, ["slow"], [True, None]):
        found[0]["samples_ms"] = samples
        report.write(tmp_path / "a.json", machine, found)
        with pytest.raises(InputError, match="samples_ms"):
            read(tmp_path / "a.json")
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "none.json")


def test_interval_holds_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        low, high = interval(medians(rng.normal(10, 1, 60), rng))
        held += low <= 10 <= high
    assert held >= 190  # 99 % of 200, and room for a bootstrap of 60 samples


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.compare.stdout", Console(width=200))
    machine, found = run(0)
    here, other = tmp_path / "a.json", tmp_path / "b.json"
    report.write(here, machine, found)
    report.write(other, OTHER, found[:-1])
    main(here, here)
    told = capsys.readouterr().out
    assert "no change" in told
    assert "slower" not in told
    assert "resnet18 itself moved by up to +0.0%" in told
    main(here, other)
    told = capsys.readouterr().out
    assert "Two machines (another cpu, cores)" in told
    assert "only in A: work by paste" in told
    with pytest.raises(typer.Exit):
        main(here, tmp_path / "none.json")
