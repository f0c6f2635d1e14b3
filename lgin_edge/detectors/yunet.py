"""YuNet, a detector that OpenCV runs, from a file of the user's."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .._process import native_call
from ..errors import BackendError, ModelError, not_copied
from ..faces import Face, face_or_none
from ..files import is_file
from ..frames import Color, Frame, PixelFormat
from ..kernels import resample
from ..models import onnx_file

#: Loads a file and runs it on grain in the extremes of size, every place a face: some damaged files live until the one or the other.
_TRIAL = """
import sys, cv2, numpy
net = cv2.FaceDetectorYN.create(sys.argv[1], "", (320, 320), 0.001, 0.3, 5000)
grain = numpy.random.default_rng(0).integers(0, 256, (640, 640, 3), numpy.uint8)
for width, height in ((320, 320), (1, 1), (640, 640), (1, 640), (640, 1), (320, 200), (1, 1)):
    net.setInputSize((width, height))
    net.detect(grain[:height, :width].copy())
"""
_TRIAL_SECONDS = 60


class YuNet:
    """YuNet through OpenCV, from a file of yours (``face_detection_yunet_2023mar.onnx`` of the OpenCV model zoo, MIT).

    Args:
        path: the file.
        max_side: longer side of the picture that is searched, pixels.
        threshold: least confidence of a face, in (0, 1).

    The file is read once and checked as every model is; OpenCV gets bytes that are written anew from what was read. They are tried in a
    process of its own first: OpenCV's reader dies of some damaged files.

    Raises:
        ModelError: the file is missing, damaged, no ONNX file that is run, or OpenCV cannot read it.
        BackendError: OpenCV is not there, or has no FaceDetectorYN.
    """

    def __init__(self, path: str | PathLike[str], *, max_side: int = 640, threshold: float = 0.7) -> None:
        if not is_file(Path(path)):
            raise ModelError(
                f"{path}: no such file; YuNet is not bundled: fetch face_detection_yunet_2023mar.onnx from the OpenCV "
                "model zoo, or use the bundled CenterFace()"
            )
        try:
            import cv2
        except ImportError as error:
            raise BackendError(f"YuNet needs OpenCV ({error}): pip install opencv-python-headless") from error
        if not hasattr(cv2, "FaceDetectorYN"):
            raise BackendError(
                f"YuNet needs an OpenCV with FaceDetectorYN, and {cv2.__version__} has none: pip install -U "
                "opencv-python-headless"
            )
        with _tried(Path(path)) as copy:
            try:
                self._net: Any = cv2.FaceDetectorYN.create(str(copy), "", (320, 320), threshold, 0.3, 5000)
            except cv2.error as error:
                raise ModelError(f"{path}: OpenCV cannot read it as a YuNet: {error}") from error
        self._error: type[Exception] = cv2.error
        self._max_side = max_side
        self._lock = threading.Lock()  # cv2's detector keeps the input's size and its buffers between calls

    def __reduce_ex__(self, protocol: object) -> Any:
        raise not_copied("a YuNet")

    def __call__(self, frame: Frame, color: Color = "rgb") -> list[Face]:
        """Faces of a frame, the largest first; as ``CenterFace``."""
        pixel_format = PixelFormat.parse(color)
        pixel_format.check("frame", frame)
        height, width = pixel_format.size(frame)
        scale = min(1.0, self._max_side / max(height, width))
        view_h, view_w = max(1, round(height * scale)), max(1, round(width * scale))
        view = resample(frame, [[width, 0, 0], [0, height, 0]], view_h, view_w, pixel_format=pixel_format)
        image = np.rint((view[::-1].transpose(1, 2, 0) + 1.0) * 127.5).astype(np.uint8)
        with self._lock, native_call():
            try:
                self._net.setInputSize((view_w, view_h))
                _, rows = self._net.detect(np.ascontiguousarray(image))
            except self._error as error:
                raise BackendError(f"OpenCV failed on a frame of {view_w} x {view_h} pixels: {error}") from error
        faces = []
        for row in np.asarray(rows if rows is not None else np.empty((0, 15)), np.float64):
            # x, y, width, height; then the landmarks, which YuNet names as the person does: its right eye is seen left.
            ratio = np.array([width / view_w, height / view_h])
            corner, extent, landmarks = row[:2] * ratio, row[2:4] * ratio, row[4:14].reshape(5, 2) * ratio
            face = face_or_none(landmarks, float(row[14]), np.concatenate([corner, corner + extent]))
            if face is not None:
                faces.append(face)
        return sorted(faces, key=lambda face: face.size, reverse=True)


@contextmanager
def _tried(path: Path) -> Iterator[Path]:
    """A copy, for OpenCV, of what was read of a file. Raises ModelError for one that OpenCV could not live with."""
    file = onnx_file.read(path)
    if file.external:
        raise ModelError(f"{path}: keeps weights in other files, as no YuNet does")
    with TemporaryDirectory(prefix="lgin-edge-") as folder:
        copy = Path(folder) / "yunet.onnx"
        copy.write_bytes(file.data)
        trial = [sys.executable, "-c", _TRIAL, str(copy)]
        try:
            done = subprocess.run(trial, capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise ModelError(f"{path}: OpenCV takes more than {_TRIAL_SECONDS} s for it: no YuNet") from None
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or [f"its process ended with {done.returncode}"]
            raise ModelError(f"{path}: OpenCV cannot read it as a YuNet: {reason[0]}")
        yield copy
