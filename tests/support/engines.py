"""Engine files that no TensorRT has seen."""

from __future__ import annotations

import models

from lgin_edge.models.description import EngineFacts

FACTS = EngineFacts("tensorrt-rtx", "1.7.1.116", (), 4)
ABOUT = models.describe(precision="fp16", onnx_sha256="0" * 64, engine=FACTS)


def bytes_of(magic: bytes = b"vtrt") -> bytes:
    """What an engine looks like from outside."""
    return magic + b"\0\xff\x80" * 50 + bytes(range(256))
