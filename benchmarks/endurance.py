"""Whether anything grows, or goes wrong once in a long while: ``python benchmarks/endurance.py [kernels|threads|faults]``.

**kernels**: calls of ``region_crop`` and ``region_paste``, half of each, in every pixel format and float type, in place and not,
on one and on two threads; on small squares (a face of 60 px, views of 24 and 12), so that a million take minutes. Every result
is compared with the first of its kind.

**threads**: eight threads on one ``Transformer`` with the bundled models: pictures aged, timelines, ages estimated, faces found;
every result is compared, bit for bit, with that of one thread.

**faults**: runs ``tests/faults/`` and counts.

Memory (resident), file descriptors and threads of the process are read a hundred times on the way. The exit code is 1 where a result
differed, a test failed, descriptors were left open, or memory grew over the second half by more than what the allocator does with
its pieces: ``LIMIT_MB``, or ``LIMIT_SHARE`` of it. Streams of many frames:
``benchmarks/stream.py soak``.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from xml.etree import ElementTree

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

import lgin_edge
from benchmarks.stages.machine import describe
from lgin_edge import geometry, kernels
from lgin_edge.faces import FaceBatch
from lgin_edge.frames import Frame, PixelFormat
from lgin_edge.kernels import Edits, FacePlan

Json = dict[str, Any]
Results = Sequence[np.ndarray]

LIMIT_MB, LIMIT_SHARE = 4.0, 0.02  # MB of 10^6 bytes
PARTS = ("kernels", "threads", "faults")
THREADS = 8
TESTS = Path(__file__).parent.parent / "tests"
console = Console()


def state() -> tuple[float, int, int]:
    """Resident memory, MB; open file descriptors; threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    descriptors, tasks = (sum(1 for _ in Path(f"/proc/self/{name}").iterdir()) for name in ("fd", "task"))
    return round(memory, 2), descriptors, tasks


class Watch:
    """Samples of ``state`` over a run."""

    def __init__(self) -> None:
        self.before = state()
        self.samples: list[tuple[int, float, int, int]] = []
        self._start = time.monotonic()

    def __call__(self, done: int) -> None:
        self.samples.append((done, *state()))

    def report(self) -> Json:
        """All of it; descriptors and threads as before, at most and after."""
        seconds = time.monotonic() - self._start
        end = time.monotonic() + 2.0
        while (after := state())[2] > self.before[2] and time.monotonic() < end:
            time.sleep(0.01)  # a thread that was joined is listed for a moment longer
        return {
            "seconds": round(seconds, 1),
            "descriptors": [self.before[1], max(sample[2] for sample in self.samples), after[1]],
            "threads": [self.before[2], max(sample[3] for sample in self.samples), after[2]],
            "samples": self.samples,
        }


def memory(samples: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Medians of the first and the last tenth of the second half, MB."""
    values = [sample[1] for sample in samples][len(samples) // 2 :]
    tenth = max(1, len(values) // 10)
    return statistics.median(values[:tenth]), statistics.median(values[-tenth:])


def same(now: Results, before: Results) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(now, before, strict=True))


def kernel_calls(calls: int) -> Json:
    rng = np.random.default_rng(0)
    affine = np.array([[60.0, 6.0, 25.0], [-6.0, 60.0, 20.0]])[None]
    faces, spec = FaceBatch(affine, geometry.REGION_BOXES[None]), geometry.ViewSpec(24, 12)

    def crop(frame: Frame, order: PixelFormat, dtype: Any, threads: int) -> Results:
        return kernels.region_crop(FacePlan.of(frame, faces, spec, order), frame, dtype=dtype, threads=threads)

    def paste(frame: Frame, order: PixelFormat, edits: Edits, work: Frame, threads: int) -> Results:
        plan = FacePlan.of(frame, faces, spec, order)
        if threads == 1:
            return [kernels.region_paste(plan, frame, edits)]
        work[...] = frame
        return [kernels.region_paste(plan, work, edits, out=work, threads=threads)]

    ways: list[Callable[[], Results]] = []
    for order in PixelFormat:
        frame = rng.integers(0, 256, order.shape(96, 128), dtype=np.uint8)
        work = np.empty_like(frame)
        for dtype in (np.float32, np.float16):
            shapes = (1, 3, 24, 24), (1, 5, 3, 12, 12)
            edits = Edits(*(rng.normal(0, 0.3, shape).astype(dtype) for shape in shapes))
            for threads in (1, 2):
                ways += [
                    partial(crop, frame, order, dtype, threads),
                    partial(paste, frame, order, edits, work, threads),
                ]
    expected = [[one.copy() for one in way()] for way in ways]
    wrong = 0
    watch, step = Watch(), max(1, calls // 100)
    for i in track(range(calls), description="kernels", transient=True):
        n = i % len(ways)
        wrong += not same(ways[n](), expected[n])
        if i % step == step - 1:
            watch(i + 1)
    return {"calls": calls, "wrong": wrong, "variants": len(ways)} | watch.report()


def eight(calls: int) -> Json:
    from skimage import data

    astronaut = np.ascontiguousarray(data.astronaut()[:400, 60:400])
    pictures = [np.ascontiguousarray(np.roll(astronaut, 12 * i, axis=1)) for i in range(THREADS)]
    with lgin_edge.Transformer(threads=1) as t:

        def call(n: int) -> Results:
            picture, kind = pictures[n % THREADS], n // THREADS
            if kind == 0:
                return [t.age(picture, group=n % 9 / 2)]
            if kind == 1:
                return t.timeline(picture)
            if kind == 2:
                return [np.array([one.years for one in t.estimate_age(picture)])]
            return [face.landmarks for face in t.detect(picture)]

        kinds = 4 * THREADS
        expected = [call(n) for n in range(kinds)]
        if any(len(one) == 0 for one in expected):
            raise SystemExit("a face was not found: nothing would be compared")
        # What eight timelines at once need, which ONNX Runtime keeps: otherwise that comes by chance, some time.
        together = threading.Barrier(THREADS)

        def warm(n: int) -> None:
            for _ in range(3):
                together.wait()
                call(THREADS + n)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(warm, range(THREADS)))
        lock, done, wrong = threading.Lock(), 0, 0
        watch, step = Watch(), max(1, calls // 100)

        def work(first: int) -> None:
            nonlocal done, wrong
            for i in range(first, calls, THREADS):
                n = (i * 5 + first) % kinds
                good = same(call(n), expected[n])
                with lock:
                    done += 1
                    wrong += not good
                    if done % step == 0:
                        watch(done)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))
        return {
            "calls": calls,
            "wrong": wrong,
            "python_threads": THREADS,
            "model": t.description.model,
        } | watch.report()


def faults() -> Json:
    files = sorted(path.name for path in (TESTS / "faults").glob("test_*.py"))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "-n", "1", "--no-showlocals", f"--junitxml={report}", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", *options, *(f"tests/faults/{file}" for file in files)]
        done = subprocess.run(command, cwd=TESTS.parent, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    rows = []
    for file in files:
        mine = [case for case in cases if case.get("classname", "").split(".")[-1] == file.removesuffix(".py")]
        kinds = [{child.tag for child in case} for case in mine]
        failed = sum(bool(kind & {"failure", "error"}) for kind in kinds)
        skipped = sum("skipped" in kind for kind in kinds)
        seconds = round(sum(float(case.get("time", 0)) for case in mine), 1)
        rows.append(
            {
                "file": file,
                "passed": len(mine) - failed - skipped,
                "failed": failed,
                "skipped": skipped,
                "seconds": seconds,
            }
        )
    return {"exit_code": done.returncode, "files": rows}


def main(
    what: Annotated[list[str] | None, typer.Argument(help=f"{', '.join(PARTS)}; all when none is named.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the figures as JSON; others in it stay.")
    ] = None,
    calls: Annotated[int, typer.Option(min=100, help="Calls of `kernels`.")] = 1_000_000,
    thread_calls: Annotated[int, typer.Option(min=32, help="Calls of `threads`, of all eight together.")] = 2000,
) -> None:
    chosen = what or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}")
    report: Json = {}
    bad = False
    for name, run in (
        ("kernels", lambda: kernel_calls(calls)),
        ("threads", lambda: eight(thread_calls)),
        ("faults", faults),
    ):
        if name not in chosen:
            continue
        about = describe()
        report[name] = one = run() | {"machine": about}
        if name == "faults":
            bad |= one["exit_code"] != 0
            continue
        early, late = memory(one["samples"])
        grew = late - early > max(LIMIT_MB, LIMIT_SHARE * early)
        bad |= one["wrong"] > 0 or grew or one["descriptors"][0] != one["descriptors"][2]
        console.print(
            f"{name}: {one['calls']:,} calls in {one['seconds']:g} s, {one['wrong']} results differ; memory {early:.1f} MB at half, "
            f"{late:.1f} at the end; descriptors and threads before, at most, after: {one['descriptors']}, {one['threads']}",
            soft_wrap=True,
        )
    if out:
        others = json.loads(out.read_text()) if out.exists() else {}
        out.write_text(json.dumps(others | report, indent=1) + "\n")
    if bad:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
