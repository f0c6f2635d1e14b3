"""A visitor's session at the kiosk: the protocol, its limits, and several visitors at once."""

from __future__ import annotations

import asyncio
import gc
import io
import itertools
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from support.kiosk_server import PATIENCE, Image8, Visitor, encoded, pixels, serving, wait_for
from websockets.exceptions import ConnectionClosed

from lgin_edge import BackendError, Limits, Transformer
from lgin_edge.kiosk import session, shot, state, texts
from lgin_edge.kiosk.protocol import Close
from lgin_edge.kiosk.server import Server
from lgin_edge.kiosk.settings import Settings
from lgin_edge.provenance import SOURCE_TYPE

#: Smaller than the default.
FRAMES = Limits(image_bytes=2_000_000, image_pixels=1_000_000, json_bytes=1024, json_depth=2)


@pytest.fixture(scope="module")
def server(tiny: Transformer) -> Iterator[Server]:
    with serving(tiny, Settings(public_url="https://kiosk.example", max_fps=240, frames=FRAMES, shots=1)) as running:
        yield running


@pytest.fixture(scope="module")
def frame(astronaut: Image8) -> bytes:
    return encoded(astronaut)


def counted(server: Server, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics", trust_env=False).text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def face_change(before: bytes, after: bytes) -> float:
    """Mean change of the middle of the astronaut's face, levels."""
    return float((pixels(after).astype(int) - pixels(before))[90:150, 195:245].mean())


def settle(visitor: Visitor, frame: bytes, *, years: float) -> bytes:
    """The changed frame once the age is there and the face is faded in."""
    last = np.inf
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        head, jpeg = visitor.change(frame)
        assert head["years"] == pytest.approx(years)
        change = face_change(frame, jpeg)
        if head["faces"] and head["faces"][0]["strength"] == 1 and abs(change - last) < 0.01:
            return jpeg
        last = change
        time.sleep(0.05)
    raise AssertionError("the age was never there")


def closing(visitor: Visitor) -> tuple[int, str]:
    """Code and reason with which the server ends the session."""
    with suppress(ConnectionClosed):
        while True:
            visitor.hear()
    ended = visitor.socket.protocol
    assert ended.close_code is not None
    return ended.close_code, ended.close_reason or ""


def test_the_face_follows_the_age(server: Server, frame: bytes) -> None:
    with Visitor(server.url) as visitor:
        head, _ = visitor.start(years=70).change(frame)
        assert (head["width"], head["height"]) == (512, 512)
        assert face_change(frame, settle(visitor, frame, years=70)) < -30
        visitor.say(type="age", years=30)
        younger = settle(visitor, frame, years=30)
        assert face_change(frame, younger) > 20
        assert np.abs(pixels(younger).astype(int) - pixels(frame))[300:].mean() < 3
        (face,) = visitor.change(frame)[0]["faces"]
        x0, y0, x1, y1 = face["box"]
        assert 150 < x0 < 220 < x1 < 300
        assert 40 < y0 < 120 < y1 < 220


def test_webp_and_frames_of_another_size(server: Server, astronaut: Image8) -> None:
    with Visitor(server.url) as visitor:
        visitor.start()
        assert visitor.change(encoded(astronaut, "WEBP"))[0]["width"] == 512
        assert visitor.change(encoded(astronaut[:, :400]))[0]["width"] == 400
        assert visitor.change(encoded(astronaut[:, :, 0]))[0]["width"] == 512  # a grey one


def test_nobody_there(server: Server) -> None:
    with Visitor(server.url) as visitor:
        head, _ = visitor.start().change(encoded(np.full((240, 320, 3), 90, np.uint8)))
        assert head["faces"] == []
        for kind in ("still", "strip", "clip"):
            visitor.say(type=kind)
            assert visitor.hear()[0]["code"] == "no_face"


def test_no_picture_of_a_face_that_is_not_all_there(
    server: Server, frame: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Visitor(server.url) as visitor:
        visitor.start().be_seen(frame)
        with monkeypatch.context() as patch:
            patch.setattr(shot, "FULL_STRENGTH", 1.01)
            for kind in ("still", "strip", "clip"):
                visitor.say(type=kind)
                assert visitor.hear()[0]["code"] == "not_full"
        visitor.say(type="still")
        assert visitor.hear()[0]["type"] == "still"


def test_a_picture_to_take_away(server: Server, frame: bytes) -> None:
    with Visitor(server.url) as visitor:
        visitor.start(language="fr").say(type="still")
        assert visitor.hear()[0]["code"] == "no_frame"
        jpeg = settle(visitor, frame, years=70)
        visitor.say(type="still")
        kept = visitor.hear()[0]
        address = f"{server.url}/stills/{kept['token']}"
        assert kept["address"] == f"https://kiosk.example/taken/{kept['token']}"
        assert httpx.get(f"{server.url}/taken/{kept['token']}", trust_env=False).status_code == 200
        about = httpx.get(f"{address}.json", trust_env=False).json()
        assert 290 < about.pop("seconds") <= 300
        assert about == {"name": "picture.jpg", "kind": "jpg", "language": "fr"}
        assert kept["reachable"]
        assert kept["seconds"] == 300
        shown = httpx.get(f"{address}.jpg", trust_env=False)
        assert shown.headers["content-type"] == "image/jpeg"
        assert shown.headers["content-disposition"].startswith("inline")
        assert shown.headers["cache-control"] == "no-store"
        change = np.abs(pixels(shown.content).astype(int) - pixels(jpeg))
        assert change.mean() < 3
        assert change[480:, 380:].mean() > 10 > change[480:, :300].mean()  # "changed by AI", to be read
        with Image.open(io.BytesIO(shown.content)) as file:
            assert SOURCE_TYPE.encode() in file.info["xmp"]
        saved = httpx.get(f"{address}.jpg?save=1", trust_env=False)
        assert saved.headers["content-disposition"] == 'attachment; filename="picture.jpg"'
        assert httpx.get(f"{address}.svg", trust_env=False).headers["content-type"] == "image/svg+xml"
        visitor.say(type="forget", token=kept["token"])
        visitor.change(frame)  # so that the command before it was read
        assert httpx.get(f"{address}.jpg", trust_env=False).status_code == 404
        assert httpx.get(f"{address}.svg", trust_env=False).status_code == 404
        assert httpx.get(f"{server.url}/taken/{kept['token']}", trust_env=False).status_code == 404


def test_a_picture_with_all_pixels(server: Server, frame: bytes, astronaut: Image8) -> None:
    """Attached, larger than the live frames: it is changed as they are, and only where a face is."""
    large = np.asarray(Image.fromarray(astronaut).resize((960, 960)))
    with Visitor(server.url) as visitor:
        live = settle(visitor.start(), frame, years=70)
        visitor.say(type="still", attached=True)
        visitor.show(encoded(large))
        kept = visitor.hear()[0]
        assert kept["type"] == "still"
        file = httpx.get(f"{server.url}/stills/{kept['token']}.jpg", trust_env=False).content
        changed = pixels(file).astype(int)
        assert changed.shape == large.shape
        small = np.asarray(Image.fromarray(changed.astype(np.uint8)).resize((512, 512)))
        assert np.abs(small[:400].astype(int) - pixels(live)[:400]).mean() < 4
        assert np.abs(small[90:150, 195:245].astype(int) - pixels(frame)[90:150, 195:245]).mean() > 20
        visitor.say(type="still", attached=True)
        visitor.show(encoded(np.full_like(large, 70)))
        assert visitor.hear()[0]["code"] in ("no_face", "not_full")
        visitor.say(type="still", attached=True)
        visitor.say(type="age", years=60)
        assert closing(visitor) == (Close.BAD_MESSAGE, "still: expected the frame that is attached next")


def test_through_the_years(server: Server, frame: bytes, tiny: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    # The page speaks the visitor's language also where this machine has no font to draw it.
    monkeypatch.setattr(texts, "can_draw", lambda *_: False)
    japanese = texts.texts_of("ja")
    with Visitor(server.url) as visitor:
        visitor.start(language="ja").be_seen(frame)
        visitor.say(type="strip")
        head, files = visitor.hear()
        labels = [texts.group_label(japanese, group) for group in tiny.groups]
        assert head["labels"] == [texts.plain(japanese, "original"), *labels]
        assert sum(head["sizes"]) == len(files)
        ends = np.cumsum([0, *head["sizes"]])
        means = [pixels(files[a:b])[200:300, 200:300].mean() for a, b in itertools.pairwise(ends)]
        assert means[1:] == sorted(means[1:], reverse=True)  # the tiny model's older is darker
        whole = httpx.get(f"{server.url}/stills/{head['token']}.jpg", trust_env=False)
        height, width, _ = pixels(whole.content).shape  # six pictures in two rows
        assert 2 * 512 < height < 3 * 512 < width < 4 * 512


def test_a_clip_to_take_away(server: Server, frame: bytes, astronaut: Image8, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_CLIP_FPS", 2)
    with Visitor(server.url) as visitor:
        visitor.start().be_seen(frame)
        visitor.say(type="clip")
        kept = visitor.hear()[0]
        assert kept["type"] == "clip"
        shown = httpx.get(f"{server.url}/stills/{kept['token']}.gif", trust_env=False)
        assert shown.headers["content-type"] == "image/gif"
        with Image.open(io.BytesIO(shown.content)) as gif:
            means = []
            for i in range(getattr(gif, "n_frames", 1)):
                gif.seek(i)
                means.append(np.asarray(gif.convert("RGB"))[90:150, 195:245].mean())
        assert len(means) == 12
        assert np.argmax(means) == 0  # the tiny model's older is darker
        assert np.argmin(means) == 6
        assert means[1] == pytest.approx(means[-1], abs=2)
        assert httpx.get(f"{server.url}/stills/{kept['token']}.jpg", trust_env=False).status_code == 404


def test_who_waits_for_a_clip_is_not_quiet(server: Server, frame: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: Any, **__: Any) -> bytes:
        await asyncio.sleep(0.3)
        return b"a clip"

    monkeypatch.setattr(state.Kiosk, "clip", slow)
    with Visitor(server.url) as visitor:
        visitor.start().be_seen(frame)
        monkeypatch.setattr(session, "_SILENCE_TIMEOUT_S", 0.1)
        for _ in range(5):
            visitor.say(type="clip")
        answers = [visitor.hear()[0] for _ in range(5)]
        assert [one.get("code", one["type"]) for one in answers] == ["too_often"] * 2 + ["clip"] * 3  # three may wait
        assert closing(visitor)[0] == Close.QUIET


def test_too_many_pictures(server: Server, frame: bytes) -> None:
    with Visitor(server.url) as visitor:
        visitor.start().be_seen(frame)
        kinds = []
        for _ in range(8):
            visitor.say(type="still")
            message = visitor.hear()[0]
            kinds.append(message.get("code", message["type"]))
        assert kinds[:5] == ["still"] * 5
        assert kinds[-1] == "too_often"
        assert visitor.change(frame)  # the session goes on


BEGIN = '{"type": "start", "consent": true, "years": 60}'


@pytest.mark.parametrize(
    ("messages", "code", "reason"),
    [
        (["no JSON"], Close.BAD_MESSAGE, "Invalid JSON"),
        (["[1]"], Close.BAD_MESSAGE, "message"),
        (['{"type": ' + " " * 2000 + '"still"}'], Close.BAD_MESSAGE, "at most 1024"),
        (["[[[[]]]]"], Close.BAD_MESSAGE, "nested"),
        (['{"type": "dance"}'], Close.BAD_MESSAGE, "dance"),
        (['{"type": "still"}'], Close.BAD_MESSAGE, "first"),
        (['{"type": "start", "consent": false, "years": 60}'], Close.NO_CONSENT, "consent"),
        (['{"type": "start", "consent": "yes", "years": 60}'], Close.BAD_MESSAGE, "consent"),
        (['{"type": "start", "consent": true}'], Close.BAD_MESSAGE, "years"),
        (['{"type": "start", "consent": true, "years": NaN}'], Close.BAD_MESSAGE, ""),
        (['{"type": "start", "consent": true, "years": 1e9}'], Close.BAD_MESSAGE, "130"),
        (['{"type": "start", "consent": true, "years": 60, "more": 1}'], Close.BAD_MESSAGE, "more"),
        ([b"\0\0\0\1picture"], Close.BAD_MESSAGE, "first"),
        ([BEGIN, BEGIN], Close.BAD_MESSAGE, "begun"),
        ([BEGIN, '{"type": "age", "years": "old"}'], Close.BAD_MESSAGE, "years"),
        ([BEGIN, '{"type": "forget", "token": "' + "x" * 100 + '"}'], Close.BAD_MESSAGE, "64"),
        ([BEGIN, b"\0\0"], Close.BAD_MESSAGE, "4 bytes"),
        ([BEGIN, b"\0\0\0\1this is no picture"], Close.BAD_MESSAGE, "JPEG, WEBP"),
        ([BEGIN, b"\0\0\0\1" + bytes(3_000_000)], 1009, ""),
    ],
)
def test_bad_messages_end_the_session(
    server: Server, frame: bytes, messages: list[str | bytes], code: int, reason: str
) -> None:
    with Visitor(server.url) as other, Visitor(server.url) as visitor:
        other.start().change(frame)
        try:
            for message in messages:
                visitor.socket.send(message)
            ended, why = closing(visitor)
        except ConnectionClosed:  # cut off while it was still sending, which loses the reason
            ended, why = 1009, reason
        assert ended == code
        assert reason in why
        other.change(frame)  # nobody else notices


def test_bad_frames_end_the_session(server: Server, astronaut: Image8, frame: bytes) -> None:
    large = encoded(np.zeros((1100, 1000, 3), np.uint8))
    for file, reason in (
        (encoded(astronaut, "PNG"), "expected one of JPEG, WEBP"),
        (frame[: len(frame) // 2], "truncated"),
        (large, "at most 1 million"),
        (bytes(2_000_001), "at most 2000000"),
    ):
        with Visitor(server.url) as visitor:
            visitor.start().show(file)
            code, why = closing(visitor)
            assert code in (Close.BAD_MESSAGE, Close.TOO_LARGE)
            assert reason in why
    with Visitor(server.url) as visitor:
        visitor.start().change(frame)
        visitor.number = -1  # once more the same
        visitor.show(frame)
        assert "above 0" in closing(visitor)[1]


def test_what_a_visit_held_goes_with_it(server: Server, frame: bytes) -> None:
    """At once: the garbage collector finds what is left after thousands of visits, of which each holds megabytes."""
    gc.collect()
    gc.disable()
    try:
        with Visitor(server.url) as leaves:
            leaves.start().change(frame)
        with Visitor(server.url) as refused:
            refused.start().change(frame)
            refused.show(b"this is no picture")
            assert closing(refused)[0] == Close.BAD_MESSAGE
        wait_for(lambda: not any(type(one) is session.Session for one in gc.get_objects()))
    finally:
        gc.enable()


def test_too_fast(tiny: Transformer, frame: bytes) -> None:
    with serving(tiny, Settings(max_fps=2)) as server:
        with Visitor(server.url) as visitor:
            visitor.start()
            with suppress(ConnectionClosed):  # the server may end it before the last one is sent
                for i in range(10):
                    visitor.socket.send(struct.pack(">I", i) + frame)
            assert closing(visitor)[0] == Close.TOO_FAST
        with Visitor(server.url) as visitor:
            visitor.start()
            with suppress(ConnectionClosed):
                for _ in range(300):
                    visitor.say(type="age", years=50)
            assert closing(visitor)[0] == Close.TOO_FAST
        assert counted(server, 'lgin_kiosk_closed_total{code="4429"}') == 2


def test_quiet_visitors_make_room(tiny: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages without frames hold no place either."""
    monkeypatch.setattr(session, "_SILENCE_TIMEOUT_S", 0.3)
    with serving(tiny, Settings(max_visitors=1)) as server:
        with Visitor(server.url) as visitor:
            assert closing(visitor)[0] == Close.QUIET
        with Visitor(server.url) as visitor:
            visitor.start()
            with suppress(ConnectionClosed):
                for _ in range(200):
                    visitor.say(type="age", years=50)
                    time.sleep(0.02)
            assert closing(visitor)[0] == Close.QUIET


def test_one_address_leaves_places_to_others(tiny: Transformer, frame: bytes) -> None:
    with serving(tiny, Settings(max_visitors=4)) as server, ExitStack() as stack:
        first, second, third = (stack.enter_context(Visitor(server.url)) for _ in range(3))
        first.start().change(frame)
        second.start().change(frame)
        assert closing(third) == (Close.ADDRESS_FULL, "all 2 places of your address are taken; try again soon")
        other = stack.enter_context(Visitor(server.url, source_address=("127.0.0.2", 0)))
        other.start().change(frame)


def test_all_places_taken(tiny: Transformer, frame: bytes) -> None:
    with serving(tiny, Settings(max_visitors=1)) as server:
        with Visitor(server.url) as first:
            first.start().change(frame)
            with Visitor(server.url) as second:
                assert closing(second) == (Close.FULL, "all 1 places are taken; try again soon")
        deadline = time.monotonic() + PATIENCE
        while counted(server, "lgin_kiosk_visitors") and time.monotonic() < deadline:
            time.sleep(0.02)
        with Visitor(server.url) as third:
            third.start().change(frame)


def test_a_run_time_that_fails(tiny_model: Any, frame: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with Transformer(tiny_model, threads=1) as transformer, serving(transformer) as server:

        def fail(*_: Any, **__: Any) -> None:
            raise BackendError("the GPU is gone")

        monkeypatch.setattr(transformer, "age", fail)
        with Visitor(server.url) as visitor:
            visitor.start().show(frame)
            assert closing(visitor) == (Close.FAILED, "the kiosk failed; its log says why")


def test_frames_that_wait_are_replaced(tiny_model: Any, frame: bytes) -> None:
    """Who sends faster than he is served gets the newest frame, and no queue grows."""
    with Transformer(tiny_model, threads=1) as transformer, serving(transformer, Settings(max_fps=240)) as server:
        kiosk = server.config.app.state.kiosk  # type: ignore[union-attr]
        go = threading.Event()
        blocking = threading.Thread(target=lambda: kiosk.executor._thread.submit(go.wait, PATIENCE).result())
        blocking.start()
        with Visitor(server.url) as visitor:
            visitor.start()
            for _ in range(12):
                visitor.show(frame)
            deadline = time.monotonic() + PATIENCE
            while counted(server, "lgin_kiosk_frames_dropped_total") < 10 and time.monotonic() < deadline:
                time.sleep(0.02)
            go.set()
            numbers = [visitor.hear()[0]["number"] for _ in range(2)]
            assert numbers == [0, 11]
        blocking.join(PATIENCE)


def test_two_visitors_share(server: Server, frame: bytes) -> None:
    """One who has two frames on their way and one who has one are served alike, each at the age of his own."""
    with Visitor(server.url) as eager, Visitor(server.url) as other:
        eager.start(years=30)
        other.start(years=70)
        served = {30.0: 0, 70.0: 0}
        stop = threading.Event()

        def visit(visitor: Visitor, ahead: int) -> None:
            for _ in range(ahead):
                visitor.show(frame)
            while not stop.is_set():
                served[round(visitor.hear()[0]["years"], 3)] += 1
                visitor.show(frame)

        visits = [threading.Thread(target=visit, args=pair) for pair in ((eager, 2), (other, 1))]
        for thread in visits:
            thread.start()
        deadline = time.monotonic() + PATIENCE
        while min(served.values()) < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
        stop.set()
        for thread in visits:
            thread.join(PATIENCE)
    assert min(served.values()) >= 20
    assert max(served.values()) < 3 * min(served.values())
