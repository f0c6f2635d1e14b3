"""Orientation, EXIF, XMP, colour profile and resolution through reading and writing."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin
from support.image_files import DESCRIPTION, EXIF_IFD, ORIENTATION, TAKEN, THUMBNAIL_IFD, Image8, exif_bytes

from lgin_edge import images
from lgin_edge.provenance import SOURCE_TYPE

#: How a picture is stored under each EXIF orientation, from the standard's table (row 0 and column 0 of what is stored).
STORED: dict[int, Callable[[Image8], Image8]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],  # row 0 top, column 0 right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.transpose(1, 0, 2),  # left, top
    6: lambda a: np.rot90(a, 1),  # right, top: the camera was held upright
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda a: np.rot90(a, -1),  # left, bottom
}


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_orientation_is_applied_and_reset(tmp_path: Path, scene: Image8, orientation: int, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](scene)))
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    stored.save(path, exif=exif_bytes(orientation), **options)
    picture = images.read(path)
    np.testing.assert_array_equal(np.asarray(picture.image), scene)
    out = tmp_path / "out.png"
    images.write(out, picture.image, picture)
    with Image.open(out) as again:
        assert again.size == (80, 48)
        assert again.getexif().get(ORIENTATION, 1) == 1
        assert again.getexif()[DESCRIPTION] == "a description"
    np.testing.assert_array_equal(np.asarray(images.read(out).image), scene)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_metadata_is_kept(tmp_path: Path, scene: Image8, suffix: str) -> None:
    path, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    profile = srgb()
    Image.fromarray(scene).save(path, exif=exif_bytes(), icc_profile=profile, dpi=(300, 300))
    picture = images.read(path)
    images.write(out, picture.image, picture)
    with Image.open(out) as again:
        assert again.getexif()[DESCRIPTION] == "a description"
        assert again.getexif().get_ifd(EXIF_IFD)[TAKEN] == "2020:02:02 20:20:20"
        assert again.info["icc_profile"] == profile
        if suffix != ".webp":  # which has no field for it
            assert again.info["dpi"] == pytest.approx((300, 300), abs=0.01)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:title>a title</dc:title></x:xmpmeta>'


def test_xmp_comment_and_text_are_kept(tmp_path: Path, scene: Image8) -> None:
    path = tmp_path / "in.jpg"
    Image.fromarray(scene).save(path, xmp=XMP, comment=b"a comment")
    picture = images.read(path)
    images.write(tmp_path / "out.jpg", picture.image, picture)
    images.write(tmp_path / "out.png", picture.image, picture)
    again = images.read(tmp_path / "out.jpg")
    for kept in (again.metadata["xmp"], images.read(tmp_path / "out.png").metadata["xmp"]):
        assert b"<dc:title>a title</dc:title>" in kept
        assert SOURCE_TYPE.encode() in kept
    images.write(tmp_path / "same.jpg", picture.image, picture, changed=False)
    assert images.read(tmp_path / "same.jpg").metadata["xmp"] == XMP
    assert again.metadata["comment"] == b"a comment"
    png = images.read(tmp_path / "out.png")
    png.metadata["text"]["Author"] = "somebody"
    images.write(tmp_path / "text.png", png.image, png)
    assert images.read(tmp_path / "text.png").metadata["text"] == {"Author": "somebody"}


def test_xmp_without_the_old_face(tmp_path: Path, scene: Image8) -> None:
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        b'xmlns:g="http://ns.adobe.com/xap/1.0/g/img/" xmlns:c="http://ns.google.com/photos/1.0/camera/" c:MotionPhoto="1">'
        b"<dc:title>kept</dc:title><xmp:Thumbnails><g:image>AAAA</g:image></xmp:Thumbnails></rdf:Description></x:xmpmeta>"
    )
    path = tmp_path / "in.jpg"
    Image.fromarray(scene).save(path, xmp=xmp)
    kept = images.read(path).metadata["xmp"]
    assert b"<dc:title>kept</dc:title>" in kept
    assert not any(word in kept for word in (b"AAAA", b"Thumbnails", b"MotionPhoto"))
    Image.fromarray(scene).save(path, xmp=xmp.replace(b"AAAA", b"A" * 5000).replace(b"Thumbnails", b"Previews"))
    assert b"AAAA" not in images.read(path).metadata.get("xmp", b"")


def test_the_thumbnail_of_the_old_face_is_dropped(tmp_path: Path, scene: Image8) -> None:
    """EXIF written by hand: one entry in IFD0, then IFD1 with a thumbnail, as cameras do."""
    thumbnail = io.BytesIO()
    Image.fromarray(scene).resize((16, 10)).save(thumbnail, "JPEG")
    data = thumbnail.getvalue()
    entry = struct.Struct("<HHII")
    ifd0 = struct.pack("<H", 1) + entry.pack(ORIENTATION, 3, 1, 1)
    at = 8 + len(ifd0) + 4
    ifd1 = struct.pack("<H", 2) + entry.pack(0x0201, 4, 1, at + 30) + entry.pack(0x0202, 4, 1, len(data)) + bytes(4)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + ifd0 + struct.pack("<I", at) + ifd1 + data
    path, out = tmp_path / "in.jpg", tmp_path / "out.jpg"
    Image.fromarray(scene).save(path, exif=exif)
    assert data[:200] in path.read_bytes()
    picture = images.read(path)
    images.write(out, picture.image, picture)
    assert data[:200] not in out.read_bytes()
    with Image.open(out) as again:
        assert again.getexif()[ORIENTATION] == 1
        assert not again.getexif().get_ifd(THUMBNAIL_IFD)


def test_a_profile_of_another_mode_is_dropped(tmp_path: Path, scene: Image8) -> None:
    path = tmp_path / "in.png"
    Image.fromarray(scene).convert("L").save(path, icc_profile=srgb())
    assert "icc_profile" not in images.read(path).metadata


def test_tiff_description(tmp_path: Path, scene: Image8) -> None:
    path = tmp_path / "in.tif"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[DESCRIPTION] = "a description"
    Image.fromarray(scene).save(path, tiffinfo=tags)
    picture = images.read(path)
    images.write(tmp_path / "out.tif", picture.image, picture)
    with Image.open(tmp_path / "out.tif") as again:
        assert again.getexif()[DESCRIPTION] == "a description"
        np.testing.assert_array_equal(np.asarray(again), scene)


@pytest.mark.skipif(".avif" not in Image.registered_extensions(), reason="this Pillow has no AVIF")
@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_of_an_avif(orientation: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "AVIF", exif=exif_bytes(orientation))
    picture = images.decode(file.getvalue())
    assert picture.image.size == ((48, 64) if orientation == 6 else (64, 48))
    tags = Image.Exif()
    tags.load(picture.metadata["exif"])
    assert (tags[ORIENTATION], tags[DESCRIPTION]) == (1, "a description")


@pytest.mark.parametrize(
    ("kind", "dots", "kept"), [("JPEG", 118.0, 299.72), ("JPEG", 0.0, None), ("JPEG", 1e6, None), ("TIFF", 1e6, None)]
)
def test_dots_per_inch_of_exif(kind: str, dots: float, kept: float | None) -> None:
    """Those that no file can hold are left out."""
    tags = Image.Exif()
    tags[0x011A], tags[0x011B], tags[0x0128] = dots, dots, 3  # per centimetre
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, kind, exif=tags)
    picture = images.decode(file.getvalue())
    assert picture.metadata.get("dpi") == (kept and pytest.approx((kept, kept)))
    images.encode(picture.image, "JPEG", picture)
