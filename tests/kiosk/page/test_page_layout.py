"""The kiosk's page on every screen and in every language."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page
from support import kiosk_browser
from support.kiosk_browser import LANDSCAPE, PHONE, PORTRAIT, expect
from support.kiosk_page import CUT_OFF, SET_LANGUAGE, accessible

from lgin_edge.kiosk.server import Server
from lgin_edge.kiosk.texts import LANGUAGES
from lgin_edge.tracking import tracker

pytestmark = pytest.mark.slow

#: Gives a picture that shape.
_SHAPE = """async (image, [width, height]) => {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d");
  image.src = URL.createObjectURL(await canvas.convertToBlob());
  await image.decode();
}"""
#: The boxes of controls, [left, top, right, bottom].
_BOXES = """elements => elements.map((element) => {
  const { left, top, right, bottom } = element.getBoundingClientRect();
  return [left, top, right, bottom];
})"""
SMALL = (PHONE, (320, 568), (844, 390))
LARGE = (PORTRAIT, LANDSCAPE, (1440, 900), (1920, 1080), (2560, 1440), (2160, 3840), (3840, 2160))


def test_everything_can_be_touched(opened: Callable[..., Page], server: Server) -> None:
    """On no screen is a control smaller than a finger, or beside the screen; of a dialog that may scroll, beside the dialog."""
    page = opened(server.url)

    def check(within: str) -> None:
        for width, height in (*SMALL, *LARGE):
            page.set_viewport_size({"width": width, "height": height})
            controls = page.locator(f"{within} :is(button, a.button, input[type=range], .grip):visible")
            boxes = controls.evaluate_all(_BOXES)
            (area,) = page.locator(within).evaluate_all(_BOXES)
            assert boxes
            for left, top, right, bottom in boxes:
                assert min(right - left, bottom - top) >= 48, (within, width)
                assert max(0, area[0]) <= left <= right <= min(width, area[2]), (within, width)
                if within == "#kept" and (width, height) in LARGE:
                    assert max(0, area[1]) <= top <= bottom <= min(height, area[3]), (within, width)
            if within == "#attract" and width < height:
                (picture,), (words,) = (page.locator(part).evaluate_all(_BOXES) for part in (".ages", ".pitch"))
                assert picture[3] <= words[1], width
            if within == "#live":
                stage, panel = page.locator("#stage").bounding_box(), page.locator(".panel").bounding_box()
                assert stage is not None
                assert panel is not None
                assert stage["height"] >= 120
                assert panel["y"] + panel["height"] <= height + 1

    check("#attract")
    page.click("#begin")
    check("#consent")
    page.click("#agree")
    expect(page.locator("#status")).to_have_text("1 face")
    check("#live")
    page.click("#strip")
    expect(page.locator("#pictures img")).to_have_count(6)
    kiosk_browser.settled(page.locator("#kept"))
    check("#kept")
    page.click("#done")
    page.click("#still")
    expect(page.locator("#pictures img")).to_have_count(1)
    for shape in ((1280, 720), (640, 480), (720, 1280)):
        page.locator("#pictures img").evaluate(_SHAPE, shape)
        check("#kept")


#: What does not fit of a screen, by language.
_FAULTS = f"""async ([codes, screen]) => {{
  const {{ setLanguage }} = await import("/static/app.js"), cutOff = {CUT_OFF}, faults = {{}};
  for (const code of codes) {{
    setLanguage(code);
    const found = cutOff();
    if (screen === "#live") {{
      if (document.querySelector(".panel").getBoundingClientRect().bottom > innerHeight + 1) found.push("the panel is too low");
      if (document.getElementById("stage").clientHeight < 0.3 * innerHeight) found.push("the stage is too small");
    }}
    if (found.length) faults[code] = found;
  }}
  return faults;
}}"""


def test_every_language_fits(opened: Callable[..., Page], server: Server) -> None:
    """At a phone and on wide screens, in every language: nothing is cut off, and the controls stay on the screen. In two of them axe
    looks at all of it."""
    page = opened(server.url)

    def check(within: str) -> None:
        for size in (PHONE, (1920, 1080), (3840, 2160)):
            page.set_viewport_size({"width": size[0], "height": size[1]})
            assert page.evaluate(_FAULTS, [list(LANGUAGES), within]) == {}, (within, size)
            for language in ("en", "ar") if size == PHONE else ():
                page.evaluate(SET_LANGUAGE, language)
                accessible(page)

    check("#attract")
    page.click("#language")
    check("#languages")
    page.keyboard.press("Escape")
    page.click("#begin")
    check("#consent")
    page.click("#agree")
    expect(page.locator("#status")).to_have_text("وجه واحد")
    check("#live")
    for button, count in (("#still", 1), ("#strip", 6)):
        page.click(button)
        expect(page.locator("#pictures img")).to_have_count(count)
        kiosk_browser.settled(page.locator("#kept"))
        check("#kept")
        page.click("#done")
    page.evaluate("document.getElementById('video').srcObject.getTracks()[0].onended()")
    expect(page.locator("#trouble")).to_be_visible()
    check("#trouble")
    page.goto(f"{server.url}/docs")
    accessible(page)


def test_a_visitor_chooses_the_language(
    opened: Callable[..., Page], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And presses before the face has all of its change, which is waited for."""
    monkeypatch.setattr(tracker, "FADE_IN", 3.0)
    page = opened(server.url)
    page.get_by_role("button", name="Language: English").click()
    page.get_by_role("button", name="العربية").click()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    page.click("#begin")
    expect(page.locator("#consent")).to_contain_text("لمدة 5 دقائق")
    page.click("#agree")
    expect(page.locator("#status")).to_have_text("وجه واحد")
    page.click("#strip")
    expect(page.locator("#pictures figcaption").first).to_have_text("الآن")
    expect(page.locator("#pictures figcaption").nth(1)).to_have_text("أقل من 35")
    page.click("#done")
    page.locator("#age").press("ArrowLeft")  # the slider's older end is at the left
    expect(page.locator("#number")).to_have_text("70")
    page.locator("#age").press("ArrowRight")
    expect(page.locator("#age")).to_have_attribute("aria-valuetext", "69 سنة")
    page.click("#finish")
    expect(page.locator("#begin")).to_have_text("Touch to begin")  # for the next visitor
