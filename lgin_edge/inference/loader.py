"""Loading a model file: which back end runs it, and where."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from .. import kernels
from ..errors import BackendError, InputError, ModelError
from ..limits import LIMITS, Limits
from ..models import engine_file
from ..models.engine_file import is_engine
from .cpu import CpuFramePath
from .interfaces import Backend, Engine

if TYPE_CHECKING:
    from .gpu import GpuFramePath


def open_model(
    path: Path, *, providers: Sequence[str], threads: int, sha256: str | None = None, limits: Limits = LIMITS
) -> Backend:
    """Load an ONNX model for arrays on the host. Raises ModelError for an engine; or as ``OnnxBackend``."""
    if is_engine(path):
        raise ModelError(
            f"{path}: an engine runs on a GPU alone: Transformer({str(path)!r}); here the .onnx file is needed"
        )
    from .onnxruntime import OnnxBackend  # it takes longer to import than all of lgin-edge

    return OnnxBackend(path, providers=providers, threads=threads, sha256=sha256, limits=limits)


def open_path(
    model: Path,
    *,
    device: int | str | None,
    providers: Sequence[str],
    threads: int,
    sha256: str | None,
    limits: Limits = LIMITS,
) -> CpuFramePath | GpuFramePath:
    """Load a model for frames: on the CPU, or as ``open_gpu_path`` where ``device`` (None: for an engine) is a GPU.

    Raises InputError for an engine on the CPU; or as ``open_model`` and ``open_gpu_path``.
    """
    engine = is_engine(model)
    if device is None:
        device = 0 if engine else "cpu"
    if not isinstance(device, str) or device != "cpu":
        return open_gpu_path(model, device, sha256, limits)
    if engine:
        raise InputError(f'device: {model} is an engine and runs on a GPU alone; give the .onnx file for device="cpu"')
    backend = open_model(model, providers=providers, threads=threads, sha256=sha256, limits=limits)
    return CpuFramePath(backend, threads, limits.batch)


def open_gpu_path(model: Path, device: int | str, sha256: str | None = None, limits: Limits = LIMITS) -> GpuFramePath:
    """Load a model for frames on a GPU: an engine, or an ``.onnx`` file by ONNX Runtime's CUDA provider.

    Args:
        device: the GPU's number, "cuda" or "cuda:1".
        sha256: that the file must have; of an engine that of the file beside it when not given.

    Raises:
        InputError: no such device can be.
        ModelError: the file is missing, damaged, foreign, or was built for another version or GPU.
        BackendError: no GPU, this build has no CUDA kernels, or a run time is not there.
    """
    from .cuda import Cuda, Stream, parse_device

    number = parse_device(device)
    assert number is not None  # "cpu" goes another way (open_path)
    if is_engine(model):
        engine_file.read(model, sha256, limits)  # a wrong file is named before a missing GPU
    if not kernels.cuda_built():
        raise BackendError(
            "this build of lgin-edge has CPU kernels only, and a GPU needs the CUDA ones: install the CUDA toolkit and rebuild "
            "with LGIN_CUDA=ON pip install --force-reinstall --no-deps --no-binary lgin-edge lgin-edge (in a checkout: "
            'LGIN_CUDA=ON pip install .); or run an .onnx model with device="cpu"'
        )
    from .gpu import GpuFramePath

    cuda = Cuda(number)
    with cuda.current(), ExitStack() as stack:
        stream = stack.enter_context(closing(Stream(cuda)))
        engine: Engine
        if is_engine(model):
            from .tensorrt import TensorRTEngine

            engine = TensorRTEngine(model, cuda, sha256, limits)
        else:
            from .onnxruntime_gpu import OnnxGpuEngine

            engine = OnnxGpuEngine(model, number, stream.handle, sha256=sha256, limits=limits)
        stack.pop_all()  # the stream is the frame path's from now on
        return GpuFramePath(cuda, stream, engine)
