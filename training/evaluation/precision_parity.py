"""Does a model file do what its network does, and what would fp16 cost? Compared on real faces."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from lgin_edge.faces import Face, FaceBatch
from lgin_edge.inference.loader import open_model
from lgin_edge.kernels import FacePlan, region_crop
from lgin_edge.reference import psnr

from .. import export
from .summary import Json, number

if TYPE_CHECKING:
    from ..dataset.labels import Photo

#: Faces that are compared, spread over those that are given.
_FACES = 8


def compare(model: Path, rows: Sequence[Photo], run: Path | None = None) -> list[Json]:
    """How far other precisions of a model are from its ONNX file in ONNX Runtime on real faces.

    Always: the same file with weights rounded to fp16. With the folder of its run (``training.export.load``): PyTorch in
    fp32 and, where this CPU's PyTorch can, in fp16 throughout. PSNR of T with peak 2 (pictures are in [-1, 1]); the largest
    difference in levels of a byte.
    """
    backend = open_model(model, providers=("CPUExecutionProvider",), threads=1)
    about = backend.description
    code = np.eye(len(about.groups), dtype=np.float32)
    inputs = []
    for row in rows[:: max(1, len(rows) // _FACES)][:_FACES]:
        frame, faces = row.frame(), FaceBatch.of([Face(row.landmarks)])
        face, patches = region_crop(FacePlan.of(frame, faces, about.views), frame)
        inputs.append((face, patches, faces.boxes.astype(np.float32), code))
    expected = [backend.run(*one) for one in inputs]
    backend.close()

    def against(name: str, run_one: Callable[..., Sequence[Any]]) -> Json:
        different = [
            np.concatenate([np.ravel(np.asarray(have, np.float64) - want) for have, want in zip(out, ref, strict=True)])
            for out, ref in zip((run_one(*one) for one in inputs), expected, strict=True)
        ]
        joined = np.concatenate(different)
        decibels = psnr(np.zeros(1), joined, 2.0)
        return {
            "name": name,
            "faces": len(inputs),
            "psnr": round(decibels, 1) if decibels < np.inf else None,
            "max_levels": number(127.5 * np.abs(joined).max(), 4),
        }

    results = []
    with tempfile.TemporaryDirectory() as scratch:
        proto = onnx.load(str(model))
        for tensor in proto.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT:
                value = numpy_helper.to_array(tensor)
                tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16).astype(np.float32), tensor.name))
        rounded = Path(scratch) / "rounded.onnx"
        onnx.save(proto, str(rounded))
        half = open_model(rounded, providers=("CPUExecutionProvider",), threads=1)
        results.append(against("ONNX, weights rounded to fp16", half.run))
        half.close()
    if run is None:
        return results
    net = export.Exported(export.load(run)).eval()
    for name, dtype in (("PyTorch fp32", torch.float32), ("PyTorch fp16", torch.float16)):
        net = net.to(dtype)

        def run_torch(*arrays: Any, net: nn.Module = net, dtype: torch.dtype = dtype) -> Sequence[Any]:
            *views, ages = (torch.from_numpy(np.asarray(one)).to(dtype) for one in arrays)
            with torch.no_grad():
                outputs = net(*views, ages[None])  # one face, all its ages
            return [out.float().numpy().reshape(like.shape) for out, like in zip(outputs, expected[0], strict=True)]

        try:
            results.append(against(name, run_torch))
        except RuntimeError as error:  # an operator without a half-precision kernel on the CPU
            results.append({"name": name, "faces": 0, "error": str(error).splitlines()[0]})
    return results
