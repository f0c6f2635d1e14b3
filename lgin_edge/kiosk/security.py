"""The door: who may call, and what browsers are told not to do."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Scripts, styles, pictures and connections of this server alone ('self' is its WebSocket too), none of them inline.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: Most of a refused request's body that is read, and how long that may take.
_DISCARD_BYTES, _DISCARD_S = 16 << 20, 2.0
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware: checks ``Host`` and ``Origin`` of requests and WebSockets, and sets the security headers.

    ``Host`` must be localhost, an IP address or one of ``hosts``: a page elsewhere whose name was made to point here (DNS
    rebinding) calls by that name. ``Origin``, which browsers send with WebSockets and POST, must be the kiosk's own; programs
    that send none are let in.

    Args:
        hosts: further names of this kiosk.
        refused: told "host", "origin" or "length".
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], refused: Callable[[str], object]) -> None:
        self._app = app
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if scope.get("method") == "HEAD":  # as monitors ask; the server sends no body then
            scope = {**scope, "method": "GET"}
        problem = self._problem(Headers(scope=scope))
        if problem is None:
            sending = _with_headers(send) if scope["type"] == "http" else _with_reason(scope, receive, send)
            await self._app(scope, receive, sending)
            return
        self._refused(problem[1])
        if scope["type"] == "http" and problem[1] != "length":  # where a body with two lengths ends nobody knows
            await _discard(receive)
        await _refuse(scope, receive, send, *problem)

    def _problem(self, headers: Headers) -> tuple[int, str, str] | None:
        host = headers.get("host", "")
        name = host_name(host)
        if not (name in self._hosts or is_address(name)):
            return (
                421,
                "host",
                f"this kiosk does not go by the name {name!r}; call it by its IP address, or start it with --allow-host {name}",
            )
        if "content-length" in headers and "transfer-encoding" in headers:
            return 400, "length", "this request has two lengths: Content-Length and Transfer-Encoding"
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return 403, "origin", f"this kiosk serves its own page, and the request comes from {origin!r}"
        return None


def host_name(host: str) -> str:
    """The name in a ``Host`` header, in lower case, without port and brackets; "" if there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether a name means this machine itself."""
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)


async def _discard(receive: Receive) -> None:
    """Read a refused request's body, within bounds: a connection that closes on unread bytes is reset, and the answer lost."""

    async def read() -> None:
        left, more = _DISCARD_BYTES, True
        while left > 0 and more:
            message = await receive()
            left -= len(message.get("body", b""))
            more = message.get("more_body", False)

    with contextlib.suppress(TimeoutError, asyncio.TimeoutError):  # two names of one error from Python 3.11 on
        await asyncio.wait_for(read(), _DISCARD_S)


def error_body(code: str, message: str) -> bytes:
    """The JSON of an error."""
    return json.dumps({"error": {"code": code, "message": message}}).encode()


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, code: str, message: str) -> None:
    """Answer with an error."""
    headers = {"Connection": "close"}  # what follows on it may be another's
    answer = Response(error_body(code, message), status, headers, "application/json")
    await answer(scope, receive, _with_headers(send))


def _with_reason(scope: Scope, receive: Receive, send: Send) -> Send:
    """A WebSocket that nothing here takes is refused as a page that is not there."""
    accepted = False

    async def sending(message: Message) -> None:
        nonlocal accepted
        accepted = accepted or message["type"] == "websocket.accept"
        if message["type"] == "websocket.close" and not accepted:
            await _refuse(scope, receive, send, 404, "http", "there is no WebSocket of this path; it is /live")
            return
        await send(message)

    return sending


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending
