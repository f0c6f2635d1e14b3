"""What photographs bring with them beside their pixels, as cameras, agencies and programs that draw write it."""

from __future__ import annotations

import base64
import io
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from lgin_edge import ImageError, image_checks, images
from lgin_edge.image_metadata import clean_xmp
from lgin_edge.images import Picture

MAKE, ORIENTATION, ARTIST, COPYRIGHT, DESCRIPTION = 0x010F, 0x0112, 0x013B, 0x8298, 0x010E
EXIF_IFD, GPS_IFD, TAKEN, LENS, BRIGHTNESS = 0x8769, 0x8825, 0x9003, 0xA434, 0x9203
SHORT, LONG, RATIONAL, DOUBLE = 3, 4, 5, 12


@pytest.fixture
def scene() -> Image.Image:
    y, x = np.mgrid[:48, :80]
    return Image.fromarray(np.stack([3 * x, 5 * y, x + y], axis=-1).astype(np.uint8))


def saved(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def rewritten(data: bytes, kind: str) -> Image.Image:
    """A file that was read and written once more, opened."""
    picture = images.decode(data)
    file = Image.open(io.BytesIO(images.encode(picture.image, kind, picture)))
    file.load()
    return file


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_names_in_exif_keep_their_letters(scene: Image.Image, kind: str) -> None:
    artist, lens, latin = "José Łuk", "Objectif éà", "Größe".encode("latin-1")
    exif = Image.Exif()
    exif[ARTIST], exif[DESCRIPTION], exif[COPYRIGHT] = artist.encode(), latin, "© me".encode()
    details, place = exif.get_ifd(EXIF_IFD), exif.get_ifd(GPS_IFD)
    details[LENS], details[BRIGHTNESS], details[TAKEN] = lens.encode(), -2.5, "2024:01:02 03:04:05"
    place[1], place[2] = "N", (48.0, 12.0, 3.5)
    again = rewritten(saved(scene, exif=exif), kind).getexif()
    assert again[ARTIST].encode("latin-1").decode() == artist
    assert again[COPYRIGHT].encode("latin-1").decode() == "© me"
    assert again[DESCRIPTION].encode("latin-1") == latin
    written = again.get_ifd(EXIF_IFD)
    text = written[LENS]
    assert (text if isinstance(text, bytes) else text.encode("latin-1")).decode() == lens
    assert (written[BRIGHTNESS], written[TAKEN]) == (-2.5, "2024:01:02 03:04:05")
    assert again.get_ifd(GPS_IFD) == {1: "N", 2: (48.0, 12.0, 3.5)}


@pytest.mark.parametrize("places", [(), (EXIF_IFD,), (GPS_IFD,), (EXIF_IFD, GPS_IFD)])
def test_a_tiff_with_the_tables_of_a_camera_is_compressed(scene: Image.Image, places: tuple[int, ...]) -> None:
    exif = Image.Exif()
    exif[MAKE] = "Cam"
    for place in places:
        exif.get_ifd(place)[{EXIF_IFD: TAKEN, GPS_IFD: 1}[place]] = "N"
    again = rewritten(saved(scene, "PNG", exif=exif), "TIFF")
    assert again.info["compression"] == "tiff_lzw"
    assert [place for place in (EXIF_IFD, GPS_IFD) if again.getexif().get_ifd(place)] == list(places)
    np.testing.assert_array_equal(np.asarray(again), np.asarray(scene))


def test_a_tag_that_cannot_be_written_takes_no_other_with_it(scene: Image.Image) -> None:
    """A compression, which is a short number, of 100,000."""
    entries = [(0x0103, LONG, 1, 100_000), (ORIENTATION, SHORT, 1, 6), (MAKE, 2, 4, int.from_bytes(b"Cam\0", "little"))]
    table = b"".join(struct.pack("<HHII", *one) for one in sorted(entries))
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + bytes(4)
    data = saved(scene, "PNG", exif=exif)
    picture = images.decode(data)
    np.testing.assert_array_equal(np.asarray(picture.image), np.rot90(np.asarray(scene), -1))
    again = rewritten(data, "JPEG").getexif()
    assert dict(again) == {MAKE: "Cam", ORIENTATION: 1}
    assert picture.image.getexif().get(ORIENTATION, 1) == 1


def test_a_turn_that_was_made_is_in_no_metadata(scene: Image.Image) -> None:
    turn = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:D tiff:Orientation="6" a:b="c"/>%s</x:xmpmeta>'
    xmp = (turn % "<tiff:Orientation>6</tiff:Orientation>").encode()
    data = saved(scene, xmp=xmp)
    picture = images.decode(data)
    assert picture.image.size == (48, 80)
    assert picture.image.getexif().get(ORIENTATION, 1) == 1
    again = rewritten(data, "JPEG")
    assert again.getexif().get(ORIENTATION, 1) == 1
    assert b'a:b="c"' in again.info["xmp"]


def test_metadata_that_is_too_long_for_a_jpeg_gives_way(scene: Image.Image) -> None:
    exif = Image.Exif()
    exif[DESCRIPTION], exif[ARTIST], exif[COPYRIGHT] = "a workflow" * 7000, "b" * 40_000, "(c) me"
    again = rewritten(saved(scene, "PNG", exif=exif), "JPEG")
    assert dict(again.getexif()) == {ARTIST: "b" * 40_000, COPYRIGHT: "(c) me", ORIENTATION: 1}
    comment = rewritten(saved(scene, "GIF", comment=b"c" * 70_000), "JPEG").info["comment"]
    assert comment == b"c" * 65_533


def test_all_long_metadata_at_once(scene: Image.Image) -> None:
    exif = Image.Exif()
    exif[COPYRIGHT] = "c" * 65_000
    metadata = {
        "exif": exif.tobytes(),
        "comment": b"x" * 100_000,
        "iptc": b"z" * 65_000,
        "icc_profile": os.urandom(300_000),
    }
    again = Image.open(io.BytesIO(images.encode(scene, "JPEG", Picture(scene, metadata))))
    again.load()
    assert [len(again.info[key]) for key in ("comment", "icc_profile")] == [65_533, 300_000]
    assert again.info["photoshop"] == {0x0404: b"z" * 65_000}
    assert again.getexif()[COPYRIGHT] == "c" * 65_000


def iptc_jpeg(scene: Image.Image, iptc: bytes) -> bytes:
    body = b"Photoshop 3.0\0" + struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
    data = saved(scene)
    return data[:2] + struct.pack(">HH", 0xFFED, len(body) + 2) + body + data[2:]


def test_captions_of_agencies_are_kept(scene: Image.Image) -> None:
    iptc = b"\x1c\x02\x78\x00\x07caption" + b"\x1c\x02\x74\x00\x06(c) me"
    data = iptc_jpeg(scene, iptc)
    assert rewritten(data, "JPEG").info["photoshop"] == {0x0404: iptc}
    tiff: Any = rewritten(data, "TIFF")
    assert tiff.tag_v2[33723] == iptc
    assert rewritten(saved(tiff, "TIFF"), "JPEG").info["photoshop"] == {0x0404: iptc}
    assert "photoshop" not in rewritten(iptc_jpeg(scene, iptc + b"\xff\xd8\xff\xe0"), "JPEG").info  # a preview


@pytest.mark.parametrize("international", [False, True])
def test_a_text_of_a_png_that_is_too_long_for_pillow_is_left_out(
    tmp_path: Path, scene: Image.Image, international: bool
) -> None:
    text = PngImagePlugin.PngInfo()
    (text.add_itxt if international else text.add_text)("workflow", "{} " * 400_000, zip=True)
    text.add_text("Author", "somebody", zip=True)
    path = tmp_path / "drawn.png"
    scene.save(path, pnginfo=text)
    picture = images.read(path)
    np.testing.assert_array_equal(np.asarray(picture.image), np.asarray(scene))
    assert picture.metadata["text"] == {"Author": "somebody"}
    assert images.size(path.read_bytes()) == (80, 48)


def test_no_more_text_of_a_png_is_looked_at_than_pillow_takes(
    scene: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of a megabyte may hold a gigabyte of them."""
    text = PngImagePlugin.PngInfo()
    for i in range(100):
        text.add_text(f"workflow {i}", " " * (1 << 20) + "{}", zip=True)
    data = saved(scene, "PNG", pnginfo=text)
    looked_at: list[int] = []
    original = image_checks._unpacked_length
    monkeypatch.setattr(
        image_checks, "_unpacked_length", lambda *chunk: looked_at.append(original(*chunk)) or looked_at[-1]
    )
    with pytest.raises(ImageError, match="too many long or damaged texts"):
        images.decode(data, "a.png")
    assert PngImagePlugin.MAX_TEXT_MEMORY <= sum(looked_at) <= PngImagePlugin.MAX_TEXT_MEMORY + (2 << 20)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_damaged_texts_and_many_profiles_of_a_png_end_at_once(scene: Image.Image, kind: bytes) -> None:
    """Of a damaged one Pillow learns no length, and profiles it does not count."""
    data = saved(scene, "PNG")
    packed = zlib.compress(bytes(1_000_000), 9)
    text = b"a\0" + (b"\1\0\0\0" if kind == b"iTXt" else b"\0") + (packed if kind == b"iCCP" else packed[:-1] + b"?")
    chunk = struct.pack(">I4s", len(text), kind) + text + struct.pack(">I", zlib.crc32(kind + text))
    assert images.decode(data[:33] + chunk + data[33:]).image.size == scene.size
    assert images.decode(data + 1000 * chunk).image.size == scene.size
    start = time.process_time()
    with pytest.raises(ImageError, match="too many long or damaged texts"):
        images.decode(data[:33] + 1000 * chunk + data[33:], "a.png")
    assert time.process_time() - start < 3


@pytest.mark.parametrize("place", [None, EXIF_IFD])
@pytest.mark.parametrize("tag", [0x501B, 0x927C, 0x9286])
def test_no_tag_keeps_a_preview(scene: Image.Image, place: int | None, tag: int) -> None:
    exif = Image.Exif()
    exif[COPYRIGHT] = "(c) me"
    (exif if place is None else exif.get_ifd(place))[tag] = b"\0\0" + saved(scene)
    again = rewritten(saved(scene, "PNG", exif=exif), "PNG").getexif()
    assert again[COPYRIGHT] == "(c) me"
    assert tag not in again
    assert tag not in again.get_ifd(EXIF_IFD)


def test_no_preview_of_another_format_is_kept(scene: Image.Image) -> None:
    preview = b"BM" + bytes(300)
    iptc = b"\x1c\x02\x78\x00\x07caption" + b"\x1c\x02\xca" + struct.pack(">H", len(preview)) + preview
    assert "photoshop" not in rewritten(iptc_jpeg(scene, iptc), "JPEG").info
    lines = base64.encodebytes(bytes(range(256)) * 8)
    for text in (lines, lines.replace(b"\n", b"&#xA;")):
        assert not clean_xmp(b"<x:xmpmeta><a:b>" + text + b"</a:b></x:xmpmeta>")


def test_many_long_tags_give_way_at_once(scene: Image.Image) -> None:
    """One after the other, each with all that remain, would take minutes."""
    exif = Image.Exif()
    for tag in range(60_000, 61_000):
        exif[tag] = "x" * 1000
    exif[COPYRIGHT] = "(c) me"
    start = time.process_time()
    data = images.encode(scene, "JPEG", Picture(scene, {"exif": exif.tobytes()}))
    assert time.process_time() - start < 5
    again = Image.open(io.BytesIO(data)).getexif()
    assert again[COPYRIGHT] == "(c) me"
    assert 55 < len(again) < 66


THUMBNAIL = "/9j/4AAQSkZJRgABAQ"
PACKET = (
    '<?xml version="1.0" encoding="UTF-16"?><?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:g="http://ns.adobe.com/xap/1.0/g/img/" tiff:Orientation="6">'
    f"<dc:title>Größe 脸</dc:title><xmp:Thumbnails><g:image>{THUMBNAIL}</g:image></xmp:Thumbnails></rdf:Description></x:xmpmeta>"
    f'\n{200 * " "}<?xpacket end="w"?>'
)
WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


def tiff_with(image: Image.Image, tag: int, kind: int, value: bytes) -> bytes:
    """A TIFF with one more tag, of any type: Pillow writes it in the right one alone."""
    data = saved(image, "TIFF")
    (at,) = struct.unpack_from("<I", data, 4)
    (many,) = struct.unpack_from("<H", data, at)
    value += bytes(-len(value) % 4)
    entries = [data[at + 2 + 12 * i : at + 14 + 12 * i] for i in range(many)]
    entries.append(
        struct.pack(
            "<HHII", tag, kind, len(value) // {SHORT: 2, LONG: 4, RATIONAL: 8, DOUBLE: 8}.get(kind, 1), len(data)
        )
    )
    entries.sort(key=lambda one: struct.unpack("<H", one[:2]))
    table = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack("<I", len(data) + len(value)) + data[8:] + value + table


def with_xmp(image: Image.Image, kind: str, xmp: bytes) -> bytes:
    if kind == "TIFF":
        return tiff_with(image, 700, 1, xmp)
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
        return saved(image, "PNG", pnginfo=text)
    return saved(image, kind, xmp=xmp)


@pytest.mark.parametrize("padding", [0, 3, 64])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", *WIDE])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_xmp_of_any_encoding_has_nothing_of_the_old_face(
    scene: Image.Image, kind: str, encoding: str, padding: int
) -> None:
    data = with_xmp(scene, kind, PACKET.encode(encoding) + bytes(padding))
    picture = images.decode(data)
    assert picture.image.size == (48, 80)  # the turn was made
    kept = picture.metadata["xmp"].decode()
    assert "<dc:title>Größe 脸</dc:title>" in kept
    assert kept.endswith('<?xpacket end="w"?>')
    assert not any(word in kept for word in (THUMBNAIL, "Orientation", "\0"))
    assert ('encoding="UTF-16"' in kept) == encoding.startswith("utf-8")
    again = images.decode(images.encode(picture.image, kind, picture)).metadata["xmp"].decode()
    assert "<dc:title>Größe 脸</dc:title>" in again


@pytest.mark.parametrize("kind", [1, 2, SHORT, LONG, 7])
@pytest.mark.parametrize("encoding", ["utf-8", *WIDE])
def test_xmp_of_a_tiff_is_read_from_a_tag_of_any_type(scene: Image.Image, encoding: str, kind: int) -> None:
    """Of other types than bytes Pillow 12.3 makes a TypeError, which left the picture unread."""
    kept = images.decode(tiff_with(scene, 700, kind, PACKET.encode(encoding))).metadata["xmp"].decode()
    assert "<dc:title>Größe 脸</dc:title>" in kept
    assert THUMBNAIL not in kept


@pytest.mark.parametrize("kind", [1, 2, 7])
def test_captions_of_a_tiff_are_read_from_a_tag_of_any_bytes(scene: Image.Image, kind: int) -> None:
    """Of those that are numbers Pillow keeps the first."""
    iptc = b"\x1c\x02\x78\x00\x08captions" + b"\x1c\x02\x74\x00\x06(c) me"
    assert images.decode(tiff_with(scene, 33723, kind, iptc)).metadata["iptc"].rstrip(b"\0") == iptc


def test_xmp_of_an_unknown_encoding_is_left_out(scene: Image.Image) -> None:
    for xmp in (
        b"\0" + PACKET.encode(),
        PACKET.encode() + PACKET.encode("utf-16-le"),
        PACKET.encode("utf-16-le")[1:],
        PACKET.encode("cp037", "replace") + b">",
    ):
        assert "xmp" not in images.decode(with_xmp(scene, "JPEG", xmp)).metadata
    for kind in (RATIONAL, DOUBLE):
        assert "xmp" not in images.decode(tiff_with(scene, 700, kind, b"\0\0\0\1" * 16)).metadata


IMAGES = "http://ns.adobe.com/xap/1.0/g/img/"
ENTITY = [("<x:xmpmeta", f"<!DOCTYPE x [<!ENTITY n '{IMAGES}'>]><x:xmpmeta"), (f'"{IMAGES}"', '"&n;"')]
NAMES = [("xmlns:g", "xmlns:é"), ("<g:", "<é:"), ("</g:", "</é:")]


@pytest.mark.parametrize("replaced", [NAMES, [("1.0/g/img", "1.0/&#103;/img")], ENTITY])
def test_previews_in_xmp_are_found_by_any_spelling(scene: Image.Image, replaced: list[tuple[str, str]]) -> None:
    packet = PACKET.replace("xmp:Thumbnails", "xmp:Other")
    for old, new in replaced:
        packet = packet.replace(old, new)
    for encoding in ("utf-8", "utf-16"):
        metadata = images.decode(with_xmp(scene, "JPEG", packet.encode(encoding))).metadata
        assert THUMBNAIL.encode() not in metadata.get("xmp", b"")


def exif_table(place: int, order: str, tags: dict[int, Any]) -> bytes:
    """A table of EXIF: of each tag its type and bytes, or the tags of a further table."""
    entries, behind = [], b""
    for tag, value in sorted(tags.items()):
        at = place + 6 + 12 * len(tags) + len(behind)
        kind, data = (LONG, exif_table(at, order, value)) if isinstance(value, dict) else value
        size = {SHORT: 2, 8: 2, LONG: 4, 9: 4, RATIONAL: 8, 10: 8, 11: 4, DOUBLE: 8}.get(kind, 1)
        entries.append(struct.pack(order + "HHII", tag, kind, 1 if isinstance(value, dict) else len(data) // size, at))
        if len(data) <= 4:
            entries[-1] = entries[-1][:8] + data.ljust(4, b"\0")
        else:
            behind += data + bytes(len(data) % 2)
    return struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4) + behind


def jpeg_with(image: Image.Image, order: str, tags: dict[int, Any]) -> bytes:
    head = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[order]
    return saved(image, "JPEG", exif=b"Exif\0\0" + head + exif_table(8, order, tags))


INTEROP, NOTES, PREVIEW = 0xA005, 0x927C, b"\xff\xd8\xff\xe0the old face" + bytes(785)


@pytest.mark.parametrize("kind", [1, 2, SHORT, LONG, RATIONAL, 6, 7, 8, 9, 10, 11, DOUBLE])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_preview_in_exif_is_found_in_a_tag_of_any_type(scene: Image.Image, order: str, kind: int) -> None:
    tag = kind, PREVIEW
    for tags in ({65000: tag}, {EXIF_IFD: {NOTES: tag}}, {GPS_IFD: {29: tag}}, {EXIF_IFD: {INTEROP: {4096: tag}}}):
        picture = images.decode(jpeg_with(scene, order, {MAKE: (2, b"Camera\0"), **tags}))
        for written in ("JPEG", "PNG", "WEBP", "TIFF"):
            data = images.encode(picture.image, written, picture)
            file = Image.open(io.BytesIO(data))
            assert file.getexif()[MAKE] == "Camera"
            held = b"".join(value for value in (file.info.get("exif"), data) if value)
            assert not any(face in held for face in (b"the old face", b"ht elo daf"))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_xmp_in_exif_is_left_out(scene: Image.Image, kind: str) -> None:
    picture = images.decode(jpeg_with(scene, "<", {MAKE: (2, b"Camera\0"), 700: (1, PACKET.encode())}))
    assert THUMBNAIL.encode() not in images.encode(picture.image, kind, picture, changed=False)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_table_of_interoperability_is_kept(scene: Image.Image, kind: str) -> None:
    """It tells of Adobe's colours."""
    tags = {EXIF_IFD: {TAKEN: (2, b"2026\0"), INTEROP: {1: (2, b"R03\0")}}}
    again = rewritten(jpeg_with(scene, ">", tags), kind).getexif()
    assert again.get_ifd(INTEROP) == {1: "R03"}
    assert again.get_ifd(EXIF_IFD)[TAKEN] == "2026"


@pytest.mark.filterwarnings("ignore:Metadata Warning")
@pytest.mark.parametrize(
    "tag", [256, 258, 259, 262, 266, 273, 277, 290, 317, 322, 325, 339, 347, 512, 530, 32781, 34908, 50706]
)
def test_the_layout_of_a_tiff_is_not_taken_from_exif(scene: Image.Image, tag: int) -> None:
    """libtiff took them for its own; of a wrong type the process ended."""
    picture = images.decode(jpeg_with(scene, "<", {ARTIST: (2, b"Photographer\0"), tag: (SHORT, b"\x03\0" * 8)}))
    again = Image.open(io.BytesIO(images.encode(picture.image, "TIFF", picture)))
    assert again.getexif()[ARTIST] == "Photographer"
    np.testing.assert_array_equal(np.asarray(again), np.asarray(picture.image))


def test_a_tiff_whose_resolution_is_a_text_is_read(scene: Image.Image) -> None:
    assert "dpi" not in images.decode(tiff_with(scene, 282, 2, b"many\0")).metadata


def test_a_preview_in_a_comment_is_left_out(scene: Image.Image) -> None:
    assert "comment" not in images.decode(saved(scene, "JPEG", comment=PREVIEW)).metadata
    text = PngImagePlugin.PngInfo()
    text.add_text("Preview", PREVIEW.decode("latin-1"), zip=True)
    text.add_text("Title", "Größe")
    assert images.decode(saved(scene, "PNG", pnginfo=text)).metadata["text"] == {"Title": "Größe"}
