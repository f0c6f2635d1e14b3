"""Small files that take long to decode."""

from __future__ import annotations

import struct


def progressive_jpeg(width: int, height: int, scans: int) -> bytes:
    """A grey JPEG of many scans, each of a few bytes, that refine nothing: every one visits every block of the picture."""

    def segment(marker: int, data: bytes) -> bytes:
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data

    def table(number: int, symbol: int) -> bytes:  # one code, "0"
        return segment(0xC4, bytes([number, 1]) + bytes(15) + bytes([symbol]))

    blocks = -(-width // 8) * -(-height // 8)
    bits, left = "", blocks
    while left > 0:  # runs of empty blocks: the code of a run of 2^14 and more, and 14 bits of how many more
        run = max(1 << 14, min(left, (1 << 15) - 1))
        bits, left = bits + "0" + format(run - (1 << 14), "014b"), left - run
    bits += "1" * (-len(bits) % 8)
    empty = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    start = segment(0xDB, b"\0" + bytes([1] * 64)) + segment(
        0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    )
    start += table(0x00, 0) + table(0x10, 0xE0)
    dc = segment(0xDA, b"\1\1\0\0\0\1") + bytes(-(-blocks // 8))
    first, refining = (segment(0xDA, b"\1\1\0\1\x3f" + bits) + empty for bits in (b"\1", b"\x10"))
    return b"\xff\xd8" + start + dc + first + refining * scans + b"\xff\xd9"
