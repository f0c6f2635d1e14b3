"""What is kept of a picture's metadata: all that is still true of a face that changed, and nothing of the old one.

Thumbnails, previews and depth maps show the old face. A claim of a film or a gain map at the file's end is no longer true,
since they are not written. An orientation that was applied is reset.
"""

from __future__ import annotations

import html
import re
import struct
from typing import TYPE_CHECKING, Any

from . import image_exif, provenance
from .errors import raised_by_caller

if TYPE_CHECKING:
    from PIL import Image

_ORIENTATION, _SUB_IFDS, _EXIF_IFD, _GPS_IFD = 0x0112, 0x014A, 0x8769, 0x8825
_WIDTH, _HEIGHT, _INTEROP = 0xA002, 0xA003, 0xA005
_XMP, _IPTC, _PHOTOSHOP_TAG = 700, 33723, 34377  # of a TIFF
_PHOTOSHOP, _PHOTOSHOP_IPTC = b"Photoshop 3.0\0", 0x0404  # of a JPEG: what begins its segment, and the part of it
_MOST_IN_SEGMENT = 0xFFFF - 2
_MOST_DPI = 0xFFFF
#: What a picture begins with.
_PICTURE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n|RIFF....WEBP|ftyp(?:avif|heic|heix|mif1)", re.DOTALL)
#: Numbers of a tag of EXIF, of which more are a picture's bytes.
_MOST_NUMBERS = 64
#: Tags of a TIFF that describe the picture; the others describe how the file is laid out.
_TIFF_TAGS = (270, 271, 272, 305, 306, 315, 33432)
#: Those of EXIF's first table that go into a TIFF, each a text. Of another one libtiff would take the layout from it, or crash.
_TEXTS = (*_TIFF_TAGS, 269, 316, *range(40091, 40096))
PNG_XMP = "XML:com.adobe.xmp"
#: Texts of a PNG in which ImageMagick keeps EXIF and XMP as they were, and file managers their thumbnails.
_STALE_TEXT = ("Raw profile type", "Thumb::")
#: Namespaces of XMP that hold pictures, or speak of what lies elsewhere in the file.
_STALE_NAMESPACES = (
    "http://ns.adobe.com/xap/1.0/g/img/",
    "http://ns.adobe.com/xmp/note/",
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.google.com/photos/1.0/",
)
_MOST_PREFIXES = 16
#: Encodings that XMP may have besides UTF-8 (part 1, 7.2), in an order in which the first fits that begins as the bytes do.
_WIDE_ENCODINGS = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_BEGINS = "\ufeff<\t\n\r "
#: How it begins in UTF-8; of EBCDIC, say, nothing would be found.
_BEGIN = re.compile(rb"(?:\xef\xbb\xbf)?\s*<")
_STATED_ENCODING = re.compile(r"""(<\?x(?:ml|packet)\b[^<>]*?)\sencoding\s*=\s*(?:"[^"]*"|'[^']*')""")
#: By the type of a TIFF's tag, how its numbers lie in the file.
_LONG = 4
_NUMBERS = {3: "H", _LONG: "I"}
#: A value of XMP that is longer without a space, or is in so many lines, is a file.
_EMBEDDED = re.compile(rb"(?<![A-Za-z0-9+/=])(?:[A-Za-z0-9+/=]{2000}|(?:[A-Za-z0-9+/=]{60,}(?:\s+|&#x[aAdD];)){20})")
#: What begins a preview, or the picture itself, in IPTC (2:202 and 8:10), in any format.
_PREVIEW_IN_IPTC = re.compile(rb"\x1c(?:\x02\xca|\x08\x0a)")


def kept_metadata(file: Any, image: Image.Image, mode: str) -> dict[str, Any]:
    """What Pillow's ``save`` takes of the metadata of ``file``, an opened image file; and iptc, the captions of picture agencies.

    Args:
        image: the picture, upright, as it was read.
        mode: of the picture as it will be written, one of L, LA, RGB and RGBA.
    """
    kept = {key: value for key in ("dpi", "comment") if (value := image.info.get(key)) and not _holds_picture(value)}
    if not all(_is_dpi(dots) for dots in kept.get("dpi", ())):
        del kept["dpi"]
    profile = image.info.get("icc_profile")
    if profile and _profile_fits(profile, mode) and image.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        kept["icc_profile"] = profile  # of another mode it describes the old colours
    xmp = image.info.get("xmp")
    if xmp and (clean := clean_xmp(xmp)):
        kept["xmp"] = clean
    iptc = _iptc(file)
    if iptc and not _holds_picture(iptc) and not _PREVIEW_IN_IPTC.search(iptc):
        kept["iptc"] = iptc
    try:
        exif = _exif(file, image)
        if len(exif):
            kept["exif"] = image_exif.to_bytes(exif)
    except Exception as error:  # damaged EXIF fails in many ways; it cannot be kept
        if raised_by_caller(error):
            raise
    if file.format == "PNG":
        kept["text"] = {
            key: str(value)
            for key, value in file.text.items()
            if key != PNG_XMP and not key.startswith(_STALE_TEXT) and not _holds_picture(value)
        }
    return kept


def _is_dpi(dots: Any) -> bool:
    """Whether a resolution is one that a file can hold; a TIFF may state a text."""
    try:
        return 0 < float(dots) <= _MOST_DPI
    except (TypeError, ValueError):
        return False


def use_utf8_xmp(file: Any) -> None:
    """Give an opened image file its XMP in ``info`` as bytes of UTF-8, or none if its encoding is not known.

    Once before its pixels are loaded, because Pillow fails on a TIFF whose XMP is no tag of bytes, and once behind, where a PNG may
    have its own. Pillow sees a turn in UTF-8 alone.
    """
    xmp, text = file.info.pop("xmp", None), file.info.pop(PNG_XMP, "")
    if file.format == "TIFF" and _XMP in file.tag_v2:
        xmp = _tag_bytes(file.tag_v2, _XMP)
    xmp = _in_utf8(xmp or text.encode())
    if xmp:
        file.info["xmp"] = xmp


def _in_utf8(xmp: bytes) -> bytes:
    """XMP of any encoding that it may have, in UTF-8 and without what pads it; b"" of another one."""
    for encoding in _WIDE_ENCODINGS:
        if xmp.startswith(tuple(sign.encode(encoding) for sign in _BEGINS)):
            whole = xmp + bytes(-len(xmp) % 4)  # a text of a TIFF lacks the NUL at its end
            text = whole.decode(encoding, "replace").lstrip("\ufeff")
            xmp = _STATED_ENCODING.sub(r"\1", text).encode()
            break
    xmp = xmp.rstrip(b"\0")
    return xmp if b"\0" not in xmp and b">" in xmp and _BEGIN.match(xmp) else b""


def _profile_fits(profile: Any, mode: str) -> bool:
    """Whether a colour profile is one of the picture's kind; its header says of which it is."""
    space = bytes(profile[16:20]) if isinstance(profile, bytes) else b""
    return space == (b"GRAY" if mode in ("L", "LA") else b"RGB ")


def _iptc(file: Any) -> bytes | None:
    if file.format == "TIFF":
        return _tag_bytes(file.tag_v2, _IPTC)
    iptc = file.info.get("photoshop", {}).get(_PHOTOSHOP_IPTC)
    return iptc if isinstance(iptc, bytes) else None


def _tag_bytes(tags: Any, tag: int) -> bytes | None:
    """The bytes of a TIFF's tag, which programs also write as a text or as numbers; None if there is none, or it is of another type."""
    value = tags.get(tag)
    if isinstance(value, tuple) and len(value) == 1 and isinstance(value[0], (bytes, str)):
        value = value[0]
    if isinstance(value, tuple) and tags.tagtype[tag] in _NUMBERS:
        order = "<" if tags.prefix == b"II" else ">"
        return struct.pack(f"{order}{len(value)}{_NUMBERS[tags.tagtype[tag]]}", *value)
    if isinstance(value, str):
        return value.encode("latin-1", "replace")  # as Pillow has decoded it
    return value if isinstance(value, bytes) else None


def _exif(file: Any, image: Image.Image) -> Any:
    exif = file.getexif()
    if file.format == "TIFF":  # here the tags are the file's own, and Pillow drops them when it turns the picture
        exif = type(exif)()
        for tag in set(_TIFF_TAGS) & set(file.tag_v2):
            exif[tag] = file.tag_v2[tag]
    if not len(exif):
        return exif
    exif[_ORIENTATION] = 1
    for _, table in image_exif.tables(exif):
        for tag, value in list(table.items()):
            # Places in the old file; what stands elsewhere; a preview, mostly in a camera's own notes.
            if tag in (_SUB_IFDS, _XMP, _IPTC, _PHOTOSHOP_TAG) or _holds_picture(value):
                del table[tag]
    if _EXIF_IFD not in exif:
        return exif
    details = exif.get_ifd(_EXIF_IFD)
    if details.pop(_INTEROP, None) is not None and (index := image_exif.interop_index(file.info["exif"])):
        details[_INTEROP] = {image_exif.INDEX: index}
    for tag, side in ((_WIDTH, image.width), (_HEIGHT, image.height)):
        if tag in details:
            details[tag] = side
    return exif


def _holds_picture(value: Any) -> bool:
    """Whether a tag's value, of any type, has a picture in it."""
    if isinstance(value, tuple):
        return len(value) > _MOST_NUMBERS or any(isinstance(one, (bytes, str)) and _holds_picture(one) for one in value)
    if isinstance(value, str):
        value = value.encode("latin-1", "replace")  # as Pillow has decoded it
    return isinstance(value, bytes) and bool(_PICTURE.search(value))


def clean_xmp(xmp: bytes) -> bytes:
    """XMP without thumbnails, without claims about parts of the file that are not written, and without a turn, which was made; b"" if that
    cannot be done."""
    if b"<!ENTITY" in xmp:
        return b""  # XMP has none; names could stand for others
    name = provenance.NAME
    prefixes = {
        re.escape(prefix)
        for prefix, _, uri in re.findall(rb"xmlns:(" + name + rb")\s*=\s*(['\"])(.*?)\2", xmp)
        if html.unescape(uri.decode("latin-1")).strip().startswith(_STALE_NAMESPACES)
    }
    if len(prefixes) > _MOST_PREFIXES:
        return b""  # each would be looked for everywhere
    xmp = re.sub(rb"\stiff:Orientation\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", xmp)
    elements = [name + rb":Thumbnails", rb"tiff:Orientation"]
    if prefixes:
        stale = b"(?:" + b"|".join(sorted(prefixes)) + b")"
        xmp = re.sub(rb"\s" + stale + rb":" + name + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", xmp)
        elements.append(stale + rb":" + name)
    xmp = provenance.without_elements(xmp, b"|".join(elements))
    if _EMBEDDED.search(xmp) or re.search(rb"MotionPhoto|MicroVideo|Thumbnails", xmp):
        return b""
    return xmp


def tiff_metadata(exif: bytes, xmp: bytes, iptc: bytes) -> tuple[dict[str, Any], dict[int, Any]]:
    """Metadata of a TIFF, which are tags of one table, as ``save`` takes it; and the further tables of EXIF, for ``with_tables``."""
    from PIL import Image, TiffImagePlugin

    tags = Image.Exif()
    if exif:
        tags.load(exif)
        image_exif.keep_texts(tags)
        for tag in (_XMP, _IPTC):
            tags.pop(tag, None)
    if xmp:
        tags[_XMP] = xmp
    if iptc:
        tags[_IPTC] = iptc
    tables = {place: tags.get_ifd(place) for place in (_EXIF_IFD, _GPS_IFD) if place in tags}
    if _INTEROP in tables.get(_EXIF_IFD, ()):
        tables[_EXIF_IFD][_INTEROP] = tags.get_ifd(_INTEROP)
    first = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    first.tagtype.update(dict.fromkeys(tables, _LONG))
    for tag in tags:
        if tag in tables:
            first[tag] = 1  # until its place is known
        elif tag in (_XMP, _IPTC) or (tag in _TEXTS and isinstance(tags[tag], (str, bytes))):
            first[tag] = tags[tag]
    return {"tiffinfo": first, "compression": "tiff_lzw"}, tables


def with_tables(tiff: bytes, tables: dict[int, Any]) -> bytes:
    """A TIFF with further tables behind it, whose places stand in its first one: Pillow leaves compression to libtiff, and libtiff does not
    take them from it."""
    from PIL import TiffImagePlugin

    data, prefix = bytearray(tiff), tiff[:2]
    order = "<" if prefix == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, first)
    for at in range(first + 2, first + 2 + 12 * entries, 12):
        (tag,) = struct.unpack_from(order + "H", data, at)
        if tag in tables:
            table = TiffImagePlugin.ImageFileDirectory_v2(prefix=prefix, group=tag)
            for key, value in tables[tag].items():
                table[key] = value
            data += bytes(len(data) % 2)
            struct.pack_into(order + "I", data, at + 8, len(data))
            data += table.tobytes(len(data))
    return bytes(data)


def jpeg_metadata(exif: bytes, comment: bytes, xmp: bytes, iptc: bytes) -> dict[str, bytes]:
    """Metadata of a JPEG as ``save`` takes it. Each kind has one segment: of EXIF the longest tags give way, and comments are cut."""
    from PIL import Image

    extra = provenance.jpeg_segment(xmp) if xmp else b""
    if len(exif) > _MOST_IN_SEGMENT:
        tags = Image.Exif()
        tags.load(exif)
        exif = image_exif.to_bytes(tags, _MOST_IN_SEGMENT)
    if iptc:
        block = struct.pack(">4sHHI", b"8BIM", _PHOTOSHOP_IPTC, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
        extra += _segment(0xED, _PHOTOSHOP + block)
    if comment:  # here, because Pillow makes no room for a long one
        extra += _segment(0xFE, comment[:_MOST_IN_SEGMENT])
    return {"exif": exif, "comment": b"", "extra": extra}


def _segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG; b"" if it is too long for one."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body if len(body) <= _MOST_IN_SEGMENT else b""


def png_text(text: dict[str, str], xmp: bytes) -> Any:
    """The texts of a PNG, as ``save`` takes them."""
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    for key, value in text.items():
        info.add_itxt(key, value)
    if xmp:
        info.add_itxt(PNG_XMP, xmp.decode("utf-8", "replace"))
    return info
