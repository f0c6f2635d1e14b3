"""Reading and writing, in files and in memory; and what that leaves alone."""

from __future__ import annotations

import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from support.image_files import Image8, exif_bytes

from lgin_edge import images
from lgin_edge.errors import ImageError
from lgin_edge.limits import Limits


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".JPG"])
def test_every_ending_can_be_written_and_read(tmp_path: Path, scene: Image8, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    images.write(path, Image.fromarray(scene))
    assert images.read(path).image.size == (80, 48)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_writing_refuses(tmp_path: Path, scene: Image8) -> None:
    image = Image.fromarray(scene)
    with pytest.raises(ImageError, match="ending"):
        images.write(tmp_path / "out.gif", image)
    with pytest.raises(ImageError, match="no such file or folder"):
        images.write(tmp_path / "missing" / "out.png", image)
    path = tmp_path / "out.png"
    path.write_bytes(b"mine")
    with pytest.raises(ImageError, match="exists already"):
        images.write(path, image)
    assert path.read_bytes() == b"mine"
    images.write(path, image, overwrite=True)
    assert images.read(path).image.size == (80, 48)


def test_a_failed_write_leaves_the_old_file_and_no_rest(
    tmp_path: Path, scene: Image8, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"mine")

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ImageError, match="No space left"):
        images.write(path, Image.fromarray(scene), overwrite=True)
    assert path.read_bytes() == b"mine"
    assert [file.name for file in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_written_file_has_the_mode_of_any_new_file(tmp_path: Path, scene: Image8) -> None:
    (tmp_path / "other").touch()
    images.write(tmp_path / "out.png", Image.fromarray(scene))
    assert (tmp_path / "out.png").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_replaced_file_keeps_its_mode_and_a_link_its_place(tmp_path: Path, scene: Image8) -> None:
    path, link = tmp_path / "out.png", tmp_path / "link.png"
    path.touch(mode=0o600)
    link.symlink_to(path)
    images.write(link, Image.fromarray(scene), overwrite=True)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert images.read(path).image.size == (80, 48)


def test_files_in_memory(tmp_path: Path, astronaut: npt.NDArray[np.uint8]) -> None:
    """The same pictures as from files; only the formats that are asked for."""
    image = Image.fromarray(astronaut)
    for name, kind in (("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.webp", "WEBP")):
        images.write(tmp_path / name, image)
        data = (tmp_path / name).read_bytes()
        assert images.encode(image, kind) == data
        picture = images.decode(data)
        assert picture.format == kind
        np.testing.assert_array_equal(np.asarray(picture.image), np.asarray(images.read(tmp_path / name).image))
    with pytest.raises(ImageError, match=r"the upload: .* expected one of JPEG, PNG"):
        images.decode(data, "the upload", formats=("JPEG", "PNG"))
    with pytest.raises(ImageError, match=r"the picture: 512 x 512 pixels"):
        images.decode(data, limits=Limits(image_pixels=512 * 511))


def test_the_programs_warnings_are_left_alone(scene: Image8) -> None:
    data = images.encode(Image.fromarray(scene), "JPEG")
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: images.decode(data), range(100)))
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    "where", ["images.to_plain", "image_metadata._exif", "image_exif.check_exif", "image_exif._dpi"]
)
def test_an_exception_of_a_signal_handler_is_the_callers(
    scene: Image8, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TimeLimitError(Exception):
        pass

    def interrupted(*_: object) -> None:
        raise TimeLimitError

    monkeypatch.setattr(
        f"lgin_edge.{where}", interrupted
    )  # as a handler of the caller's would, in the midst of the work
    with pytest.raises(TimeLimitError):
        images.decode(
            images.encode(
                Image.fromarray(scene), "JPEG", images.Picture(Image.fromarray(scene), {"exif": exif_bytes()})
            )
        )


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "GIF"])
def test_a_pillow_without_avif(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails on a name that it does not know."""
    Image.init()
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, kind)
    assert images.decode(file.getvalue()).format == kind
