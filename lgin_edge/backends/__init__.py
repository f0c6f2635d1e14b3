"""Running a model file: which back end runs which kind of file, and what every back end offers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .._ops import Floats
from ..description import Description, kind_of
from ..errors import ModelError


class Backend(Protocol):
    """A loaded model. ``run`` may be called by several threads at once."""

    @property
    def description(self) -> Description: ...

    def run(
        self,
        face: Floats,  # [N, 3, S, S], planar RGB in [-1, 1]
        patches: Floats,  # [N, 5, 3, P, P]
        boxes: Floats,  # [N, 5, 4]
        age: Floats,  # [M, K]; M = N G, rows i G .. (i + 1) G - 1 are the G ages of face i
    ) -> tuple[Floats, Floats]:  # face_delta [M, 3, S, S], patch_delta [M, 5, 3, P, P]
        ...

    def close(self) -> None: ...


def open_model(path: Path, *, providers: Sequence[str], threads: int) -> Backend:
    """Load a model file with the back end that its kind needs.

    Raises:
        ModelError: the file is missing, damaged, or no model of lgin-edge.
        BackendError: the run time or the provider is not there.
    """
    refuse_engine(path)
    from .onnx import OnnxBackend  # onnxruntime takes longer to import than all of lgin-edge

    return OnnxBackend(path, providers=providers, threads=threads)


def refuse_engine(path: Path) -> None:
    """Raises ModelError for a TensorRT engine, by its name."""
    if path.suffix in (".plan", ".engine", ".trt"):
        raise ModelError(f"{path}: TensorRT engines come in a later version of lgin-edge; give the .onnx file instead")


def model_kind(path: Path) -> str:
    """What kind of model a file holds, one of ``description.KINDS``. Raises as ``open_model``."""
    refuse_engine(path)
    from .onnx import open_session, read_description

    return read_description(path, open_session(path), kind_of)
