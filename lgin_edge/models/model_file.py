"""What a model file says of itself, whatever its kind."""

from __future__ import annotations

from pathlib import Path

from ..limits import LIMITS, Limits
from . import engine_file, onnx_file
from .description import AgeDescription, Description, parse


def read_description(path: Path, limits: Limits = LIMITS) -> Description | AgeDescription:
    """What a model file says of itself, whatever its kind; nothing of it is loaded, and an engine needs no GPU for that.

    Raises ModelError: as ``onnx_file.read`` and ``engine_file.read``, or no model of lgin-edge.
    """
    if engine_file.is_engine(path):
        return engine_file.read(path, limits=limits)[1]
    file = onnx_file.read(path, limits=limits)
    about = onnx_file.read_description(file, parse, limits)
    onnx_file.check_interface(file, about.inputs, about.outputs)
    return about
