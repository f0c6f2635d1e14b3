"""Engines of TensorRT and TensorRT-RTX on a GPU: what ``interfaces.Engine`` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError, ModelError
from ..files import is_file, read_bytes, write_files
from ..limits import LIMITS, Limits
from ..models import engine_file
from ..models.description import EngineFacts
from ..models.tensorrt_variants import RTX_OLDEST, RTX_TARGETS, VARIANTS, Log, Variant
from .cuda import Cuda, DeviceMemory


class TensorRTEngine:
    """An engine file, loaded.

    The hash, the description, the variant, its version and the GPU are checked before TensorRT sees a byte. Args: as for
    ``engine_file.read``.

    Attributes:
        cache: where TensorRT-RTX keeps the kernels that it compiled for this GPU, from one start to the next; None for another
            variant, and where ``sha256`` is given: the cache is code as well, and no hash vouches for it.

    Raises:
        ModelError: the file is missing, damaged, foreign, or was built for another version or GPU.
        BackendError: its variant is not installed or finds no driver, or CUDA failed.
    """

    capturable = True

    def __init__(self, path: Path, cuda: Cuda, sha256: str | None = None, limits: Limits = LIMITS) -> None:
        data, self.description = engine_file.read(path, sha256, limits)
        facts = self.description.engine
        assert facts is not None  # engine_file.read saw to it
        variant = check_variant(path, data, facts)
        check_gpu(path, facts, variant, cuda.capability)
        trt = variant.load()
        self._log = Log()
        self._logger = self._log.attach(trt)
        self._path, self.max_faces = path, facts.max_faces
        self.max_ages = len(self.description.groups)  # as ``engine.build`` makes the profile
        self._runtime: Any = variant.make("Runtime", self._logger, self._log)
        self._engine: Any = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise ModelError(
                f"{path}: {variant.name} cannot load it: {self._log.last('it does not say why')}; {engine_file.rebuild(path)}"
            )
        self.dtypes = self._interface(trt)
        size = getattr(self._engine, "device_memory_size_v2", None)
        self._size = int(self._engine.device_memory_size if size is None else size)
        self.cache = path.with_name(f"{path.name}.cache") if variant.cross and sha256 is None else None
        self._compiled: Any = None  # the cache's contents
        self._how = self._configuration(trt, variant, limits)
        self._memory = DeviceMemory(cuda, max(self._size, 1))  # of all contexts: their calls come one after another

    def bind(self, addresses: Mapping[str, int], faces: int, ages: int) -> TensorRTCall:
        """A call with a context of its own, as TensorRT asks of what is recorded. Raises BackendError."""
        self.forget_errors()
        context: Any = self._engine.create_execution_context(self._how)
        if context is None:
            raise self.failed("made no context")
        context.set_device_memory(self._memory.address, self._size)
        for name in self.description.inputs:
            if not context.set_input_shape(name, self.description.shape(name, faces, ages)):
                raise self.failed(f"does not take {faces} faces at {ages} ages")
        for name in self.dtypes:
            if not context.set_tensor_address(name, addresses[name]):
                raise self.failed(f"does not take {name} at address {addresses[name]:#x}")
        return TensorRTCall(self, context, f"{faces} faces at {ages} ages")

    def close(self) -> None:
        """Free the engine, and keep what was compiled where the next start finds it."""
        if self._engine is not None and self._compiled is not None and self.cache is not None:
            with suppress(OSError):  # a folder that cannot be written to costs the next start some seconds
                write_files({self.cache: bytes(self._compiled.serialize())})
        self._how = self._compiled = self._engine = self._runtime = None
        self._memory.close()

    def forget_errors(self) -> None:
        """What fails next is not explained by what failed before."""
        self._log.clear()

    def failed(self, what: str) -> BackendError:
        """The error of an engine that did something wrong."""
        return BackendError(f"{self._path}: the engine {what}: {self._log.last('TensorRT does not say why')}")

    def _configuration(self, trt: Any, variant: Variant, limits: Limits) -> Any:
        """What contexts are made with: their memory is ours, and in TensorRT-RTX kernels are compiled for the very shape.

        By default it would begin with slower ones and compile beside; a graph that is recorded meanwhile keeps the slow ones.
        """
        memory = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not variant.cross:
            return memory
        how = self._engine.create_runtime_config()
        how.set_execution_context_allocation_strategy(memory)
        how.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        if self.cache is not None:
            self._compiled = how.create_runtime_cache()
            if is_file(self.cache):
                with suppress(ModelError):
                    self._compiled.deserialize(
                        read_bytes(self.cache, limits)
                    )  # of another GPU or version it takes nothing
            how.set_runtime_cache(self._compiled)
        return how

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


class TensorRTCall:
    """``interfaces.EngineCall``: a context, its shapes and addresses set."""

    def __init__(self, engine: TensorRTEngine, context: Any, what: str) -> None:
        self._engine, self._context, self._what = engine, context, what

    def capturable(self, stream: int) -> bool:
        can = getattr(self._context, "is_stream_capturable", None)  # TensorRT-RTX; TensorRT always can
        return can is None or bool(can(stream))

    def enqueue(self, stream: int) -> None:
        self._engine.forget_errors()
        if not self._context.execute_async_v3(stream):
            raise self._engine.failed(f"failed on {self._what}")

    def close(self) -> None:
        self._context = None


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
    if variant.cross and capability not in RTX_TARGETS:
        known = ", ".join(f"sm{target}" for target in RTX_TARGETS)
        raise ModelError(
            f"{path}: {variant.name} runs on {known}, and this GPU is {here}; build it with --runtime tensorrt, or run the .onnx "
            'file by device="cuda"'
        )
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
