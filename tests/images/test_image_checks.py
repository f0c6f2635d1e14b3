"""What a small file may cost."""

from __future__ import annotations

import contextlib
import struct
import time

import pytest
from PIL import Image
from support.bombs import IN_A_FILE, chunk, costly_exif, png_with, tags_of

from lgin_edge import images
from lgin_edge.errors import ImageError
from lgin_edge.provenance import SOURCE_TYPE


def scans(count: int, side: int = 2000) -> bytes:
    """A JPEG whose header claims a large picture, and which then has many scans."""
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, side, side, 1) + bytes([1, 0x11, 0])
    return b"\xff\xd8" + frame + b"\xff\xda\x00\x03\x00\x12\xff\x00\x34" * count + b"\xff\xd9"


def tiff_of_pages(count: int) -> bytes:
    pages = b""
    for i in range(count):
        following = 8 + (i + 1) * 18 if i < count - 1 else 0
        pages += struct.pack("<HHHIII", 1, 256, 3, 1, 1, following)
    return b"II*\0" + struct.pack("<I", 8) + pages


PAGE = ((256, 4, 1, 64), (257, 4, 1, 48), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8), (279, 4, 1, 3072))
BOMBS = {
    "scans of a JPEG": (scans(2000), "goes over its 4000000 pixels"),
    "pages of a TIFF": (tiff_of_pages(20_000), "a TIFF of several pages"),
    "pages of a TIFF that begins as Pillow allows": (b"II\0*" + tiff_of_pages(20_000)[4:], "a TIFF of several pages"),
    "a BigTIFF that Pillow takes for a TIFF": (b"MM\0+" + bytes(20), "a BigTIFF with the high byte first"),
    "tags of a TIFF that claim the same bytes": (
        tags_of(*PAGE, *[(1000 + i, 7, 100_000, 0) for i in range(4000)], rest=bytes(100_000)),
        "tags that claim 400000000 of ",
    ),
    "numbers of a TIFF": (tags_of(*PAGE, (282, 5, 250_000, 0), rest=bytes(2_000_000)), "and 4000006 numbers"),
    "chunks of a PNG": (png_with(chunk(b"tEXt") * 100_000), "a PNG of 41.. chunks"),
    "what stands before the picture of a GIF": (
        b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + (b"!\xff\xff" + bytes(255) + b"\0") * 20_000 + b";",
        "bytes before its picture",
    ),
    "frames of a GIF": (
        b"GIF89a\x01\0\x01\0\x80\0\0" + bytes(6) + (b"," + bytes(8) + b"\0\x02\x02D\x01\0") * 100_000 + b";",
        "expected one picture, got 2 or more",
    ),
    "comments of a GIF": (
        b"GIF89a\x01\0\x01\0\x80\0\0" + bytes(6) + (b"!\xfe\xff" + b"x" * 255 + b"\0") * 10_000,
        "comments of more than",
    ),
    "comments of a GIF behind what is no block": (
        b"GIF89a\x01\0\x01\0\x80\0\0" + bytes(7) + (b"!\xfe\xff" + b"x" * 255 + b"\0") * 10_000,
        "comments of more than",
    ),
    "comments of a PPM": (b"P6\n#" + b"x" * 5_000_000 + b"\n1 1\n255\n123", "comments of more than"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_costs_are_counted_before_decoding(name: str) -> None:
    data, message = BOMBS[name]
    start = time.process_time()
    with pytest.raises(ImageError, match=message):
        images.decode(data)
    assert time.process_time() - start < 1.0


COSTLY_EXIF = costly_exif(4000, 20_000)
no_avif = pytest.mark.skipif(".avif" not in Image.registered_extensions(), reason="this Pillow has no AVIF")


@pytest.mark.parametrize("place", [pytest.param(one, marks=no_avif) if one == "AVIF" else one for one in IN_A_FILE])
@pytest.mark.parametrize("kind", COSTLY_EXIF)
def test_exif_that_claims_more_than_it_has_is_left_out(kind: str, place: str) -> None:
    data = IN_A_FILE[place](COSTLY_EXIF[kind])
    start = time.process_time()
    with contextlib.suppress(ImageError):  # of the JPEG behind an end
        picture = images.decode(data)
        assert picture.image.size == (64, 48)
        assert "exif" not in picture.metadata
        images.encode(picture.image, "JPEG", picture)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    "xmp",
    [
        b"<x:DigitalSourceType>" * 50_000,
        b'<x xmlns:g="http://ns.adobe.com/hdr-gain-map/1.0/">' + b"<g:a>" * 200_000,
        b'<x xmlns:g="http://ns.adobe.com/hdr-gain-map/1.0/">'
        + b"".join(b"<g:a%d></g:a%d>" % (i, i) for i in range(20_000)),
        b"".join(b'<x xmlns:g%d="http://ns.adobe.com/hdr-gain-map/1.0/">' % i for i in range(20_000)),
        (b"a" * 1999 + b" ") * 500,
        ("<?xml" + " " * 200_000 + " encoding" * 30_000).encode("utf-16-le"),
    ],
    ids=["source types", "gain maps", "names", "prefixes", "almost files", "encodings"],
)
def test_xmp_takes_time_in_proportion(xmp: bytes) -> None:
    start = time.process_time()
    picture = images.decode(png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)))
    assert SOURCE_TYPE in images.encode(picture.image, "PNG", picture).decode("latin-1")
    assert time.process_time() - start < 1.0
