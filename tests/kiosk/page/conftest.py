"""A real Chromium, whose camera plays a film of scikit-image's astronaut, and a kiosk: one for all tests of the page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from support import kiosk_browser
from support.kiosk_browser import LANDSCAPE, open_page
from support.kiosk_server import PATIENCE, Image8, serving

from lgin_edge import Transformer
from lgin_edge.kiosk.server import Server
from lgin_edge.kiosk.settings import Settings


# One for the folder, which is a package for that. At its end Playwright's event loop ends: other tests run loops of their own.
@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    if kiosk_browser.chromium() is None:
        reason = "needs Chromium (on Debian: apt-get install chromium)"
        if os.environ.get("LGIN_REQUIRE_CHROMIUM") == "1":
            pytest.fail(f"{reason}, and LGIN_REQUIRE_CHROMIUM=1")
        pytest.skip(reason)
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def camera(tmp_path_factory: pytest.TempPathFactory, astronaut: Image8) -> Path:
    return kiosk_browser.film(tmp_path_factory.mktemp("camera") / "astronaut.mjpeg", astronaut)


@pytest.fixture(scope="package")
def browser(playwright: Playwright, camera: Path) -> Iterator[Browser]:
    with kiosk_browser.browsing(playwright, camera) as running:
        yield running


@pytest.fixture(scope="package")
def server(tiny: Transformer) -> Iterator[Server]:
    with serving(
        tiny,
        Settings(
            public_url="http://192.168.7.7:8000",
            countdown_seconds=0,
            print_command=("true",),
            side=480,
            shots=1,
            idle_seconds=PATIENCE,
        ),
    ) as running:
        yield running


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages, which must have complained of nothing; ``complaints=True`` for what is to go wrong."""
    pages: list[tuple[Page, list[str]]] = []

    def opening(url: str, size: tuple[int, int] = LANDSCAPE, *, complaints: bool = False) -> Page:
        errors: list[str] = []
        page = open_page(browser, url, size, errors)
        pages.append((page, [] if complaints else errors))
        return page

    yield opening
    for page, errors in pages:
        page.context.close()
        assert errors == []
