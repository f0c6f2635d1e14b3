"""Whether visitors leave anything behind: ``python benchmarks/kiosk_visits.py [-o FILE.json]``.

500 visits, one after the other, to a kiosk in a process of its own, over HTTP and WebSocket as a browser makes them: consent, live
frames of scikit-image's astronaut until her face is changed, a picture (three shots), a strip or a clip, the page for the phone with
its QR code and file, a print by a command, the end. The tests' tiny model stands in for the network; all else is the real one.

Every ten visits: memory (resident, in all and of each process, the kiosk first), bytes written to disks and open files of the kiosk
and of its decoders, and what lies in its working and temporary folder. Bytes count from the tenth visit on, when there has been one of
each kind: where a file is read for the first time, Linux writes when that was (``relatime``), and counts it as the reader's. A visit
can be cut off by the kiosk's limits of time where the machine is busy. ``ALLOCATOR`` makes resident memory that which is in use. The
exit code is 1 where a byte was written, a file lies there, files stayed open, or memory grew over the second half by ``LIMIT_MB`` or
more (``growth_mb``).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from skimage import data
from websockets.exceptions import WebSocketException

sys.path.append(str(Path(__file__).parent.parent / "tests"))
import models
from support import kiosk_server

from benchmarks.stages.machine import describe

LIMIT_MB = 1.0  # 10^6 bytes
#: glibc raises its threshold of mmap to the largest buffer that was freed. Then frames lie among small objects, and how long the heap is
#: depends on the order in which they come and go. With a threshold that stays, a buffer's memory is the system's again when it is
#: freed. And of two arenas less lies idle than of one for each thread.
ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
EVERY = 10
KINDS = ("still", "strip") * 4 + ("still", "clip")
LANGUAGES = ("en", "de", "ja", "ar")


def measure(visits: int) -> list[dict[str, Any]]:
    """What the kiosk uses, every ``EVERY`` visits."""
    samples: list[dict[str, Any]] = []
    photo = kiosk_server.encoded(data.astronaut())
    with tempfile.TemporaryDirectory() as model_folder, tempfile.TemporaryDirectory() as folder:
        model = models.save(Path(model_folder) / "tiny.onnx")
        words = [
            "--model",
            str(model),
            "--print-command",
            "cat {file}",
            "--prints-per-hour",
            "10000",
            "--still-minutes",
            "1440",
        ]
        began, cut_off = time.monotonic(), 0
        with kiosk_server.command(Path(folder), *words, **ALLOCATOR) as (process, url):
            used = kiosk_server.ProcessTree(process.pid)
            for number in track(range(visits + 1), console=Console(stderr=True), transient=True):
                if number:
                    language = LANGUAGES[number % len(LANGUAGES)]
                    try:
                        kiosk_server.whole_visit(url, photo, KINDS[number % len(KINDS)], language=language)
                    except (AssertionError, TimeoutError, WebSocketException, httpx.HTTPError):
                        cut_off += 1
                if number % EVERY == 0:
                    memory_mb = used.memory_mb
                    samples.append(
                        {
                            "visits": number,
                            "cut_off": cut_off,
                            "seconds": round(time.monotonic() - began, 1),
                            "memory_mb": round(sum(memory_mb), 3),
                            "process_mb": memory_mb,
                            "written_bytes": used.written_bytes,
                            "descriptors": used.descriptors,
                            "files": [path.name for path in Path(folder).iterdir()],
                        }
                    )
    return samples


def growth_mb(samples: list[dict[str, Any]]) -> float:
    """By how much memory grew in the second half: along the line of least squares through the lowest of each three samples in a row.

    Some samples find 2.4 MB more, which the next does not: three frames of a visit are that much. What a visit leaves is in every sample.
    """
    second_half = samples[len(samples) // 2 :]
    times, memory_mb = ([sample[name] for sample in second_half] for name in ("visits", "memory_mb"))
    lowest = [min(three) for three in zip(memory_mb, memory_mb[1:], memory_mb[2:], strict=False)]
    return float(np.polyfit(times[1:-1], lowest, 1)[0] * (times[-1] - times[0]))


def main(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the figures as JSON.")] = None,
    visits: Annotated[
        int, typer.Option(min=160, help="How many; the pictures that are kept fill up in the first 70.")
    ] = 500,
) -> None:
    about = describe()
    samples = measure(visits)
    first, tenth, middle, last = *samples[:2], samples[len(samples) // 2], samples[-1]
    written_bytes = last["written_bytes"] - tenth["written_bytes"]
    growth = growth_mb(samples)
    Console().print(
        f"{visits} visits, {last['cut_off']} cut off, in {last['seconds']:g} s; memory {middle['memory_mb']:.1f} MB at half and {last['memory_mb']:.1f} at the end, "
        f"a growth of {growth:.2f}; "
        f"{written_bytes} bytes written; open files before and after: {first['descriptors']}, {last['descriptors']}",
        soft_wrap=True,
    )
    if out:
        out.write_text(
            json.dumps(
                {"visits": visits, "growth_mb": round(growth, 3), "samples": samples, "machine": about}, indent=1
            )
            + "\n"
        )
    left = any(sample["files"] for sample in samples)
    if growth >= LIMIT_MB or written_bytes or left or last["descriptors"] > first["descriptors"] + 2:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
