"""lgin-edge: make a face in a picture or a camera frame younger or older, on the device that holds the camera.

>>> import lgin_edge
>>> t = lgin_edge.Transformer()
>>> older = t.age(img, group=3)  # img: [H, W, 3] uint8 RGB, or a Pillow image; the same type comes back
"""

import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime from version 1.32 on tells Microsoft of every session, and keeps a database in ~/.cache, unless this is set before
# it is imported. Nothing leaves this machine that nobody asked for; whoever sets it himself has his way.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from .errors import (
    AgeRangeWarning,
    BackendError,
    ClosedError,
    ImageError,
    InputError,
    LginError,
    ModelError,
    StreamError,
)

if TYPE_CHECKING:
    from .age_estimator import AgeEstimate
    from .detectors.centerface import CenterFace
    from .detectors.yunet import YuNet
    from .faces import Face
    from .limits import Limits
    from .stream import Stream
    from .transformer import Transformer

__all__ = [
    "AgeEstimate",
    "AgeRangeWarning",
    "BackendError",
    "CenterFace",
    "ClosedError",
    "Face",
    "ImageError",
    "InputError",
    "LginError",
    "Limits",
    "ModelError",
    "Stream",
    "StreamError",
    "Transformer",
    "YuNet",
    "__version__",
]

_WHERE = {
    "AgeEstimate": "age_estimator",
    "CenterFace": "detectors.centerface",
    "Face": "faces",
    "Limits": "limits",
    "Stream": "stream",
    "Transformer": "transformer",
    "YuNet": "detectors.yunet",
}


def __getattr__(name: str) -> Any:
    # On first use, so that importing the package (and its errors, its geometry) costs next to nothing.
    from importlib import import_module, metadata

    if name == "__version__":
        try:
            value: Any = metadata.version("lgin-edge")
        except metadata.PackageNotFoundError:
            value = "0+unknown"  # run from a checkout that was not installed
    elif name in _WHERE:
        value = getattr(import_module(f".{_WHERE[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
