"""What visitors take with them from the kiosk's page, and what the staff keeps."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Playwright
from support import kiosk_browser, kiosk_server
from support.kiosk_browser import PHONE, PORTRAIT, expect, go_live, open_page
from support.kiosk_page import CUT_OFF, SET_LANGUAGE, accessible
from support.kiosk_server import Image8, serving, wait_for

from lgin_edge import Transformer
from lgin_edge.kiosk import state
from lgin_edge.kiosk.gallery import Gallery
from lgin_edge.kiosk.server import Server
from lgin_edge.kiosk.settings import Settings

pytestmark = pytest.mark.slow


def test_a_picture_with_its_code(opened: Callable[..., Page], server: Server) -> None:
    import cv2

    page = opened(server.url)
    go_live(page)
    page.click("#still")
    expect(page.locator("#pictures img")).to_have_count(1)
    kiosk_browser.settled(page.locator("dialog"))
    expect(page.locator("#gone")).to_contain_text("Here for another")
    with page.expect_download() as saving:
        page.click("#save")
    assert saving.value.suggested_filename == "picture.jpg"
    with Image.open(saving.value.path()) as picture:
        assert picture.size == (640, 480)  # the camera's; the live picture has 480 x 360
    code = np.asarray(
        Image.open(io.BytesIO(page.locator("#code-picture").screenshot())).convert("RGB").resize((600, 600))
    )
    address, *_ = cv2.QRCodeDetector().detectAndDecode(code)
    path = page.locator("#pictures img").get_attribute("src")
    assert path is not None
    assert address == "http://192.168.7.7:8000" + path.replace("stills", "taken").removesuffix(".jpg")
    assert httpx.get(f"{server.url}{path}", trust_env=False).status_code == 200
    page.click("#forget")
    expect(page.locator("#kept")).to_be_hidden()
    wait_for(lambda: httpx.get(f"{server.url}{path}", trust_env=False).status_code == 404)


#: A phone that can share files; what was shared.
_SHARING = """navigator.canShare = ({ files }) => files[0].type === "image/jpeg";
navigator.share = async ({ files }) => { window.shared = [files[0].name, files[0].size]; };"""


def test_the_page_on_a_phone(browser: Browser, server: Server, astronaut: Image8) -> None:
    """In the phone's language, else in that of the visit: to save, to share where the phone can, until it is gone."""
    with kiosk_server.Visitor(server.url) as visitor:
        visitor.start(language="ja").be_seen(kiosk_server.encoded(astronaut))
        visitor.say(type="still")
        token = visitor.hear()[0]["token"]
        url = f"{server.url}/taken/{token}"
        size = {"width": PHONE[0], "height": PHONE[1]}
        with browser.new_context(viewport=size, locale="fr-CH") as french, browser.new_context(locale="nl") as dutch:
            page = french.new_page()
            page.clock.install()
            page.add_init_script(_SHARING)
            page.goto(url)
            expect(page.locator("h1:visible")).to_have_text("Votre photo")
            kiosk_browser.settled(page.locator("#there"))
            accessible(page)
            assert page.evaluate(CUT_OFF) == []
            page.click("#share")
            length = len(httpx.get(f"{server.url}/stills/{token}.jpg", trust_env=False).content)
            page.wait_for_function("window.shared")
            assert page.evaluate("window.shared") == ["picture.jpg", length]
            with page.expect_download() as saving:
                page.click("#save")
            assert saving.value.suggested_filename == "picture.jpg"
            other = dutch.new_page()
            other.goto(url)
            expect(other.locator("h1:visible")).to_have_text("あなたの写真")
            accessible(other)
            expect(other.locator("#share")).to_be_hidden()
            page.clock.fast_forward(301_000)
            expect(page.locator("h1:visible")).to_have_text("Plus disponible")
            expect(page.locator("#over")).to_contain_text("5 minutes")
            accessible(page)
            visitor.say(type="forget", token=token)
            visitor.change(kiosk_server.encoded(astronaut))
            other.reload()
            expect(other.locator("h1:visible")).to_have_text("No longer here")  # nothing of the visit is left
            accessible(other)


def test_through_the_years(opened: Callable[..., Page], server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_CLIP_FPS", 1)
    page = opened(server.url, PORTRAIT)
    go_live(page)
    page.click("#strip")
    expect(page.locator("#pictures figcaption")).to_have_text(
        ["now", "under 35", "35-44", "45-54", "55-64", "65 and over"]
    )
    kiosk_browser.settled(page.locator("dialog"))
    page.click("#done")
    expect(page.locator("#kept")).to_be_hidden()
    page.click("#clip")
    moving = page.locator("#pictures").get_by_alt_text("growing older and younger again")
    assert moving.evaluate("async image => { await image.decode(); return image.naturalWidth; }") == 480
    expect(page.locator("#save")).to_have_attribute("href", re.compile(r"/stills/[\w-]{22}\.gif\?save=1"))


#: Keeps all that is said over the live picture: some of it stands there for a second only.
_LISTEN = """() => {
  window.said = [];
  for (const id of ["status", "count"]) {
    const element = document.getElementById(id);
    new MutationObserver(() => window.said.push(element.textContent)).observe(element, { childList: true });
  }
}"""


def test_a_phone_over_https(browser: Browser, tiny: Transformer, tmp_path: Path) -> None:
    """By the machine's address in its network, where browsers give no camera to http."""
    cert, key = kiosk_server.certificate(tmp_path)
    with serving(tiny, host="0.0.0.0", certfile=cert, keyfile=key) as server:
        url = server.settings.network_url or server.url
        page = open_page(browser, url, PHONE, ignore_https_errors=True)
        go_live(page)
        page.evaluate(_LISTEN)
        page.click("#still")
        choice = page.locator("#shot-choice img")
        expect(choice).to_have_count(3)
        said = page.evaluate("window.said")
        assert [line for line in said if line.startswith("Picture")] == [f"Picture {i} of 3" for i in (1, 2, 3)]
        assert [line for line in said if line.isdigit()] == ["3", "2", "1", "1", "1"]
        kiosk_browser.settled(page.locator("#shots"))
        for language in ("ar", "en"):
            page.evaluate(SET_LANGUAGE, language)
            accessible(page)
            assert page.evaluate(CUT_OFF) == []
        taken = [str(one.get_attribute("src")) for one in choice.all()]
        page.get_by_role("button", name="Picture 2").click()
        expect(page.locator("#pictures img")).to_have_attribute("src", taken[1])
        page.wait_for_function(
            """async (paths) => {
              const answers = await Promise.all(paths.map((path) => fetch(path)));
              return answers.map(({ status }) => status).join() === "404,200,404";
            }""",
            arg=taken,
        )
        page.context.close()
    with serving(tiny, host="0.0.0.0") as server:
        if server.settings.network_url is not None:
            page = open_page(browser, server.settings.network_url, PHONE)
            page.click("#begin")
            page.click("#agree")
            expect(page.locator("#trouble")).to_contain_text("The camera needs a secure address")
            page.context.close()


def test_a_gallery_for_the_staff(browser: Browser, tiny: Transformer, astronaut: Image8, tmp_path: Path) -> None:
    """Visitors read of it before they agree; the staff sees what was taken, in their language, and deletes it."""
    staff = {"username": "anna", "password": "a long password"}
    settings = Settings(gallery=Gallery(tmp_path, 7 * 86400, 1e9, staff["password"]))
    with serving(tiny, settings) as server, kiosk_server.Visitor(server.url) as visitor:
        visitor.start().be_seen(kiosk_server.encoded(astronaut))
        visitor.say(type="still")
        visitor.hear()
        page = open_page(browser, server.url, PHONE, http_credentials=staff, locale="ar")
        page.click("#begin")
        expect(page.locator("#consent-kept")).to_contain_text("7 أيام")
        accessible(page)
        page.goto(f"{server.url}/staff")
        expect(page.get_by_role("heading")).to_have_text("محفوظ للموظفين")
        kiosk_browser.settled(page.locator("#gallery"))
        accessible(page)
        page.context.close()
        page = open_page(browser, server.url, http_credentials=staff)
        page.click("#begin")
        expect(page.locator("#consent-kept")).to_contain_text("is kept here for 7 days, where the staff")
        page.goto(f"{server.url}/staff")
        expect(page.get_by_role("heading")).to_have_text("Kept for the staff")
        kiosk_browser.settled(page.locator("#gallery"))
        accessible(page)
        for width, height in (PHONE, (3840, 2160)):
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate(CUT_OFF) == []
        page.get_by_role("button", name="Delete").click()
        expect(page.locator("#empty")).to_be_visible()
        assert list(tmp_path.iterdir()) == []
        page.context.close()


def test_the_pictures_of_the_docs(playwright: Playwright, bundled: Transformer, tmp_path: Path) -> None:
    """Every screen as ``python -m support.kiosk_browser docs/kiosk`` makes it, here the phone's."""
    kiosk_browser.take_pictures(playwright, bundled, tmp_path, ["phone"])
    files = sorted(path.name for path in tmp_path.glob("*.webp"))
    assert files == [f"phone-{name}.webp" for name in ("consent", "live", "picture", "start", "years")]
    assert max(path.stat().st_size for path in tmp_path.glob("*.webp")) < 200_000
