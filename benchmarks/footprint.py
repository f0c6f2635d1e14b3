"""Import time, time to the first aged picture, and peak memory: ``python benchmarks/footprint.py [-o FILE.json]``.

Every sample is a process of its own; the candidates take turns, so that the machine's drift is shared. The picture is
scikit-image's astronaut (512x512), the same in a 720p frame, and enlarged to 12 megapixels in a 4000x3000 JPEG. Wall times
include starting the interpreter. Not measured: a cold disk cache (one unmeasured round comes first).
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.stages.machine import cpu

AGE = "import lgin_edge, numpy; from PIL import Image; t = lgin_edge.Transformer(); t.age(Image.open({path!r}), group=3); "
PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"

#: name -> (code to run, what is read: wall seconds of the process, or the MB that it prints)
CANDIDATES = {
    "python -c pass": ("pass", "s"),
    "import numpy": ("import numpy", "s"),
    "import lgin_edge": ("import lgin_edge", "s"),
    "import onnxruntime": ("import onnxruntime", "s"),
    "first age(), 512x512": (AGE.replace("{path!r}", "{small!r}"), "s"),
    "first age(), 1280x720": (AGE.replace("{path!r}", "{frame!r}"), "s"),
    "first age(), 12 megapixels": (AGE.replace("{path!r}", "{large!r}"), "s"),
    "peak memory, import onnxruntime": ("import onnxruntime; " + PEAK, "MB"),
    "peak memory, age() of 12 megapixels": (AGE.replace("{path!r}", "{large!r}") + PEAK, "MB"),
}


def pictures(folder: Path) -> dict[str, str]:
    """The astronaut as a small PNG, in a 1280x720 PNG and in a 4000x3000 JPEG."""
    from PIL import Image
    from skimage import data

    astronaut = Image.fromarray(data.astronaut())
    small, frame, large = folder / "small.png", folder / "frame.png", folder / "large.jpg"
    astronaut.save(small)
    wide = Image.new("RGB", (1280, 720), (90, 110, 130))
    wide.paste(astronaut.resize((720, 720), Image.Resampling.LANCZOS), (280, 0))
    wide.save(frame)
    wide = Image.new("RGB", (4000, 3000), (90, 110, 130))
    wide.paste(astronaut.resize((3000, 3000), Image.Resampling.LANCZOS), (500, 0))
    wide.save(large, quality=92)
    return {"small": str(small), "frame": str(frame), "large": str(large)}


def machine() -> dict[str, str]:
    """What the figures depend on."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], check=False, capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return {
        "cpu": cpu(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        **{name: metadata.version(name) for name in ("lgin-edge", "numpy", "onnxruntime", "pillow")},
    }


def main(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the samples as JSON.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Samples of each candidate.")] = 7,
) -> None:
    samples: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    with tempfile.TemporaryDirectory() as folder:
        paths = pictures(Path(folder))
        for turn in track(range(rounds + 1), description="measuring", transient=True):
            for name, (code, unit) in CANDIDATES.items():
                start = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-c", code.format(**paths)],
                    check=False,
                    capture_output=True,
                    text=True,
                    cwd=folder,
                )
                wall = time.perf_counter() - start
                if done.returncode:
                    raise SystemExit(f"{name} failed:\n{done.stderr}")
                if turn:
                    samples[name].append(wall if unit == "s" else float(done.stdout))
    rows = []
    table = Table("candidate", "median", "spread (min to max)", "unit")
    for name, values in samples.items():
        unit, median = CANDIDATES[name][1], statistics.median(values)
        rows.append(
            {"candidate": name, "unit": unit, "median": round(median, 4), "samples": [round(v, 4) for v in values]}
        )
        table.add_row(name, f"{median:.3g}", f"{min(values):.3g} to {max(values):.3g}", unit)
    Console().print(table)
    if out:
        out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
