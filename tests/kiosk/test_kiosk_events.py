"""Events of the kiosk, told to other programs by HTTP and by MQTT."""

from __future__ import annotations

import io
import json
import logging
import socket
import socketserver
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from support.kiosk_server import Image8, Visitor, encoded, serving, wait_for

from lgin_edge import BackendError, InputError, Transformer
from lgin_edge.kiosk import events
from lgin_edge.kiosk.events import Events, Mqtt, Webhook
from lgin_edge.kiosk.settings import Settings


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


def test_a_slow_receiver_holds_up_nobody(receiver: Receiver) -> None:
    counts: Counter[str] = Counter()
    receiver.open.clear()
    webhook = Events(Webhook(receiver.url), lambda result: counts.update([result]))
    began = time.monotonic()
    for number in range(300):
        webhook.tell("visit", number=number)
    assert time.monotonic() - began < 1
    assert 198 <= counts["dropped"] <= 200  # a hundred wait, one is on its way
    receiver.open.set()
    wait_for(lambda: counts["sent"] == 300 - counts["dropped"])
    assert [one["number"] for one in receiver.heard] == sorted(one["number"] for one in receiver.heard)
    webhook.close()


class Broker(socketserver.ThreadingTCPServer):
    """As much of MQTT 3.1.1 as the kiosk speaks; ``heard`` has the topic, the JSON and whether it is retained, ``will`` the same."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.heard, self.will = list[tuple[str, Any, bool]](), ("", None)
        self.line: socket.socket | None = None  # of the kiosk
        self.url = f"mqtt://127.0.0.1:{self.server_address[1]}/house/kiosk"


class _Session(socketserver.StreamRequestHandler):
    server: Broker

    def handle(self) -> None:
        self.server.line = self.request
        while head := self.rfile.read(1):
            kind, length, shift = head[0] >> 4, 0, 0
            while (byte := self.rfile.read(1)[0]) >= 0x80:
                length, shift = length | (byte & 0x7F) << shift, shift + 7
            body = io.BytesIO(self.rfile.read(length | byte << shift))

            def field(body: io.BytesIO = body) -> bytes:
                return body.read(int.from_bytes(body.read(2), "big"))

            if kind == 1:  # CONNECT: protocol, its level, flags, keep-alive, client, will
                field(), body.read(4), field()
                self.server.will = (field().decode(), json.loads(field()))
                self.wfile.write(b"\x20\x02\x00\x00")
            elif kind == 3:  # PUBLISH
                topic, number = field().decode(), body.read(2)
                self.server.heard.append((topic, json.loads(body.read()), bool(head[0] & 1)))
                self.wfile.write(b"\x40\x02" + number)


@pytest.fixture
def broker() -> Iterator[Broker]:
    pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt: pip install 'lgin-edge[mqtt]'")
    with Broker() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_what_is_told(receiver: Receiver, broker: Broker, tiny: Transformer, astronaut: Image8) -> None:
    """Visits, pictures and prints, and how the kiosk is; no picture, no address of one, nothing of the visitor."""
    receivers = Webhook(receiver.url), Mqtt(broker.url)
    settings = Settings(receivers=receivers, print_command=("true",), prints_per_visit=1)
    with serving(tiny, settings) as server, Visitor(server.url) as visitor:
        visitor.start(language="de").be_seen(encoded(astronaut))
        visitor.say(type="strip")
        token = visitor.hear()[0]["token"]
        for _ in range(2):
            visitor.say(type="print", token=token)
            visitor.hear()
        sent = 'lgin_kiosk_events_total{result="sent"} 10.0'  # counted when it was confirmed
        wait_for(lambda: sent in httpx.get(f"{server.url}/metrics", trust_env=False).text)
        assert len(receiver.heard) == len(broker.heard) == 5
        assert broker.line is not None
        broker.line.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: len(broker.heard) == 6)  # connected again; the broker had said "gone"
        assert broker.heard[5][0] == "house/kiosk/health"
    gone = {"event": "health", "status": "gone"}
    assert broker.will == ("house/kiosk/health", gone)
    wait_for(lambda: broker.heard[-1] == ("house/kiosk/health", gone, True))
    assert [body for _, body, _ in broker.heard[:5]] == receiver.heard
    for topic, body, is_retained in broker.heard[:5]:
        assert topic == f"house/kiosk/{body['event']}"
        assert is_retained == (body["event"] == "health")
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


@pytest.mark.parametrize(("kind", "url"), [(Webhook, "http://127.0.0.1:1/"), (Mqtt, "mqtt://127.0.0.1:1/kiosk")])
def test_nobody_listens(
    kind: type[Webhook | Mqtt], url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind is Mqtt:
        pytest.importorskip("paho.mqtt.client")
    receiver = kind(url)
    monkeypatch.setattr(events, "_TIMEOUT_S", 0.1)
    counts: Counter[str] = Counter()
    telling = Events(receiver, lambda result: counts.update([result]))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            telling.tell("visit")
        wait_for(lambda: counts["failed"] == 3)
    assert [str(receiver) in record.getMessage() for record in caplog.records] == [True]
    telling.close()


def test_wrong_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="got 'file:///etc/passwd'"):
        Webhook("file:///etc/passwd")
    for wrong in (
        "http://broker/kiosk",
        "mqtt://broker",
        "mqtt:///kiosk",
        "mqtt://broker/all/#",
        "mqtt://broker:many/kiosk",
    ):
        with pytest.raises(InputError, match="an address with a topic"):
            Mqtt(wrong)
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(BackendError, match=r"pip install 'lgin-edge\[mqtt\]'"):
        Mqtt("mqtt://broker/kiosk")
