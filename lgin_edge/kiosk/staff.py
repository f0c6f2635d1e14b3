"""The page of the gallery, for the staff."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from .api import ApiError
from .gallery import Gallery
from .snapshots import MEDIA_TYPES
from .texts import STATIC


def _gallery(request: Request) -> Gallery:
    """The kiosk's. Raises ApiError: it has none, or the request comes from nobody of the staff."""
    gallery: Gallery | None = request.app.state.kiosk.settings.gallery
    if gallery is None:
        raise ApiError(404, "none", "this kiosk keeps no pictures; --keep FOLDER lets it")
    if not gallery.admits(request.headers.get("authorization", "")):
        realm = {"WWW-Authenticate": 'Basic realm="lgin-edge kiosk, staff", charset="UTF-8"'}
        raise ApiError(401, "staff", "this is for the staff, who know the password", realm)
    return gallery


def _picture(name: str, gallery: Annotated[Gallery, Depends(_gallery)]) -> Path:
    """One in the gallery. Raises ApiError."""
    path = gallery.path(name)
    if path is None:
        raise ApiError(404, "gone", "there is no such picture, or no more")
    return path


router = APIRouter(prefix="/staff", include_in_schema=False, dependencies=[Depends(_gallery)])


@router.get("")
async def page() -> Response:
    return FileResponse(STATIC / "staff.html", headers={"Cache-Control": "no-cache"})


@router.get("/pictures")
async def pictures(gallery: Annotated[Gallery, Depends(_gallery)]) -> Response:
    return JSONResponse(gallery.names())


@router.get("/pictures/{name}")
async def picture(path: Annotated[Path, Depends(_picture)]) -> Response:
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix[1:]])


@router.delete("/pictures/{name}")
async def delete(path: Annotated[Path, Depends(_picture)]) -> Response:
    path.unlink(missing_ok=True)
    return Response(status_code=204)
