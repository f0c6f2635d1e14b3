"""The HTTP API beside the page: ``POST /v1/age``, ``/healthz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from .. import __version__, images
from ..errors import ImageError, InputError
from . import metrics
from .rate_limit import Full
from .state import UPLOADS, Kiosk

router = APIRouter()
T = TypeVar("T")

#: A picture must have been sent in this time.
_UPLOAD_TIMEOUT_S = 30.0
#: The transformer that is at one picture for longer has failed.
_STALL_S = 60.0


class Problem(BaseModel):
    """What went wrong: ``code`` for programs, ``message`` for people."""

    code: str
    message: str


class Problems(BaseModel):
    """The body of every error."""

    error: Problem


class Health(BaseModel):
    """``status`` is "ok" while pictures are served, "busy" while more of ``/v1/age`` would be refused, and "stalled" when the
    model does not come back from one."""

    status: str
    version: str
    model: str
    visitors: int


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: of HTTP.
        code, message: as in ``Problem``.
        headers: of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


def _refusal(description: str) -> dict[str, Any]:
    return {"model": Problems, "description": description}


_TYPES = tuple(f"image/{kind.lower()}" for kind in UPLOADS)
_PICTURE = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "/v1/age",
    response_class=Response,
    summary="A picture with every face in it at another age",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": dict.fromkeys((*_TYPES, "application/octet-stream"), _PICTURE),
        }
    },
    responses={
        200: {
            "description": "The picture, upright, in the format in which it came.",
            "content": dict.fromkeys(_TYPES, _PICTURE),
            "headers": {"Lgin-Faces": {"schema": {"type": "integer"}, "description": "How many faces were changed."}},
        },
        400: _refusal("Not exactly one of years and group, or a value out of range; or no request of HTTP."),
        403: _refusal("A browser's request from another page."),
        408: _refusal("The picture did not come in time."),
        413: _refusal("Too many bytes."),
        415: _refusal(
            "Not a JPEG, PNG or WebP that can be read, one of too many pixels, or one that takes too long to decode."
        ),
        421: _refusal("A name that this kiosk does not go by."),
        422: _refusal("No face in the picture."),
        429: _refusal("Too many requests; Retry-After says when to try again."),
        503: _refusal("Too many are waiting, or their pixels are too many; Retry-After says when to try again."),
    },
)
async def age(
    request: Request,
    years: Annotated[float | None, Query(description="The age in years, 0 to 130. Give this or group.")] = None,
    group: Annotated[float | None, Query(description="Or an age group, 0 the youngest; 3.5 is between two.")] = None,
) -> Response:
    """The body is the picture's file. The EXIF orientation is applied; a colour profile is kept, other metadata is not."""
    kiosk: Kiosk = request.app.state.kiosk
    status = 500
    try:
        answer = await _age(kiosk, request, years, group)
        status = answer.status_code
        return answer
    except ApiError as error:
        status = error.status
        raise
    finally:
        kiosk.metrics.requests.labels(str(status)).inc()


async def _age(kiosk: Kiosk, request: Request, years: float | None, group: float | None) -> Response:
    address = request.client.host if request.client else ""
    wait = kiosk.requests.take(address)
    if wait:
        raise ApiError(
            429,
            "too_often",
            f"more than {kiosk.settings.requests_per_minute:g} requests a minute; try again in {wait:.1f} s",
            {"Retry-After": str(int(wait) + 1)},
        )
    try:
        kiosk.transformer.description.age_code(group=group, years=years)
    except InputError as error:
        raise ApiError(400, "bad_age", str(error)) from error
    try:
        with kiosk.uploads.hold(address):  # a picture is in memory for as long as its client takes to send it
            return await _change(kiosk, request, address, years, group)
    except Full as full:
        why = "your address has as many pictures here as one can" if full.of_address else "too many are waiting"
        raise ApiError(503, "busy", f"{why}; try again soon", {"Retry-After": "1"}) from None


async def _change(kiosk: Kiosk, request: Request, address: str, years: float | None, group: float | None) -> Response:
    data = await _body(request, kiosk.settings.uploads.image_bytes)
    width, height = await _readable(kiosk.upload_size(data, address))
    with kiosk.pixels.hold(address, width * height):
        picture = await _readable(kiosk.decode_upload(data, address))
        return await _aged(kiosk, picture, years, group)


async def _readable(work: Awaitable[T]) -> T:
    """What ``work`` gives. Raises ApiError for a picture that cannot be read."""
    try:
        return await work
    except ImageError as error:
        raise ApiError(415, "bad_picture", str(error)) from error


async def _aged(kiosk: Kiosk, picture: images.Picture, years: float | None, group: float | None) -> Response:
    def change() -> tuple[Any, int]:
        result = kiosk.transformer.age(picture.image, group=group, years=years)
        return result, len(kiosk.transformer.last_call.faces)

    result, faces = await kiosk.upload_executor.run(change)
    if not faces:
        raise ApiError(422, "no_face", f"no face found in the picture of {result.width} x {result.height} pixels")
    kind = picture.format
    profile = {key: value for key, value in picture.metadata.items() if key == "icc_profile"}
    source = images.Picture(picture.image, profile, picture.jpeg)
    answer = await kiosk.in_thread(lambda: images.encode(result, kind, source))
    return Response(answer, media_type=f"image/{kind.lower()}", headers={"Lgin-Faces": str(faces)})


@router.get(
    "/healthz", summary="Whether the kiosk serves", responses={503: {"model": Health, "description": "Stalled."}}
)
async def healthz(request: Request, response: Response) -> Health:
    """For watchdogs: answers at once, also while pictures are worked on. A kiosk that is stalled needs a restart."""
    kiosk: Kiosk = request.app.state.kiosk
    model = kiosk.transformer.description.model
    status = "stalled" if kiosk.stalled_s > _STALL_S else "busy" if kiosk.is_busy else "ok"
    if status == "stalled":
        response.status_code = 503
    return Health(status=status, version=__version__, model=model, visitors=kiosk.places.taken)


@router.get("/metrics", response_class=Response, summary="Counters and times in the format of Prometheus")
async def tell_metrics(request: Request) -> Response:
    """Counts and sums over all visitors since the start."""
    kiosk: Kiosk = request.app.state.kiosk
    return Response(kiosk.metrics.text(), headers={"Content-Type": metrics.CONTENT_TYPE})


async def _body(request: Request, most: int) -> bytes:
    """The request's body, in memory. Raises ApiError."""
    too_large = ApiError(413, "too_large", f"more than {most} bytes; send a smaller picture")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > most:
        raise too_large

    async def read() -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise too_large
        return bytes(body)

    try:
        body = await asyncio.wait_for(read(), _UPLOAD_TIMEOUT_S)
    except asyncio.TimeoutError:
        raise ApiError(408, "too_slow", f"the picture did not come within {_UPLOAD_TIMEOUT_S:g} seconds") from None
    except ClientDisconnect:
        raise ApiError(400, "gone", "the connection ended before the picture was there") from None
    if not body:
        raise ApiError(415, "bad_picture", "the request has no body; send the picture's file: curl --data-binary @FILE")
    return body
