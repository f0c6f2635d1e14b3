"""Telling other programs what happens at the kiosk: that somebody came, took a picture, printed one. Never a picture, never who."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import queue
import threading
import urllib.request
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from ..errors import BackendError, InputError

_log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0
#: Events that wait for a slow receiver; further ones are dropped.
_WAITING = 100
_MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}


class Receiver(Protocol):
    """Where events go."""

    def send(self, event: str, body: bytes) -> None:
        """Hand over the JSON of an event. Raises OSError or HTTPException."""

    def close(self) -> None:
        """End."""


class Webhook:
    """A POST for each event, by http or https."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(f"webhook: expected an address like https://events.example/kiosk, got {url!r}")
        self._url = url

    def __str__(self) -> str:
        return f"the webhook {self._url}"

    def send(self, event: str, body: bytes) -> None:
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=_TIMEOUT_S).close()

    def close(self) -> None:
        pass


class Mqtt:
    """A message for each event, of topic TOPIC/EVENT, that arrives at least once.

    The broker retains TOPIC/health, and says there ``{"event": "health", "status": "gone"}`` when the kiosk is switched off, or is
    cut off.

    Args:
        url: mqtt or mqtts, with the topic as its path: mqtts://user:password@broker.example/house/kiosk.

    Raises:
        InputError: it is none.
        BackendError: paho-mqtt is missing.
    """

    _GONE = b'{"event": "health", "status": "gone"}'

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._topic = parts.path.strip("/")
        try:
            port = parts.port or _MQTT_PORTS.get(parts.scheme)
        except ValueError:  # not a number
            port = None
        if port is None or not parts.hostname or not self._topic or set("#+") & set(url):
            raise InputError(f"mqtt: expected an address with a topic like mqtt://broker.example/kiosk, got {url!r}")
        try:
            from paho.mqtt.client import CallbackAPIVersion, Client
        except ModuleNotFoundError as error:
            raise BackendError("MQTT needs paho-mqtt: pip install 'lgin-edge[mqtt]'") from error
        self._name = f"the MQTT broker {parts.hostname}"
        self._connected = threading.Event()
        client = self._client = Client(CallbackAPIVersion.VERSION2)
        self._health = b""
        client.on_connect = self._begin
        client.on_disconnect = lambda *_: self._connected.clear()
        if parts.username:
            client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            client.tls_set()
        client.will_set(f"{self._topic}/health", self._GONE, qos=1, retain=True)
        client.connect_async(parts.hostname, port)  # when its thread runs

    def __str__(self) -> str:
        return self._name

    def _begin(self, client: Any, _: object, __: object, reason: Any, ___: object) -> None:
        if reason.is_failure:
            return
        self._connected.set()
        if self._health:  # after a connection that was lost, when the broker said "gone"
            client.publish(f"{self._topic}/health", self._health, qos=1, retain=True)

    def send(self, event: str, body: bytes) -> None:
        self._client.loop_start()  # the first time; later it does nothing
        if not self._connected.wait(_TIMEOUT_S):
            raise OSError("it is not connected")
        message = self._client.publish(f"{self._topic}/{event}", body, qos=1, retain=event == "health")
        with contextlib.suppress(RuntimeError, ValueError):  # the connection went just now
            message.wait_for_publish(_TIMEOUT_S)
            if message.is_published():
                self._health = body if event == "health" else self._health
                return
        raise OSError("it did not confirm a message")

    def close(self) -> None:
        if self._connected.is_set():
            with contextlib.suppress(OSError):
                self.send("health", self._GONE)
        self._client.disconnect()
        self._client.loop_stop()


class Events:
    """Sends events to a receiver, one after the other, in a thread of its own.

    An event is JSON: ``{"event": "picture", "time": "2026-11-26T10:00:00+00:00", "kind": "strip"}``.

    For one thread that tells.

    Args:
        receiver: of the events; closed with this.
        counted: told "sent", "failed" or "dropped" for each event, in any thread.
    """

    def __init__(self, receiver: Receiver, counted: Callable[[str], object] = lambda _: None) -> None:
        self._receiver, self._counted = receiver, counted
        self._events: queue.Queue[tuple[str, bytes] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._work, name="lgin-events", daemon=True)
        self._thread.start()

    def tell(self, event: str, **facts: str | int) -> None:
        """Send an event as soon as those before it are sent. Returns at once."""
        time = datetime.now(timezone.utc).isoformat(timespec="seconds")
        try:
            self._events.put_nowait((event, json.dumps({"event": event, "time": time, **facts}).encode()))
        except queue.Full:
            self._counted("dropped")

    def close(self) -> None:
        """Send nothing more, but for the event that is on its way."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._events.get_nowait()
        self._events.put(None)
        self._thread.join(_TIMEOUT_S)
        self._receiver.close()

    def _work(self) -> None:
        has_failed = False
        while (event := self._events.get()) is not None:
            try:
                self._receiver.send(*event)
            except (OSError, http.client.HTTPException) as error:  # also urllib's errors
                if not has_failed:  # of a receiver that is away the log has one line
                    _log.error("%s failed: %s", self._receiver, error)
                has_failed = True
            else:
                has_failed = False
            self._counted("failed" if has_failed else "sent")
