"""Running a model file: which back end runs which kind of file, and what every back end offers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..description import AgeDescription, Description, kind_of
from ..errors import ModelError
from ..frames import Floats
from ..limits import LIMITS, Limits
from . import onnx_file, plan


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


def open_model(
    path: Path, *, providers: Sequence[str], threads: int, sha256: str | None = None, limits: Limits = LIMITS
) -> Backend:
    """Load an ONNX model for arrays on the host.

    Raises:
        ModelError: the file is missing, damaged, has another SHA-256, an engine, or no model of lgin-edge.
        BackendError: the run time or the provider is not there.
    """
    if plan.is_engine(path):
        raise ModelError(
            f"{path}: an engine runs on a GPU alone: Transformer({str(path)!r}); here the .onnx file is needed"
        )
    from .onnx import OnnxBackend  # onnxruntime takes longer to import than all of lgin-edge

    return OnnxBackend(path, providers=providers, threads=threads, sha256=sha256, limits=limits)


def read_description(path: Path, limits: Limits = LIMITS) -> Description | AgeDescription:
    """What a model file says of itself, whatever its kind; nothing of it is loaded, and an engine needs no GPU for that.

    Raises:
        ModelError: as ``onnx_file.read`` and ``plan.read``, or no model of lgin-edge.
    """
    if plan.is_engine(path):
        return plan.read(path, limits=limits)[1]
    from . import onnx

    file = onnx_file.read(path, limits=limits)
    kind = onnx.read_description(file, kind_of, limits)
    about: Description | AgeDescription
    if kind == "age":
        about = onnx.read_description(file, AgeDescription.from_json, limits)
    else:
        about = onnx.read_description(file, Description.from_json, limits)
    onnx.check_interface(file, about.inputs, about.outputs)
    return about
