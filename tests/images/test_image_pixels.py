"""Modes of pixels, and what JPEG makes of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.image_files import Image8, exif_bytes

from lgin_edge import images
from lgin_edge.errors import ImageError


def test_modes(tmp_path: Path, scene: Image8) -> None:
    rgb = Image.fromarray(scene)
    alpha = Image.fromarray(np.tile(np.arange(80, dtype=np.uint8) * 3, (48, 1)))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    transparent = rgb.quantize(16)
    transparent.info["transparency"] = 3
    cases = {
        "RGB": (rgb, "RGB"),
        "RGBA": (rgba, "RGBA"),
        "L": (rgb.convert("L"), "L"),
        "LA": (rgba.convert("LA"), "LA"),
        "P": (rgb.quantize(16), "RGB"),
        "P transparent": (transparent, "RGBA"),
        "1": (rgb.convert("1"), "L"),
        "I;16": (Image.fromarray(scene[..., 0].astype(np.uint16) << 8 | 77), "L"),
    }
    for name, (image, mode) in cases.items():
        path = tmp_path / f"{name}.png"
        image.save(path)
        plain = images.read(path).image
        assert plain.mode == mode, name
        if name == "I;16":
            np.testing.assert_array_equal(np.asarray(plain), scene[..., 0])
        elif not name.startswith("P"):
            np.testing.assert_array_equal(np.asarray(plain), np.asarray(image.convert(mode)), name)


def test_cmyk_becomes_rgb(tmp_path: Path, scene: Image8) -> None:
    path = tmp_path / "in.jpg"
    cmyk = Image.fromarray(scene).convert("CMYK")
    cmyk.save(path, icc_profile=b"no profile at all", quality=95)
    picture = images.read(path)
    assert picture.image.mode == "RGB"
    assert "icc_profile" not in picture.metadata
    assert np.abs(np.asarray(picture.image, np.int16) - scene).mean() < 12
    images.write(tmp_path / "out.jpg", picture.image, picture)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.tif"
    Image.fromarray(np.zeros((4, 4), np.float32)).save(path)
    with pytest.raises(ImageError, match="floating-point"):
        images.read(path)


def test_32_bit_greys_are_refused() -> None:
    with pytest.raises(ImageError, match="32-bit pixels"):
        images.to_plain(Image.fromarray(np.zeros((4, 4), np.int32)))


def test_transparency_over_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    for name in ("a.jpg", "a.bmp"):
        images.write(tmp_path / name, clear)
        assert np.asarray(images.read(tmp_path / name).image).min() > 250


@pytest.mark.parametrize("sampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [35, 90])
def test_jpeg_keeps_its_quality(tmp_path: Path, astronaut: Image8, sampling: int, quality: int) -> None:
    path, out = tmp_path / "in.jpg", tmp_path / "out.jpg"
    Image.fromarray(astronaut).save(path, quality=quality, subsampling=sampling)
    picture = images.read(path)
    images.write(out, picture.image, picture)
    with Image.open(path) as before, Image.open(out) as after:
        assert after.quantization == before.quantization
        change = np.abs(np.asarray(after, np.int16) - np.asarray(before, np.int16))
    assert change.mean() < 0.5  # quality 95 would be no nearer at twice the bytes
    assert out.stat().st_size == pytest.approx(path.stat().st_size, rel=0.05)


def test_turned_422_is_not_halved_the_wrong_way(tmp_path: Path, astronaut: Image8) -> None:
    path = tmp_path / "in.jpg"
    Image.fromarray(astronaut).save(path, subsampling=1, exif=exif_bytes(6))
    assert images.read(path).jpeg["subsampling"] == 0


def test_jpeg_from_something_else_is_good(tmp_path: Path, astronaut: Image8) -> None:
    images.write(tmp_path / "out.jpg", Image.fromarray(astronaut))
    again = np.asarray(images.read(tmp_path / "out.jpg").image, np.int16)
    assert np.abs(again - astronaut).mean() < 2  # at the default quality of Pillow: 3.2


def test_progressive_pictures_are_read(astronaut: Image8) -> None:
    file = io.BytesIO()
    Image.fromarray(astronaut).save(file, "JPEG", progressive=True)
    assert images.decode(file.getvalue()).image.size == (512, 512)


def test_mpo_is_its_first_picture(tmp_path: Path, scene: Image8) -> None:
    path = tmp_path / "phone.jpg"
    second = Image.fromarray(scene[::-1].copy())
    Image.fromarray(scene).save(path, format="MPO", save_all=True, append_images=[second], quality=95)
    picture = images.read(path)
    assert np.abs(np.asarray(picture.image, np.int16) - scene).mean() < 20  # the other picture: 80
    assert picture.jpeg
