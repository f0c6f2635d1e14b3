"""The research bench's own tables: faces a call, CPU threads, other people's implementations, peak memory of each stage."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.stages import machine, stages
from benchmarks.stages.measure import LEAST_ROUNDS, Candidate, Skipped
from benchmarks.stages.report import Row
from benchmarks.stages.resnet18 import Sessions
from benchmarks.stages.run import Bench, Targets
from benchmarks.stages.stages import CPU, Model, Target
from lgin_edge.inference.loader import open_model
from lgin_edge.models.engine_file import is_engine

from . import baselines, gpu, memory

#: Seconds of the further tables, for each second of the stages.
BATCH, THREADS, OTHERS = 0.4, 0.6, 2.0
#: Faces of one call of the model.
BATCHES = (1, 2, 4, 8)
#: Stages whose speed is measured against threads.
THREADED = ("crop", "model", "paste", "tracked frame")
#: After so many seconds no further process is started to look at memory.
_MEMORY_SECONDS = 15.0


class ResearchBench(Bench):
    """The bench, with further tables and the parts of the frame path on a GPU."""

    def gpu_candidates(self, model: Model, target: Target) -> tuple[list[Candidate], list[Skipped]]:
        return gpu.candidates(model, target, self.wanted)

    def further(self, models: list[Model], found: list[Targets], r18: Sessions) -> None:
        if "model" in self.wanted:
            self._batch(models, found, r18, self.seconds * BATCH)
        model = next((one for one in models if not is_engine(one.path)), None)
        if model is None:
            return
        self._threads(model, r18)
        with ExitStack() as stack:
            if {"crop", "paste"} & set(self.wanted):
                candidates, skipped = baselines.kernels(model, r18, stack)
                self.skipped += skipped
                self.measure("kernels", candidates, self.seconds * OTHERS)
            if {"model", "tracked frame"} & set(self.wanted):
                self.progress("baselines: torch.compile takes minutes", 0.0)
                candidates, skipped = baselines.models(model, self.threads, r18, stack)
                self.skipped += skipped
                self.measure("baseline", candidates, self.seconds * OTHERS, baselines.PAUSE)
        self._memory(models, found)

    def _batch(self, models: list[Model], found: list[Targets], r18: Sessions, seconds: float) -> None:
        """The model on 1, 2, 4 and 8 faces a call, as far as the time is enough, beside ResNet-18."""
        with ExitStack() as stack:
            candidates = [r18.candidate(self.threads)]
            for model, each in zip(models, found, strict=True):
                for target in each.cpu[:1]:
                    backend = open_model(model.path, providers=(target.provider,), threads=target.threads)
                    stack.callback(backend.close)
                    most = self._most_faces(model.label + target.name, seconds)
                    candidates += [
                        stages.model_call(model, target, backend, faces, 1) for faces in BATCHES if faces <= most
                    ]
                for target in each.gpu:
                    candidates += gpu.batches(model, target, BATCHES)
            self.measure("batch", candidates, seconds)

    def _most_faces(self, name: str, seconds: float) -> int:
        """Faces a call for which the time is enough: on a slow machine, not all batches."""
        medians = [
            row["median_ms"] / 1e3
            for row in self.rows
            if row["stage"] == "model" and row["candidate"] == name and row["ages"] == 1
        ]
        calls = LEAST_ROUNDS + 4  # with warming up and checking
        return max(1, int(seconds / (2 * calls * medians[0]))) if medians else 1

    def _threads(self, model: Model, r18: Sessions) -> None:
        """Stages on 1 thread, 2 and so on, each count beside ResNet-18 on as many."""
        wanted = [stage for stage in THREADED if stage in self.wanted]
        counts = thread_counts(machine.usable_cores())
        if not wanted or len(counts) < 2:
            return
        with ExitStack() as stack:  # as many models as counts: gone again when measured
            candidates = []
            for count in counts:
                target = Target("onnxruntime", count, stack)
                candidates.append(r18.candidate(count))
                candidates += [stages.build(stage, model, target)[0] for stage in wanted]
            self.measure("threads", candidates, self.seconds * THREADS)

    def _memory(self, models: list[Model], found: list[Targets]) -> None:
        """Peak memory of the rows of the CPU's stages, each in a process of its own."""
        places = {(model.size, "kernels"): (model.path, CPU) for model in models}
        places[stages.FRAME_SIZE, "centerface"] = (models[0].path, CPU)
        for model, each in zip(models, found, strict=True):
            for target in each.cpu:
                for size in (model.size, stages.FRAME_SIZE):
                    places[size, model.label + target.name] = (model.path, target.provider)
        entries = [
            (row, places[row["size"], row["candidate"]])
            for row in self.rows
            if row["table"] == "stages" and (row["size"], row["candidate"]) in places
        ]
        until = time.monotonic() + _MEMORY_SECONDS

        def look(row: Row, place: tuple[Path, str]) -> None:
            if time.monotonic() < until:
                row["peak_mb"] = memory.peak(row["stage"], *place, row["threads"], row["ages"])

        with ThreadPoolExecutor(machine.usable_cores()) as pool:  # memory does not mind company
            waiting = [pool.submit(look, *entry) for entry in entries]
            for i, one in enumerate(waiting):
                self.progress("peak memory", i / len(waiting))
                one.result()
        late = sorted({row["stage"] for row, _ in entries if row["peak_mb"] is None})
        if late:
            self.skipped.append(Skipped(", ".join(late), "peak memory", "no time left, or not told by this system"))


def thread_counts(cores: int) -> list[int]:
    """1 to ``cores``: each up to 4, then powers of two, and all of them."""
    return sorted({count for count in (1, 2, 3, 4, *(1 << i for i in range(3, 11))) if count < cores} | {cores})
