"""A visit on the kiosk's page: the consent, the live picture, and everything that is pressed or drawn."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page
from support.kiosk_browser import PHONE, expect, frames, go_live
from support.kiosk_page import change, set_age
from support.kiosk_server import wait_for

from lgin_edge.kiosk.server import Server

pytestmark = pytest.mark.slow


def test_nothing_starts_without_consent(opened: Callable[..., Page], server: Server) -> None:
    page = opened(server.url)
    page.evaluate(
        """() => {
          const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          window.cameras = 0;
          navigator.mediaDevices.getUserMedia = (wanted) => { window.cameras++; return original(wanted); };
        }"""
    )
    assert page.evaluate("document.getAnimations().length") == 0
    page.emulate_media(reduced_motion="no-preference")
    page.wait_for_function("() => getComputedStyle(document.querySelector('.ages')).getPropertyValue('--age') < 4.9")
    page.emulate_media(reduced_motion="reduce")
    page.click("#begin")
    expect(page.locator("#consent")).to_contain_text("stays in memory for 5 minutes")
    page.click("#decline")
    expect(page.locator("#attract")).to_be_visible()
    assert page.evaluate("window.cameras") == 0
    go_live(page)
    assert page.evaluate("window.cameras") == 1
    page.click("#finish")
    expect(page.locator("#attract")).to_be_visible()
    assert page.evaluate("document.getElementById('video').srcObject") is None
    assert page.evaluate("document.getElementById('after').width") == 0


def test_the_live_picture_follows_the_slider(opened: Callable[..., Page], server: Server) -> None:
    page = opened(server.url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    go_live(page)
    expect(page.locator("#number")).to_have_text("70")
    wait_for(lambda: change(page) < -30)  # the tiny model's older is darker
    set_age(page, 30)
    expect(page.locator("#number")).to_have_text("30")
    expect(page.locator("#tag-after")).to_have_text("At 30")
    wait_for(lambda: change(page) > 20)
    set_age(page, 50)
    wait_for(lambda: abs(change(page)) < 5)
    seen = frames(page)
    wait_for(lambda: frames(page) > seen + 5)
    assert all(url.startswith((server.url, "blob:", server.url.replace("http", "ws"))) for url in asked)


def test_by_keyboard_alone(opened: Callable[..., Page], server: Server) -> None:
    page = opened(server.url)
    keys = page.keyboard
    keys.press("Enter")  # the one button of the start has the focus
    expect(page.locator("#consent")).to_be_visible()
    keys.press("Tab")
    keys.press("Enter")
    expect(page.locator("#status")).to_have_text("1 face")
    page.locator("#divider").focus()
    for key, percent in (("ArrowRight", 55), ("Home", 0), ("End", 100), ("PageDown", 80), ("ArrowDown", 75)):
        keys.press(key)
        expect(page.locator("#divider")).to_have_attribute("aria-valuenow", str(percent))
    expect(page.locator("#divider")).to_have_attribute("aria-valuetext", "75 percent now")
    keys.press("Tab")
    expect(page.locator("#finish")).to_be_focused()
    keys.press("Tab")
    expect(page.locator("#age")).to_be_focused()
    keys.press("ArrowLeft")
    expect(page.locator("#age")).to_have_attribute("aria-valuetext", "69 years")
    keys.press("Tab")
    expect(page.locator("#compare")).to_be_focused()
    keys.press("Space")
    expect(page.locator("#compare")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#divider")).to_be_hidden()
    keys.press("Tab")
    expect(page.locator("#strip")).to_be_focused()
    keys.press("Enter")
    expect(page.locator("#pictures img")).to_have_count(6)
    keys.press("Escape")
    expect(page.locator("#kept")).to_be_hidden()
    expect(page.locator("#strip")).to_be_focused()


def test_by_one_button(opened: Callable[..., Page], server: Server) -> None:
    """Enter goes on from screen to screen; not from the consent before it can have been read."""
    page = opened(server.url)
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("#consent")).to_be_visible()
    page.wait_for_timeout(1100)
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("1 face")
    page.wait_for_timeout(1100)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#number")).to_have_text("69")
    page.keyboard.press("Enter")
    expect(page.locator("#pictures img")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#kept")).to_be_hidden()
    expect(page.locator("#live")).to_be_visible()


def test_the_divider_follows_the_pointer(opened: Callable[..., Page], server: Server) -> None:
    page = opened(server.url)
    go_live(page)
    box = page.locator("#stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5, steps=3)
    page.mouse.up()
    expect(page.locator("#divider")).to_have_attribute("aria-valuenow", "25")
    left = page.locator("#divider").evaluate("element => element.getBoundingClientRect().left")
    assert left == pytest.approx(box["x"] + box["width"] * 0.25, abs=box["width"] * 0.01)
    page.click("#compare")
    expect(page.locator("#divider")).to_be_hidden()
    page.click("#compare")
    expect(page.locator("#divider")).to_be_visible()


def test_two_visitors(opened: Callable[..., Page], server: Server) -> None:
    first, second = opened(server.url), opened(server.url, PHONE)
    go_live(first)
    go_live(second)
    set_age(second, 30)
    wait_for(lambda: change(first) < -30 and change(second) > 20)
    before = frames(first), frames(second)
    wait_for(lambda: min(frames(first) - before[0], frames(second) - before[1]) >= 10)
    assert httpx.get(f"{server.url}/healthz", trust_env=False).json()["visitors"] == 2
