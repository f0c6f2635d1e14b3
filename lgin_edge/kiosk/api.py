"""The HTTP API beside the page: pictures by ``POST`` under ``/v1``, ``/healthz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import __version__, contact_sheet, images
from ..animation import WRITABLE as CLIPS
from ..errors import ImageError, InputError
from ..faces import Face
from ..provenance import marked
from . import metrics
from .rate_limit import Full
from .state import UPLOADS, Kiosk

if TYPE_CHECKING:
    from PIL import Image

router = APIRouter()
T = TypeVar("T")

#: A picture must have been sent in this time.
_UPLOAD_TIMEOUT_S = 30.0


class Problem(BaseModel):
    """What went wrong: ``code`` for programs, ``message`` for people."""

    code: str
    message: str


class Problems(BaseModel):
    """The body of every error."""

    error: Problem


class Health(BaseModel):
    """``status`` is "ok" while pictures are served, "busy" while more pictures would be refused, and "stalled" when the
    model does not come back from one."""

    status: str
    version: str
    model: str
    visitors: int


class ApiError(HTTPException):
    """An answer that is an error: status and headers of HTTP, ``code`` and ``message`` as in ``Problem``."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
        self.code = code


_TYPES = tuple(f"image/{kind.lower()}" for kind in UPLOADS)
_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"requestBody": {"required": True, "content": dict.fromkeys((*_TYPES, "application/octet-stream"), _PICTURE)}}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problems, "description": description}
    for status, description in {
        400: "An age that is missing or out of range; or no request of HTTP.",
        403: "A browser's request from another page.",
        408: "The picture did not come in time.",
        413: "Too many bytes.",
        415: "Not a JPEG, PNG or WebP that can be read, one of too many pixels, one that takes too long to decode, or a form.",
        421: "A name that this kiosk does not go by.",
        422: "No face in the picture.",
        429: "Too many requests; Retry-After says when to try again.",
        503: "Too many are waiting, or their pixels are too many; Retry-After says when to try again.",
    }.items()
}


def _giving(path: str, summary: str, description: str, types: Iterable[str] = _TYPES) -> Callable[[Any], Any]:
    """A path that is sent a picture and gives one, of one of these media types."""
    headers = {
        "Lgin-Faces": {"schema": {"type": "integer"}, "description": "How many faces were changed."},
        "Lgin-Years": {"schema": {"type": "string"}, "description": "The age that was used; of several, with commas."},
    }
    given = {"description": description, "content": dict.fromkeys(types, _PICTURE), "headers": headers}
    responses = {200: given} | _REFUSALS
    return router.post(path, response_class=Response, summary=summary, openapi_extra=_BODY, responses=responses)


Years = Annotated[float | None, Query(description="The age in years, 0 to 130. Give this or group.")]
Mark = Annotated[bool, Query(description="Write 'changed by AI' into its corner; the metadata says so anyhow.")]
Group = Annotated[float | None, Query(description="Or an age group, 0 the youngest; 3.5 is between two.")]


@_giving(
    "/v1/age", "A picture with every face in it at another age", "The picture, upright, in the format in which it came."
)
async def age(request: Request, years: Years = None, group: Group = None, mark: Mark = False) -> Response:
    """The body is the picture's file. The EXIF orientation is applied; a colour profile is kept, other metadata is not; it says that the picture was
    changed by AI."""
    async with _admitted(request) as kiosk:
        transformer = kiosk.transformer
        try:
            code = transformer.description.age_code(group=group, years=years)
        except InputError as error:
            raise ApiError(400, "bad_age", str(error)) from error
        used = round(float(code @ [one.center for one in transformer.groups]), 2)
        async with _upload(request, kiosk) as picture:
            result, faces = await _run(
                kiosk, picture, lambda faces: transformer.age(picture.image, years=used, faces=faces)
            )
            profile = {key: value for key, value in picture.metadata.items() if key == "icc_profile"}
            source = images.Picture(picture.image, profile, picture.jpeg)
            return await _image(kiosk, result, picture.format, source, len(faces), [used], mark)


@_giving(
    "/v1/timeline",
    "A labelled strip: every face as it is, and at every age group",
    "The strip, one row a face, in the format in which the picture came.",
)
async def timeline(request: Request, mark: Mark = False) -> Response:
    """The body is the picture's file."""
    async with _admitted(request) as kiosk, _upload(request, kiosk) as picture:
        transformer = kiosk.transformer
        strip, faces = await _run(
            kiosk, picture, lambda faces: contact_sheet.timeline_strip(transformer, picture.image, faces)
        )
        years = [one.center for one in transformer.groups]
        return await _image(kiosk, strip, picture.format, None, len(faces), years, mark)


@_giving(
    "/v1/animation",
    "A clip in which every face grows older, or younger",
    "The clip, no longer than 5 MB; ``Lgin-Years`` are its first and last age.",
    CLIPS.values(),
)
async def animation(
    request: Request,
    start: Annotated[float | None, Query(ge=0, le=130, description="From this age; the model's youngest.")] = None,
    end: Annotated[float | None, Query(ge=0, le=130, description="To this age; the model's oldest.")] = None,
    seconds: Annotated[float, Query(ge=0.1, le=5, description="From the one to the other.")] = 3.0,
    boomerang: Annotated[bool, Query(description="There and back.")] = True,
    format: Annotated[Literal["mp4", "webm", "webp", "gif"], Query(description="Of the clip.")] = "mp4",
    mark: Mark = False,
) -> Response:
    """The body is the picture's file."""
    async with _admitted(request) as kiosk, _upload(request, kiosk) as picture:
        groups = kiosk.transformer.groups
        ends = groups[0].center if start is None else start, groups[-1].center if end is None else end
        first, last = map(kiosk.transformer.description.used_years, ends)
        _, faces = await _run(kiosk, picture, lambda _: None)
        suffix = f".{format}"
        data = await kiosk.clip(
            kiosk.upload_executor,
            picture.image,
            faces,
            first,
            last,
            seconds=seconds,
            boomerang=boomerang,
            suffix=suffix,
            finished=marked if mark else lambda frame: frame,
        )
        return _answer(data, CLIPS[suffix], len(faces), (first, last))


class Estimate(BaseModel):
    """How old a face looks: ``box`` is x0, y0, x1, y1 in pixels of the upright picture."""

    box: list[float]
    years: float
    group: int
    label: str


class Estimates(BaseModel):
    """The largest face first."""

    faces: list[Estimate]


@router.post("/v1/estimate", summary="Roughly how old every face looks", openapi_extra=_BODY, responses=_REFUSALS)
async def estimate(request: Request) -> Estimates:
    """The body is the picture's file. Take no decision by it: it is off by years."""
    async with _admitted(request) as kiosk, _upload(request, kiosk) as picture:
        found, faces = await _run(
            kiosk, picture, lambda faces: kiosk.transformer.estimate_age(picture.image, faces=faces)
        )
        pairs = zip(faces, found, strict=True)
        told = (
            {"box": face.box.tolist(), "years": one.years, "group": one.group, "label": one.label}
            for face, one in pairs
        )
        return Estimates(faces=[Estimate(**one) for one in told])


@contextlib.asynccontextmanager
async def _admitted(request: Request) -> AsyncIterator[Kiosk]:
    """The kiosk, for a request that may be served; what becomes of it is counted. Raises ApiError."""
    kiosk: Kiosk = request.app.state.kiosk
    status = 500
    try:
        wait = kiosk.requests.take(_address(request))
        if wait:
            raise ApiError(
                429,
                "too_often",
                f"more than {kiosk.settings.requests_per_minute:g} requests a minute, or too many at once; try again in {wait:.1f} s",
                {"Retry-After": str(int(wait) + 1)},
            )
        if request.headers.get("content-type", "").lower().startswith("multipart/"):
            raise ApiError(
                415,
                "form",
                f"this is a form, as curl -F sends it; send the picture's file itself: curl --data-binary @FILE '{request.url}'",
            )
        yield kiosk
        status = 200
    except ApiError as error:
        status = error.status_code
        raise
    finally:
        kiosk.metrics.requests.labels(str(status)).inc()


@contextlib.asynccontextmanager
async def _upload(request: Request, kiosk: Kiosk) -> AsyncIterator[images.Picture]:
    """The picture of a request, which counts as in memory from before its first byte until the answer is made. Raises ApiError."""
    address = _address(request)
    try:
        with kiosk.uploads.hold(address):
            data = await _body(request, kiosk.settings.uploads.image_bytes)
            width, height = await _readable(kiosk.upload_size(data, address))
            with kiosk.pixels.hold(address, width * height):
                yield await _readable(kiosk.decode_upload(data, address))
    except Full as full:
        why = "your address has as many pictures here as one can" if full.of_address else "too many are waiting"
        raise ApiError(503, "busy", f"{why}; try again soon", {"Retry-After": "1"}) from None


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


async def _readable(work: Awaitable[T]) -> T:
    """What ``work`` gives. Raises ApiError for a picture that cannot be read."""
    try:
        return await work
    except ImageError as error:
        raise ApiError(415, "bad_picture", str(error)) from error


async def _run(kiosk: Kiosk, picture: images.Picture, work: Callable[[list[Face]], T]) -> tuple[T, list[Face]]:
    """What ``work`` makes of the picture's faces, when its turn comes, and the faces. Raises ApiError: there are none."""

    def run() -> tuple[T, list[Face]] | None:
        faces = kiosk.transformer.detect(picture.image)
        return (work(faces), faces) if faces else None

    done = await kiosk.upload_executor.run(run)
    if done is None:
        width, height = picture.image.size
        raise ApiError(422, "no_face", f"no face found in the picture of {width} x {height} pixels")
    return done


async def _image(
    kiosk: Kiosk,
    image: Image.Image,
    kind: str,
    source: images.Picture | None,
    faces: int,
    years: Sequence[float],
    mark: bool,
) -> Response:
    data = await kiosk.upload_executor.run(lambda: images.encode(marked(image) if mark else image, kind, source))
    return _answer(data, f"image/{kind.lower()}", faces, years)


def _answer(data: bytes, media_type: str, faces: int, years: Sequence[float]) -> Response:
    headers = {"Lgin-Faces": str(faces), "Lgin-Years": ", ".join(f"{one:g}" for one in years)}
    return Response(data, media_type=media_type, headers=headers)


@router.get(
    "/healthz", summary="Whether the kiosk serves", responses={503: {"model": Health, "description": "Stalled."}}
)
async def healthz(request: Request, response: Response) -> Health:
    """For watchdogs: answers at once, also while pictures are worked on. A kiosk that is stalled needs a restart."""
    kiosk: Kiosk = request.app.state.kiosk
    model = kiosk.transformer.description.model
    status = kiosk.status
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
