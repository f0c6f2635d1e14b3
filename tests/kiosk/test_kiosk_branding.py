"""A house's frame and logo."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
from PIL import Image
from support.kiosk_server import Image8, Visitor, encoded, pixels, serving

from lgin_edge import Transformer
from lgin_edge.contact_sheet import in_two_rows
from lgin_edge.kiosk import state
from lgin_edge.kiosk.branding import framed, with_logo
from lgin_edge.kiosk.settings import Settings

LOGO = Image.new("RGBA", (400, 100), (0, 255, 0, 255))
FRAME = Image.new("RGBA", (200, 100), (255, 0, 255, 255))
FRAME.paste((0, 0, 0, 0), (10, 10, 190, 90))


def test_where_they_are() -> None:
    picture = Image.new("RGB", (800, 400))
    logo = np.asarray(with_logo(picture, LOGO))
    assert (logo[340:388, 13:208] == (0, 255, 0)).all()  # 50 pixels high, 12 from the edges
    assert logo[:330].max() == logo[:, 220:].max() == 0
    wide = np.asarray(with_logo(picture, LOGO.resize((4000, 100))))
    assert wide[:, 275:].max() == 0  # a third of the width
    frame = np.asarray(framed(picture, FRAME))
    assert (frame[:25] == (255, 0, 255)).all()
    assert frame[50:350, 50:750].max() == 0
    assert with_logo(picture, None) is framed(picture, None) is picture


def test_a_strip_has_one_font_and_a_dark_foot() -> None:
    """Under the second half stands an umlaut, which Pillow's own font has not; the logo is made for the kiosk's dark screens."""
    strip = np.asarray(in_two_rows([Image.new("RGB", (60, 60), "red")] * 4, ["x", "x", "x", "ä"], 60, "de", foot=0.5))
    upper, lower = strip[:-30].reshape(2, 86, *strip.shape[1:])
    assert (upper[:20, :66] == lower[:20, :66]).all()
    assert upper[:20, :66].min() < 128 < lower[:20, 66:].max()
    assert (upper[20:80] == lower[20:80]).all()
    assert strip[-30:].max() < 32


def test_on_what_is_taken_away(tiny: Transformer, astronaut: Image8, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_CLIP_FPS", 1)
    with serving(tiny, Settings(logo=LOGO, frame=FRAME)) as server, Visitor(server.url) as visitor:
        visitor.start().be_seen(encoded(astronaut))
        for kind, name in (("still", "jpg"), ("clip", "gif"), ("strip", "jpg")):
            visitor.say(type=kind)
            token = visitor.hear()[0]["token"]
            picture = pixels(httpx.get(f"{server.url}/stills/{token}.{name}", trust_env=False).content).astype(int)
            height, width, _ = picture.shape
            green = picture[..., 1] - picture[..., [0, 2]].max(axis=-1) > 100
            assert green[int(0.8 * height) :, : width // 3].any(), kind
            assert not green[:, width // 2 :].any(), kind
            is_framed = bool((picture[2, :, 0] - picture[2, :, 1] > 150).all())
            assert is_framed == (kind != "strip")
        shown = httpx.get(f"{server.url}/logo.png", trust_env=False)
        assert Image.open(io.BytesIO(shown.content)).size == LOGO.size
    with serving(tiny) as server:
        assert httpx.get(f"{server.url}/logo.png", trust_env=False).status_code == 404
