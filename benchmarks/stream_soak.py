"""Part of ``stream.py``: what a stream leaves behind over many frames."""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from endurance import state
from rich.progress import track
from stream_film import Film, Frame, Json, console

import lgin_edge
from lgin_edge.stream import Stream


def scenes(frames: int) -> Iterator[Frame]:
    """Small frames without end: the film, nobody, and the film in a mirror, with a cut between."""
    film = Film(180, 240, 30.0, 300)
    rng = np.random.default_rng(2)
    empty = np.repeat(np.repeat(rng.integers(60, 200, (6, 8, 3), dtype=np.uint8), 30, 0), 30, 1)
    for i in range(frames):
        scene, at = (i // 300) % 3, i % 300
        frame = empty if scene == 1 else film.frames[at] if scene == 0 else film.frames[at][:, ::-1]
        yield np.ascontiguousarray(frame).copy()


def soak(frames: int) -> Json:
    """Memory and threads over many frames, of a film and of a live source."""
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    import models

    result: Json = {"frames": frames, "sources": []}
    with tempfile.TemporaryDirectory() as folder:
        tiny = models.save(Path(folder) / "tiny.onnx")
        for live_ in (False, True):
            samples: list[tuple[int, float]] = []
            _, opened, _ = state()
            with lgin_edge.Transformer(tiny, threads=1) as transformer:
                given = 0
                start = time.monotonic()
                ticket = threading.Semaphore(2)  # a live source that waits: every frame shall go through

                def source() -> Iterator[Frame]:
                    for frame in scenes(frames):
                        if live_:  # noqa: B023
                            ticket.acquire(timeout=5)  # noqa: B023
                        yield frame

                with Stream(source(), transformer, group=4, live=live_) as stream:
                    for _ in track(stream, total=frames, description="live" if live_ else "film", transient=True):
                        ticket.release()
                        given += 1
                        if given % max(1, frames // 100) == 0:
                            samples.append((given, state()[0]))
                    stats = stream.stats
                spent = time.monotonic() - start
            time.sleep(1.0)  # threads may be in the middle of something
            values = [value for _, value in samples]
            half = values[len(values) // 2 :]
            one = {
                "source": "live" if live_ else "film",
                "frames_out": stats.frames_out,
                "dropped": stats.dropped,
                "scenes": stats.scenes,
                "detections": stats.detections,
                "threads_after": threading.active_count(),
                "descriptors_left": state()[1] - opened,
                "memory_first_tenth_MB": statistics.median(values[: max(1, len(values) // 10)]),
                "memory_last_tenth_MB": statistics.median(values[-max(1, len(values) // 10) :]),
                "growth_second_half_MB": round(half[-1] - half[0], 2) if half else 0.0,
                "frames_per_second": round(stats.frames_out / spent, 1),
                "samples": samples,
            }
            result["sources"].append(one)
            console.print(
                f"{one['source']}: {stats.frames_out} frames, memory {one['memory_first_tenth_MB']:.1f} MB in the first tenth, "
                f"{one['memory_last_tenth_MB']:.1f} MB in the last, {one['threads_after']} threads afterwards"
            )
    return result
