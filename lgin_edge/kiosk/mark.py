"""Saying of a picture that it was changed: to people by words in its corner, to programs by its metadata."""

from __future__ import annotations

from PIL import Image, ImageDraw

from ..fonts import font_for
from .texts import Texts, plain

#: IPTC's word for a photograph that was edited with generative AI (https://cv.iptc.org/newscodes/digitalsourcetype/).
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"/></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
#: The words are this part of the shorter side high, and no smaller than so many pixels.
_HEIGHT, _MIN_HEIGHT = 1 / 30, 12


def marked(image: Image.Image, texts: Texts) -> Image.Image:
    """A copy of the picture with the text ``mark`` at the right of its bottom; itself where that is empty."""
    words = plain(texts, "mark")
    if not words:
        return image
    height = max(_MIN_HEIGHT, round(_HEIGHT * min(image.size)))
    copy = image.convert("RGB")
    place = (image.width - height // 2, image.height - height // 2)
    font = font_for(words, height, plain(texts, "language"))
    pen = ImageDraw.Draw(copy)
    pen.text(place, words, "white", font, anchor="rb", stroke_width=max(1, height // 10), stroke_fill="black")
    return copy


def jpeg_segment() -> bytes:
    """The metadata, as Pillow's ``save(extra=)`` puts it into a JPEG."""
    body = b"http://ns.adobe.com/xap/1.0/\0" + _XMP.encode()
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
