"""What an image file costs, looked at before Pillow decodes it: its scans, pages, frames and comments.

A few kilobytes can ask for minutes of decoding. Each check here goes over the bytes once.
"""

from __future__ import annotations

import re
import struct
from typing import Literal

from .errors import ImageError

#: A progressive JPEG goes over its pixels once a scan: scans times pixels, in multiples of ``Limits.image_pixels``. Encoders
#: write 10 to 17 scans.
MAX_SCANS = 20
#: Bytes of the comments of a GIF, of what stands before the picture of a JPEG (Pillow joins both piece by piece), and of a PPM's
#: header (which it reads byte by byte).
MAX_COMMENTS = 1 << 20
MAX_PPM_HEADER = 1 << 16
MAX_JPEG_HEADER = 64 << 20
#: Segments of a JPEG, tags of a TIFF.
MAX_SEGMENTS = 4096

# A marker in the coded data of a JPEG: 00 is a data byte, D0 to D7 are restarts, FF is fill.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
# What begins a block of a GIF: an extension, a picture, the trailer.
_GIF_BLOCK = re.compile(rb"[!,;]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_NO_LENGTH = {0x01, 0xD8, *range(0xD0, 0xD8)}


def check_cost(name: object, data: bytes, max_pixels: int) -> None:
    """Raises ImageError for a file that would take Pillow far longer than its size.

    Args:
        name: what errors call it.
        max_pixels: of a picture; the scans of a JPEG are counted by it.
    """
    try:
        if data[:2] == b"\xff\xd8":
            _check_jpeg(data, max_pixels)
        elif data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            _check_tiff(data)
        elif data[:6] in (b"GIF87a", b"GIF89a"):
            _check_gif(data)
        elif re.match(rb"P[1-7fFy]", data):
            _check_ppm(data)
    except (IndexError, struct.error):
        return  # cut off: Pillow says so, at once
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from None


def _check_jpeg(data: bytes, max_pixels: int) -> None:
    at, scans, segments, pixels = 2, 0, 0, 0
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = data[found.end() - 1], found.end()
        if marker == _END_OF_IMAGE:
            break
        if marker in _NO_LENGTH:
            continue
        segments += 1
        scans += marker == _START_OF_SCAN
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame's header
            height, width = struct.unpack_from(">HH", data, at + 3)
            pixels = max(pixels, height * width)
        at += struct.unpack_from(">H", data, at)[0]
        if segments > MAX_SEGMENTS or (not scans and at > MAX_JPEG_HEADER):
            raise ValueError(
                f"a JPEG of more than {MAX_SEGMENTS} segments, or {MAX_JPEG_HEADER} bytes before its picture"
            )
        if scans * pixels > MAX_SCANS * max_pixels:
            raise ValueError(
                f"a progressive JPEG that goes over its {pixels} pixels {scans} times and more: save it again first"
            )


def _check_tiff(data: bytes) -> None:
    order: Literal["<", ">"] = "<" if data[:2] == b"II" else ">"
    if data[2 if order == ">" else 3] == 0 and 43 in data[2:4]:
        first, entry, count, link = struct.unpack_from(order + "Q", data, 8)[0], 20, "Q", "Q"
    else:
        first, entry, count, link = struct.unpack_from(order + "I", data, 4)[0], 12, "H", "I"
    entries = struct.unpack_from(order + count, data, first)[0]
    if entries > MAX_SEGMENTS:
        raise ValueError(f"a TIFF of {entries} tags; at most {MAX_SEGMENTS} are read")
    following = struct.unpack_from(order + link, data, first + struct.calcsize(order + count) + entries * entry)[0]
    if following:
        raise ValueError("expected one picture, got a TIFF of several pages: extract one first")


def _check_gif(data: bytes) -> None:
    def table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    at, comments, pictures = 13 + table(data[10]), 0, 0
    while data[at] != 0x3B:  # the trailer
        comment = data[at] == 0x21 and data[at + 1] == 0xFE
        if data[at] == 0x2C:
            pictures += 1
            if pictures > 1:
                raise ValueError("expected one picture, got 2 or more (an animation or pages): extract one first")
            at += 11 + table(data[at + 9])
        elif data[at] == 0x21:
            at += 2
        elif not pictures and (block := _GIF_BLOCK.search(data, at)):  # Pillow passes over what is no block
            at = block.start()
            continue
        else:
            return  # damaged behind the picture: Pillow looks no further
        while size := data[at]:
            comments += size if comment else 0
            at += size + 1
        at += 1
        if comments > MAX_COMMENTS:
            raise ValueError(f"comments of more than {MAX_COMMENTS} bytes: save it again first")


def _check_ppm(data: bytes) -> None:
    plain = re.sub(rb"#[^\r\n]*", b"", data[:MAX_PPM_HEADER])
    if len(data) > MAX_PPM_HEADER and len(plain.split(None, 4)) < 4:  # the kind, width, height and range
        raise ValueError(f"comments of more than {MAX_PPM_HEADER} bytes: save it again first")
