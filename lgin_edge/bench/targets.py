"""Which back ends this machine has for a model, and why it lacks the others."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from .. import kernels
from ..errors import LginError
from ..inference.loader import open_model
from ..inference.onnxruntime_gpu import PROVIDER as CUDA
from ..models.engine_file import is_engine
from ..models.tensorrt_variants import VARIANTS
from .measure import Skipped
from .stages import CPU, Model, Target

#: Providers that are named as available and are none for this: a cloud service, and those that build an engine for minutes
#: when first called, where ``lgin-edge build`` makes one for good.
_OTHERS = ("AzureExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")


@dataclass
class Targets:
    """The targets to run one model: on the CPU's frame path, the preferred first, and on a GPU's."""

    cpu: list[Target] = field(default_factory=list)
    gpu: list[Target] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def discover_targets(model: Model, threads: int, stack: ExitStack) -> Targets:
    """All targets of this machine, each tried by loading the model."""
    found = Targets()
    if not is_engine(model.path):
        found.cpu.append(Target("onnxruntime", threads, stack))
        for provider in _other_providers():
            name = f"onnxruntime {provider.removesuffix('ExecutionProvider')}"
            reason = _refusal(model, provider)
            if reason:
                found.skipped.append(Skipped("model", model.label + name, reason))
            else:
                found.cpu.append(Target(name, threads, stack, provider))
    name = _gpu_name(model)
    reason = gpu_reason()
    if not reason and not is_engine(model.path) and CUDA not in _available():
        reason = "this onnxruntime has no CUDA (pip install onnxruntime-gpu in its place)"
    target = Target(name, threads, stack, device="cuda")
    if not reason:
        try:
            target.transformer(model)
        except LginError as error:
            reason = str(error)
    if reason:
        # An engine has no other way: without one, what was asked for cannot be measured.
        found.skipped.append(Skipped("all", model.label + name, reason, failed=is_engine(model.path)))
    else:
        found.gpu.append(target)
    return found


def gpu_reason() -> str:
    """Why no GPU can be used; empty where one can."""
    if not kernels.cuda_built():
        return "this build of lgin-edge has no CUDA kernels (LGIN_CUDA=ON pip install .)"
    if kernels.cuda_is_host():
        return "the CUDA kernels of this build are compiled for the host, to be tested"
    if not kernels.cuda_device_count():
        return "no NVIDIA GPU on this machine"
    return ""


def unbuilt_engines(models: list[Model]) -> list[Skipped]:
    """A line for each TensorRT that is installed on a machine with a GPU and for which no engine was given."""
    if gpu_reason():
        return []
    given = {model.description.engine.variant for model in models if model.description.engine is not None}
    return [
        Skipped("all", name, f"no engine was given: lgin-edge build -o engine.plan --runtime {name}")
        for name, variant in VARIANTS.items()
        if variant.installed and name not in given
    ]


def _gpu_name(model: Model) -> str:
    engine = model.description.engine
    return "onnxruntime CUDA" if engine is None else engine.variant


def _available() -> list[str]:
    try:
        import onnxruntime
    except ImportError:
        return []
    return list(onnxruntime.get_available_providers())


def _other_providers() -> list[str]:
    """What this onnxruntime has beside the CPU, and beside CUDA, for which there is a frame path of its own."""
    return [name for name in _available() if name not in (CPU, CUDA, *_OTHERS)]


def _refusal(model: Model, provider: str) -> str:
    """Why a provider does not run a model; empty if it does."""
    try:
        backend = open_model(model.path, providers=(provider,), threads=1)
    except LginError as error:
        return str(error)
    try:
        first = backend.session.raw.get_providers()[0]  # type: ignore[attr-defined]
    finally:
        backend.close()
    return "" if first == provider else f"ONNX Runtime went on with {first} instead: a library of it does not load"
