"""What the tests of the kiosk's page ask of it."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

#: Mean brightness of a canvas's middle, where the astronaut's face is.
_BRIGHTNESS = """canvas => {
  const side = 40, x = canvas.width * 0.5 - side / 2, y = canvas.height * 0.38 - side / 2;
  const copy = new OffscreenCanvas(side, side).getContext("2d");
  copy.drawImage(canvas, x, y, side, side, 0, 0, side, side);
  const { data } = copy.getImageData(0, 0, side, side);
  return data.reduce((sum, value, i) => sum + (i % 4 < 3 ? value : 0), 0) / (3 * side * side);
}"""
#: The texts that are cut off, or stand beside the screen.
CUT_OFF = """() => [...document.querySelectorAll("button, a, p, li, h1, h2, span, figcaption, label, output")]
  .filter((element) => element.checkVisibility() && !element.closest(".spoken") && element.textContent.trim())
  .filter((element) => {
    const { left, right } = element.getBoundingClientRect();
    const inline = getComputedStyle(element).display === "inline";
    return left < -1 || right > innerWidth + 1 || (!inline && element.scrollWidth > element.clientWidth + 1);
  })
  .map((element) => `${element.id || element.className || element.tagName}: ${element.textContent.trim()}`)"""
SET_LANGUAGE = "async (code) => (await import('/static/app.js')).setLanguage(code)"


def brightness(page: Page, canvas: str) -> float:
    return float(page.locator(canvas).evaluate(_BRIGHTNESS))


def change(page: Page) -> float:
    """By how much the model made the face brighter, levels."""
    return brightness(page, "#after") - brightness(page, "#before")


def set_age(page: Page, years: int) -> None:
    page.locator("#age").fill(str(years))


def accessible(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
