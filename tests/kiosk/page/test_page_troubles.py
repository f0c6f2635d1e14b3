"""What the kiosk's page does without a place, a connection, a camera, a disk or a visitor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, Playwright
from support import kiosk_browser
from support.kiosk_browser import expect, frames, go_live, open_page
from support.kiosk_page import accessible, change, set_age
from support.kiosk_server import Image8, serving, wait_for

from lgin_edge import Transformer
from lgin_edge.kiosk.server import Server
from lgin_edge.kiosk.settings import Settings

pytestmark = pytest.mark.slow


def test_all_places_of_an_address_taken(opened: Callable[..., Page], tiny: Transformer) -> None:
    with serving(tiny, Settings(max_visitors=2)) as server:
        first, second = opened(server.url), opened(server.url)
        go_live(first)
        second.click("#begin")
        second.click("#agree")
        expect(second.locator("#status")).to_contain_text("All places for your network are taken")
        first.click("#finish")
        expect(second.locator("#status")).to_have_text("1 face")
        second.click("#finish")  # before the server ends, which a page that is live complains of
        expect(second.locator("#attract")).to_be_visible()


def test_the_server_restarts(opened: Callable[..., Page], tiny: Transformer) -> None:
    with serving(tiny) as server:
        page = opened(server.url, complaints=True)
        go_live(page)
        set_age(page, 40)
    expect(page.locator("#status")).to_contain_text("Connection lost")
    seen = frames(page)
    with serving(tiny, port=int(server.url.rsplit(":", 1)[1])):
        wait_for(lambda: frames(page) > seen + 3)
        expect(page.locator("#status")).to_have_text("1 face")
        wait_for(lambda: 5 < change(page) < 40)  # the age is the same as before
        page.click("#finish")


def test_no_camera_and_a_photo_instead(
    playwright: Playwright, server: Server, camera: Path, astronaut: Image8, tmp_path: Path
) -> None:
    wrong, photo = tmp_path / "notes.jpg", tmp_path / "astronaut.jpg"
    wrong.write_text("this is no picture")
    picture = Image.new("RGB", (640, 480))
    picture.paste(Image.fromarray(astronaut).resize((480, 480)), (80, 0))
    picture.save(photo, quality=95)
    with kiosk_browser.browsing(playwright, camera, allow=False) as browser:
        page = open_page(browser, server.url)
        page.click("#begin")
        page.click("#agree")
        expect(page.locator("#trouble")).to_contain_text("The camera may not be used")
        with page.expect_file_chooser() as choosing:
            page.click("#trouble-photo")
        choosing.value.set_files(wrong)
        expect(page.locator("#trouble")).to_contain_text("“notes.jpg” cannot be read as a picture")
        with page.expect_file_chooser() as choosing:
            page.click("#again")
        choosing.value.set_files(photo)
        expect(page.locator("#status")).to_have_text("1 face")
        page.click("#still")
        expect(page.locator("#pictures img")).to_have_count(1)
        answer = page.evaluate(
            """async () => {
              const answer = await fetch("/v1/age?years=60", { method: "POST", body: "this is no picture" });
              return [answer.status, (await answer.json()).error.code];
            }"""
        )
        assert answer == [415, "bad_picture"]
        page.click("#done")
        page.click("#finish")
        expect(page.locator("#attract")).to_be_visible()


def unplug(page: Page) -> None:
    page.evaluate(
        """() => {
          navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", "NotFoundError"); };
        }"""
    )


def plug_in(page: Page) -> None:
    page.evaluate("delete navigator.mediaDevices.getUserMedia")


def test_no_screen_stays_and_the_camera_is_tried_again(opened: Callable[..., Page], tiny: Transformer) -> None:
    with serving(tiny) as server:
        page = opened(server.url)
        page.clock.install()
        page.reload()
        page.click("#begin")
        expect(page.locator("#consent")).to_be_visible()
        page.clock.fast_forward(50_000)
        expect(page.locator("#consent")).to_be_visible()
        page.clock.fast_forward(15_000)
        expect(page.locator("#attract")).to_be_visible()
        unplug(page)
        page.click("#begin")
        page.click("#agree")
        expect(page.locator("#trouble")).to_contain_text("There is no camera")
        page.clock.fast_forward(5_000)
        expect(page.locator("#trouble")).to_be_visible()
        plug_in(page)
        page.clock.fast_forward(5_000)
        expect(page.locator("#status")).to_have_text("1 face")
        page.evaluate("document.getElementById('still').ariaDisabled = true")  # as while a clip is made
        page.clock.fast_forward(25_000)
        expect(page.locator("#live")).to_be_visible()
        page.evaluate("document.getElementById('video').srcObject.getTracks()[0].onended()")
        expect(page.locator("#trouble")).to_contain_text("There is no camera")
        unplug(page)
        page.clock.fast_forward(65_000)
        expect(page.locator("#attract")).to_be_visible()


def test_a_public_screen_prints_and_reaches_no_disk(
    opened: Callable[..., Page], tiny: Transformer, tmp_path: Path
) -> None:
    settings = Settings(
        public_screen=True,
        public_url="http://192.168.7.7:8000",
        countdown_seconds=0,
        shots=1,
        print_command=("test", "-e", str(tmp_path / "paper"), "-a", "-s", "{file}"),
        prints_per_visit=1,
    )
    with serving(tiny, settings) as server:
        page = opened(server.url)
        unplug(page)
        page.click("#begin")
        expect(page.locator("#consent-photo")).to_be_hidden()
        page.click("#agree")
        expect(page.locator("#trouble")).to_contain_text("Please tell the staff.")
        expect(page.locator("#trouble-photo")).to_be_hidden()
        plug_in(page)
        page.click("#again")
        expect(page.locator("#status")).to_have_text("1 face")
        page.click("#still")
        expect(page.locator("#code-picture")).to_be_visible()
        expect(page.locator("#forget")).to_be_visible()
        expect(page.locator("#save")).to_be_hidden()
        page.click("#print")
        expect(page.locator("#told")).to_have_text("It could not be printed. Please tell the staff.")
        (tmp_path / "paper").touch()
        page.click("#print")
        expect(page.locator("#told")).to_have_text("It is being printed.")
        page.click("#print")
        expect(page.locator("#told")).to_have_text("You have had all the prints of one visit.")
        accessible(page)
        page.click("#done")
        page.click("#finish")
        assert not page.evaluate(
            "document.body.dispatchEvent(new Event('contextmenu', {bubbles: true, cancelable: true}))"
        )


def test_nobody_is_there(playwright: Playwright, tiny: Transformer, tmp_path: Path) -> None:
    room = kiosk_browser.film(tmp_path / "room.mjpeg", None)
    with (
        serving(tiny, Settings(idle_seconds=5, countdown_seconds=0)) as server,
        kiosk_browser.browsing(playwright, room) as browser,
    ):
        page = open_page(browser, server.url)
        page.click("#begin")
        page.click("#agree")
        expect(page.locator("#live")).to_be_visible()
        wait_for(lambda: frames(page) > 0)
        page.click("#still")
        expect(page.locator("#status")).to_contain_text("No face in view")
        expect(page.locator("#status")).to_contain_text("Still there?")
        expect(page.locator("#attract")).to_be_visible()
        assert page.evaluate("document.getElementById('video').srcObject") is None
        wait_for(lambda: httpx.get(f"{server.url}/healthz", trust_env=False).json()["visitors"] == 0)
