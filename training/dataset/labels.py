"""The label table of a pack of aligned faces, ``labels.csv``: one reader for both kinds of columns.

    photos = read_packs(default_packs())
    of_split(photos, "test", limit=40)

``portraits`` (and what ``training.dataset.prepare`` writes) has landmarks in pixels and ``bioguide`` for the person;
``faces`` has canonical landmarks, ``person``, ``tags`` by eye, and a ``donor`` split of faces whose visible skin alone is used.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

#: Columns of the landmarks, in the order of ``geometry.TEMPLATE``.
POINTS = ("leye", "reye", "nose", "lmouth", "rmouth")
#: Side from which a stored picture has real detail at the training canvas of 384 pixels.
SHARP_SIZE = 384
#: Variable that names a pack's folder, and where it lies beside the checkout without it.
PACKS = {"LGIN_PORTRAITS": "portraits", "LGIN_FACES": "faces"}
#: Tags by eye of the portraits for training, whose table has none: tag -> keys of the photos.
TAGS = Path(__file__).with_name("tags.json")


@dataclass(frozen=True)
class Photo:
    """One row of a ``labels.csv``."""

    path: Path
    file: str  # as the table names it
    size: int  # side of the stored picture, pixels
    split: str  # "train", "val", "test"; "donor" in ``faces``
    person: str  # an id, "" when unknown
    gender: str  # "M", "F" or ""
    age: float  # years
    age_kind: str  # how the age is known ("dated", "stated", "estimated", "apparent", ...)
    source: str  # where the picture comes from ("congress", "us", "vol", "syn", ...)
    rights: str = ""  # who allows it, "" when not stated
    tags: frozenset[str] = frozenset()  # seen on it ("glasses", "beard", "bald", "grey", "greying", "grey beard", ...)
    #: [5, 2], pixels of the stored picture.
    landmarks: npt.NDArray[np.float64] = field(repr=False, compare=False, default_factory=lambda: np.zeros((5, 2)))

    @property
    def name(self) -> str:
        """The file's name without its ending; unique over both packs."""
        return self.path.stem

    @property
    def key(self) -> str:
        """The pack's folder and the file in it, ``faces/images/syn003ab65c.jpg``: how meshes are named."""
        return f"{self.path.parents[len(Path(self.file).parts) - 1].name}/{self.file}"

    @property
    def sharp(self) -> bool:
        """Real detail at 384 pixels."""
        return self.size >= SHARP_SIZE

    def frame(self) -> npt.NDArray[np.uint8]:
        """The picture at its own size, [H, W, 3] uint8 RGB."""
        with Image.open(self.path) as picture:
            return np.array(picture.convert("RGB"))


def default_packs() -> list[Path]:
    """Folders of the packs that are on this machine: ``$LGIN_PORTRAITS`` and ``$LGIN_FACES``, else ``../shared/...``."""
    beside = Path(__file__).resolve().parents[3] / "shared"
    folders = [Path(os.environ.get(variable) or beside / name) for variable, name in PACKS.items()]
    return [folder for folder in folders if (folder / "labels.csv").is_file()]


def read(root: Path) -> list[Photo]:
    """All rows of one pack, in the table's order.

    Raises:
        FileNotFoundError: no ``labels.csv`` under ``root``.
        ValueError: a row lacks a column or has a value that is no number.
    """
    table = root / "labels.csv"
    if not table.is_file():
        raise FileNotFoundError(f"no labels.csv in {root}: give the portraits folder with --data or $LGIN_PORTRAITS")
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        try:
            return [_photo(root, row) for row in reader]
        except (KeyError, ValueError) as error:
            raise ValueError(f"{table}, line {reader.line_num}: {type(error).__name__}: {error}") from error


def read_packs(roots: Iterable[Path]) -> list[Photo]:
    """The rows of several packs, one after the other. Raises as ``read``, and FileNotFoundError without any pack."""
    photos = [photo for root in roots for photo in read(root)]
    if not photos:
        raise FileNotFoundError("no pack of aligned faces: give its folder with --data or $LGIN_PORTRAITS")
    return photos


def of_split(photos: Sequence[Photo], split: str, limit: int | None = None) -> list[Photo]:
    """The rows of a split, or ``limit`` of them spread over it. Raises ValueError if there are none."""
    chosen = [photo for photo in photos if photo.split == split]
    if not chosen:
        raise ValueError(f"no portrait with split = {split!r}; there are {sorted({photo.split for photo in photos})}")
    return spread(chosen, limit) if limit else chosen


def spread(photos: Sequence[Photo], count: int) -> list[Photo]:
    """At most ``count`` of the rows, spread over them."""
    return [photos[i * len(photos) // count] for i in range(count)] if count < len(photos) else list(photos)


@cache
def _seen_tags() -> dict[str, frozenset[str]]:
    """Tags of ``TAGS`` by the photo's key."""
    seen: dict[str, set[str]] = {}
    for tag, keys in json.loads(TAGS.read_text()).items():
        for key in keys:
            seen.setdefault(key, set()).add(tag)
    return {key: frozenset(tags) for key, tags in seen.items()}


def _photo(root: Path, row: dict[str, str]) -> Photo:
    with_pixels = "person" not in row
    size = int(row.get("size") or (SHARP_SIZE if row.get("tier") == "A" else SHARP_SIZE // 2))
    landmarks = np.array([[float(row[f"{point}_{axis}"]) for axis in "xy"] for point in POINTS])
    return Photo(
        path=root / row["file"],
        file=row["file"],
        size=size,
        split=row["split"],
        person=row.get("person") or row.get("bioguide", ""),
        gender=row.get("gender", ""),
        age=float(row["age"]),
        age_kind=row.get("age_kind", ""),
        source=row.get("source", ""),
        rights=row.get("rights") or row.get("licence", ""),
        tags=frozenset(row.get("tags", "").split()) | _seen_tags().get(f"{root.name}/{row['file']}", frozenset()),
        landmarks=landmarks if with_pixels else landmarks * size,
    )
