"""From an ONNX model to an engine: lower to FP16, build with TensorRT or TensorRT-RTX, and write it with its hash."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from ..errors import BackendError, InputError, ModelError
from ..files import write_files
from ..inference.cuda import Cuda
from ..models import engine_file, onnx_file, tensorrt_variants
from ..models.description import METADATA_KEY, Description, EngineFacts
from ..models.tensorrt_variants import Log, Variant
from . import fusable
from .fp16 import description_of, lower

#: Called as the build goes on: what is being done, how many of its steps are done, and of how many.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Prepared:
    """A model that is ready for TensorRT: ``fusable`` and, if asked for, in FP16; its description says so."""

    model: onnx.ModelProto
    description: Description
    psnr: float | None  # of the edits in FP16 against FP32, dB (``fp16.psnr``); None for FP32


@dataclass(frozen=True)
class Built:
    """An engine that was written."""

    description: Description
    sha256: str
    size: int  # bytes
    seconds: float  # that TensorRT took


def prepare(path: Path, *, precision: str = "fp16") -> Prepared:
    """Read an ``.onnx`` file that ``training.export`` wrote, and lower it to a ``precision`` of "fp16" or "fp32".

    Raises ModelError: missing, damaged, no model of lgin-edge, or one that float16 spoils; InputError: another precision.
    """
    if precision not in ("fp16", "fp32"):
        raise InputError(f"precision: expected fp16 or fp32, got {precision!r}")
    if engine_file.is_engine(path):
        raise ModelError(f"{path}: is an engine; an engine is built from an .onnx file")
    file = onnx_file.read(path)
    if file.external:
        raise ModelError(f"{path}: keeps weights in other files; an engine is built from one file: save it as one")
    try:
        model = onnx.load_from_string(file.data)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and the checker's exceptions share no base
        raise ModelError(f"{path}: not an ONNX file: {str(error).strip().splitlines()[0]}") from error
    try:
        about = description_of(model)
        if about.precision != "fp32":
            raise ModelError(f"is a model of precision {about.precision!r}; engines are built from the fp32 one")
        result, psnr = fusable.rewritten(model), None
        if precision == "fp16":
            result, psnr = lower(result)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    description = replace(description_of(result), onnx_sha256=file.sha256)
    onnx.helper.set_model_props(result, {METADATA_KEY: description.to_json()})
    return Prepared(result, description, psnr)


def build(
    prepared: Prepared,
    output: Path,
    *,
    variant: Variant,
    max_faces: int = 4,
    targets: Sequence[str] = (),
    device: int = 0,
    workspace: int | None = None,
    timing_cache: Path | None = None,
    progress: Progress = lambda what, done, of: None,
) -> Built:
    """Build an engine and write it to ``output``, its SHA-256 beside it.

    Args:
        max_faces: most faces of one call, 1 to 64; memory on the GPU grows with it.
        targets: GPUs to build for ("sm86"), for a variant that can; none: what it takes by default. A variant that cannot
            builds for the GPU that is here.
        device: number of that GPU.
        workspace: MiB that the engine may use beside its activations; what the variant takes by default when not given.
        timing_cache: a file that makes the next build of the same variant quicker; read if it is there, then written.
        progress: called from another thread.

    Raises:
        BackendError: the variant is not installed, needs a GPU that is not there, or cannot build the model.
        InputError: an argument out of range.
        OSError: a file cannot be read or written.
        KeyboardInterrupt: interrupted; nothing is written.
    """
    if not 1 <= max_faces <= 64:
        raise InputError(f"max_faces: expected 1 to 64, got {max_faces}")
    trt = variant.load()
    log = Log()
    logger = log.attach(trt)
    cuda = None if variant.cross else _gpu(variant, targets, device)
    # TensorRT builds for, and on, the GPU of the calling thread.
    with nullcontext() if cuda is None else cuda.current():
        builder = variant.make("Builder", logger, log)
        settings = builder.create_builder_config()
        names = _targets(trt, settings, variant, targets) if cuda is None else (f"sm{cuda.capability}",)
        facts = EngineFacts(variant.name, variant.version(), names, max_faces)
        description = replace(prepared.description, engine=facts)
        network = builder.create_network(
            sum(1 << int(f) for f in tensorrt_variants.flags(trt.NetworkDefinitionCreationFlag, variant.network_flags))
        )
        parser = trt.OnnxParser(network, logger)
        if not parser.parse(prepared.model.SerializeToString()):
            reasons = "; ".join(parser.get_error(i).desc().strip() for i in range(parser.num_errors))
            raise BackendError(
                f"{variant.name} {facts.version} cannot read the model: {reasons or log.last('no reason given')}"
            )
        network.name = description.to_json()
        settings.add_optimization_profile(_profile(builder, description, max_faces))
        for flag in tensorrt_variants.flags(trt.BuilderFlag, variant.builder_flags):
            settings.set_flag(flag)
        # Branches on streams of their own keep their activations at the same time: 150 MB instead of 99 for four faces (RTX 1.7).
        settings.max_aux_streams = 0
        if workspace is not None:
            settings.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace << 20)
        cache = _read_cache(settings, timing_cache)
        start = time.perf_counter()
        data = _run(trt, builder, network, settings, progress, cuda)
        if data is None:
            raise BackendError(f"{variant.name} {facts.version} built no engine: {log.last('it does not say why')}")
        seconds = time.perf_counter() - start
        digest = engine_file.write(output, data, description)
        if cache is not None and timing_cache is not None:
            write_files({timing_cache: bytes(cache.serialize())})
        return Built(description, digest, len(data), seconds)


def _targets(trt: Any, settings: Any, variant: Variant, targets: Sequence[str]) -> tuple[str, ...]:
    """Set the GPUs to build for; how the description names them."""
    known = {name.lower(): value for name, value in trt.ComputeCapability.__members__.items() if name.startswith("SM")}
    unknown = [name for name in targets if name.lower() not in known]
    if unknown:
        raise InputError(f"target: {variant.name} builds for {', '.join(known)}, got {', '.join(unknown)}")
    names = tuple(sorted({name.lower() for name in targets}))
    if names:
        settings.num_compute_capabilities = len(names)
        for i, name in enumerate(names):
            settings.set_compute_capability(known[name], i)
    return names


def _gpu(variant: Variant, targets: Sequence[str], device: int) -> Cuda:
    """The GPU of a variant that builds for no other one."""
    if targets:
        raise InputError(
            f"target: {variant.name} builds only for the GPU that is here; --runtime tensorrt-rtx builds for others"
        )
    try:
        return Cuda(device)
    except BackendError as error:
        raise BackendError(
            f"{variant.name} times its kernels on the GPU that it builds for, and needs one: {error}. Run lgin-edge build on the "
            "device itself, or use --runtime tensorrt-rtx, which needs none"
        ) from error


def _profile(builder: Any, description: Description, max_faces: int) -> Any:
    """From one face at one age, which is what it is tuned for, to ``max_faces`` at every age group."""
    profile = builder.create_optimization_profile()
    ages = len(description.groups)
    for name in description.inputs:
        one, most = description.shape(name, 1, 1), description.shape(name, max_faces, ages)
        profile.set_shape(name, one, one, most)
    return profile


def _read_cache(settings: Any, path: Path | None) -> Any:
    if path is None:
        return None
    cache = settings.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if cache is None or not settings.set_timing_cache(cache, False):
        raise InputError(f"timing cache: {path} is none of this version and GPU; remove it")
    return cache


def _run(trt: Any, builder: Any, network: Any, settings: Any, progress: Progress, cuda: Cuda | None) -> bytes | None:
    """Build in another thread, so that Ctrl-C is heard: TensorRT asks after each step whether to go on."""
    stop = threading.Event()
    if hasattr(trt, "IProgressMonitor"):
        monitor = _monitor(trt, progress, stop)
        settings.progress_monitor = monitor
    built: list[bytes | None] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            if cuda is not None:
                cuda.activate()
            serialized = builder.build_serialized_network(network, settings)
            built.append(None if serialized is None else bytes(serialized))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            failure.append(error)

    thread = threading.Thread(target=work, name="lgin-edge build")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except BaseException:
        stop.set()
        thread.join()
        raise
    if failure:
        raise failure[0]
    return built[0]


def _monitor(trt: Any, progress: Progress, stop: threading.Event) -> Any:
    """TensorRT's progress monitor, which tells only of the outermost phase: the inner ones are many and short."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if not parent:
                self.steps[phase] = steps
                progress(phase, 0, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            if phase in self.steps:
                progress(phase, step + 1, self.steps[phase])
            return not stop.is_set()

        def phase_finish(self, phase: str) -> None:
            steps = self.steps.pop(phase, None)
            if steps is not None:
                progress(phase, steps, steps)

    return Monitor()
