"""The frame path on an NVIDIA GPU: crop, engine and paste on one stream, replayed as one CUDA graph."""

from __future__ import annotations

from pathlib import Path

from .. import kernels
from ..backends.plan import is_engine
from ..errors import BackendError
from ..limits import LIMITS, Limits
from .cuda import Cuda, Freed, Stream, parse_device
from .frame_path import Engine, GpuFramePath


def open_path(model: Path, device: int | str, sha256: str | None = None, limits: Limits = LIMITS) -> GpuFramePath:
    """Load a model for frames on a GPU: an engine, or an ``.onnx`` file by ONNX Runtime's CUDA provider.

    Args:
        device: the GPU's number, "cuda" or "cuda:1".
        sha256: that the file must have; of an engine that of the file beside it when not given.
        limits: of the file and its description.

    Raises:
        InputError: no such device can be.
        ModelError: the file is missing, damaged, foreign, or was built for another version or GPU.
        BackendError: no GPU, this build has no CUDA kernels, or a run time is not there.
    """
    number = parse_device(device)
    assert number is not None  # "cpu" goes another way (frame_path.open_path)
    if is_engine(model):
        from ..backends import plan

        plan.read(model, sha256, limits)  # a wrong file is named before a missing GPU
    if not kernels.cuda_built():
        raise BackendError(
            "this build of lgin-edge has CPU kernels only, and a GPU needs the CUDA ones: install the CUDA toolkit and rebuild "
            "with LGIN_CUDA=ON pip install --force-reinstall --no-deps --no-binary lgin-edge lgin-edge (in a checkout: "
            'LGIN_CUDA=ON pip install .); or run an .onnx model with device="cpu"'
        )
    cuda = Cuda(number)
    with Freed() as owned:
        stream: Stream = owned.own(Stream(cuda))
        engine: Engine
        if is_engine(model):
            from ..backends.tensorrt import TensorRTEngine

            engine = TensorRTEngine(model, cuda, stream.handle, sha256, limits)
        else:
            from ..backends.onnx_gpu import OnnxGpuEngine

            engine = OnnxGpuEngine(model, number, stream.handle, sha256=sha256, limits=limits)
        return GpuFramePath(cuda, stream, engine)
