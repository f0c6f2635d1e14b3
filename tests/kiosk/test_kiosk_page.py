"""The kiosk's page in a real Chromium, whose camera plays a film of scikit-image's astronaut."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from support import kiosk_browser, kiosk_server
from support.kiosk_browser import LANDSCAPE, PHONE, PORTRAIT, expect, frames, go_live, open_page
from support.kiosk_server import PATIENCE, Image8, serving

from lgin_edge import Transformer
from lgin_edge.kiosk import state
from lgin_edge.kiosk.gallery import Gallery
from lgin_edge.kiosk.server import Server
from lgin_edge.kiosk.settings import Settings
from lgin_edge.kiosk.texts import LANGUAGES
from lgin_edge.tracking import tracker

pytestmark = pytest.mark.slow

#: Mean brightness of a canvas's middle, where the astronaut's face is.
_BRIGHTNESS = """canvas => {
  const side = 40, x = canvas.width * 0.5 - side / 2, y = canvas.height * 0.38 - side / 2;
  const copy = new OffscreenCanvas(side, side).getContext("2d");
  copy.drawImage(canvas, x, y, side, side, 0, 0, side, side);
  const { data } = copy.getImageData(0, 0, side, side);
  return data.reduce((sum, value, i) => sum + (i % 4 < 3 ? value : 0), 0) / (3 * side * side);
}"""


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    if kiosk_browser.chromium() is None:
        reason = "needs Chromium (on Debian: apt-get install chromium)"
        if os.environ.get("LGIN_REQUIRE_CHROMIUM") == "1":
            pytest.fail(f"{reason}, and LGIN_REQUIRE_CHROMIUM=1")
        pytest.skip(reason)
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory, astronaut: Image8) -> Path:
    return kiosk_browser.film(tmp_path_factory.mktemp("camera") / "astronaut.mjpeg", astronaut)


@pytest.fixture(scope="module")
def browser(playwright: Playwright, camera: Path) -> Iterator[Browser]:
    with kiosk_browser.browsing(playwright, camera) as running:
        yield running


@pytest.fixture(scope="module")
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


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
    eventually(lambda: change(page) < -30)  # the tiny model's older is darker
    set_age(page, 30)
    expect(page.locator("#number")).to_have_text("30")
    expect(page.locator("#tag-after")).to_have_text("At 30")
    eventually(lambda: change(page) > 20)
    set_age(page, 50)
    eventually(lambda: abs(change(page)) < 5)
    seen = frames(page)
    eventually(lambda: frames(page) > seen + 5)
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
    eventually(lambda: httpx.get(f"{server.url}{path}", trust_env=False).status_code == 404)


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
            assert page.evaluate(_CUT_OFF) == []
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


def test_two_visitors(opened: Callable[..., Page], server: Server) -> None:
    first, second = opened(server.url), opened(server.url, PHONE)
    go_live(first)
    go_live(second)
    set_age(second, 30)
    eventually(lambda: change(first) < -30 and change(second) > 20)
    before = frames(first), frames(second)
    eventually(lambda: min(frames(first) - before[0], frames(second) - before[1]) >= 10)
    assert httpx.get(f"{server.url}/healthz", trust_env=False).json()["visitors"] == 2


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
        eventually(lambda: frames(page) > seen + 3)
        expect(page.locator("#status")).to_have_text("1 face")
        eventually(lambda: 5 < change(page) < 40)  # the age is the same as before
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
            page.evaluate(_SET_LANGUAGE, language)
            accessible(page)
            assert page.evaluate(_CUT_OFF) == []
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
        eventually(lambda: frames(page) > 0)
        page.click("#still")
        expect(page.locator("#status")).to_contain_text("No face in view")
        expect(page.locator("#status")).to_contain_text("Still there?")
        expect(page.locator("#attract")).to_be_visible()
        assert page.evaluate("document.getElementById('video').srcObject") is None
        eventually(lambda: httpx.get(f"{server.url}/healthz", trust_env=False).json()["visitors"] == 0)


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


#: The texts that are cut off, or stand beside the screen.
_CUT_OFF = """() => [...document.querySelectorAll("button, a, p, li, h1, h2, span, figcaption, label, output")]
  .filter((element) => element.checkVisibility() && !element.closest(".spoken") && element.textContent.trim())
  .filter((element) => {
    const { left, right } = element.getBoundingClientRect();
    const inline = getComputedStyle(element).display === "inline";
    return left < -1 || right > innerWidth + 1 || (!inline && element.scrollWidth > element.clientWidth + 1);
  })
  .map((element) => `${element.id || element.className || element.tagName}: ${element.textContent.trim()}`)"""
_SET_LANGUAGE = "async (code) => (await import('/static/app.js')).setLanguage(code)"
#: What does not fit of a screen, by language.
_FAULTS = f"""async ([codes, screen]) => {{
  const {{ setLanguage }} = await import("/static/app.js"), cutOff = {_CUT_OFF}, faults = {{}};
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
                page.evaluate(_SET_LANGUAGE, language)
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
            assert page.evaluate(_CUT_OFF) == []
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
