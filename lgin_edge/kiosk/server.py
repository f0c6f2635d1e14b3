"""Running a kiosk with uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.server import ServerProtocol

from ..errors import InputError
from ..transformer import Transformer
from .app import create_app
from .security import HEADERS, error_body, is_loopback
from .settings import Settings

_EVERYWHERE = ("0.0.0.0", "::")
#: Connections at once, in all and from one address: a browser opens about seven.
_CONNECTIONS, _CONNECTIONS_PER_ADDRESS = 256, 64
#: A request must have come in this time, after the connection or the last answer.
_REQUEST_TIMEOUT_S = 10.0


class _Handshake(ServerProtocol):
    """websockets', which refuses in plain text."""

    def reject(self, status: int, text: str) -> Response:
        response = super().reject(status, text)
        response.body = error_body("bad_request" if status < 500 else "failed", text.strip())
        response.headers = Headers(_error_headers(response.body))
        return response


class _WebSocket(WebSocketsSansIOProtocol):
    """uvicorn's (0.54), which fails where the visitor closes just now: ``shutdown`` ends the server with that, ``send`` the session.
    A text that is no UTF-8 it tells the log, with a traceback; a handshake that cannot be read it neither answers nor ends."""

    def __init__(self, config: Any, *others: Any, **options: Any) -> None:
        super().__init__(config, *others, **options)
        self.conn = _Handshake(max_size=config.ws_max_size, logger=self.logger)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        why = self.conn.handshake_exc
        if why is not None and not self.handshake_complete:
            self.handshake_complete = self.close_sent = True
            self.transport.write(self.conn.reject(400, f"no WebSocket can be opened: {why}").serialize())
            self.transport.close()

    async def send(self, message: Any) -> None:
        if self.close_sent and message["type"] == "websocket.send":
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # else the log has an error for each visitor who is refused

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(b"".join(self.frames)):
            self.conn.send_close(1007)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def shutdown(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()


def _error_headers(body: bytes) -> dict[str, str]:
    """Of the last answer on a connection, an error whose JSON is ``body``."""
    return HEADERS | {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
    }


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Http(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's, which lets connections stay that send no request, or half of one, and answers 503 to everybody when there are
    too many. Here they end in time, and of too many the one goes that has been idle for longest."""

    trusted: frozenset[str] = frozenset()  # proxies, which bring many visitors

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._watch()
        for others, most in ((self._of_this_address(), _CONNECTIONS_PER_ADDRESS), (self.connections, _CONNECTIONS)):
            if len(others) > most:
                idle = [one for one in others if isinstance(one, _Http) and one is not self and not one.is_busy]
                min(idle, key=lambda one: one._idle_since, default=self).transport.close()

    def send_400_response(self, msg: str) -> None:
        """To what is no request: an error like all others."""
        if not self.is_busy:  # else it would stand in the midst of another answer
            body = error_body("bad_request", msg)
            headers = _error_headers(body).items()
            lines = ["HTTP/1.1 400 Bad Request", *(f"{name}: {value}" for name, value in headers), "", ""]
            self.transport.write("\r\n".join(lines).encode() + body)
        self.transport.close()

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _of_this_address(self) -> list[Any]:
        address = self.client[0] if self.client else ""
        if address in self.trusted:
            return []
        return [one for one in self.connections if (one.client[0] if one.client else "") == address]

    def _watch(self) -> None:
        if self.transport.is_closing() or self not in self.connections:  # closed, or a WebSocket by now
            return
        now = self.loop.time()
        if self.is_busy:
            self._idle_since = now
        elif now - self._idle_since > _REQUEST_TIMEOUT_S:
            self.transport.close()
            return
        self.loop.call_later(1.0, self._watch)


class Server(uvicorn.Server):
    """A kiosk's server; ``run`` serves until it is interrupted or ``should_exit`` is set.

    Args:
        transformer: changes the faces; it stays the caller's.
        settings: of the kiosk.
        host: address to listen at; "0.0.0.0" for all of this machine's.
        port: 0 for one that is free.
        certfile, keyfile: PEM files for HTTPS; both or neither.
        ready: told the address of the page when it can be opened.

    Raises:
        InputError: the files of the certificate are not usable, or one is missing.
    """

    def __init__(
        self,
        transformer: Transformer,
        settings: Settings,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        certfile: Path | None = None,
        keyfile: Path | None = None,
        ready: Callable[[str], None] = lambda _: None,
    ) -> None:
        _check_certificate(certfile, keyfile)
        self._scheme = "http" if certfile is None else "https"
        self._ready = ready
        self._bound = _listen(host, port)
        port = self._bound.getsockname()[1]
        shown = "localhost" if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
        self.url = f"{self._scheme}://{shown}:{port}"
        if settings.network_url is None and not is_loopback(host):
            address = own_address() if host in _EVERYWHERE else host
            if address is not None:
                settings = replace(settings, network_url=f"{self._scheme}://{address}:{port}")
        self.settings = settings
        super().__init__(
            uvicorn.Config(
                create_app(transformer, settings),
                ssl_certfile=certfile,
                ssl_keyfile=keyfile,
                ws=_WebSocket,
                ws_max_size=settings.frames.image_bytes + 1024,
                ws_per_message_deflate=False,  # JPEGs do not get smaller
                http=type("_Http", (_Http,), {"trusted": frozenset(settings.trusted_proxies)}),
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                timeout_graceful_shutdown=2,
                access_log=False,
                server_header=False,
                log_level="warning",
            )
        )

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve. Never with sockets of the caller's."""
        with contextlib.closing(self._bound):
            super().run([self._bound])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready(self.url)


def own_address() -> str | None:
    """This machine's IPv4 address in its network; None without one. Nothing is sent: a UDP socket is only given its route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address kept for documentation: nobody is there
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(
            f"{host}:{port}: cannot listen there ({error.strerror}); choose another --port, or --host 0.0.0.0 for all of "
            "this machine's addresses"
        ) from error


def _check_certificate(certfile: Path | None, keyfile: Path | None) -> None:
    import ssl

    if (certfile is None) != (keyfile is None):
        raise InputError("HTTPS needs both the certificate and its key: --certfile FILE --keyfile FILE")
    if certfile is not None and keyfile is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile)
        except OSError as error:  # also ssl.SSLError
            raise InputError(
                f"{certfile} and {keyfile}: expected a certificate and its key, PEM files: {error}"
            ) from error
