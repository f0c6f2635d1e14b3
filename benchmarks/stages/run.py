"""A run from its plan to its rows: which back ends this machine has for each model, and the stages on all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lgin_edge import kernels
from lgin_edge.errors import LginError
from lgin_edge.inference.loader import open_model
from lgin_edge.inference.onnxruntime_gpu import PROVIDER as CUDA
from lgin_edge.models.engine_file import is_engine
from lgin_edge.models.tensorrt_variants import VARIANTS

from . import machine, report, stages
from .measure import Candidate, Skipped, measure_interleaved
from .report import Row
from .resnet18 import Sessions
from .stages import CPU, Model, Target

if TYPE_CHECKING:
    from typing_extensions import Self

#: Called with what is being done and the fraction of it that is done.
Progress = Callable[[str, float], None]
#: Providers beside the CPU and CUDA (which has a frame path of its own) that are none for this: a cloud service, and those that build an engine for minutes
#: when first called, where ``lgin-edge build`` makes one for good.
_OTHERS = ("AzureExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")


@dataclass
class Bench:
    """One run. ``rows`` are what was found, in the order of the tables; ``skipped`` what was not measured, and why."""

    paths: Sequence[Path]
    wanted: tuple[str, ...]  # stages
    threads: int
    seconds: float  # for the timing of the stages
    progress: Progress = lambda what, done: None
    rows: list[Row] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether something of ours that should have worked did not, or gave a wrong answer."""
        return any(one.failed for one in self.skipped)

    def run(self) -> Self:
        """Measure everything. Raises ModelError for a file that is not usable, BackendError without ONNX Runtime."""
        with ExitStack() as stack:
            self.progress("loading", 0.0)
            models = stages.open_models(self.paths, stack)
            r18 = Sessions(stack)
            found = [discover_targets(model, self.threads, stack) for model in models]
            self.skipped += [one for each in found for one in each.skipped] + unbuilt_engines(models)
            self.measure("stages", self._candidates(models, found, r18, stack), self.seconds)
            self.further(models, found, r18)
        return self

    def _candidates(
        self, models: list[Model], found: list[Targets], r18: Sessions, stack: ExitStack
    ) -> list[Candidate]:
        candidates = [r18.candidate(self.threads)]
        shared: set[tuple[str, int, int]] = set()
        for model, each in zip(models, found, strict=True):
            about = model.description
            for stage in self.wanted:
                targets = each.cpu
                if stage in stages.SHARED:
                    key = (stage, about.face_size, about.patch_size) if stage != "detect" else (stage, 0, 0)
                    targets = [] if key in shared else [Target("kernels", self.threads, stack)]
                    shared.add(key)
                candidates += [one for target in targets for one in stages.build(stage, model, target)]
            for target in each.gpu:
                try:
                    more, skipped = self.gpu_candidates(model, target)
                except LginError as error:
                    more, skipped = [], [Skipped("all", model.label + target.name, str(error), failed=True)]
                candidates += more
                self.skipped += skipped
        return candidates

    def gpu_candidates(self, model: Model, target: Target) -> tuple[list[Candidate], list[Skipped]]:
        """Whole frames on a GPU. Raises LginError."""
        found = [one for stage in stages.ON_GPU if stage in self.wanted for one in stages.build(stage, model, target)]
        return found, []

    def further(self, models: list[Model], found: list[Targets], r18: Sessions) -> None:
        """Tables beyond that of the stages."""

    def measure(self, table: str, candidates: list[Candidate], seconds: float, pause: float = 0.0) -> None:
        def done(fraction: float) -> None:
            self.progress(f"timing: {table}", fraction)

        done(0.0)
        measured, skipped = measure_interleaved(candidates, seconds, pause=pause, progress=done)
        self.skipped += skipped
        self.rows += report.rows(measured, table)


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
        for provider in (one for one in machine.providers() if one not in (CPU, CUDA, *_OTHERS)):
            name = f"onnxruntime {provider.removesuffix('ExecutionProvider')}"
            reason = _refusal(model, provider)
            if reason:
                found.skipped.append(Skipped("model", model.label + name, reason))
            else:
                found.cpu.append(Target(name, threads, stack, provider))
    engine = model.description.engine
    name = "onnxruntime CUDA" if engine is None else engine.variant
    reason = gpu_reason()
    if not reason and not is_engine(model.path) and CUDA not in machine.providers():
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


def _refusal(model: Model, provider: str) -> str:
    """Why a provider does not run a model; empty if it does."""
    try:
        backend = open_model(model.path, providers=(provider,), threads=1)
    except LginError as error:
        return str(error)
    with closing(backend):
        first = backend.session.raw.get_providers()[0]  # type: ignore[attr-defined]
    return "" if first == provider else f"ONNX Runtime went on with {first} instead: a library of it does not load"
