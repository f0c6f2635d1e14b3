"""Small files that take long to decode."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image


def progressive_jpeg(width: int, height: int, scans: int) -> bytes:
    """A grey JPEG of many scans, each of a few bytes, that refine nothing: every one visits every block of the picture."""

    def segment(marker: int, data: bytes) -> bytes:
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data

    def table(number: int, symbol: int) -> bytes:  # one code, "0"
        return segment(0xC4, bytes([number, 1]) + bytes(15) + bytes([symbol]))

    blocks = -(-width // 8) * -(-height // 8)
    bits, left = "", blocks
    while left > 0:  # runs of empty blocks: the code of a run of 2^14 and more, and 14 bits of how many more
        run = max(1 << 14, min(left, (1 << 15) - 1))
        bits, left = bits + "0" + format(run - (1 << 14), "014b"), left - run
    bits += "1" * (-len(bits) % 8)
    empty = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    start = segment(0xDB, b"\0" + bytes([1] * 64)) + segment(
        0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    )
    start += table(0x00, 0) + table(0x10, 0xE0)
    dc = segment(0xDA, b"\1\1\0\0\0\1") + bytes(-(-blocks // 8))
    first, refining = (segment(0xDA, b"\1\1\0\1\x3f" + bits) + empty for bits in (b"\1", b"\x10"))
    return b"\xff\xd8" + start + dc + first + refining * scans + b"\xff\xd9"


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


#: A tag that is the place of a second table.
_DETAILS = (0x8769, 4, 1, 26)


def costly_exif(count: int, size: int) -> dict[str, bytes]:
    """EXIF that claims its bytes again and again.

    Args:
        count: of its tags.
        size: bytes that each of them claims.
    """
    whole, few = claims(count, size), count // 4
    return {
        "the same bytes": claims(count, size, kind=7, unit=1),
        "fractions": whole,
        "many fractions": claims(1, 4 * size),
        "the same tag again": tags_of(*[(1000, 7, size, 14 + 12 * count)] * count, rest=bytes(size)),
        "tags cut off": whole[:8] + b"\xff\xff" + whole[10 : 12 * count],
        "in a second table": tags_of(_DETAILS, rest=whole[8:]),
        "in a second table whose place is a short": tags_of((0x8769, 3, 1, 26), rest=whole[8:]),
        "many second tables": tags_of(*[(0x8769, 4, 1, 14 + 12 * few)] * few, rest=claims(few, size)[8:]),
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


#: Pictures with EXIF in them, by where it stands.
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
