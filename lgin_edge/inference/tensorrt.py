"""Engines of TensorRT and TensorRT-RTX on a GPU: what ``interfaces.Engine`` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError, ModelError
from ..limits import LIMITS, Limits
from ..models import engine_file
from ..models.description import EngineFacts
from ..models.tensorrt_variants import RTX_OLDEST, VARIANTS, Log, Variant
from .cuda import Cuda, DeviceMemory


class TensorRTEngine:
    """An engine file, loaded.

    The hash, the description, the variant, its version and the GPU are checked before TensorRT sees a byte.

    Args:
        stream: that all calls will run on.
        sha256: the hash that the file must have; that of the file beside it when not given.

    Raises:
        ModelError: the file is missing, damaged, foreign, or was built for another version or GPU.
        BackendError: its variant is not installed, or CUDA failed.
    """

    def __init__(self, path: Path, cuda: Cuda, stream: int, sha256: str | None = None, limits: Limits = LIMITS) -> None:
        data, self.description = engine_file.read(path, sha256, limits)
        facts = self.description.engine
        assert facts is not None  # engine_file.read saw to it
        variant = check_variant(path, data, facts)
        check_gpu(path, facts, variant, cuda.capability)
        trt = variant.load()
        self._log = Log()
        self._logger = self._log.attach(trt)
        self._path, self.max_faces = path, facts.max_faces
        self._runtime: Any = trt.Runtime(self._logger)
        self._engine: Any = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise ModelError(
                f"{path}: {variant.name} cannot load it: {self._log.last('it does not say why')}; {engine_file.rebuild(path)}"
            )
        self.dtypes = self._interface(trt)
        self._context: Any = self._engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if self._context is None:
            raise BackendError(f"{path}: {variant.name} made no context: {self._log.last('out of memory?')}")
        size = int(getattr(self._engine, "device_memory_size_v2", None) or self._engine.device_memory_size)
        self._memory = DeviceMemory(cuda, max(size, 1))
        self._context.set_device_memory(self._memory.address, size)
        can = getattr(self._context, "is_stream_capturable", None)  # TensorRT-RTX; TensorRT always can
        self.capturable = bool(can(stream)) if can is not None else True

    def enqueue(self, addresses: Mapping[str, int], faces: int, ages: int, stream: int) -> None:
        """Queue one call. Raises BackendError."""
        context = self._context
        for name in self.description.inputs:
            if not context.set_input_shape(name, self.description.shape(name, faces, ages)):
                raise self._failed(f"does not take {faces} faces at {ages} ages")
        for name in self.dtypes:
            context.set_tensor_address(name, addresses[name])
        if not context.execute_async_v3(stream):
            raise self._failed(f"failed on {faces} faces at {ages} ages")

    def close(self) -> None:
        """Free the engine: its context first, as TensorRT asks."""
        self._context = self._engine = self._runtime = None
        self._memory.close()

    def _failed(self, what: str) -> BackendError:
        return BackendError(f"{self._path}: the engine {what}: {self._log.last('TensorRT does not say why')}")

    def _interface(self, trt: Any) -> dict[str, np.dtype[Any]]:
        """The dtype of every tensor by name, once names and shapes are what the description says. Raises ModelError."""
        outputs, engine = self.description.outputs, self._engine
        expected = self.description.inputs | outputs
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        shapes = {name: tuple(engine.get_tensor_shape(name))[1:] for name in names}
        if shapes != expected:
            raise ModelError(
                f"{self._path}: its tensors are {shapes}, and its description asks for {expected}; {engine_file.rebuild(self._path)}"
            )
        dtypes = {name: np.dtype(trt.nptype(engine.get_tensor_dtype(name))) for name in names}
        if len({dtypes[name] for name in ("face", "patches", *outputs)}) != 1:
            raise ModelError(
                f"{self._path}: faces and residuals have different types, {dtypes}; {engine_file.rebuild(self._path)}"
            )
        return dtypes


def check_variant(path: Path, data: bytes, facts: EngineFacts) -> Variant:
    """The variant that an engine needs, installed in the version that built it.

    Raises:
        ModelError: an unknown variant, bytes of the other variant, or another version.
        BackendError: not installed.
    """
    variant = VARIANTS.get(facts.variant)
    if variant is None:
        raise ModelError(f"{path}: an engine of variant {facts.variant!r}; this version knows {', '.join(VARIANTS)}")
    if data[:4] != variant.magic:
        raise ModelError(
            f"{path}: its description says {variant.name}, its first bytes do not; {engine_file.rebuild(path)}"
        )
    installed = variant.version()
    if installed != facts.version:
        raise ModelError(
            f"{path}: built by {variant.name} {facts.version}, and {installed} is installed; engines run on the version that "
            f"built them: {engine_file.rebuild(path, f' --runtime {variant.name}')}"
        )
    return variant


def check_gpu(path: Path, facts: EngineFacts, variant: Variant, capability: int) -> None:
    """Raises ModelError if an engine was built for other GPUs than one of compute capability ``capability``."""
    here = f"sm{capability}"
    if facts.targets and here not in facts.targets:
        options = f" --runtime {variant.name}" + (f" --target {here}" if variant.cross else "")
        raise ModelError(
            f"{path}: built for {', '.join(facts.targets)}, and this GPU is {here}; {engine_file.rebuild(path, options)}"
        )
    if not facts.targets and capability < RTX_OLDEST:
        raise ModelError(
            f"{path}: built for GPUs from sm{RTX_OLDEST} on, and this one is {here}; "
            f"{engine_file.rebuild(path, f' --runtime {variant.name} --target {here}')}"
        )
