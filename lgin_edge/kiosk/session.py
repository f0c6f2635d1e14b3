"""One visitor: frames in, changed frames out, with back-pressure."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial
from itertools import pairwise
from typing import Any

from PIL import Image
from starlette.websockets import WebSocket, WebSocketDisconnect

from .. import contact_sheet
from ..errors import ImageError, LginError
from ..faces import Face
from ..frames import Frame
from ..stream.pipeline import Pipeline
from . import protocol
from .branding import framed, with_logo
from .printing import PrintError
from .protocol import Close, Refused
from .rate_limit import Full, TokenBucket
from .shot import FULL_STRENGTH, Shot, largest_first, take
from .state import CELL_SIDE, Kiosk, keep_jpeg, live_jpeg
from .texts import drawable, group_label, marked, plain

_log = logging.getLogger(__name__)

#: The page may send no frame for so long, before it starts and after: other messages hold no place.
_SILENCE_TIMEOUT_S = 30.0
#: Pictures that a visitor may take: sustained rate per second, and burst.
_PICTURES_PER_S, _PICTURES_BURST = 0.5, 5.0
#: And that may wait: each can have a frame attached.
_WISHES = 3
#: Of a strip: what is left below its pictures for the mark, and for the logo, in pictures.
_FOOT, _LOGO_FOOT = 0.15, 0.55
#: Commands of any kind likewise: a slider that is moved sends one for each step.
_COMMANDS_PER_S, _COMMANDS_BURST = 60.0, 120.0


class Session:
    """A visitor's WebSocket, from the first message to the last; ``protocol`` says what goes over it.

    One task reads, and keeps of the frames the newest alone; another changes them and answers. So a visitor waits with one
    frame for his turn, and one who reads slowly slows down nobody but himself. The socket is not accepted yet.
    """

    def __init__(self, socket: WebSocket, kiosk: Kiosk) -> None:
        self._socket, self._kiosk = socket, kiosk
        self._address = socket.client.host if socket.client else ""
        self._texts = self._drawn = kiosk.settings.texts("")  # the visitor's, and those of words in pictures
        self._language = ""
        self._last_frame_s = time.monotonic()
        self._something = asyncio.Event()
        self._newest: tuple[int, bytes, float] | None = None  # number, file, when it came
        self._asked: list[tuple[protocol.Wish, bytes]] = []  # with the frame that is attached
        self._last: Shot | None = None
        self._printed = 0
        rate = 2 * kiosk.settings.max_fps  # the page keeps to max_fps; the network may bunch its frames
        self._frames = TokenBucket(rate, rate)
        self._commands = TokenBucket(_COMMANDS_PER_S, _COMMANDS_BURST)
        shots = kiosk.settings.shots
        self._pictures = TokenBucket(shots * _PICTURES_PER_S, shots * _PICTURES_BURST)

    async def run(self) -> None:
        """Serve the visitor until he leaves or is refused."""
        kiosk, metrics = self._kiosk, self._kiosk.metrics
        await self._socket.accept()
        try:
            try:
                with kiosk.places.hold(self._address):
                    metrics.visitors.set(kiosk.places.taken)
                    await self._serve()
            except Full as full:
                code, whose = Close.FULL, f"{kiosk.places.total} places"
                if full.of_address:
                    code, whose = Close.ADDRESS_FULL, f"{kiosk.places.per_address} places of your address"
                raise Refused(code, f"all {whose} are taken; try again soon") from None
            finally:
                metrics.visitors.set(kiosk.places.taken)
        except Refused as refused:
            await self._end(refused.code, refused.reason)
        except LginError as error:  # the run time failed, on a GPU that is gone, say
            _log.error("a session ended: %s", error)
            await self._end(Close.FAILED, "the kiosk failed; its log says why")
        except WebSocketDisconnect:
            pass  # the visitor left

    async def _end(self, code: Close, reason: str) -> None:
        """Close the socket, if the visitor did not leave just now."""
        self._kiosk.metrics.closed.labels(str(int(code))).inc()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.close(code, reason)

    async def _serve(self) -> None:
        start = await self._receive()
        if not isinstance(start, protocol.Start):
            raise Refused(Close.BAD_MESSAGE, 'expected {"type": "start", "consent": true, "years": ...} first')
        if not start.consent:
            raise Refused(Close.NO_CONSENT, "without consent no picture is looked at")
        self._texts = texts = self._kiosk.settings.texts(start.language)
        self._language = plain(texts, "language")
        self._drawn = await self._kiosk.in_thread(lambda: drawable(texts))
        self._kiosk.metrics.sessions.inc()
        self._kiosk.tell("visit", language=self._language)
        await self._socket.send_json({"type": "started"})
        pipeline = Pipeline(self._kiosk.transformer, years=self._reached(start.years))
        tasks = [asyncio.create_task(self._read(pipeline)), asyncio.create_task(self._work(pipeline))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            pipeline.close()  # a frame that is being changed just now is finished, and nobody gets it
        try:
            for task in done:
                task.result()
        finally:  # an error holds this frame: with its task in it they were a cycle, which keeps the visitor's pictures
            del tasks, task, done

    async def _receive(self) -> protocol.Command | tuple[int, bytes]:
        """The next message: a command, or number and file of a frame."""
        while True:
            left = self._last_frame_s + _SILENCE_TIMEOUT_S - time.monotonic()
            try:
                message = await asyncio.wait_for(self._socket.receive(), max(0.0, left))
                break
            except asyncio.TimeoutError:
                if not self._asked:
                    raise Refused(Close.QUIET, f"no frame came for {_SILENCE_TIMEOUT_S:g} seconds") from None
                self._last_frame_s = time.monotonic()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        data = message.get("bytes")
        if data is not None:
            self._last_frame_s = time.monotonic()
            return protocol.frame(data)
        if self._commands.take():
            raise Refused(Close.TOO_FAST, f"more than {_COMMANDS_PER_S:g} messages a second")
        return protocol.command(message.get("text") or "", self._kiosk.settings.frames)

    async def _read(self, pipeline: Pipeline) -> None:
        """Take in what the page sends."""
        settings, number = self._kiosk.settings, -1
        while True:
            message = await self._receive()
            if isinstance(message, tuple):
                before, (number, data) = number, message
                if number <= before:
                    raise Refused(Close.BAD_MESSAGE, f"frame: expected a number above {before}, got {number}")
                self._check_size(data)
                if self._frames.take():
                    raise Refused(Close.TOO_FAST, f"more than {settings.max_fps:g} frames a second")
                if self._newest is not None:
                    self._kiosk.metrics.dropped.inc()
                self._newest = number, data, time.monotonic()
            elif isinstance(message, protocol.Age):
                pipeline.years = self._reached(message.years)
            elif isinstance(message, protocol.Forget):
                await self._kiosk.delete(message.token)
            elif isinstance(message, protocol.Start):
                raise Refused(Close.BAD_MESSAGE, "start: the session has begun already")
            elif isinstance(message, protocol.Still) and message.attached:
                attached = await self._receive()
                if not isinstance(attached, tuple):
                    raise Refused(Close.BAD_MESSAGE, "still: expected the frame that is attached next")
                self._check_size(attached[1])
                await self._ask(message, attached[1])
            else:
                await self._ask(message)
            if self._newest or self._asked:
                self._something.set()

    def _reached(self, years: float) -> float:
        """The age that the model reaches; visitors are not warned of another one, which the page shows."""
        return self._kiosk.transformer.description.used_years(years)

    def _check_size(self, data: bytes) -> None:
        most = self._kiosk.settings.frames.image_bytes
        if len(data) > most:
            raise Refused(Close.TOO_LARGE, f"frame: {len(data)} bytes, at most {most} are taken")

    async def _ask(self, wish: protocol.Wish, data: bytes = b"") -> None:
        """Keep a wish, with the frame that is attached, until it is answered."""
        if self._pictures.take() or len(self._asked) == _WISHES:
            await self._problem("too_often", f"at most a picture every {1 / _PICTURES_PER_S:g} seconds")
        else:
            self._asked.append((wish, data))

    async def _work(self, pipeline: Pipeline) -> None:
        """Answer what was asked, and the newest frame."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._asked:
                await self._answer(pipeline, *self._asked[0])
                del self._asked[0]  # not before: who waits for an answer sends no frame
            if self._newest is not None:
                frame, self._newest = self._newest, None
                await self._change(pipeline, *frame)

    async def _decoded(self, data: bytes) -> Frame:
        try:
            return await self._kiosk.decode_frame(data, self._address)
        except ImageError as error:
            raise Refused(Close.BAD_MESSAGE, str(error)) from error

    async def _change(self, pipeline: Pipeline, number: int, data: bytes, came: float) -> None:
        kiosk, metrics = self._kiosk, self._kiosk.metrics
        began = time.monotonic()
        frame = await self._decoded(data)
        decoded = time.monotonic()
        processed = await kiosk.executor.run(lambda: pipeline(frame, came))
        faces = processed.faces
        changed = time.monotonic()
        jpeg = await kiosk.in_thread(lambda: live_jpeg(processed.image))
        times = pairwise((began, decoded, changed, time.monotonic()))
        for stage, (start, end) in zip(("decode", "turn", "encode"), times, strict=True):
            metrics.seconds.labels(stage).observe(end - start)
        metrics.frames.inc()
        metrics.faces.inc(sum(one.strength > 0 for one in faces))
        self._last = shot = Shot(frame, processed.image, largest_first(faces))
        height, width = frame.shape[:2]
        seen = [
            {"id": one.id, "box": [round(x, 1) for x in one.face.box.tolist()], "strength": round(one.strength, 3)}
            for one in faces
        ]
        head = {"type": "frame", "number": number, "width": width, "height": height, "faces": seen}
        head |= {"full": shot.is_full, "years": pipeline.years}
        await self._socket.send_bytes(protocol.packed(head, jpeg))

    async def _answer(self, pipeline: Pipeline, message: protocol.Wish, data: bytes) -> None:
        if isinstance(message, protocol.Print):
            await self._print(message.token)
            return
        shot, kiosk = self._last, self._kiosk
        if data:
            picture, came = await self._decoded(data), time.monotonic()
            side = max(shot.original.shape) if shot else kiosk.settings.side
            shot = await kiosk.executor.run(lambda: take(kiosk.transformer, pipeline, picture, side, came))
        if shot is None:
            await self._problem("no_frame", "there is no picture yet")
        elif not shot.faces:
            await self._problem("no_face", "there is no face in the picture")
        elif not shot.is_full:
            await self._problem("not_full", "the largest face is turned away, covered, or has just come")
        elif isinstance(message, protocol.Still):
            jpeg = await kiosk.in_thread(lambda: keep_jpeg(self._framed(Image.fromarray(shot.result))))
            await self._socket.send_json({"type": "still", **await self._kept(jpeg, "picture.jpg")})
        elif isinstance(message, protocol.Strip):
            await self._strip(shot.original, shot.faces[0].face)
        else:
            faces = [one.face for one in shot.faces if one.strength >= FULL_STRENGTH]
            image = Image.fromarray(shot.original)
            ends = kiosk.transformer.groups[0].center, kiosk.transformer.groups[-1].center
            gif = await kiosk.clip(kiosk.executor, image, faces, *ends, finished=self._framed)
            await self._socket.send_json({"type": "clip", **await self._kept(gif, "clip.gif")})

    async def _print(self, token: str) -> None:
        kiosk, kept, most = self._kiosk, self._kiosk.snapshots.get(token), self._kiosk.settings.prints_per_visit
        try:
            if kiosk.printer is None or kept is None or kept.kind != "jpg":
                raise PrintError("print_gone", "there is no printer, or no such picture")
            if self._printed >= most:
                raise PrintError("print_visit", f"{most} pictures can be printed in a visit")
            await kiosk.printing.run(partial(kiosk.printer.print, kept.data))
        except PrintError as error:
            kiosk.metrics.prints.labels(error.code).inc()
            kiosk.tell("print", result=error.code)
            await self._problem(error.code, str(error))
        else:
            self._printed += 1
            kiosk.metrics.prints.labels("printed").inc()
            kiosk.tell("print", result="printed")
            await self._socket.send_json({"type": "printed"})

    async def _strip(self, frame: Frame, face: Face) -> None:
        transformer, image = self._kiosk.transformer, Image.fromarray(frame)
        cells = await self._kiosk.executor.run(lambda: contact_sheet.row(transformer, image, face, CELL_SIDE))
        labels, drawn = (
            [plain(texts, "original"), *(group_label(texts, group) for group in transformer.groups)]
            for texts in (self._texts, self._drawn)
        )

        def files() -> tuple[list[bytes], bytes]:
            foot = _LOGO_FOOT if self._kiosk.settings.logo else _FOOT
            strip = contact_sheet.in_two_rows(cells, drawn, CELL_SIDE, plain(self._drawn, "language"), foot)
            return [keep_jpeg(cell) for cell in cells], keep_jpeg(self._finished(strip))

        pictures, whole = await self._kiosk.in_thread(files)
        kept = await self._kept(whole, "years.jpg")
        head = {"type": "strip", "labels": labels, "sizes": [len(one) for one in pictures], **kept}
        await self._socket.send_bytes(protocol.packed(head, *pictures))

    def _framed(self, image: Image.Image) -> Image.Image:
        """Under the house's frame, and finished."""
        return self._finished(framed(image, self._kiosk.settings.frame))

    def _finished(self, image: Image.Image) -> Image.Image:
        """With the house's logo, and the words that say that it was changed."""
        return marked(with_logo(image, self._kiosk.settings.logo), self._drawn)

    async def _kept(self, data: bytes, name: str) -> dict[str, Any]:
        """Keep a picture; what the page is told of it."""
        kiosk = self._kiosk
        token = await kiosk.keep(data, name, self._address, self._language)
        kiosk.metrics.taken.labels(name.partition(".")[0]).inc()
        kiosk.tell("picture", kind=name.partition(".")[0])
        scheme = "https" if self._socket.url.scheme == "wss" else "http"
        address, reachable = kiosk.address(f"/taken/{token}", scheme, self._socket.headers.get("host", ""))
        seconds = kiosk.settings.still_seconds
        return {"token": token, "seconds": seconds, "address": address, "reachable": reachable}

    async def _problem(self, code: str, message: str) -> None:
        await self._socket.send_json({"type": "problem", "code": code, "message": message})
