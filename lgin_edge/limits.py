"""The most that is taken of what comes from outside: pictures, model files, messages. ``docs/security.md`` has the table."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from .errors import InputError, shown


@dataclass(frozen=True)
class Limits:
    """What is larger is refused (of too many faces the largest are taken), before it costs memory or time.

    Raises InputError: a limit is not a whole number from 1 on.
    """

    image_bytes: int = 512_000_000  #: Of an image file.
    #: Of a picture, width times height. Above 178 million Pillow has a limit of its own.
    image_pixels: int = 178_000_000
    faces: int = 256  #: Found in one picture.
    #: Faces times ages that go through the model in one call on the CPU; one face at all its ages always does. On a GPU: what
    #: the engine was built for (``lgin-edge build --max-batch``).
    batch: int = 4
    model_bytes: int = 256_000_000  #: Of a model file, with the data that it keeps in other files.
    json_bytes: int = 65_536  #: Of a model's description; in a kiosk, of a message from the page.
    json_depth: int = 16  #: Likewise.

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{one.name}: expected a whole number from 1 on, got {shown(value)}")

    def check_json(self, text: str) -> None:
        """Raises ValueError if a JSON text is too long or nested too deeply to be parsed."""
        if len(text) > self.json_bytes:
            raise ValueError(f"{len(text)} characters of JSON; at most {self.json_bytes} are read")
        depth = 0
        for token in _TOKENS.finditer(text):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
            if depth > self.json_depth:
                raise ValueError(f"JSON nested more than {self.json_depth} levels deep")


#: Brackets, and strings, in which brackets are none. A string without an end goes to the text's end: time stays linear.
_TOKENS = re.compile(r'[\[{\]}]|"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
#: The default limits.
LIMITS = Limits()
