"""What goes over the WebSocket ``/live``.

From the page, JSON texts:

- ``{"type": "start", "consent": true, "years": 60}``: the first message. Without consent nothing is looked at. ``"language": "de"``
  is that of words in pictures.
- ``{"type": "age", "years": 62}``: the age from now on; the picture follows within a second.
- ``{"type": "still"}``: keep the last picture. With ``"attached": true`` the next message is a frame, of more pixels perhaps, that is
  changed and kept instead; it is not answered otherwise, and its number does not count.
- ``{"type": "strip"}``: the largest face of the last frame at every age.
- ``{"type": "clip"}``: the last frame through the ages and back, as a moving picture.
- ``{"type": "print", "token": "..."}``: print what was kept, a picture or a strip.
- ``{"type": "forget", "token": "..."}``: drop what was kept, now.

and frames, binary: a number (uint32, big-endian, rising), then a JPEG or WebP file. At most ``window`` frames may be on their
way: an answer to frame n answers all before it, too. A frame that waits is replaced by a newer one.

To the page, JSON texts ``{"type": "started"}``, ``{"type": "still", "token", "seconds", "address", "reachable"}``, the same
of type "clip", ``{"type": "printed"}``, and ``{"type": "problem", "code", "message"}`` (what was asked for could not be done; ``code`` is
"no_face", "no_frame", "not_full", where the largest face has not all of its change, "too_often", or of a print "print_gone",
"print_visit", "print_hour", "print_failed"); and binary messages: the length of a JSON head (uint32, big-endian), the head, then JPEG files one after the
other:

- ``{"type": "frame", "number", "width", "height", "faces": [{"id", "box": [x0, y0, x1, y1], "strength"}], "full",
  "years"}``: the changed frame. Boxes are in its pixels; ``strength`` is how much of the change a face got, 0 to 1; ``full`` says
  whether the largest has all of it, so that a picture can be taken; ``years`` is the age that is used, of those that the model
  reaches.
- ``{"type": "strip", "labels": [...], "sizes": [...], "token", "seconds", "address", "reachable"}``: square pictures, the
  original first, ``sizes`` bytes long each; ``token`` is the whole strip, kept like a still.

What was taken is at ``/stills/TOKEN.jpg`` or ``.gif``; ``address`` is that of its page for the visitor's phone, ``/taken/TOKEN``.

The server closes with one of ``Close``; 1012 means that it restarts, 1009 that a message was too long for it to look at.
"""

from __future__ import annotations

import enum
import json
import struct
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..limits import Limits


class Close(enum.IntEnum):
    """Why the server ends a session."""

    FAILED = 1011
    BAD_MESSAGE = 4400
    NO_CONSENT = 4401
    QUIET = 4408
    TOO_LARGE = 4413
    TOO_FAST = 4429
    FULL = 4503
    ADDRESS_FULL = 4504


class Refused(Exception):
    """A message that ends the session. Of the reason what a WebSocket can carry, 123 bytes, is sent."""

    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason.encode(errors="replace")[:123].decode(errors="ignore")


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Token = Annotated[str, Field(max_length=64)]
Years = Annotated[float, Field(ge=0, le=130, allow_inf_nan=False, strict=False)]


class Start(_Message):
    type: Literal["start"]
    consent: bool
    years: Years
    language: Annotated[str, Field(max_length=35)] = ""


class Age(_Message):
    type: Literal["age"]
    years: Years


class Still(_Message):
    type: Literal["still"]
    attached: bool = False


class Strip(_Message):
    type: Literal["strip"]


class Clip(_Message):
    type: Literal["clip"]


class Print(_Message):
    type: Literal["print"]
    token: Token


class Forget(_Message):
    type: Literal["forget"]
    token: Token


Wish: TypeAlias = Still | Strip | Clip | Print
Command: TypeAlias = Start | Age | Wish | Forget
_COMMANDS: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="type")])


def command(text: str, limits: Limits) -> Command:
    """A text of the page. Raises Refused."""
    try:
        limits.check_json(text)
    except ValueError as error:
        raise Refused(Close.BAD_MESSAGE, f"message: {error}") from error
    try:
        return _COMMANDS.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refused(Close.BAD_MESSAGE, f"message: {where + ': ' if where else ''}{first['msg']}") from error


def frame(data: bytes) -> tuple[int, bytes]:
    """Number and file of a frame of the page. Raises Refused."""
    if len(data) <= 4:
        raise Refused(
            Close.BAD_MESSAGE, f"frame: expected a number in 4 bytes and a JPEG or WebP, got {len(data)} bytes"
        )
    return struct.unpack(">I", data[:4])[0], data[4:]


def packed(head: dict[str, Any], *files: bytes) -> bytes:
    """A binary message to the page."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join((struct.pack(">I", len(text)), text, *files))
