"""Which pictures of a folder are meant, and where results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from lgin_edge import InputError, jobs


def tree(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in jobs.files(folder, (".jpg",))]


def test_links_to_folders_are_followed_and_end(tmp_path: Path) -> None:
    folder, album = tmp_path / "in", tmp_path / "album"
    tree(folder, "a.jpg", "sub/b.jpg")
    tree(album, "c.jpg")
    (folder / "album").symlink_to(album)
    (folder / "sub" / "back").symlink_to(folder)
    (album / "round").symlink_to(album)
    (folder / "nowhere.jpg").symlink_to(tmp_path / "gone")
    assert found(folder) == ["a.jpg", "album/c.jpg", "sub/b.jpg"]


def test_folders_full_of_links_to_each_other_are_looked_into_once(tmp_path: Path) -> None:
    """There are millions of ways through these."""
    folder, places = tmp_path / "in", [f"{i}" for i in range(9)]
    tree(folder, *(f"{one}/a.jpg" for one in places))
    tree(tmp_path / "other", "b.jpg")
    for one in places:
        for other in places:
            (folder / one / f"0{other}").symlink_to(folder / other)
        (folder / one / "out").symlink_to(tmp_path / "other")
    assert found(folder) == sorted([*(f"{one}/a.jpg" for one in places), "0/out/b.jpg"])


def test_hidden_folders_stay_hidden(tmp_path: Path) -> None:
    tree(tmp_path, "a.jpg", ".thumbnails/a.jpg", "sub/.Trash-1000/files/b.jpg", "sub/.c.jpg")
    assert found(tmp_path) == ["a.jpg"]


def test_folders_that_cannot_be_looked_into_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.jpg", "lost+found/b.jpg", "names/d.jpg", "c.mp4")
    listed = Path.iterdir

    def iterdir(path: Path) -> object:
        if path.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    is_folder = Path.is_dir

    def is_dir(path: Path) -> bool:
        if path.parent.name == "names":  # may be read, but not searched
            raise PermissionError(13, "Permission denied", str(path))
        return is_folder(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    monkeypatch.setattr(Path, "is_dir", is_dir)
    assert found(tmp_path) == ["a.jpg"]
    assert [(path.name, jobs.why_left_out(path)) for path in jobs.left_out(tmp_path)] == [
        ("lost+found", "no permission to look into it"),
        ("names", "no permission to look into it"),
        ("c.mp4", "a film"),
    ]


@pytest.mark.parametrize("name", ["older.xyz", "older.PDF", "older.mp4", "older.jxl"])
def test_a_name_of_a_file_becomes_no_folder(tmp_path: Path, name: str) -> None:
    tree(tmp_path, "a.jpg")
    with pytest.raises(InputError, match=r"is not one that is written: \.jpg"):
        jobs.plan([tmp_path / "a.jpg"], tmp_path / name, "70years")
    (tmp_path / name).mkdir()
    (job,) = jobs.plan([tmp_path / "a.jpg"], tmp_path / name, "70years")
    assert job.target == tmp_path / name / "a.jpg"


@pytest.mark.parametrize("name", ["older", "v1.2", "2024.05.01", "with.results"])
def test_other_names_are_folders(tmp_path: Path, name: str) -> None:
    tree(tmp_path, "a.jpg")
    (job,) = jobs.plan([tmp_path / "a.jpg"], tmp_path / name, "70years")
    assert job.target == tmp_path / name / "a.jpg"
