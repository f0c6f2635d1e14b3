"""The table of targets in ``benchmarks/README.md``, from the committed results: ``python benchmarks/targets.py``.

python -m lgin_edge.bench --baseline --json benchmarks/results/bench.json     # first, on an idle machine
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README, BEGIN, END = HERE / "README.md", "<!-- targets -->", "<!-- /targets -->"
#: A stream that follows faces looks for others twice a second (``Stream(detect_every=0.5)``): at 30 frames a second.
FRAMES_A_DETECTION = 15


def main() -> None:
    """Replace what stands between the markers of the README."""
    bench = json.loads((HERE / "results" / "bench.json").read_text())
    footprint = json.loads((HERE / "results" / "footprint.json").read_text())
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(before + BEGIN + "\n" + "\n".join(table(bench, footprint)) + "\n" + END + after)


def table(bench: dict[str, Any], footprint: dict[str, Any]) -> list[str]:
    """The lines between the markers."""

    def find(name: str, stage: str, **wanted: Any) -> dict[str, Any]:
        rows = [row for row in bench["rows"] if row["table"] == name and row["stage"] == stage]
        return next(row for row in rows if all(row[key] == value for key, value in wanted.items()))

    engine, six = (find("stages", "engine", ages=ages, candidate="onnxruntime") for ages in (1, 6))
    yardstick = find("stages", "yardstick")
    tracked, detect = find("stages", "tracked frame"), find("stages", "detect")
    frame = tracked["times_resnet18"] + detect["times_resnet18"] / FRAMES_A_DETECTION
    glue = find("threads", "crop", threads=1)["times_resnet18"] + find("threads", "paste", threads=1)["times_resnet18"]
    second = find("threads", "engine", threads=1)["median_ms"] / find("threads", "engine", threads=2)["median_ms"]
    first = next(row["median"] for row in footprint["rows"] if row["candidate"] == "first age(), 512x512")
    threads = engine["threads"]
    rows = [
        (
            f"engine, one face, {threads} threads",
            "<= 0.8 R18",
            f"{engine['times_resnet18']:.2f}",
            0.8 - engine["times_resnet18"],
        ),
        ("whole frame, 720p, one face, detection twice a second", "<= 1.0 R18", f"{frame:.2f}", 1.0 - frame),
        ("crop + paste of one face, one thread", "<= 0.08 R18", f"{glue:.3f}", 0.08 - glue),
        (
            "engine at 6 ages against one",
            "<= 3",
            f"{six['median_ms'] / engine['median_ms']:.2f}",
            3 - six["median_ms"] / engine["median_ms"],
        ),
        ("second thread on the engine", ">= 1.7x", f"{second:.2f}x", second - 1.7),
        (
            "peak memory of a process, 720p frames",
            "<= 250 MB",
            f"{tracked['peak_mb']:.0f} MB",
            250 - tracked["peak_mb"],
        ),
        ("process start to the first aged picture (512x512, not 720p)", "<= 1.0 s", f"{first:.2f} s", 1.0 - first),
    ]
    opencv = opencv_times(bench["rows"])
    if opencv is not None:
        rows.insert(
            3, ("crop + paste against OpenCV and NumPy, one thread", ">= 3x faster", f"{opencv:.1f}x", opencv - 3)
        )
    about = bench["machine"]
    noise = max(row["cv"] for row in (engine, yardstick, tracked))
    made = f"{about['cpu']}, {about['cores']} cores, commit {about['commit'][:12]}, {about['date'][:10]}"
    return [
        f"{made}; R18 is {yardstick['median_ms']:.1f} ms on {threads} threads. Samples deviate by up to {noise:.0%} of the mean.",
        "",
        "| what | target | measured | |",
        "|---|---|---|---|",
        *(
            f"| {what} | {target} | {value} | {'reached' if spare >= 0 else 'missed'} |"
            for what, target, value, spare in rows
        ),
    ]


def opencv_times(rows: list[dict[str, Any]]) -> float | None:
    """How many times longer OpenCV's composition takes for crop and paste; None if it was not measured."""
    total: dict[str, float] = {}
    for row in rows:
        if row["stage"] == "crop + paste" and row["threads"] == 1:
            total[row["candidate"]] = row["median_ms"]
    other = next((time for name, time in total.items() if "opencv" in name.lower()), None)
    return None if other is None else other / total["kernels"]


if __name__ == "__main__":
    main()
