"""OpenCV, imported when a stream starts: ``import lgin_edge`` stays free of it. The only place in ``stream`` that names it."""

from __future__ import annotations

from typing import Any

from ..errors import BackendError


def opencv() -> Any:
    """The module ``cv2``. Raises BackendError if it is not installed or was built without what streams need."""
    try:
        import cv2
    except ImportError as error:
        raise BackendError(f"streams need OpenCV ({error}): pip install opencv-python-headless") from error
    module: Any = cv2
    for name in ("calcOpticalFlowPyrLK", "estimateAffinePartial2D", "VideoCapture"):
        if not hasattr(module, name):
            raise BackendError(
                f"streams need OpenCV's {name}, and {module.__version__} was built without it: pip install -U "
                "opencv-python-headless"
            )
    return module
