"""Files that are no pictures, damaged ones, and those with too many pixels."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.image_files import Image8, exif_bytes

from lgin_edge import images
from lgin_edge.errors import ImageError
from lgin_edge.limits import Limits


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def hostile_files(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no pictures, and what is said of each."""
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    text = tmp_path / "text.jpg"
    text.write_text("I am not a picture.")
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    cut = saved(tmp_path / "cut.jpg", rgb)
    cut.write_bytes(cut.read_bytes()[:-500])
    cut_png = saved(tmp_path / "cut.png", rgb)
    cut_png.write_bytes(cut_png.read_bytes()[:2000])
    bomb = tmp_path / "bomb.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", _crc(header)) + b"\0\0\1\0IDAT"
    )
    script = tmp_path / "script.eps"
    script.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nquit\n")
    moving = tmp_path / "moving.gif"
    rgb.save(moving, save_all=True, append_images=[rgb.rotate(90)])
    return {
        "text": (text, "not an image"),
        "empty": (empty, "not an image"),
        "cut": (cut, "truncated"),
        "cut png": (cut_png, "truncated"),
        "bomb": (bomb, "too large|pixels"),
        "script": (script, "not an image"),
        "moving": (moving, "expected one picture, got 2"),
        "missing": (tmp_path / "missing.jpg", "no such file"),
        "folder": (tmp_path, "got a folder"),
    }


def _crc(data: bytes) -> int:
    import zlib

    return zlib.crc32(data)


@pytest.mark.parametrize("name", ["text", "empty", "cut", "cut png", "bomb", "script", "moving", "missing", "folder"])
def test_what_is_no_picture_is_refused(tmp_path: Path, name: str) -> None:
    path, message = hostile_files(tmp_path)[name]
    with pytest.raises(ImageError, match=message) as caught:
        images.read(path)
    assert str(path) in str(caught.value)


def test_damaged_bytes_raise_only_our_error(tmp_path: Path, scene: Image8) -> None:
    """Whatever is flipped: a picture, or ImageError."""
    rng = np.random.default_rng(0)
    for suffix, options in (
        (".jpg", {"exif": exif_bytes(6)}),
        (".png", {"exif": exif_bytes(6)}),
        (".webp", {}),
        (".tif", {}),
    ):
        good = bytearray(saved(tmp_path / f"good{suffix}", Image.fromarray(scene), **options).read_bytes())
        path = tmp_path / f"bad{suffix}"
        for _ in range(60):
            bad = good.copy()
            for at in rng.integers(0, min(len(good), 600), 3):
                bad[at] = rng.integers(0, 256)
            path.write_bytes(bad)
            try:
                picture = images.read(path)
            except ImageError:
                continue
            images.write(tmp_path / "out.png", picture.image, picture, overwrite=True)


def test_a_jpeg_that_lacks_its_end_alone(tmp_path: Path, scene: Image8) -> None:
    data = images.encode(Image.fromarray(scene), "JPEG")
    np.testing.assert_array_equal(np.asarray(images.decode(data[:-2]).image), np.asarray(images.decode(data).image))
    with pytest.raises(ImageError, match="truncated"):
        images.decode(data[:-200])


def test_too_many_pixels(tmp_path: Path, scene: Image8) -> None:
    path = tmp_path / "in.png"
    Image.fromarray(scene).save(path)
    with pytest.raises(ImageError, match="80 x 48 pixels"):
        images.read(path, limits=Limits(image_pixels=80 * 48 - 1))
    assert images.read(path, limits=Limits(image_pixels=80 * 48)).image.size == (80, 48)


def test_the_limit_of_pixels_is_ours(tmp_path: Path, scene: Image8, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow has one, too, for the whole program: it would refuse what our limit allows, and warn of half as much."""
    path = tmp_path / "in.png"
    Image.fromarray(scene).save(path)
    for most in (48 * 80 - 1, 48 * 80 // 3):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert images.read(path).image.size == (80, 48)
        with pytest.raises(ImageError, match=r"80 x 48 pixels; at most 0\.001 million"):
            images.read(path, limits=Limits(image_pixels=1000))
