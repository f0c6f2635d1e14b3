"""The kiosk's HTTP API, and uploads that would stop it."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageCms
from support.bombs import progressive_jpeg
from support.kiosk_server import PATIENCE, Image8, Visitor, encoded, pixels, serving, wait_for

from lgin_edge import Limits, Transformer, images
from lgin_edge.image_decoders import ImageDecoders
from lgin_edge.kiosk import state
from lgin_edge.kiosk.server import Server
from lgin_edge.kiosk.settings import Settings
from lgin_edge.kiosk.state import Kiosk
from lgin_edge.provenance import SOURCE_TYPE


def test_a_picture_comes_back_older(client: httpx.Client, astronaut: Image8) -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        file = encoded(astronaut, kind)
        answer = client.post("/v1/age", params={"group": 4}, content=file)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == f"image/{kind.lower()}"
        assert (answer.headers["lgin-faces"], answer.headers["lgin-years"]) == ("1", "70")
        change = pixels(answer.content).astype(int) - pixels(file)
        assert change.min() < -40
        assert np.abs(change[300:]).mean() < 2
    marked = client.post("/v1/age", params={"group": 4, "mark": True}, content=file)
    assert (pixels(marked.content).astype(int) - pixels(answer.content))[490:, 400:].max() > 100  # "changed by AI"


def test_the_age_that_is_used_is_told(client: httpx.Client, astronaut: Image8) -> None:
    for parameters, used in (({"years": 42.5}, "42.5"), ({"years": 120}, "70"), ({"group": 1.5}, "45")):
        answer = client.post("/v1/age", params=parameters, content=encoded(astronaut))
        assert answer.headers["lgin-years"] == used, answer.text


def test_a_strip_and_an_estimate(client: httpx.Client, astronaut: Image8, tiny: Transformer) -> None:
    file = encoded(astronaut, "PNG")
    strip = client.post("/v1/timeline", content=file)
    assert (strip.headers["content-type"], strip.headers["lgin-faces"]) == ("image/png", "1")
    assert strip.headers["lgin-years"] == "30, 40, 50, 60, 70"
    assert np.array_equal(pixels(strip.content), np.asarray(tiny.strip(astronaut)))
    (face,) = client.post("/v1/estimate", content=file).json()["faces"]
    (expected,) = tiny.estimate_age(astronaut)
    assert (face["years"], face["group"], face["label"]) == (expected.years, expected.group, expected.label)
    assert face["box"] == tiny.detect(astronaut)[0].box.tolist()
    for path in ("/v1/timeline", "/v1/estimate", "/v1/animation"):
        empty = client.post(path, content=encoded(np.full((300, 300, 3), 90, np.uint8)))
        assert (empty.status_code, empty.json()["error"]["code"]) == (422, "no_face")


def test_a_clip(client: httpx.Client, astronaut: Image8) -> None:
    asked = {"start": 20, "end": 50, "seconds": 0.2}
    film = client.post("/v1/animation", params=asked, content=encoded(astronaut))
    assert (film.headers["content-type"], film.headers["lgin-years"]) == ("video/mp4", "30, 50")
    assert b"ftyp" in film.content[:12]
    gif = client.post("/v1/animation", params=asked | {"format": "gif", "boomerang": False}, content=encoded(astronaut))
    with Image.open(io.BytesIO(gif.content)) as moving:
        assert (moving.format, getattr(moving, "n_frames", 1)) == ("GIF", 4)
    for wrong in ({"seconds": 6}, {"format": "avi"}, {"end": 140}):
        answer = client.post("/v1/animation", params=asked | wrong, content=encoded(astronaut))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_value")


def test_pictures_come_back_upright_and_without_metadata(
    client: httpx.Client, astronaut: Image8, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "where I live"
    path = tmp_path / "turned.jpg"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(np.rot90(astronaut, 1)).save(path, exif=exif, icc_profile=profile, quality=95)
    answer = client.post("/v1/age", params={"group": 2}, content=path.read_bytes())
    assert answer.status_code == 200
    result = images.decode(answer.content)
    assert np.abs(np.asarray(result.image).astype(int) - astronaut).mean() < 4
    assert set(result.metadata) == {"icc_profile", "xmp"}
    assert SOURCE_TYPE.encode() in result.metadata["xmp"]


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ({}, 400, "bad_age"),
        ({"years": 60, "group": 1}, 400, "bad_age"),
        ({"group": 5}, 400, "bad_age"),
        ({"years": "nan"}, 400, "bad_age"),
        ({"years": "old"}, 400, "bad_value"),
    ],
)
def test_wrong_ages(
    client: httpx.Client, astronaut: Image8, parameters: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post("/v1/age", params=parameters, content=encoded(astronaut))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["message"]


def test_wrong_pictures(client: httpx.Client, astronaut: Image8) -> None:
    def post(content: Any) -> tuple[int, str]:
        answer = client.post("/v1/age", params={"group": 1}, content=content)
        return answer.status_code, answer.json()["error"]["code"]

    file = encoded(astronaut)
    form = client.post("/v1/age?group=1", files={"picture": file})  # curl -F
    assert (form.status_code, form.json()["error"]["code"]) == (415, "form")
    assert f"curl --data-binary @FILE '{client.base_url}/v1/age?group=1'" in form.json()["error"]["message"]
    assert post(b"") == (415, "bad_picture")
    assert post(b"this is no picture") == (415, "bad_picture")
    assert post(encoded(astronaut[:100], "BMP")) == (415, "bad_picture")
    assert post(file[: len(file) // 2]) == (415, "bad_picture")
    assert post(encoded(np.zeros((800, 800, 3), np.uint8), "PNG")) == (415, "bad_picture")  # too many pixels
    assert post(bytes(1_000_001)) == (413, "too_large")
    assert post(iter([bytes(600_000)] * 2)) == (413, "too_large")  # in chunks: no length is told before
    assert post(encoded(np.full((300, 300, 3), 90, np.uint8))) == (422, "no_face")


def test_errors_are_json_everywhere(client: httpx.Client) -> None:
    for answer, status in (
        (client.get("/nothing"), 404),
        (client.get("/v1/age"), 405),
        (client.get("/stills/x.jpg"), 404),
    ):
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"code", "message"}


def test_what_nobody_foresaw_is_json_too(
    tiny_model: Path, astronaut: Image8, capfd: pytest.CaptureFixture[str]
) -> None:
    transformer = Transformer(tiny_model, threads=1)
    with serving(transformer) as server:
        transformer.close()
        answer = httpx.post(f"{server.url}/v1/age?group=1", content=encoded(astronaut), trust_env=False)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "failed")
    assert "ClosedError" in capfd.readouterr().err


def test_the_api_describes_itself(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {
        "/v1/age",
        "/v1/timeline",
        "/v1/animation",
        "/v1/estimate",
        "/healthz",
        "/metrics",
    }
    post = described["paths"]["/v1/age"]["post"]
    assert "image/jpeg" in post["requestBody"]["content"]
    assert {"200", "400", "403", "408", "413", "415", "421", "422", "429", "503"} <= set(post["responses"])
    assert {one["name"] for one in post["parameters"]} == {"years", "group", "mark"}
    page = client.get("/docs", headers={"host": "kiosk.example"})
    assert page.headers["content-type"].startswith("text/html")
    assert all(path in page.text for path in described["paths"])
    assert "curl --data-binary @portrait.jpg 'http://kiosk.example/v1/age?years=70'" in page.text
    assert "<b>" not in client.get("/docs", headers={"host": "<b>@127.0.0.1"}).text


def test_slow_uploads_do_not_fill_the_memory(tiny: Transformer, astronaut: Image8) -> None:
    """Clients that send half a picture and wait: so many are listened to, and no more."""
    file = encoded(astronaut)
    head = f"POST /v1/age?group=1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(file)}\r\n\r\n".encode()
    with serving(tiny, Settings(requests_per_minute=1e6)) as server, httpx.Client(trust_env=False) as client:
        address, uploads = f"{server.url}/v1/age?group=1", server.config.app.state.kiosk.uploads
        with ExitStack() as stack:
            for _ in range(8):
                slow = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
                stack.enter_context(slow).sendall(head + file[:1000])
            wait_for(lambda: uploads.taken == uploads.per_address)
            answer = client.post(address, content=file)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy")
            assert "your address" in answer.json()["error"]["message"]
            assert client.get(f"{server.url}/healthz").status_code == 200
        wait_for(lambda: uploads.taken == 0)
        assert client.post(address, content=file).status_code == 200


def test_slow_pictures_lock_nobody_out(tiny: Transformer, astronaut: Image8, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that would take minutes are ended, of a visitor who left, too; the others are served, and the server ends."""
    monkeypatch.setattr(state, "_UPLOAD_TIMEOUT_S", 1.0)
    monkeypatch.setattr(state, "_FRAME_TIMEOUT_S", 1.0)
    bomb, file = progressive_jpeg(2000, 2000, scans=800), encoded(astronaut)
    limits = Limits()
    with serving(tiny, Settings(frames=limits, uploads=limits)) as server, ExitStack() as stack:
        visitor = stack.enter_context(Visitor(server.url, source_address=("127.0.0.2", 0))).start()
        for _ in range(4):
            with Visitor(server.url) as one:
                one.start().show(bomb)
        visitor.change(file)
        answer = httpx.post(f"{server.url}/v1/age?group=1", content=bomb, trust_env=False, timeout=PATIENCE)
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "bad_picture")
        assert "takes more than 1 s" in answer.json()["error"]["message"]
        assert httpx.get(f"{server.url}/healthz", trust_env=False).json()["status"] == "ok"
        monkeypatch.setattr(state, "_FRAME_TIMEOUT_S", 10 * PATIENCE)
        with Visitor(server.url) as one:
            one.start().show(bomb)  # at work when the server ends, which ``serving`` waits for


def test_slow_uploads_leave_decoders_to_frames(
    tiny: Transformer, astronaut: Image8, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever number of addresses they come from."""
    go = threading.Event()
    monkeypatch.setattr(ImageDecoders, "size", lambda *_, **__: go.wait(PATIENCE))

    async def visit() -> None:
        kiosk = Kiosk(tiny, Settings())
        uploads = [asyncio.create_task(kiosk.upload_size(b"", f"10.0.0.{i}")) for i in range(4)]
        await asyncio.sleep(0)
        frame = await asyncio.wait_for(kiosk.decode_frame(encoded(astronaut), "10.0.0.9"), PATIENCE)
        assert frame.shape == astronaut.shape
        assert not any(upload.done() for upload in uploads)
        uploads.pop().cancel()
        go.set()
        await asyncio.gather(*uploads)
        kiosk.close()

    asyncio.run(visit())


def test_pixels_in_flight_are_counted(client: httpx.Client, server: Server, astronaut: Image8) -> None:
    kiosk, file = server.config.app.state.kiosk, encoded(astronaut)  # type: ignore[union-attr]

    def post() -> httpx.Response:
        return client.post("/v1/age?group=1", content=file)

    with kiosk.pixels.hold("127.0.0.1", 500_000 - astronaut[..., 0].size + 1):
        answer = post()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy")
        assert answer.headers["retry-after"] == "1"
    with kiosk.pixels.hold("10.0.0.1", 500_000), kiosk.pixels.hold("10.0.0.2", 500_000):
        assert post().status_code == 503
        assert client.get("/healthz").json()["status"] == "busy"
    assert post().status_code == 200
    assert kiosk.pixels.taken == 0


def test_monitors_may_ask_for_heads(client: httpx.Client) -> None:
    for path in ("/", "/healthz", "/metrics", "/static/app.js"):
        head, whole = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
    assert client.head("/nothing").status_code == 404
    assert client.head("/v1/age").status_code == 405
