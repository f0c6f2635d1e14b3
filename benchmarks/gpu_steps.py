"""What ``gpu_check`` measures, each step in a process of its own: ``python -m benchmarks.gpu_steps STEP ROWS``.

Rows go to the file ROWS as they come, a JSON object a line, so that a step that runs out of time leaves what it has. A row with
``failed`` says that an answer was wrong. ``--quick`` makes each step once and small: under compute-sanitizer, and in tests, which
give a stand-in for the CUDA run time.

Kernels are timed as many launches in one CUDA graph, divided: neither Python nor the launch is in the numbers, but a microsecond
between two kernels is. All their memory fits into a large GPU's cache.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lgin_edge.errors import BackendError
from lgin_edge.inference.cuda import Cuda, DeviceMemory, Stream


class Step:
    """What every step has: a device, a place for rows, and how thorough to be."""

    def __init__(self, rows: Path, quick: bool = False, runtime: Any = None) -> None:
        self.rows, self.quick, self.runtime = rows, quick, runtime
        self.cuda = Cuda(0, runtime)

    def row(self, what: str, **numbers: Any) -> None:
        line = json.dumps({"what": what, **numbers})
        with self.rows.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)

    def per_launch_us(self, stream: Stream, queue: Callable[[], None], launches: int = 100) -> float:
        """Median microseconds of what ``queue`` puts on the stream, replayed in a graph of many."""
        launches = 2 if self.quick else launches

        def many() -> None:
            for _ in range(launches):
                queue()

        queue()
        stream.synchronize()
        with closing(stream.capture(many)) as graph:
            samples = []
            for _ in range(2 if self.quick else 20):
                start = time.perf_counter()
                graph.launch(stream.handle)
                stream.synchronize()
                samples.append(1e6 * (time.perf_counter() - start) / launches)
        return float(np.median(samples))

    def copy_gb_s(self, stream: Stream, megabytes: float) -> float:
        """Bytes read and written per second by copies on the device, in 1e9."""
        size = int(megabytes * 2**20)
        kind = self.cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        with closing(DeviceMemory(self.cuda, size)) as a, closing(DeviceMemory(self.cuda, size)) as b:
            us = self.per_launch_us(
                stream, lambda: self.cuda.call("cudaMemcpyAsync", b.address, a.address, size, kind, stream.handle), 20
            )
        return 2e-3 * size / us


class BoundCall:
    """``interfaces.EngineCall`` of a function that takes the stream."""

    def __init__(self, enqueue: Callable[[int], None]) -> None:
        self.enqueue = enqueue

    def capturable(self, stream: int) -> bool:
        return True

    def close(self) -> None:
        """Nothing to free."""


def card(step: Step) -> None:
    """The card, and what copies reach on it."""
    cuda = step.cuda
    step.row(
        "card",
        name=cuda.name(),
        capability=cuda.capability,
        driver=cuda.call("cudaDriverGetVersion"),
    )
    with closing(Stream(cuda)) as stream:
        for megabytes in (1, 32) if step.quick else (1, 32, 1024):
            step.row("copy on the device", megabytes=megabytes, gb_s=step.copy_gb_s(stream, megabytes))


def network(step: Step) -> None:
    """The bundled network's shapes in PyTorch: eager and as a CUDA graph; its grouped convolutions against dense ones."""
    from .gpu_network import Network, time_convolutions

    for faces, ages in ((1, 1),) if step.quick else ((1, 1), (4, 1), (1, 6)):
        for half in (True, False):
            net = Network(half=half)
            eager, graph = net.times_ms(faces, ages, 2 if step.quick else 50)
            step.row(
                "network", faces=faces, ages=ages, dtype="fp16" if half else "fp32", eager_ms=eager, graph_ms=graph
            )
    for numbers in time_convolutions(1 if step.quick else 4, 2 if step.quick else 30):
        step.row("convolutions of five regions", **numbers)


STEPS: dict[str, Callable[[Step], None]] = {"card": card, "network": network}


def kernel_steps() -> dict[str, Callable[[Step], None]]:
    """The steps that run our kernels."""
    from . import gpu_answers, gpu_targets, gpu_times

    return {
        "path": gpu_answers.path_answers,
        "kernels": gpu_times.kernel_times,
        "paste-times": gpu_times.paste_times,
        "path-times": gpu_times.path_times,
        "frame": gpu_times.whole_frame,
        "arrays": gpu_answers.arrays,
        "target-times": gpu_targets.target_times,
    }


def find(name: str) -> Callable[[Step], None]:
    """A step by its name. Raises BackendError where it needs kernels that this build does not have."""
    if name in STEPS:
        return STEPS[name]
    try:
        from lgin_edge import kernels

        found = kernel_steps()
    except ImportError as error:
        raise BackendError(str(error)) from error
    if not kernels.cuda_built() or kernels.cuda_is_host():
        raise BackendError("this build of lgin-edge has no CUDA kernels (LGIN_CUDA=ON ./bootstrap.sh test)")
    return found[name]


def main(
    step: Annotated[str, typer.Argument(help="Its name in gpu_check.")],
    rows: Annotated[Path, typer.Argument(help="Where rows are added, a JSON object a line.")],
    quick: Annotated[bool, typer.Option(help="Each thing once, and small.")] = False,
) -> None:
    """One step; exit code 3, with the reason in a row, where this machine or this build cannot."""
    try:
        work, run = Step(rows, quick), find(step)
    except BackendError as error:
        rows.write_text(json.dumps({"what": step, "skipped": str(error)}) + "\n")
        raise typer.Exit(3) from error
    run(work)


if __name__ == "__main__":
    typer.run(main)
