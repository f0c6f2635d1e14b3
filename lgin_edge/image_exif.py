"""EXIF that Pillow gets when it was checked, and not before.

Pillow reads the EXIF of a JPEG and of an AVIF while it opens the file, and what it makes of it can be a thousand times as large. So
it is hidden there until the file is open. A JPEG's table of further pictures is one more of the kind; we take the first picture alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import raised_by_caller
from .image_checks import MAX_SEGMENTS, check_exif

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")

_EXIF_IFD, _GPS_IFD, _INTEROP = 0x8769, 0x8825, 0xA005
#: Of the table of interoperability, the one tag that is true of another file, too.
INDEX = 1
_ORIENTATION, _X_RESOLUTION, _RESOLUTION_UNIT, _CENTIMETRE = 0x0112, 0x011A, 0x0128, 3
_RAW_PROFILE = "Raw profile type exif"  # in which ImageMagick keeps it in a PNG
_BOXES = ("AVIF", "HEIF")
_EXIF, _HIDDEN = b"Exif\0\0", b"Exif\0-"
#: What such segments of a JPEG begin with, and the entry of an AVIF's or HEIF's list that says that an item is EXIF. What else looks so is
#: hidden, too: nothing else is read of it.
_IN_JPEG = re.compile(rb"(\xff\xe1..Exif\0)\0", re.DOTALL)
_PICTURES_IN_JPEG = re.compile(rb"(\xff\xe2..MP)F\0", re.DOTALL)
_IN_BOXES = re.compile(rb"(infe(?:\x02.{3}(..)|\x03.{3}(.{4}))..)Exif", re.DOTALL)


def hide(data: bytes) -> bytes:
    """An image file of the same length in which Pillow finds no EXIF while it opens it."""
    if data[:2] == b"\xff\xd8":
        return _PICTURES_IN_JPEG.sub(rb"\1-\0", _IN_JPEG.sub(rb"\1-", data))
    if data[4:8] == b"ftyp":
        return _IN_BOXES.sub(rb"\1exif", data)
    return data


def restore(file: Any, data: bytes) -> None:
    """Give an opened and loaded image file its EXIF in ``info``, or none if that would cost too much or is damaged.

    Args:
        data: the file as it was before ``hide``.
    """
    info = file.info
    exif = _unless_damaged(lambda: _checked(_as_read(file)))
    if file.format in _BOXES:
        exif = _unless_damaged(lambda: _turned_as(exif, _checked(_of_boxes(data)))) or exif
    for key in ("exif", _RAW_PROFILE):
        info.pop(key, None)
    if exif is not None:
        info["exif"] = exif
        if file.format == "JPEG" and "dpi" not in info and (dpi := _unless_damaged(lambda: _dpi(file.getexif()))):
            info["dpi"] = dpi, dpi


def orientation(file: Any) -> int:
    """How an opened image file is to be turned, 1 to 8; 1, not at all, where it says nothing that is known."""
    found = _unless_damaged(lambda: file.getexif().get(_ORIENTATION))
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def interop_index(exif: bytes) -> str:
    """By which rules a camera wrote its file, "R98" or, of Adobe's colours, "R03"; "" if it does not say."""
    from PIL import Image

    tags = Image.Exif()  # of its own: Pillow would write the table a second time, into the first one
    tags.load(exif)
    found = _unless_damaged(lambda: tags.get_ifd(_INTEROP).get(INDEX))
    return found[:4] if isinstance(found, str) else ""


def to_bytes(tags: Image.Exif, most: int | None = None) -> bytes:
    """EXIF with all that can be written of it.

    Args:
        tags: changed, as ``keep_texts`` does, and without the tags that cannot be written: one that is damaged takes no other with it.
        most: bytes, for which the longest tags give way.
    """
    keep_texts(tags)
    written: list[tuple[int, Any, int]] = []  # bytes of each tag, its table, and itself
    for place, table in tables(tags):
        for tag in [tag for tag in table if tag not in (_EXIF_IFD, _GPS_IFD)]:
            size = _bytes_of(place, tag, table[tag])
            if size:
                written.append((size, table, tag))
            else:
                del table[tag]
    exif = tags.tobytes()
    if most is not None and len(exif) > most:
        for size, table, tag in sorted(written, key=lambda one: one[0]):
            most -= size
            if most < 0:
                del table[tag]
        exif = tags.tobytes()
    return exif


def keep_texts(tags: Image.Exif) -> None:
    """Texts as the bytes that they are, in UTF-8 mostly. Pillow reads them as Latin-1, and writes "?" for all that is not ASCII."""
    for _, table in tables(tags):
        for tag, value in list(table.items()):
            if isinstance(value, str) and not value.isascii():
                table[tag] = value.encode("latin-1", "replace")


def tables(tags: Image.Exif) -> list[tuple[int | None, Any]]:
    """Places and tags of the first table, and of those of the camera and the position; those that Pillow cannot read leave them."""
    for tag in list(tags):
        if _is_unreadable(tags, tag):
            del tags[tag]
    return [(None, tags), *((place, tags.get_ifd(place)) for place in (_EXIF_IFD, _GPS_IFD) if place in tags)]


def _is_unreadable(tags: Image.Exif, tag: int) -> bool:
    """Whether Pillow, from 13 on, has no value for a tag: it has more entries than such a tag can have."""
    try:
        tags[tag]
    except KeyError:
        return True
    return False


def _bytes_of(place: int | None, tag: int, value: Any) -> int:
    """Bytes of EXIF that has this tag alone; 0 if it cannot be written."""
    from PIL import Image

    one = Image.Exif()
    (one if place is None else one.get_ifd(place))[tag] = value
    return len(_unless_damaged(one.tobytes) or b"")


def _unless_damaged(read: Callable[[], T]) -> T | None:
    """What is read; None where EXIF is damaged, which fails in many ways. The picture is still a picture."""
    try:
        return read()
    except Exception as error:
        if raised_by_caller(error):
            raise
        return None


def _checked(exif: Any) -> bytes | None:
    if exif is not None:
        check_exif(exif)
    return exif  # type: ignore[no-any-return]


def _as_read(file: Any) -> Any:
    if file.format == "JPEG":
        parts = [body[len(_EXIF) :] for _, body in file.applist if body.startswith(_HIDDEN)]
        return _EXIF + b"".join(parts) if parts else None
    if "exif" not in file.info and _RAW_PROFILE in file.info:
        return bytes.fromhex("".join(file.info[_RAW_PROFILE].split("\n")[3:]))
    return file.info.get("exif")


def _dpi(tags: Any) -> float:
    return float(tags[_X_RESOLUTION]) * (2.54 if tags.get(_RESOLUTION_UNIT) == _CENTIMETRE else 1.0)


def _of_boxes(data: bytes) -> bytes | None:
    """What the table of places of an AVIF or HEIF says of its first item of EXIF, if that lies in one piece; a wrong table gives wrong
    bytes, and no more."""
    item = _IN_BOXES.search(data)
    table = data.find(b"iloc")
    if item is None or table < 0:
        return None
    wanted = int.from_bytes(item[2] or item[3], "big")
    version, at = data[table + 4], table + 8

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(data[at - size : at], "big")

    sizes = number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(min(MAX_SEGMENTS, number(4 if version == 2 else 2))):
        found = number(4 if version == 2 else 2)
        at += 4 if version else 2  # how it is kept, and where
        base, parts = number(base_size), number(2)
        index = index_size if version else 0
        if found == wanted and parts == 1:
            at += index
            start = base + number(offset_size)
            block = data[start : start + number(length_size)]
            return _EXIF + block[4 + int.from_bytes(block[:4], "big") :]
        at += parts * (index + offset_size + length_size)
    return None


def _turned_as(pillows: bytes | None, exif: bytes | None) -> bytes | None:
    """EXIF with the orientation that Pillow has found elsewhere in the file."""
    from PIL import Image

    if exif is None:
        return None
    turned, tags = Image.Exif(), Image.Exif()
    turned.load(pillows or b"")
    tags.load(exif)
    tags[_ORIENTATION] = turned.get(_ORIENTATION, 1)
    return to_bytes(tags)
