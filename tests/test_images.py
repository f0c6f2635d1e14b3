from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from lgin_edge import images
from lgin_edge.errors import ImageError
from lgin_edge.limits import Limits
from lgin_edge.provenance import SOURCE_TYPE

Image8 = npt.NDArray[np.uint8]
ORIENTATION, DESCRIPTION, TAKEN, EXIF_IFD, THUMBNAIL_IFD = 0x0112, 0x010E, 0x9003, 0x8769, 1

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


@pytest.fixture
def scene() -> Image8:
    """[48, 80, 3] without any symmetry."""
    y, x = np.mgrid[:48, :80]
    return np.stack([3 * x, 5 * y, (x * y) % 256], axis=-1).astype(np.uint8)


def exif_bytes(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[DESCRIPTION] = "a description"
    exif.get_ifd(EXIF_IFD)[TAKEN] = "2020:02:02 20:20:20"
    return exif.tobytes()


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


def test_transparency_over_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    for name in ("a.jpg", "a.bmp"):
        images.write(tmp_path / name, clear)
        assert np.asarray(images.read(tmp_path / name).image).min() > 250


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


def test_too_many_pixels(tmp_path: Path, scene: Image8) -> None:
    path = tmp_path / "in.png"
    Image.fromarray(scene).save(path)
    with pytest.raises(ImageError, match="80 x 48 pixels"):
        images.read(path, limits=Limits(image_pixels=80 * 48 - 1))
    assert images.read(path, limits=Limits(image_pixels=80 * 48)).image.size == (80, 48)


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


def test_mpo_is_its_first_picture(tmp_path: Path, scene: Image8) -> None:
    path = tmp_path / "phone.jpg"
    second = Image.fromarray(scene[::-1].copy())
    Image.fromarray(scene).save(path, format="MPO", save_all=True, append_images=[second], quality=95)
    picture = images.read(path)
    assert np.abs(np.asarray(picture.image, np.int16) - scene).mean() < 20  # the other picture: 80
    assert picture.jpeg


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


def test_progressive_pictures_are_read(astronaut: Image8) -> None:
    file = io.BytesIO()
    Image.fromarray(astronaut).save(file, "JPEG", progressive=True)
    assert images.decode(file.getvalue()).image.size == (512, 512)


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


# ---- what is no longer true ----


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


def test_a_profile_of_another_mode_is_dropped(tmp_path: Path, scene: Image8) -> None:
    path = tmp_path / "in.png"
    Image.fromarray(scene).convert("L").save(path, icc_profile=srgb())
    assert "icc_profile" not in images.read(path).metadata


def test_a_jpeg_that_lacks_its_end_alone(tmp_path: Path, scene: Image8) -> None:
    data = images.encode(Image.fromarray(scene), "JPEG")
    np.testing.assert_array_equal(np.asarray(images.decode(data[:-2]).image), np.asarray(images.decode(data).image))
    with pytest.raises(ImageError, match="truncated"):
        images.decode(data[:-200])


def test_a_replaced_file_keeps_its_mode_and_a_link_its_place(tmp_path: Path, scene: Image8) -> None:
    path, link = tmp_path / "out.png", tmp_path / "link.png"
    path.touch(mode=0o600)
    link.symlink_to(path)
    images.write(link, Image.fromarray(scene), overwrite=True)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert images.read(path).image.size == (80, 48)


def test_32_bit_greys_are_refused() -> None:
    with pytest.raises(ImageError, match="32-bit pixels"):
        images.to_plain(Image.fromarray(np.zeros((4, 4), np.int32)))


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


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "GIF"])
def test_a_pillow_without_avif(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails on a name that it does not know."""
    Image.init()
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, kind)
    assert images.decode(file.getvalue()).format == kind


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
