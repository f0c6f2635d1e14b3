"""Reading protobuf within bounds, without its package: enough of it to look at an ONNX file that may come from anybody.

Field numbers and kinds: a key ``number << 3 | kind`` before each field, kind 0 for a variable-length integer, 1 and 5 for 8
and 4 bytes, 2 for bytes with their length before them. (``bench.protobuf`` writes it.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

#: Fields that are looked at in one file; the bundled models have up to 17,000.
MAX_FIELDS = 300_000
#: Field number -> values in their order: numbers, or bytes that were not looked into yet.
Message: TypeAlias = dict[int, list[Any]]


class Reader:
    """Reads messages until they have had ``MAX_FIELDS`` fields in all."""

    def __init__(self) -> None:
        self._left = MAX_FIELDS

    def messages(self, parent: Message, number: int, what: str) -> Iterator[Message]:
        """Each of a repeated field."""
        for value in parent.get(number, []):
            yield self.message(value, what)

    def message(self, data: Any, what: str) -> Message:
        """The fields of a message. Raises ValueError."""
        found: Message = {}
        at = 0
        try:
            if isinstance(data, int):
                raise ValueError("a number")
            while at < len(data):
                self._left -= 1
                if self._left < 0:
                    raise ValueError(f"more than {MAX_FIELDS} fields")
                key, at = varint(data, at)
                number, kind = key >> 3, key & 7
                if kind == 0:
                    value, at = varint(data, at)
                else:
                    size, at = (
                        (8, at) if kind == 1 else (4, at) if kind == 5 else varint(data, at) if kind == 2 else (-1, at)
                    )
                    if size < 0 or size > len(data) - at or not number:
                        raise ValueError(f"field {number} of kind {kind} does not end")
                    value, at = data[at : at + size], at + size
                found.setdefault(number, []).append(value)
        except (ValueError, IndexError) as error:
            raise ValueError(
                f"not an ONNX file: {what} cannot be read ({error}); it is damaged, or something else"
            ) from error
        return found


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number and where the next field begins. Raises ValueError, IndexError."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return value & (1 << 64) - 1, at
        if shift >= 70:
            raise ValueError("a number of more than 10 bytes")


def varints(data: memoryview) -> list[int]:
    """Numbers one after another, such as the sides of a tensor. Raises ValueError."""
    found: list[int] = []
    at = 0
    try:
        while at < len(data) and len(found) <= 64:
            value, at = varint(data, at)
            found.append(value)
    except IndexError:
        raise ValueError("a list of numbers does not end") from None
    if len(found) > 64:
        raise ValueError("a tensor of more than 64 axes")
    return found


def one(message: Message, number: int, what: str) -> Any:
    """The only value of a field: protobuf would merge several, and what was looked at would not be what is run."""
    values = message[number]
    if len(values) != 1 or isinstance(values[0], int):
        raise ValueError(f"damaged: the {what} is there {len(values)} times, or is none; export it again")
    return values[0]


def text(message: Message, number: int) -> str:
    """A text; "" if there is none. The last one counts, as in protobuf."""
    value = message.get(number, [b""])[-1]
    if isinstance(value, int):
        raise ValueError(f"damaged: field {number} should be a text; export it again")
    return str(value, "utf-8", "replace")


def number(message: Message, number: int) -> int:
    """A signed number; 0 if there is none. The last one counts, as in protobuf."""
    value = message.get(number, [0])[-1]
    if not isinstance(value, int):
        raise ValueError(f"damaged: field {number} should be a number; export it again")
    return value - (1 << 64) if value >> 63 else value
