"""What an image file costs, looked at before Pillow decodes it: its scans, pages, frames, chunks, tags and comments.

A few kilobytes can ask for minutes of decoding. Each check here goes over the bytes once, and reads them as Pillow does: what one
reader skips and the other one takes would not be counted.
"""

from __future__ import annotations

import re
import struct
import zlib
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
#: Bytes before the picture of a GIF, of which Pillow may take each on its own.
MAX_GIF_HEADER = 4 << 20
#: Segments of a JPEG; tags of a TIFF or of EXIF; chunks of a PNG, and one more for each so many bytes.
MAX_SEGMENTS = 4096
PNG_CHUNK_BYTES = 1024
#: Numbers in the tags of a TIFF or of EXIF, each an object in Python; a fraction counts as so many.
MAX_TIFF_NUMBERS, MAX_EXIF_NUMBERS, FRACTION_COST = 1 << 20, 1 << 16, 16

# A marker in the coded data of a JPEG: 00 is a data byte, D0 to D7 are restarts, FF is fill.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
# What begins a block of a GIF: an extension, a picture, the trailer.
_GIF_BLOCK = re.compile(rb"[!,;]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
#: Markers without a length; Pillow takes none of the reserved ones either, and goes on behind an end that comes before the picture.
_NO_LENGTH = {0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)}
_PNG = b"\x89PNG\r\n\x1a\n"
#: What stands before what is compressed in the chunks of a PNG, of texts and of a colour profile.
_NAMED = re.compile(rb"[^\0]*\0\0")
_BEFORE = {b"iCCP": _NAMED, b"zTXt": _NAMED, b"iTXt": re.compile(rb"[^\0]*\0[^\0]\0[^\0]*\0[^\0]*\0")}
#: How a TIFF may begin for Pillow, which allows the number in the wrong order, too.
_TIFF = (b"II*\0", b"MM\0*", b"MM*\0", b"II\0*", b"II+\0", b"MM\0+")
_ORDERS: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
#: Bytes of one value of a tag, by its type; of other types Pillow skips it. Texts and bytes are taken as they are.
_UNIT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_AS_IT_IS, _FRACTIONS, _PLACES = (1, 2, 7), (5, 10), (4, 13)
#: Tags of EXIF that are the place of a further table.
_TABLES = {0x8769, 0x8825, 0xA005}


def check_cost(name: object, data: bytes, max_pixels: int) -> None:
    """Raises ImageError for a file that would take Pillow far longer than its size.

    Args:
        name: what errors call it.
        max_pixels: of a picture; the scans of a JPEG are counted by it.
    """
    try:
        if data[:2] == b"\xff\xd8":
            _check_jpeg(data, max_pixels)
        elif data[:8] == _PNG:
            _check_png(data)
        elif data[:4] in _TIFF:
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
        if marker == _END_OF_IMAGE and scans:
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


def _check_png(data: bytes) -> None:
    at, chunks = 8, 0
    while data[at + 4 : at + 8] not in (b"IEND", b""):
        at += 12 + int(struct.unpack_from(">I", data, at)[0])
        chunks += 1
        if chunks > MAX_SEGMENTS + at // PNG_CHUNK_BYTES:
            raise ValueError(f"a PNG of {chunks} chunks in {at} bytes: save it again first")


def without_long_texts(data: bytes) -> bytes:
    """A PNG without the texts that are damaged, or too long for Pillow, in which programs keep how they made it; other files as they are.

    Raises ValueError: there is more of them in all, and of colour profiles, than Pillow takes of texts.
    """
    if data[:8] != _PNG:
        return data
    from PIL import PngImagePlugin

    kept, at, start, left = [], 8, 0, PngImagePlugin.MAX_TEXT_MEMORY
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            break
        end = at + 12 + size
        if kind in _BEFORE:
            length = _unpacked_length(data[at + 8 : end - 4], _BEFORE[kind], PngImagePlugin.MAX_TEXT_CHUNK + 1)
            left -= length
            if left < 0:
                raise ValueError("a PNG with too many long or damaged texts: save it again first")
            if length > PngImagePlugin.MAX_TEXT_CHUNK and kind != b"iCCP":
                kept.append(data[start:at])
                start = end
        at = end
    return b"".join([*kept, data[start:]]) if kept else data


def _unpacked_length(chunk: bytes, before: re.Pattern[bytes], most: int) -> int:
    """Bytes of what is compressed, counted up to ``most``; ``most`` of what is damaged, since it may be damaged at its end."""
    head = before.match(chunk)
    try:
        return 0 if head is None else len(zlib.decompressobj().decompress(chunk[head.end() :], most))
    except zlib.error:
        return most


def _check_tiff(data: bytes) -> None:
    if data[:4] == b"MM\0+":
        raise ValueError("a BigTIFF with the high byte first is not read: save it again first")
    order, wide = _ORDERS[data[:2]], data[2] == 43
    first = struct.unpack_from(order + "Q", data, 8)[0] if wide else struct.unpack_from(order + "I", data, 4)[0]
    if _Tags(data, MAX_TIFF_NUMBERS).read(first, wide):
        raise ValueError("expected one picture, got a TIFF of several pages: extract one first")


def check_exif(exif: bytes) -> None:
    """Raises ValueError for EXIF that would take Pillow far longer than its size.

    Its tags may claim the same bytes, a thousand times over. Of its first table, and of those of the camera and the place; the one
    of the thumbnail is not read.
    """
    data = re.sub(b"^(Exif\0\0){1,2}", b"", exif)
    order = _ORDERS.get(data[:2])
    if order is None or len(data) < 8:
        return  # Pillow refuses it, at once
    tags = _Tags(data, MAX_EXIF_NUMBERS)
    tags.read(struct.unpack_from(order + "I", data, 4)[0], wide=False)
    for _ in range(2):  # in the table of the camera there may be one more
        places, tags.places = tags.places, []
        for kind, values, place in places:
            if kind not in _PLACES or values != 1:
                raise ValueError("expected the place of a table")
            tags.read(place, wide=False)


class _Tags:
    """What the tags of a TIFF or of EXIF cost, counted over all tables.

    Args:
        data: from the header on.
        most_numbers: that their values may be.
    """

    def __init__(self, data: bytes, most_numbers: int) -> None:
        self._data = data
        self._most_numbers = most_numbers
        self._order = _ORDERS[data[:2]]
        self._entries = self._claimed = self._numbers = 0
        self.places: list[tuple[int, int, int]] = []  # of further tables: type, count, value

    def read(self, at: int, wide: bool) -> int:
        """The place of the table that follows the one at this place; 0 if there is none, or the table is cut off.

        Args:
            wide: it is of a BigTIFF.

        Raises ValueError: the tables cost too much.
        """
        data, inline, number = self._data, 8 if wide else 4, self._order + ("Q" if wide else "I")
        count, entry = (struct.Struct(self._order + one) for one in (("Q", "HHQQ") if wide else ("H", "HHII")))
        if at + count.size > len(data):
            return 0
        (entries,) = count.unpack_from(data, at)
        at += count.size
        entries = min(entries, (len(data) - at) // entry.size)
        end = at + entries * entry.size
        self._entries += entries
        if self._entries > MAX_SEGMENTS:
            raise ValueError(f"{self._entries} tags and more; at most {MAX_SEGMENTS} are read")
        for tag, kind, values, place in entry.iter_unpack(data[at:end]):
            size = values * _UNIT_BYTES.get(kind, 0)
            if not size or (size > inline and place + size > len(data)):
                continue  # Pillow does not take what it does not know, or what is not there
            self._claimed += size if size > inline else 0
            self._numbers += 0 if kind in _AS_IT_IS else values * (FRACTION_COST if kind in _FRACTIONS else 1)
            if tag in _TABLES:
                self.places.append((kind, values, place))
        if self._claimed > len(data) or self._numbers > self._most_numbers:
            raise ValueError(
                f"tags that claim {self._claimed} of {len(data)} bytes, and {self._numbers} numbers: save it again first"
            )
        return struct.unpack_from(number, data, end)[0] if end + struct.calcsize(number) <= len(data) else 0


def _check_gif(data: bytes) -> None:
    def table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    at, comments, pictures = 13 + table(data[10]), 0, 0
    while data[at] != 0x3B:  # the trailer
        if not pictures and at > MAX_GIF_HEADER:
            raise ValueError(f"a GIF of more than {MAX_GIF_HEADER} bytes before its picture: save it again first")
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
