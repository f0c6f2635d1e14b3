"""What is done is remembered, whatever happens to the process, and one folder answers one question."""

from __future__ import annotations

import csv
import resource
from pathlib import Path

import pytest

from lgin_edge import ImageError, InputError
from lgin_edge.batch.journal import FAILURES, FILE, Journal
from lgin_edge.batch.tasks import Outcome

QUESTION = {"group": 4, "years": None}
DONE = Outcome("a.jpg", 1, 2, (), True, 10, 20)
FAILED = Outcome("b.jpg", 0, 0, (("b.jpg", 'not "an" image,\nit says'),), False, 30, 40)


def write(folder: Path, *outcomes: Outcome) -> None:
    with Journal(folder, QUESTION) as journal:
        for outcome in outcomes:
            journal.add(outcome)


def test_remembered(tmp_path: Path) -> None:
    write(tmp_path / "new" / "out", DONE, FAILED)
    with Journal(tmp_path / "new" / "out", QUESTION) as journal:
        assert journal.outcomes == {"a.jpg": DONE, "b.jpg": FAILED}
        again = Outcome("b.jpg", 1, 1, (), True, 30, 41)
        journal.add(again)
    with Journal(tmp_path / "new" / "out", QUESTION) as journal:
        assert journal.outcomes == {"a.jpg": DONE, "b.jpg": again}


def test_odd_names(tmp_path: Path) -> None:
    odd = Outcome("d/\udcff ü\n\u2028.jpg", 0, 0, (("d/\udcff ü\n\u2028.jpg", "no face"),), True)
    write(tmp_path, odd, DONE)
    with Journal(tmp_path, QUESTION) as journal:
        assert journal.outcomes == {odd.name: odd, DONE.name: DONE}
        journal.write_failures([odd.name])
    assert "d/\udcff" in (tmp_path / FAILURES).read_text(errors="surrogateescape")


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_half_a_line_of_a_killed_run(tmp_path: Path, cut: int) -> None:
    write(tmp_path, DONE, FAILED)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(tmp_path, QUESTION) as journal:
        assert journal.outcomes == {"a.jpg": DONE}
        journal.add(FAILED)
    with Journal(tmp_path, QUESTION) as journal:
        assert journal.outcomes == {"a.jpg": DONE, "b.jpg": FAILED}


def test_another_question(tmp_path: Path) -> None:
    write(tmp_path)  # nothing done yet: nothing to contradict
    with Journal(tmp_path, {"group": 3, "years": None}) as journal:
        journal.add(DONE)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(InputError, match=r"holds the results of {'group': 3}, and now {'group': 4} is asked for"):
        Journal(tmp_path, QUESTION)
    assert (tmp_path / FILE).read_bytes() == before
    with Journal(tmp_path, QUESTION, overwrite=True) as journal:
        assert journal.outcomes == {}
    write(tmp_path, FAILED)


def test_folders_of_others(tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").touch()
    with pytest.raises(InputError, match="they are not from lgin-edge batch"):
        Journal(tmp_path, QUESTION)
    assert [one.name for one in tmp_path.iterdir()] == ["mine.jpg"]
    with pytest.raises(ImageError, match="cannot be written"):
        Journal(tmp_path / "mine.jpg", QUESTION)


@pytest.mark.parametrize(
    "text", ["{}\nnonsense\n", '{}\n{"name": "a"}\n', "\xff\xfe\n", "[1]\n[2]\n", '{}\n{"left_out": 3}\n']
)
def test_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"report\.jsonl is damaged"):
        Journal(tmp_path, QUESTION)
    assert (tmp_path / FILE).read_bytes() == text.encode("latin-1")


def test_one_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path, QUESTION) as journal:
        journal.add(DONE)
        with pytest.raises(InputError, match="another lgin-edge batch is writing to it"):
            Journal(tmp_path, QUESTION, overwrite=True)
    with Journal(tmp_path, QUESTION) as journal:
        assert journal.outcomes == {"a.jpg": DONE}


def test_failures(tmp_path: Path) -> None:
    write(tmp_path, DONE, FAILED)
    with Journal(tmp_path, QUESTION) as journal:
        journal.write_failures(["a.jpg", "b.jpg", "never done.jpg"])
    with (tmp_path / FAILURES).open(newline="") as file:
        assert list(csv.reader(file)) == [["picture", "reason"], ["b.jpg", 'not "an" image,\nit says']]


def test_a_full_disk(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(tmp_path, QUESTION) as journal:
        journal.add(DONE)
        size = (tmp_path / FILE).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 9, before[1]))  # as long a file as this process may write
        try:
            with pytest.raises(ImageError, match=r"report\.jsonl: cannot be written"):
                journal.add(FAILED)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with Journal(tmp_path, QUESTION) as journal:
        assert journal.outcomes["a.jpg"] == DONE


@pytest.mark.parametrize(
    "line",
    ["5", "[]", '"a"', "null", "{}", '{"name": "a.jpg"}', "[" * 50_000, '{"name": 1, "aged": "x", "left_out": 3}'],
)
@pytest.mark.parametrize("place", ["first", "later"])
def test_a_mistyped_journal(tmp_path: Path, line: str, place: str) -> None:
    another_question = place == "first" and (line == "null" or line.startswith("{"))
    write(tmp_path, DONE)
    path = tmp_path / FILE
    lines = path.read_text().splitlines()
    path.write_text("\n".join([line, *lines[1:]] if place == "first" else [*lines, line]) + "\n")
    with pytest.raises(InputError, match="holds the results of" if another_question else "damaged"):
        Journal(tmp_path, QUESTION)


def test_no_spreadsheet_takes_a_name_for_a_formula(tmp_path: Path) -> None:
    evil = Outcome("=1+2.jpg", 0, 0, (("=1+2.jpg", "@no face"), ("-x.jpg", "no face")), True)
    with Journal(tmp_path, QUESTION) as journal:
        journal.add(evil)
        journal.write_failures([evil.name])
    with (tmp_path / FAILURES).open(newline="") as file:
        assert list(csv.reader(file))[1:] == [["'=1+2.jpg", "'@no face"], ["'-x.jpg", "no face"]]
