"""The documentation's site: built strictly, its links and anchors lead somewhere, and it asks no other machine for anything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from doc_blocks import ROOT, needs_checkout

import lgin_edge

DOCS = ROOT / "docs"

pytestmark = needs_checkout


class Page(HTMLParser):
    """What a page links to, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [link for link in (values.get("href"), values.get("src")) if link]
        self.anchors |= {name for name in (values.get("id"), values.get("name")) if name}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sphinx", reason="builds the site: pip install 'lgin-edge[docs]'")
    folder = tmp_path_factory.mktemp("site")
    # -n is left out: docstrings name types in words. -W makes an error of every dead reference all the same.
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, folder]
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    assert len(found) > 15
    return found


def broken(pages: dict[Path, Page]) -> Iterator[str]:
    """Links within the site that lead nowhere."""
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            if not target.is_file():
                yield f"{path.name}: {link}: no such file"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{path.name}: {link}: no such anchor"


def test_links_and_anchors_lead_somewhere(pages: dict[Path, Page]) -> None:
    assert list(broken(pages)) == []
    outside = sorted({link for page in pages.values() for link in page.links if urlsplit(link).scheme})
    print("\n".join(["links to elsewhere, which nobody follows here:", *outside]))
    assert all(urlsplit(link).scheme in ("https", "http", "mailto", "data") for link in outside)


def test_every_public_name_is_in_the_reference() -> None:
    reference = (DOCS / "api.rst").read_text()
    assert [
        name for name in lgin_edge.__all__ if f"lgin_edge.{name}\n" not in reference + "\n" and name != "__version__"
    ] == []


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        '<h1 id="top"></h1><a href="#top"></a><a href="#end"></a><img src="gone.webp"><a href="page.html#top"></a>'
    )
    assert list(broken({path: Page(path)})) == ["page.html: #end: no such anchor", "page.html: gone.webp: no such file"]


def test_a_browser_asks_nobody_else(pages: dict[Path, Page]) -> None:
    """Every page in Chromium: what it loads lies in the site. Fonts, scripts, styles, pictures and trackers alike."""
    pytest.importorskip("playwright", reason="needs Playwright: pip install 'lgin-edge[test]'")
    from playwright.sync_api import sync_playwright
    from support.kiosk_browser import browsing, chromium

    if chromium() is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright, browsing(playwright, None) as browser:
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for path in pages:
            page.goto(path.as_uri())
            page.wait_for_load_state()
    assert len(asked) > len(pages)
    assert [url for url in asked if urlsplit(url).scheme not in ("file", "data")] == []
