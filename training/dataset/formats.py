"""What researchers have, as one plain list of samples: UTKFace, FFHQ-Aging, CACD, or a CSV of one's own.

    samples, problems = read(Format.utkface, Path("UTKFace"))

An adapter only reads names and tables, it opens no picture. What it cannot use it reports as a ``Problem`` and goes on; the
reasons are the constants below. The sets themselves are not fetched: ask their authors, and mind their terms (most allow
research only).
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from lgin_edge.errors import InputError
from lgin_edge.files import is_file
from lgin_edge.images import SUFFIXES

MALFORMED_NAME = "malformed name"
MALFORMED_ROW = "malformed row"
UNCERTAIN_AGE = "uncertain age"
NO_PICTURE = "no such picture"
NO_LABEL = "no label"
LISTED_TWICE = "listed twice"

#: Name of the table that is looked for in the folder when none is given.
FFHQ_TABLE = "ffhq_aging_labels.csv"
CSV_TABLE = "labels.csv"
#: FFHQ-Aging's oldest group is "70-120", which is its name for 70 and over. The middle of its bounds, 95, is the age of almost
#: nobody in it; we take the middle of its first ten years.
_OPEN_GROUP_YEARS = 10
_OLDEST = 120
_GENDERS = {"m": "M", "male": "M", "f": "F", "female": "F", "": "", "unknown": ""}


class Format(str, Enum):
    """How the labels of a set are written; the values are those of ``--format``."""

    utkface = "utkface"
    ffhq_aging = "ffhq-aging"
    cacd = "cacd"
    csv = "csv"


class Sample(NamedTuple):
    """One labelled photograph."""

    path: Path  # relative to the set's folder, or absolute if a CSV says so
    age: float  # years, 0 to 120
    gender: str = ""  # "M", "F" or "" when unknown
    person: str = ""  # an id that all photographs of this person share, or "" when unknown


class Problem(NamedTuple):
    """A file or row that gave no sample, and why: ``reason`` is one of this module's constants."""

    name: str
    reason: str
    detail: str = ""


def read(
    kind: Format, folder: Path, table: Path | None = None, *, min_confidence: float = 0.0
) -> tuple[list[Sample], list[Problem]]:
    """Samples of a set, by path, each path once; and what was left out.

    Args:
        folder: where the pictures are, at any depth; hidden files and other endings than a picture's are passed over.
        table: the CSV with the labels, for FFHQ-Aging and CSV; by default ``FFHQ_TABLE`` or ``CSV_TABLE`` in ``folder``.
        min_confidence: FFHQ-Aging only, 0 to 1: rows whose age group is less sure are left out, and a gender that is less sure
            counts as unknown.

    Raises InputError: the table is missing, cannot be read, or lacks a column.
    """
    if kind in (Format.utkface, Format.cacd) and table is not None:
        raise InputError(f"{kind.value} has its labels in the file names; leave out the table {table}")
    found: Iterator[Sample | Problem]
    if kind is Format.utkface:
        found = _utkface(folder)
    elif kind is Format.cacd:
        found = _cacd(folder)
    elif kind is Format.ffhq_aging:
        found = _ffhq_aging(folder, table or folder / FFHQ_TABLE, min_confidence)
    else:
        found = _csv(folder, table or folder / CSV_TABLE)
    samples: dict[Path, Sample] = {}
    problems = []
    for one in found:
        if isinstance(one, Problem):
            problems.append(one)
        elif one.path in samples:
            problems.append(Problem(one.path.as_posix(), LISTED_TWICE, "the first row counts"))
        else:
            samples[one.path] = one
    return sorted(samples.values()), problems


def pictures(folder: Path) -> list[Path]:
    """Paths of the picture files in a folder and the folders in it, relative to it, in order, without hidden ones."""
    files = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    return sorted(file.relative_to(folder) for file in files if file.is_file())


def _utkface(folder: Path) -> Iterator[Sample | Problem]:
    """``[age]_[gender]_[race]_[date].jpg``, gender 0 male, 1 female; the race is not read, persons are unknown."""
    for path in pictures(folder):
        # A handful of the set's own files lack a field; which one is unknown.
        match = re.match(r"(\d{1,3})_([01])_[0-4]_\d+\.", path.name, re.ASCII)
        if match is None or int(match[1]) > _OLDEST:
            yield Problem(path.as_posix(), MALFORMED_NAME, "expected [age]_[gender 0 or 1]_[race 0 to 4]_[date].jpg")
        else:
            yield Sample(path, float(match[1]), "MF"[int(match[2])])


def _cacd(folder: Path) -> Iterator[Sample | Problem]:
    """``age_Name_Surname_0001.jpg``; the name is the person."""
    for path in pictures(folder):
        match = re.fullmatch(r"(\d{1,3})_(.*[^_\d].*)_(\d+)", path.stem, re.ASCII)
        if match is None or int(match[1]) > _OLDEST:
            yield Problem(path.as_posix(), MALFORMED_NAME, "expected age_Name_Surname_0001.jpg")
        else:
            yield Sample(path, float(match[1]), person=match[2].replace("_", " "))


def _ffhq_aging(folder: Path, table: Path, min_confidence: float) -> Iterator[Sample | Problem]:
    """Rows of image_number, age_group, age_group_confidence, gender, gender_confidence; head pose and the rest are not read."""
    numbered = {int(path.stem): path for path in pictures(folder) if re.fullmatch(r"\d+", path.stem, re.ASCII)}
    unlabelled = dict(numbered)
    for name, row in _rows(table, ("image_number", "age_group")):
        group = re.fullmatch(r"(\d{1,3})-(\d{1,3})", row["age_group"], re.ASCII)
        try:
            number = int(row["image_number"])
            unlabelled.pop(number, None)
            sure = float(row.get("age_group_confidence") or 1)
            gender_sure = float(row.get("gender_confidence") or 1)
            gender = _GENDERS[row.get("gender", "").lower()]
        except (ValueError, KeyError) as error:
            yield Problem(name, MALFORMED_ROW, f"{type(error).__name__}: {error}")
            continue
        path = numbered.get(number)
        if group is None or int(group[1]) > int(group[2]):
            yield Problem(name, MALFORMED_ROW, f"age_group: expected two ages like 30-39, got {row['age_group']!r}")
        elif path is None:
            yield Problem(name, NO_PICTURE, f"no picture is named {number:05}")
        elif not sure >= min_confidence:  # so written, not-a-number is not sure
            yield Problem(path.as_posix(), UNCERTAIN_AGE, f"confidence {sure:g}")
        else:
            yield Sample(path, _middle(int(group[1]), int(group[2])), gender if gender_sure >= min_confidence else "")
    yield from (Problem(path.as_posix(), NO_LABEL, f"not in {table.name}") for path in unlabelled.values())


def _middle(youngest: int, oldest: int) -> float:
    """Age that stands for a group of whole years, "30-39" is 34.5."""
    return (youngest + (youngest + _OPEN_GROUP_YEARS - 1 if oldest >= _OLDEST else oldest)) / 2


def _csv(folder: Path, table: Path) -> Iterator[Sample | Problem]:
    """Rows of path and age, if known also gender and person; paths are relative to ``folder``."""
    for name, row in _rows(table, ("path", "age")):
        gender = _GENDERS.get(row.get("gender", "").lower())
        try:
            age = float(row["age"])
        except ValueError:
            age = math.nan
        if not row["path"] or "\0" in row["path"]:
            yield Problem(name, MALFORMED_ROW, "path: expected a file, got none")
        elif not 0 <= age <= _OLDEST:
            yield Problem(name, MALFORMED_ROW, f"age: expected 0 to {_OLDEST} years, got {row['age']!r}")
        elif gender is None:
            yield Problem(name, MALFORMED_ROW, f"gender: expected M, F or nothing, got {row['gender']!r}")
        elif not is_file(folder / row["path"]):
            yield Problem(row["path"], NO_PICTURE, f"{name}: looked in {folder}")
        else:
            yield Sample(Path(row["path"]), age, gender, row.get("person", ""))


def _rows(table: Path, columns: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row's place ("labels.csv:2") and its stripped cells, "" where the row is too short. Raises InputError."""
    try:
        # Bytes that are no UTF-8 cost their row, not the table.
        with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            reader = csv.DictReader(file, restval="")
            names = reader.fieldnames or ()
            missing = [column for column in columns if column not in names]
            if missing:
                raise InputError(f"{table}: expected the columns {', '.join(columns)}; {', '.join(missing)} is missing")
            for row in reader:
                yield f"{table.name}:{reader.line_num}", {key: row[key].strip() for key in names}
    except OSError as error:
        raise InputError(
            f"{table}: the table with the labels cannot be read ({error.strerror}); give it with --labels"
        ) from error
    except csv.Error as error:
        raise InputError(f"{table}: not a CSV ({error})") from error
