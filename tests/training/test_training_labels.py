"""Label tables of both kinds read alike."""

import csv

import numpy as np
import pytest

from lgin_edge import geometry
from training.dataset import labels


def write(root, rows):
    root.mkdir(exist_ok=True)
    with (root / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_landmarks_are_pixels_of_the_stored_picture_in_both_kinds(tmp_path):
    points = {
        f"{p}_{a}": xy[k] for p, xy in zip(labels.POINTS, geometry.TEMPLATE, strict=True) for k, a in enumerate("xy")
    }
    common = {"split": "test", "gender": "F", "age": "61.5", "age_kind": "stated"}
    faces = {
        "file": "images/a.jpg",
        "size": 512,
        "source": "syn",
        "person": "syn-1",
        "tags": "old grey",
        "pad": 0,
    }
    write(tmp_path / "faces", [common | faces | points])
    portraits = {
        "file": "images/b.jpg",
        "size": 192,
        "tier": "B",
        "source": "wiki",
        "bioguide": "B000001",
    }
    write(tmp_path / "portraits", [common | portraits | {name: 192 * value for name, value in points.items()}])
    face, portrait = labels.read_packs([tmp_path / "faces", tmp_path / "portraits"])
    np.testing.assert_allclose(face.landmarks, 512 * geometry.TEMPLATE)
    np.testing.assert_allclose(portrait.landmarks, 192 * geometry.TEMPLATE)
    assert (face.person, face.tags, face.sharp, face.key) == ("syn-1", {"old", "grey"}, True, "faces/images/a.jpg")
    assert (portrait.person, portrait.tags, portrait.sharp) == ("B000001", set(), False)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="--data"):
        labels.read(tmp_path)
    write(tmp_path, [{"file": "a.jpg", "split": "test", "age": "old"}])
    with pytest.raises(ValueError, match=r"labels\.csv, line 2: KeyError"):
        labels.read(tmp_path)


def test_splits_and_spreading(made_up):
    photos = labels.read(made_up)
    with pytest.raises(ValueError, match=r"there are \['donor', 'train', 'val'\]"):
        labels.of_split(photos, "test")
    chosen = labels.of_split(photos, "train", 5)
    assert len(chosen) == 5
    assert chosen == sorted(chosen, key=photos.index)
    assert len(labels.of_split(photos, "train", 500)) == 6
