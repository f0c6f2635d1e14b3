"""A real browser before a kiosk: Chromium with a camera that plays a film of scikit-image's astronaut.

``PYTHONPATH=tests python -m support.kiosk_browser FOLDER`` writes the pictures of ``docs/kiosk.md``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Playwright, ViewportSize, expect, sync_playwright

from lgin_edge import Transformer
from support import kiosk_server

#: Milliseconds, as Playwright counts.
PATIENCE = 1000 * kiosk_server.PATIENCE
#: The screens that people stand before.
PORTRAIT, LANDSCAPE, PHONE = (1080, 1920), (1280, 800), (390, 844)

expect.set_options(timeout=PATIENCE)


def chromium() -> str | None:
    """Where Chromium is; None without one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def film(path: Path, portrait: npt.NDArray[np.uint8] | None, size: tuple[int, int] = (640, 480)) -> Path:
    """A film for the camera, Motion JPEG: the portrait [512, 512, 3] swaying a little, or an empty room."""
    with path.open("wb") as file:
        for i in range(24):
            if portrait is None:
                picture = Image.new("RGB", size, (70, 74, 82))
            else:
                x = 10 + 6 * np.sin(2 * np.pi * i / 24)
                picture = Image.fromarray(portrait).resize(size, Image.Resampling.LANCZOS, (x, 0, x + 424, 318))
            picture.save(file, "JPEG", quality=97)
    return path


@contextmanager
def browsing(playwright: Playwright, camera: Path | None, *, allow: bool = True) -> Iterator[Browser]:
    """Chromium with that film as its camera, which pages may use or not; without a film it has none."""
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync"]
    if camera is not None:
        flags += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
    if allow:
        flags.append("--use-fake-ui-for-media-stream")
    browser = playwright.chromium.launch(executable_path=chromium(), headless=True, args=flags)
    try:
        yield browser
    finally:
        browser.close()


def open_page(
    browser: Browser,
    url: str,
    size: tuple[int, int] = LANDSCAPE,
    errors: list[str] | None = None,
    **options: Any,
) -> Page:
    """The kiosk's page; what it complains of goes to ``errors``, ``options`` to the browser."""
    viewport: ViewportSize = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, reduced_motion="reduce", **options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    if errors is not None:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(url)
    expect(page.locator("#begin")).to_be_visible()
    return page


def go_live(page: Page) -> None:
    """From the start through the consent to the first changed face."""
    page.click("#begin")
    page.click("#agree")
    expect(page.locator("#status")).to_have_text("1 face")


def frames(page: Page) -> int:
    """How many changed frames the page has shown in this visit."""
    return int(page.locator("body").get_attribute("data-frames") or 0)


def settled(locator: Locator) -> None:
    """Wait until there are pictures in it, and until they are loaded."""
    expect(locator.locator("img:visible")).not_to_have_count(0)
    for image in locator.locator("img:visible").all():
        image.evaluate("image => image.decode()")


def take_pictures(playwright: Playwright, transformer: Transformer, folder: Path, names: Sequence[str]) -> None:
    """The page before its visitors, "portrait", "landscape" or on a "phone": WebP files."""
    from skimage import data

    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"portrait": PORTRAIT, "landscape": LANDSCAPE, "phone": PHONE}

    with TemporaryDirectory() as temporary:
        camera = film(Path(temporary) / "astronaut.mjpeg", data.astronaut(), (960, 720))
        settings = kiosk_server.Settings(public_url="https://kiosk.example", countdown_seconds=0, shots=1)
        with kiosk_server.serving(transformer, settings) as server, browsing(playwright, camera) as browser:
            for name in names:
                page = open_page(browser, server.url, sizes[name])

                def shoot(what: str, page: Page = page, name: str = name) -> None:
                    png = Path(temporary) / "page.png"
                    page.screenshot(path=png)
                    with Image.open(png) as image:
                        image.save(folder / f"{name}-{what}.webp", quality=82, method=6)

                shoot("start")
                page.click("#begin")
                shoot("consent")
                page.click("#agree")
                expect(page.locator("#status")).to_have_text("1 face")
                shown = frames(page)
                while frames(page) < shown + 8:  # the face is faded in
                    page.wait_for_timeout(200)
                shoot("live")
                page.click("#strip")
                expect(page.locator("#pictures img")).to_have_count(8)
                settled(page.locator("dialog"))
                shoot("years")
                page.click("#done")
                page.click("#still")
                expect(page.locator("#pictures img")).to_have_count(1)
                settled(page.locator("dialog"))
                shoot("picture")
                page.context.close()


if __name__ == "__main__":
    with Transformer() as bundled, sync_playwright() as running:
        take_pictures(running, bundled, Path(sys.argv[1]), sys.argv[2:] or ("portrait", "landscape", "phone"))
