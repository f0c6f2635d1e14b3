"""Events of the kiosk, told to another program."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from support.kiosk_server import Image8, Visitor, encoded, serving, wait_for

from lgin_edge import InputError, Transformer
from lgin_edge.kiosk.settings import Settings
from lgin_edge.kiosk.webhook import Webhook, checked


class Receiver(ThreadingHTTPServer):
    """Another program that listens; it answers only while ``open`` is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.open, self.heard = threading.Event(), list[dict[str, Any]]()
        self.open.set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/events"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.open.wait(10)
        self.server.heard.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.open.set()
        server.shutdown()
        thread.join()


def test_what_is_told(receiver: Receiver, tiny: Transformer, astronaut: Image8) -> None:
    """Visits, pictures and prints, and how the kiosk is; no picture, no address of one, nothing of the visitor."""
    settings = Settings(webhook=receiver.url, print_command=("true",), prints_per_visit=1)
    with serving(tiny, settings) as server, Visitor(server.url) as visitor:
        visitor.start(language="de").be_seen(encoded(astronaut))
        visitor.say(type="strip")
        token = visitor.hear()[0]["token"]
        for _ in range(2):
            visitor.say(type="print", token=token)
            visitor.hear()
        wait_for(lambda: len(receiver.heard) == 5)
        for one in receiver.heard:
            assert one.pop("time").endswith("+00:00")
        health = next(one for one in receiver.heard if one["event"] == "health")
        receiver.heard.remove(health)
        assert health in ({"event": "health", "status": "ok", "visitors": n} for n in (0, 1))
        assert receiver.heard == [
            {"event": "visit", "language": "de"},
            {"event": "picture", "kind": "years"},
            {"event": "print", "result": "printed"},
            {"event": "print", "result": "print_visit"},
        ]
        metrics = httpx.get(f"{server.url}/metrics", trust_env=False).text
        assert 'lgin_kiosk_events_total{result="sent"} 5.0' in metrics


def test_a_slow_receiver_holds_up_nobody(receiver: Receiver) -> None:
    counts: Counter[str] = Counter()
    receiver.open.clear()
    webhook = Webhook(receiver.url, lambda result: counts.update([result]))
    began = time.monotonic()
    for number in range(300):
        webhook.tell("visit", number=number)
    assert time.monotonic() - began < 1
    assert 198 <= counts["dropped"] <= 200  # a hundred wait, one is on its way
    receiver.open.set()
    wait_for(lambda: counts["sent"] == 300 - counts["dropped"])
    assert [one["number"] for one in receiver.heard] == sorted(one["number"] for one in receiver.heard)
    webhook.close()


def test_nobody_listens(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    counts: Counter[str] = Counter()
    webhook = Webhook("http://127.0.0.1:1/", lambda result: counts.update([result]))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            webhook.tell("visit")
        wait_for(lambda: counts["failed"] == 3)
    assert len(caplog.records) == 1
    webhook.close()
    with pytest.raises(InputError, match="got 'file:///etc/passwd'"):
        checked("file:///etc/passwd")
