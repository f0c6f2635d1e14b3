"""The kiosk as an ASGI application: the page, the live picture, pictures to fetch, and the API."""

from __future__ import annotations

import asyncio
import contextlib
import html
import io
from collections.abc import AsyncIterator
from typing import Any

import segno
from fastapi import APIRouter, FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from .. import __version__
from ..transformer import Transformer
from .api import ApiError
from .api import router as api
from .security import Guard
from .session import Session
from .settings import Settings
from .snapshots import MEDIA_TYPES, Snapshot
from .staff import router as staff
from .state import Kiosk
from .texts import STATIC

_page = APIRouter(include_in_schema=False)


def create_app(transformer: Transformer, settings: Settings) -> FastAPI:
    """A kiosk that any ASGI server can run, in one process and one event loop.

    The transformer stays the caller's, who closes it after the server.
    """
    kiosk = Kiosk(transformer, settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        kiosk.start()
        sweeping = asyncio.create_task(kiosk.sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            kiosk.close()

    # FastAPI's pages for the API load scripts from elsewhere; /docs is one of our own.
    app = FastAPI(title="lgin-edge kiosk", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.kiosk = kiosk
    app.include_router(api)
    app.include_router(_page)
    app.include_router(staff)
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _wrong_value)
    app.add_exception_handler(Exception, _failure)
    app.add_middleware(Guard, hosts=settings.hosts, refused=lambda why: kiosk.metrics.refused.labels(why).inc())
    return app


@_page.get("/")
async def page() -> Response:
    return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})


@_page.get("/docs")
async def docs(request: Request) -> Response:
    """How the HTTP API is used, with the address by which this page was called."""
    page = (STATIC / "docs.html").read_text("utf-8")
    return HTMLResponse(page.replace("{address}", html.escape(str(request.base_url).rstrip("/"))))


@_page.get("/page.json")
async def about_page(request: Request) -> Response:
    """What the page needs to know: texts, ages, limits."""
    kiosk: Kiosk = request.app.state.kiosk
    settings = kiosk.settings
    return JSONResponse(
        {
            "languages": settings.languages,
            "language": settings.language,
            "centers": [group.center for group in kiosk.transformer.groups],
            "still_seconds": settings.still_seconds,
            "kept_seconds": settings.gallery.seconds if settings.gallery else None,
            "idle_seconds": settings.idle_seconds,
            "countdown_seconds": settings.countdown_seconds,
            "max_fps": settings.max_fps,
            "window": settings.window,
            "side": settings.side,
            "still_side": settings.still_side,
            "still_pixels": settings.frames.image_pixels,
            "still_bytes": settings.frames.image_bytes,
            "shots": settings.shots,
            "public_screen": settings.public_screen,
            "logo": settings.logo is not None,
            "print": bool(settings.print_command),
        }
    )


@_page.get("/logo.png")
async def logo(request: Request) -> Response:
    """Of the house."""
    picture = request.app.state.kiosk.settings.logo
    if picture is None:
        raise ApiError(404, "none", "this kiosk has no logo; it is given by --logo")
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Response(file.getvalue(), media_type="image/png", headers={"Cache-Control": "no-cache"})


@_page.websocket("/live")
async def live(socket: WebSocket) -> None:
    await Session(socket, socket.app.state.kiosk).run()


@_page.get("/stills/{token}.svg")
async def code(request: Request, token: str) -> Response:
    """The address of the picture's page as a QR code."""
    kiosk: Kiosk = request.app.state.kiosk
    _kept(kiosk, token)
    address, _ = kiosk.address(f"/taken/{token}", request.url.scheme, request.headers.get("host", ""))
    file = io.BytesIO()
    segno.make_qr(address).save(file, kind="svg", scale=8, border=3, light="white", svgns=True, xmldecl=False)
    return Response(file.getvalue(), media_type="image/svg+xml")


@_page.get("/taken/{token}")
async def taken(request: Request, token: str) -> Response:
    """The page on a visitor's phone; of a picture that is gone it says so."""
    kiosk: Kiosk = request.app.state.kiosk
    return FileResponse(STATIC / "taken.html", 404 if kiosk.snapshots.get(token) is None else 200)


@_page.get("/stills/{token}.json")
async def about_still(request: Request, token: str) -> Response:
    """What that page needs to know of a picture."""
    kiosk: Kiosk = request.app.state.kiosk
    kept = _kept(kiosk, token)
    left = kiosk.snapshots.seconds_left(kept)
    return JSONResponse({"name": kept.name, "kind": kept.kind, "seconds": left, "language": kept.language})


@_page.get("/stills/{token}.{kind}")
async def still(request: Request, token: str, kind: str, save: bool = False) -> Response:
    """A picture or a clip that was taken; with ``save`` browsers store it instead of showing it."""
    kept = _kept(request.app.state.kiosk, token, kind)
    how = "attachment" if save else "inline"
    headers = {"Content-Disposition": f'{how}; filename="{kept.name}"'}
    return Response(kept.data, media_type=MEDIA_TYPES[kept.kind], headers=headers)


def _kept(kiosk: Kiosk, token: str, kind: str | None = None) -> Snapshot:
    """What was taken, of that kind if one is asked for. Raises ApiError."""
    kept = kiosk.snapshots.get(token)
    if kept is None or kind not in (None, kept.kind):
        raise ApiError(404, "gone", "there is no such picture, or no more: pictures are kept for a few minutes only")
    return kept


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


async def _http_error(request: Request, error: Any) -> Response:
    """Of the API, or of FastAPI."""
    return _error(error.status_code, getattr(error, "code", "http"), str(error.detail), error.headers)


async def _wrong_value(request: Request, error: Any) -> Response:
    first = error.errors()[0]
    return _error(400, "bad_value", f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")


async def _failure(request: Request, error: Exception) -> Response:
    """What nobody foresaw; the server's log has the whole of it."""
    return _error(500, "failed", "this failed inside the kiosk; its log says why")
