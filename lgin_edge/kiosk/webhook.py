"""Telling another program what happens at the kiosk: that somebody came, took a picture, printed one. Never a picture, never who."""

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

from ..errors import InputError

_log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0
#: Events that wait for a slow receiver; further ones are dropped.
_WAITING = 100


class Webhook:
    """Sends events to an address, one after the other, in a thread of its own.

    An event is a POST of JSON: ``{"event": "picture", "time": "2026-11-26T10:00:00+00:00", "kind": "strip"}``.

    For one thread that tells.

    Args:
        url: http or https.
        counted: told "sent", "failed" or "dropped" for each event, in any thread.
    """

    def __init__(self, url: str, counted: Callable[[str], object] = lambda _: None) -> None:
        self._url, self._counted = url, counted
        self._events: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._work, name="lgin-webhook", daemon=True)
        self._thread.start()

    def tell(self, event: str, **facts: str | int) -> None:
        """Send an event as soon as those before it are sent. Returns at once."""
        time = datetime.now(timezone.utc).isoformat(timespec="seconds")
        try:
            self._events.put_nowait(json.dumps({"event": event, "time": time, **facts}).encode())
        except queue.Full:
            self._counted("dropped")

    def close(self) -> None:
        """Send nothing more, but for the event that is on its way."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._events.get_nowait()
        self._events.put(None)
        self._thread.join(_TIMEOUT_S)

    def _work(self) -> None:
        has_failed = False
        while (body := self._events.get()) is not None:
            request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
                    pass
            except (OSError, http.client.HTTPException) as error:  # also urllib's errors
                if not has_failed:  # of a receiver that is away the log has one line
                    _log.error("the webhook %s failed: %s", self._url, error)
                self._counted("failed")
                has_failed = True
            else:
                self._counted("sent")
                has_failed = False


def checked(url: str) -> str:
    """The address. Raises InputError: it is none of http or https."""
    if not url.startswith(("http://", "https://")):
        raise InputError(f"webhook: expected an address like https://events.example/kiosk, got {url!r}")
    return url
