"""What a small file may cost."""

from __future__ import annotations

import contextlib
import io
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

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


def tags_of(*tags: tuple[int, int, int, int], rest: bytes = b"", head: bytes = b"II*\0\x08\0\0\0") -> bytes:
    """A TIFF, or EXIF, of these tags, kinds, counts and values; the rest begins at ``8 + 6 + 12 * len(tags)``."""
    return head + struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *one) for one in tags) + bytes(4) + rest


def claims(count: int, size: int, kind: int = 5, unit: int = 8) -> bytes:
    """Tags that each claim the same bytes."""
    rest = b"\1\0\0\0" * (size // 4)
    return tags_of(*[(1000 + i, kind, size // unit, 14 + 12 * count) for i in range(count)], rest=rest)


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def saved(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(file, kind, **options)
    return file.getvalue()


def png_with(*chunks: bytes) -> bytes:
    data = saved("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def jpeg_with(*segments: bytes, marker: bytes = b"\xff\xe1") -> bytes:
    data = saved("JPEG")
    return data[:2] + b"".join(marker + struct.pack(">H", len(one) + 2) + one for one in segments) + data[2:]


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


DETAILS = (0x8769, 4, 1, 26)  # the place of a second table
#: EXIF of some 100 kB that claims 80 MB, or 10 million numbers.
COSTLY_EXIF = {
    "the same bytes": claims(4000, 20_000, kind=7, unit=1),
    "fractions": claims(4000, 20_000),
    "many fractions": claims(1, 80_000),
    "the same tag again": tags_of(*[(1000, 7, 20_000, 48_014)] * 4000, rest=bytes(20_000)),
    "tags cut off": claims(4000, 20_000)[:8] + b"\xff\xff" + claims(4000, 20_000)[10:48_000],
    "in a second table": tags_of(DETAILS, rest=claims(4000, 20_000)[8:]),
    "in a second table whose place is a short": tags_of((0x8769, 3, 1, 26), rest=claims(4000, 20_000)[8:]),
    "many second tables": tags_of(*[(0x8769, 4, 1, 12_014)] * 1000, rest=claims(1000, 20_000)[8:]),
}


def as_jpeg(exif: bytes) -> bytes:
    return jpeg_with(*[b"Exif\0\0" + exif[i : i + 65_000] for i in range(0, len(exif), 65_000)])


def as_raw_profile(exif: bytes) -> bytes:
    body = f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode()
    return png_with(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(body)))


def as_avif(exif: bytes) -> bytes:
    """Pillow itself would read EXIF that it writes: it is put in afterwards."""
    room = tags_of((0x010E, 2, len(exif), 26), rest=b"Z" * len(exif))
    data = saved("AVIF", exif=room)
    at = data.index(b"Z" * len(exif)) - 26
    return data[:at] + exif + data[at + len(exif) :]


IN_A_FILE: dict[str, Callable[[bytes], bytes]] = {
    "JPEG": as_jpeg,
    "JPEG behind an end": lambda exif: b"\xff\xd8\xff\xd9" + as_jpeg(exif)[2:],
    "JPEG of two pictures": lambda exif: jpeg_with(b"MPF\0" + exif[:65_000], marker=b"\xff\xe2"),
    "PNG": lambda exif: png_with(chunk(b"eXIf", exif)),
    "PNG behind the picture": lambda exif: saved("PNG")[:-12] + chunk(b"eXIf", exif) + saved("PNG")[-12:],
    "PNG of ImageMagick": as_raw_profile,
    "WEBP": lambda exif: saved("WEBP", exif=exif),
    "AVIF": as_avif,
}
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
    ],
    ids=["source types", "gain maps", "names", "prefixes", "almost files"],
)
def test_xmp_takes_time_in_proportion(xmp: bytes) -> None:
    start = time.process_time()
    picture = images.decode(png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)))
    assert SOURCE_TYPE in images.encode(picture.image, "PNG", picture).decode("latin-1")
    assert time.process_time() - start < 1.0
