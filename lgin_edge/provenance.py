"""Saying of a picture that it was changed: to people by words in its corner, to programs by its metadata."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

#: IPTC's word for a photograph that was edited with generative AI (https://cv.iptc.org/newscodes/digitalsourcetype/).
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
#: The words of the mark, in English.
MARK = "changed by AI"

_DESCRIPTION = (
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    f' Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"/>'
).encode()
_RDF = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">' + _DESCRIPTION + b"</rdf:RDF>"
#: A name of XML in UTF-8, of any letters.
NAME = rb"[\w.\x80-\xff-]+"
#: What else a file may say of where it comes from: a camera, say.
_OTHER_TYPE = re.compile(rb"\s" + NAME + rb":DigitalSourceType\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_OTHER_TYPE_ELEMENT = NAME + rb":DigitalSourceType"
_END = re.compile(rb"</([\w.:\x80-\xff-]+)\s*>")
_JPEG_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_MOST = 0xFFFF - 2 - len(_JPEG_HEAD)
_MP4_TYPE = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
#: The words are this part of the shorter side high, and no smaller than so many pixels.
_HEIGHT, _MIN_HEIGHT = 1 / 30, 12


def marked(image: Image.Image, words: str = MARK, language: str = "en") -> Image.Image:
    """A copy of the picture with the words at the right of its bottom; itself where there are none."""
    from PIL import ImageDraw

    from .fonts import font_for

    if not words:
        return image
    height = max(_MIN_HEIGHT, round(_HEIGHT * min(image.size)))
    copy = image.copy()
    place = (image.width - height // 2, image.height - height // 2)
    pen = ImageDraw.Draw(copy)
    font = font_for(words, height, language)
    pen.text(place, words, "white", font, anchor="rb", stroke_width=max(1, height // 10), stroke_fill="black")
    return copy


def xmp(before: bytes = b"") -> bytes:
    """XMP that says that a picture was changed by AI, with the rest of what it had."""
    before = without_elements(_OTHER_TYPE.sub(b"", before), _OTHER_TYPE_ELEMENT)
    for end, more in ((b"</rdf:RDF>", _DESCRIPTION), (b"</x:xmpmeta>", _RDF)):
        head, found, tail = before.rpartition(end)
        if found:
            return head + more + found + tail
    head = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'.encode()
    return head + b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + _RDF + b'</x:xmpmeta><?xpacket end="w"?>'


def without_elements(xmp: bytes, names: bytes) -> bytes:
    """XMP without the elements of these names (a pattern) and what they hold; b"" if one has no end. Its time is in proportion to its
    length: one pattern from an element's begin to its end would look for the end anew from each that has none."""
    kept, at = [], 0
    for tag in re.finditer(rb"<(" + names + rb")(?:\s[^<>]*)?>", xmp):
        if tag.start() < at:
            continue
        kept.append(xmp[at : tag.start()])
        at = tag.end()
        if not tag[0].endswith(b"/>"):
            at = next((end.end() for end in _END.finditer(xmp, at) if end[1] == tag[1]), -1)
            if at < 0:
                return b""
    return b"".join([*kept, xmp[at:]])


def jpeg_segment(metadata: bytes) -> bytes:
    """XMP as Pillow's ``save(extra=)`` puts it into a JPEG. One that is too long for that gives way to the source type alone."""
    body = _JPEG_HEAD + (metadata if len(metadata) <= _JPEG_MOST else xmp())
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body


def gif_with(data: bytes) -> bytes:
    """A GIF with that metadata, as the XMP specification puts it there (part 3, 1.1.2)."""
    trailer = b"\x01" + bytes(range(0xFF, -1, -1)) + b"\x00"
    return data[:-1] + b"\x21\xff\x0bXMP DataXMP" + xmp() + trailer + data[-1:]


def mp4_box() -> bytes:
    """That metadata as a box for the end of an MP4 (part 3, 1.3.2)."""
    body = b"uuid" + _MP4_TYPE + xmp()
    return (len(body) + 4).to_bytes(4, "big") + body
