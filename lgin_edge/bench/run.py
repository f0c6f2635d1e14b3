"""A run from its plan to its rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import LginError
from ..models.engine_file import is_engine
from . import memory, stages, sweeps, targets
from .measure import LEAST_ROUNDS, Candidate, Skipped, measure_interleaved
from .resnet18 import Sessions
from .rows import Row, rows
from .stages import CPU, Model, Target

#: Shares of the time for the tables, as far as they are made.
SHARES = {"stages": 0.5, "batch": 0.2, "threads": 0.3}
#: After so many seconds no further process is started to look at memory.
_MEMORY_SECONDS = 15.0
#: Called with what is being done and the share of it that is done.
Progress = Callable[[str, float], None]


@dataclass
class Result:
    """What a run found: rows in the order of the tables, and what was skipped."""

    rows: list[Row] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether something of ours that should have worked did not, or gave a wrong answer."""
        return any(one.failed for one in self.skipped)


@dataclass
class Bench:
    """One run.

    Args:
        paths: model files.
        wanted: stages.
        threads: CPU threads of everything but the table against threads; ``cores`` is that table's last.
        seconds: for the timing of the three tables.
    """

    paths: Sequence[Path]
    wanted: tuple[str, ...]
    threads: int
    cores: int
    seconds: float
    progress: Progress = lambda what, done: None
    result: Result = field(default_factory=Result)

    def run(self) -> Result:
        """Measure everything.

        Raises:
            ModelError: a model file is not usable.
            BackendError: ONNX Runtime is not there, for the r18.
        """
        with ExitStack() as stack:
            self.progress("loading", 0.0)
            models = stages.open_models(self.paths, stack)
            r18 = Sessions(stack)
            found = [targets.discover_targets(model, self.threads, stack) for model in models]
            self.result.skipped += [one for each in found for one in each.skipped] + targets.unbuilt_engines(models)
            self._stages(models, found, r18, stack)
            onnx = next((model for model in models if not is_engine(model.path)), None)
            self._batch(models, found, r18)
            if onnx is not None:
                self._threads(onnx, r18)
                self.further(onnx, r18)
                self._memory(models, found)
        return self.result

    def _stages(self, models: list[Model], found: list[targets.Targets], r18: Sessions, stack: ExitStack) -> None:
        candidates = [r18.candidate(self.threads)]
        shared: set[tuple[str, int, int]] = set()
        for model, each in zip(models, found, strict=True):
            about = model.description
            for stage in self.wanted:
                key = (stage, about.face_size, about.patch_size) if stage != "detect" else (stage, 0, 0)
                if stage in stages.SHARED:
                    if key not in shared:
                        shared.add(key)
                        candidates += stages.build(stage, model, Target("kernels", self.threads, stack))
                else:
                    for target in each.cpu:
                        candidates += stages.build(stage, model, target)
            for target in each.gpu:
                try:
                    more, skipped = self.gpu_candidates(model, target)
                except LginError as error:
                    more, skipped = [], [Skipped("all", model.label + target.name, str(error), failed=True)]
                candidates += more
                self.result.skipped += skipped
        self.measure("stages", candidates, self.seconds * self._share("stages"))

    def _batch(self, models: list[Model], found: list[targets.Targets], r18: Sessions) -> None:
        if "model" not in self.wanted:
            return
        seconds = self.seconds * self._share("batch")
        candidates = [r18.candidate(self.threads)]
        for model, each in zip(models, found, strict=True):
            for target in each.cpu[:1]:
                most = self._most_faces(model.label + target.name, seconds)
                candidates += sweeps.batches(model, target, r18, most)[1:]
            for target in each.gpu:
                candidates += self.gpu_batches(model, target)
        self.measure("batch", candidates, seconds)

    def _most_faces(self, name: str, seconds: float) -> int:
        """Faces a call for which the time is enough: on a slow machine, not all batches."""
        medians = [
            row["median_ms"] / 1e3
            for row in self.result.rows
            if row["stage"] == "model" and row["candidate"] == name and row["ages"] == 1
        ]
        calls = LEAST_ROUNDS + 4  # with warming up and checking
        return max(1, int(seconds / (2 * calls * medians[0]))) if medians else 1

    def _threads(self, model: Model, r18: Sessions) -> None:
        wanted = tuple(stage for stage in sweeps.THREADED if stage in self.wanted)
        if not wanted or self.cores < 2:
            return
        with ExitStack() as stack:  # as many models as counts: gone again when measured
            candidates = sweeps.threads(model, sweeps.thread_counts(self.cores), wanted, r18, stack)
            self.measure("threads", candidates, self.seconds * self._share("threads"))

    def gpu_candidates(self, model: Model, target: Target) -> tuple[list[Candidate], list[Skipped]]:
        """Whole frames on a GPU. Raises LginError."""
        found = [one for stage in stages.ON_GPU if stage in self.wanted for one in stages.build(stage, model, target)]
        return found, []

    def gpu_batches(self, model: Model, target: Target) -> list[Candidate]:
        """The model on a GPU, on more and more faces a call; not without the parts of the frame path."""
        return []

    def further(self, model: Model, r18: Sessions) -> None:
        """Tables beyond these, of the first ONNX model."""

    def _memory(self, models: list[Model], found: list[targets.Targets]) -> None:
        """Peak memory of the rows of the CPU's stages, each in a process of its own."""
        places = {(model.size, "kernels"): (model.path, CPU) for model in models}
        places[stages.FRAME_SIZE, "centerface"] = (models[0].path, CPU)
        for model, each in zip(models, found, strict=True):
            for target in each.cpu:
                for size in (model.size, stages.FRAME_SIZE):
                    places[size, model.label + target.name] = (model.path, target.provider)
        entries = [
            (row, places[row["size"], row["candidate"]])
            for row in self.result.rows
            if row["table"] == "stages" and (row["size"], row["candidate"]) in places
        ]
        until = time.monotonic() + _MEMORY_SECONDS

        def look(row: Row, place: tuple[Path, str]) -> None:
            if time.monotonic() < until:
                row["peak_mb"] = memory.peak(row["stage"], *place, row["threads"], row["ages"])

        with ThreadPoolExecutor(self.cores) as pool:  # memory does not mind company
            waiting = [pool.submit(look, *entry) for entry in entries]
            for i, one in enumerate(waiting):
                self.progress("peak memory", i / len(waiting))
                one.result()
        late = sorted({row["stage"] for row, _ in entries if row["peak_mb"] is None})
        if late:
            self.result.skipped.append(
                Skipped(", ".join(late), "peak memory", "no time left, or not told by this system")
            )

    def measure(self, table: str, candidates: list[Candidate], seconds: float, pause: float = 0.0) -> None:
        def done(share: float) -> None:
            self.progress(f"timing: {table}", share)

        done(0.0)
        measured, skipped = measure_interleaved(candidates, seconds, pause=pause, progress=done)
        self.result.skipped += skipped
        self.result.rows += rows(measured, table)

    def _share(self, table: str) -> float:
        made = {"stages"} | ({"batch"} if "model" in self.wanted else set())
        if self.cores > 1 and set(self.wanted) & set(sweeps.THREADED):
            made.add("threads")
        return SHARES[table] / sum(SHARES[name] for name in made)
