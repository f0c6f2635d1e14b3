"""Pictures and clips say that they were changed by AI."""

from __future__ import annotations

import io
import struct
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from lgin_edge import images, provenance
from lgin_edge.animation import Animation
from lgin_edge.provenance import SOURCE_TYPE

_DESCRIPTION = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
GREY = Image.new("RGB", (96, 64), (90, 90, 90))


def types(xmp: bytes) -> list[str]:
    """The digital source types of a packet that any reader of XML takes."""
    packet = xmp[xmp.index(b"<x:xmpmeta") : xmp.index(b"</x:xmpmeta>") + 12]
    return [value for one in ElementTree.fromstring(packet).iter(_DESCRIPTION) if (value := one.get(_TYPE))]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_file_says_so(kind: str) -> None:
    data = images.encode(GREY, kind)
    assert types(data) == [SOURCE_TYPE]
    plain = images.encode(GREY, kind, changed=False)
    assert SOURCE_TYPE.encode() not in plain
    np.testing.assert_array_equal(*(np.asarray(images.decode(one).image) for one in (data, plain)))


def test_a_picture_without_a_place_for_it() -> None:
    assert images.encode(GREY, "BMP") == images.encode(GREY, "BMP", changed=False)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".mp4"])
def test_a_clip_says_so(suffix: str) -> None:
    if suffix == ".mp4":
        pytest.importorskip("av")
    frames = [Image.fromarray(np.full((64, 96, 3), 60 * i, np.uint8)) for i in range(3)]
    data = Animation(frames, [20, 30, 40], [100, 100, 100]).encode(suffix)
    assert types(data) == [SOURCE_TYPE]
    if suffix == ".mp4":  # a box of its own, the last one
        at, kinds = 0, []
        while at < len(data):
            size, kind = struct.unpack(">I4s", data[at : at + 8])
            kinds.append(kind)
            at += size
        assert at == len(data)
        assert kinds[-1] == b"uuid"
    else:
        with Image.open(io.BytesIO(data)) as file:
            assert getattr(file, "n_frames", 1) == 3


def test_what_a_file_said_before() -> None:
    before = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        b' i:DigitalSourceType="digitalCapture"><dc:title>kept</dc:title></rdf:Description>'
        b'<rdf:Description xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        b"<i:DigitalSourceType>digitalCapture</i:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    after = provenance.xmp(before)
    assert types(after) == [SOURCE_TYPE]
    assert b"digitalCapture" not in after
    assert b"<dc:title>kept</dc:title>" in after
    assert types(provenance.xmp(after)) == [SOURCE_TYPE]  # once, however often a picture is changed
    assert types(provenance.xmp(b"no XMP at all")) == [SOURCE_TYPE]
    long = images.encode(GREY, "JPEG", images.Picture(GREY, {"xmp": before.replace(b"kept", b"k " * 40_000)}))
    assert types(long) == [SOURCE_TYPE]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_words_in_the_corner(mode: str) -> None:
    picture = GREY.convert(mode)
    marked = provenance.marked(picture)
    assert (marked.mode, marked.size) == (mode, picture.size)
    changed = np.abs(np.asarray(marked.convert("L")).astype(int) - np.asarray(picture.convert("L")))
    assert changed[44:].max() > 100
    assert changed[:44].max() == 0
    assert provenance.marked(picture, "") is picture
