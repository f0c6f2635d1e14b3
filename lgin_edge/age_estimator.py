"""Estimating ages: the small model that is the age classifier C of the training, and what it says of a face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import ClosedError, ModelError
from .faces import Face
from .files import is_file
from .frames import Floats, Frame, PixelFormat
from .inference.interfaces import Stage
from .kernels import resample
from .limits import LIMITS, Limits
from .models import onnx_file
from .models.description import AgeDescription, check_template
from .models.engine_file import is_engine

if TYPE_CHECKING:
    from .inference.onnxruntime import Session

#: The age model that comes with the package.
WEIGHTS = Path(__file__).parent / "weights" / "age.onnx"


@dataclass(frozen=True)
class AgeEstimate:
    """The age that one face seems to have."""

    #: Expected age, the mean of the groups' centres weighted by their probabilities. It never leaves the first and the last
    #: centre (20 and 80 in the bundled model), and where the model is in doubt it leans to the middle.
    years: float
    group: int  #: Index of the likeliest group; ``years`` may lie in a neighbour of it.
    label: str  #: That group in words.
    probability: tuple[float, ...]  #: Of each of the K groups, by rising age; they sum to 1.


class AgeModel:
    """An age model in an ONNX file (``training.export --classifier`` writes it). ``run`` may be called by several threads at once.

    Raises:
        ModelError: missing, damaged, not an age model, or its inputs and outputs contradict its description.
        BackendError: a provider is not there.
    """

    def __init__(
        self,
        path: Path = WEIGHTS,
        *,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int = 1,
        limits: Limits = LIMITS,
    ) -> None:
        if is_engine(path):
            raise ModelError(f"{path}: an engine; estimating ages needs an .onnx age model")
        if not is_file(path):
            raise ModelError(
                f"{path}: no such age model, and estimating ages needs one. The package comes with {WEIGHTS}: install it "
                "again if that file is missing, or give your own as Transformer(age_model=FILE) (python -m training.export "
                "RUN --classifier FILE writes it)"
            )
        from .inference.onnxruntime import open_session
        from .models.onnx_file import check_interface, read_description

        file = onnx_file.read(path, limits=limits)
        self.description = about = read_description(file, AgeDescription.from_json, limits)
        check_template(path, about)
        self._dtype = check_interface(file, about.inputs, about.outputs)["face"]
        self._batch, self._threads = limits.batch, threads
        self._session: Session | None = open_session(file, providers=providers, threads=threads)

    def run(
        self,
        face: Floats,  # [N, 3, S, S], planar RGB in [-1, 1], S = description.face_size
    ) -> list[AgeEstimate]:
        """Estimates of N faces.

        Raises:
            BackendError: ONNX Runtime failed.
            ModelError: the model gave something else than probabilities.
            ClosedError: after ``close``.
        """
        session = self._session  # held here, so that a close() in another thread waits for this call's end
        if session is None:
            raise ClosedError("this age model was closed")
        feed = {"face": np.ascontiguousarray(face, self._dtype)}
        (given,) = session.run(f"{len(face)} faces", ["probability"], feed)
        groups = self.description.groups
        p = np.asarray(given, np.float64)
        if p.shape != (len(face), len(groups)) or not ((p >= 0) & (np.abs(p.sum(1, keepdims=True) - 1) < 0.01)).all():
            raise ModelError(
                f"{self.description.model}: expected {len(groups)} probabilities for each of {len(face)} faces, got shape "
                f"{p.shape} with values that are no such thing; export it again"
            )
        p = p / p.sum(1, keepdims=True)
        centers = np.array([group.center for group in groups])
        return [
            AgeEstimate(float(one @ centers), int(one.argmax()), groups[int(one.argmax())].label, tuple(one.tolist()))
            for one in p
        ]

    def estimate(self, frame: Frame, order: PixelFormat, faces: Sequence[Face], stage: Stage) -> list[AgeEstimate]:
        """Estimates of the faces of a frame. Raises: as ``run``."""
        side = self.description.face_size
        estimates: list[AgeEstimate] = []
        for start in range(0, len(faces), self._batch):
            part = faces[start : start + self._batch]
            with stage("crop"):
                views = np.empty((len(part), 3, side, side), np.float32)
                for view, face in zip(views, part, strict=True):
                    view[:] = resample(frame, face.affine, side, side, pixel_format=order, threads=self._threads)
            with stage("model"):
                estimates += self.run(views)
        return estimates

    def close(self) -> None:
        """Free the session's memory, once no call is running."""
        self._session = None
