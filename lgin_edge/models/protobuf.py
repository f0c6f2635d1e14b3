"""Protobuf, read within bounds by a schema and written anew: enough of it for an ONNX file that may come from anybody.

A parser that differs from protobuf's in the smallest thing can be made to see another file than the one that is run. So
nothing is run that was not written here: ``Reader`` reads the fields that a schema names, ``encode`` writes those fields and
no others, in the one minimal way.

Encoding: a key ``number << 3 | kind`` before each field, kind 0 for a variable-length integer, 1 and 5 for 8 and 4 bytes, 2 for
bytes with their length before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np

#: Fields that are looked at in one file; the bundled models have up to 17,000.
MAX_FIELDS = 300_000
#: Bytes of one text: names of nodes and tensors, and what an attribute says. Notes for people are not read at all.
MAX_TEXT = 4096
#: Keys have 32 bits in protobuf; what is longer is another field to it than it seems.
_KEY_BITS = 32


class Kind(Enum):
    """What a field holds. Several numbers are read as protobuf reads them, one a field or packed, and written packed."""

    INTEGER = "a number"
    INTEGERS = "numbers"
    FLOAT = "4 bytes"
    FLOATS = "numbers of 4 bytes"
    DOUBLES = "numbers of 8 bytes"
    TEXT = "a text"
    TEXTS = "texts"
    BYTES = "bytes"
    MESSAGE = "a message"
    MESSAGES = "messages"
    #: It is noted that the field is there, and it is never written.
    REFUSED = "nothing that is run"


@dataclass(frozen=True)
class Field:
    """A field of a schema."""

    name: str  # in ONNX
    kind: Kind
    schema: Mapping[int, Field] | None = None  # of a message
    max_bytes: int = MAX_TEXT  # of a text
    plain: bool = True  # a text that may reach a terminal, in an error of ONNX Runtime's: it has no control characters


Schema: TypeAlias = Mapping[int, Field]
#: Name -> an int, a text, bytes, a message, or a list of those. A field that is not there has no name here.
Message: TypeAlias = dict[str, Any]

_WIRE = {Kind.INTEGER: 0, Kind.FLOAT: 5, Kind.TEXT: 2, Kind.TEXTS: 2, Kind.BYTES: 2, Kind.MESSAGE: 2, Kind.MESSAGES: 2}
_PACKED_WIRE = {Kind.INTEGERS: 0, Kind.FLOATS: 5, Kind.DOUBLES: 1}
_PACKED_SIZE = {Kind.FLOATS: 4, Kind.DOUBLES: 8}
_REPEATED = (Kind.TEXTS, Kind.MESSAGES)
_BYTES = [bytes([value]) for value in range(0x80)]


class Reader:
    """Reads messages until they have had ``MAX_FIELDS`` fields in all."""

    def __init__(self) -> None:
        self._left = MAX_FIELDS

    def message(self, data: bytes, schema: Schema, what: str) -> Message:
        """The fields of a message that its schema names; others are passed over. Raises ValueError."""
        try:
            return self._fields(data, 0, len(data), schema)
        except (ValueError, IndexError) as error:
            raise ValueError(
                f"not an ONNX file: {what} cannot be read ({error}); it is damaged, or something else"
            ) from error

    def _fields(self, data: bytes, at: int, end: int, schema: Schema) -> Message:
        found: Message = {}
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"more than {MAX_FIELDS} fields")
            key, at = varint(data, at)
            number, wire = key >> 3, key & 7
            if not number or key >> _KEY_BITS:
                raise ValueError(f"a field with the number {number}")
            size = 0
            if wire == 0 or wire == 2:
                size, at = varint(data, at)
            elif wire == 1 or wire == 5:
                size = 8 if wire == 1 else 4
            else:
                raise ValueError(f"field {number} of kind {wire} does not end")
            start, at = at, at if wire == 0 else at + size
            if at > end:
                raise ValueError(f"field {number} of kind {wire} does not end")
            if (field := schema.get(number)) is not None:
                self._take(found, field, wire, size, data, start, at)
        return found

    def _take(self, found: Message, field: Field, wire: int, number: int, data: bytes, start: int, end: int) -> None:
        name, kind = field.name, field.kind
        if kind is Kind.REFUSED:
            found[name] = True
            return
        if kind in _PACKED_WIRE:
            packed = write_varint(number) if wire == 0 else data[start:end]
            found.setdefault(name, bytearray()).extend(_packed(field, wire, packed))
            return
        if wire != _WIRE[kind]:
            raise ValueError(f"{name} should be {kind.value}, and is of kind {wire}")
        value: Any = number
        if kind is Kind.TEXT or kind is Kind.TEXTS:
            value = _text(data[start:end] if end - start <= field.max_bytes else None, end - start, field)
        elif field.schema is not None:
            value = self._fields(data, start, end, field.schema)
        elif wire:
            value = data[start:end]
        if kind is Kind.TEXTS or kind is Kind.MESSAGES:
            found.setdefault(name, []).append(value)
        elif name in found:  # protobuf would merge two messages, and take the last of two values
            raise ValueError(f"{name} is there 2 times")
        else:
            found[name] = value


def _packed(field: Field, wire: int, data: bytes) -> bytes:
    """Numbers as they are packed: one of a field of its own, or many that are packed already. Raises ValueError."""
    kind = field.kind
    if wire == _PACKED_WIRE[kind]:
        return data
    if wire != 2:
        raise ValueError(f"{field.name} should be {kind.value}, and is of kind {wire}")
    if kind is Kind.INTEGERS:
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) < 0x80)
        whole = not data or (len(ends) and ends[-1] == len(data) - 1 and np.diff(ends, prepend=-1).max() <= 10)
    else:
        whole = not len(data) % _PACKED_SIZE[kind]
    if not whole:
        raise ValueError(f"{field.name}: a list of numbers does not end")
    return data


def _text(data: bytes | None, size: int, field: Field) -> str:
    if data is None:
        raise ValueError(f"{field.name} has {size} bytes; at most {field.max_bytes} are read")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{field.name} is no text in UTF-8") from None
    if field.plain and not text.isprintable():
        raise ValueError(f"{field.name} has control characters: {text[:80]!r}")
    return text


def varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
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


def varints(data: bytes | bytearray) -> list[int]:
    """Packed numbers, at most 64 of them, such as the sides of a tensor, signed. Raises ValueError."""
    found: list[int] = []
    at = 0
    while at < len(data):
        if len(found) == 64:
            raise ValueError("a tensor of more than 64 axes")
        value, at = varint(data, at)
        found.append(signed(value))
    return found


def count_varints(data: bytes | bytearray) -> int:
    """How many numbers are packed here."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) < 0x80))


def signed(value: int) -> int:
    """A number of 64 bits as protobuf's int64."""
    return value - (1 << 64) if value >> 63 else value


def write_varint(value: int) -> bytes:
    """A non-negative integer, seven bits a byte, the lowest first."""
    if value < 0x80:
        return _BYTES[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def encode(message: Message, schema: Schema) -> bytes:
    """The bytes of a message: the fields that its schema names and that may be run, each written in the minimal way."""
    parts: list[bytes | bytearray] = []
    for number, field in schema.items():
        value = message.get(field.name)
        if value is None or field.kind is Kind.REFUSED:
            continue
        wire = 2 if field.kind in _PACKED_WIRE else _WIRE[field.kind]
        key = write_varint(number << 3 | wire)
        for one in value if field.kind in _REPEATED else (value,):
            if wire == 0:
                parts += [key, write_varint(one)]
                continue
            data = one.encode() if isinstance(one, str) else encode(one, field.schema) if field.schema else one
            parts += [key, write_varint(len(data)), data] if wire == 2 else [key, data]
    return b"".join(parts)
