"""The tables of ``benchmarks/README.md`` and the README's chart, from the committed results: ``python benchmarks/tables.py``.

The results come first, on an idle machine; ``benchmarks/README.md`` has the commands. The chart needs matplotlib.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README, CHART = HERE / "README.md", HERE / "chart.svg"
#: A stream that follows faces looks for others twice a second (``Stream(detect_every=0.5)``): at 30 frames a second.
FRAMES_A_DETECTION = 15
FP32, INT8 = "lgin.onnx: onnxruntime", "lgin-int8.onnx: onnxruntime"


def main() -> None:
    """Replace what stands between the markers of the README, and draw the chart."""
    bench, footprint, sizes, roofline = (
        json.loads((HERE / "results" / f"{name}.json").read_text())
        for name in ("bench", "footprint", "frame_sizes", "roofline")
    )
    parts = {"targets": table(bench, footprint), "frame sizes": frame_sizes(sizes), "roofline": roofs(roofline)}
    fill(README, parts)
    draw(bench)


def fill(path: Path, parts: dict[str, list[str]]) -> None:
    """Replace what stands between a file's markers, by their names."""
    text = path.read_text()
    for name, lines in parts.items():
        before, begin, rest = text.partition(f"<!-- {name} -->")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not begin or not end:
            raise SystemExit(f"{path} has no place for the table of {name}")
        text = before + begin + "\n" + "\n".join(lines) + "\n" + end + after
    path.write_text(text)


def markdown(head: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """A table of Markdown."""
    cells = [list(map(str, row)) for row in (head, *rows)]
    return [f"| {' | '.join(row)} |" for row in (cells[0], ["---"] * len(cells[0]), *cells[1:])]


def made(about: dict[str, Any]) -> str:
    return f"{about['cpu']}, {about['cores']} cores, commit {about['commit'][:12]}, {about['date'][:10]}"


def frame_sizes(sizes: dict[str, Any]) -> list[str]:
    """Detection and a followed face, a row a frame size."""
    rows = [row for row in sizes["rows"] if row["stage"] != "yardstick"]
    times = {(row["size"], row["stage"]): row for row in rows}
    return [
        f"{made(sizes['machine'])}, all cores; R18 is {sizes['rows'][0]['median_ms']:.1f} ms.",
        "",
        *markdown(
            ("frame", "detect, ms", "followed face, ms", "x R18"),
            (
                (
                    size,
                    f"{times[size, 'detect']['median_ms']:.1f}",
                    f"{face['median_ms']:.1f}",
                    f"{face['times_resnet18']:.2f}",
                )
                for (size, stage), face in times.items()
                if stage == "tracked frame"
            ),
        ),
    ]


def roofs(roofline: dict[str, Any]) -> list[str]:
    """Stages on one thread against the machine's ceilings."""
    limits = roofline["machine"]["ceilings"]
    return [
        (
            f"{made(roofline['machine'])}. Ceilings of one thread, measured in the same run: {limits['gflops']:.0f} Gop/s in float32, "
            f"{limits['int8_gops']:.0f} in 8 bits, {limits['gb_s']:.1f} GB/s copied."
        ),
        "",
        *markdown(
            ("stage", "type", "ms", "Gop", "MB", "Gop/s", "op/byte", "bound by", "fraction of it"),
            (
                (
                    row["stage"] if row["stage"] != "yardstick" else "ResNet-18",
                    row["dtype"],
                    f"{row['median_ms']:.2f}",
                    f"{row['gops']:.3f}",
                    f"{row['mb']:.1f}",
                    f"{1e3 * row['gops'] / row['median_ms']:.0f}",
                    f"{1e3 * row['gops'] / row['mb']:.0f}",
                    row["bound"],
                    f"{row['fraction']:.0%}",
                )
                for row in roofline["rows"]
                if "fraction" in row
            ),
        ),
    ]


def draw(bench: dict[str, Any]) -> None:
    """Two panels of bars in multiples of the yardstick: the engine, and cropping and pasting a face."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "lgin-edge", "font.size": 10})
    from matplotlib import pyplot as plt

    def bars(table: str, stage: str) -> dict[str, float]:
        found = [row for row in bench["rows"] if row["table"] == table and row["stage"] == stage and row["ages"] == 1]
        return {row["candidate"]: row["times_resnet18"] for row in found}

    engine = bars("baseline", "model") | bars("stages", "model")
    panels = (
        (
            f"One face at one age, {bench['machine']['cores']} threads",
            {
                "lgin-edge, int8": engine[INT8],
                "lgin-edge": engine[FP32],
                "ResNet-18, 256x256": 1.0,
                "its network in torch.compile": engine.get("torch.compile"),
                "its network in PyTorch": engine.get("pytorch eager"),
            },
        ),
        (
            "Crop and paste a face of 300 px, one thread",
            {
                "lgin-edge": bars("kernels", "crop + paste")["kernels"],
                "OpenCV and NumPy": bars("kernels", "crop + paste").get("opencv"),
            },
        ),
    )
    figure, axes = plt.subplots(2, 1, figsize=(7.2, 3.4), height_ratios=[5, 2], layout="constrained")
    for axis, (title, values) in zip(axes, panels, strict=True):
        there = {name: value for name, value in values.items() if value is not None}
        colors = ["#d97706" if name.startswith("lgin-edge") else "#64748b" for name in there]
        drawn = axis.barh(list(there), list(there.values()), color=colors, height=0.72)
        axis.bar_label(drawn, labels=[f"{value:.2f}" for value in there.values()], padding=4)
        axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
        axis.set_xlim(0, 1.12 * max(there.values()))
        axis.invert_yaxis()
        axis.xaxis.set_visible(False)
        axis.spines[:].set_visible(False)
        axis.tick_params(left=False)
    figure.supxlabel("time, in multiples of ResNet-18 in ONNX Runtime on as many threads, in one run", fontsize=9)
    figure.savefig(CHART, metadata={"Date": None})


def table(bench: dict[str, Any], footprint: dict[str, Any]) -> list[str]:
    """The lines between the markers."""

    def find(name: str, stage: str, **wanted: Any) -> dict[str, Any]:
        rows = [row for row in bench["rows"] if row["table"] == name and row["stage"] == stage]
        return next(row for row in rows if all(row[key] == value for key, value in wanted.items()))

    engine, six = (find("stages", "model", ages=ages, candidate=FP32) for ages in (1, 6))
    small, yardstick = find("stages", "model", ages=1, candidate=INT8), find("stages", "yardstick")
    tracked, detect = find("stages", "tracked frame", candidate=FP32), find("stages", "detect")
    frame = tracked["times_resnet18"] + detect["times_resnet18"] / FRAMES_A_DETECTION
    glue = find("threads", "crop", threads=1)["times_resnet18"] + find("threads", "paste", threads=1)["times_resnet18"]
    second = find("threads", "model", threads=1)["median_ms"] / find("threads", "model", threads=2)["median_ms"]
    first = next(row["median"] for row in footprint["rows"] if row["candidate"] == "first age(), 1280x720")
    threads, r18 = engine["threads"], "times_resnet18"
    timeline = six["median_ms"] / engine["median_ms"]
    rows = [
        (f"engine, one face, {threads} threads", "<= 0.8 R18", f"{engine[r18]:.2f}", 0.8 - engine[r18]),
        ("the same in int8", "1.4x faster", f"{engine[r18] / small[r18]:.2f}x", engine[r18] / small[r18] - 1.4),
        ("whole frame, 720p, one face, detection twice a second", "<= 1.0 R18", f"{frame:.2f}", 1.0 - frame),
        ("crop + paste of one face, one thread", "<= 0.08 R18", f"{glue:.3f}", 0.08 - glue),
        ("engine at 6 ages against one", "<= 3", f"{timeline:.2f}", 3 - timeline),
        ("second thread on the engine", ">= 1.7x", f"{second:.2f}x", second - 1.7),
        (
            "peak memory of a process, 720p frames",
            "<= 250 MB",
            f"{tracked['peak_mb']:.0f} MB",
            250 - tracked["peak_mb"],
        ),
        ("process start to the first aged 720p frame", "<= 1.0 s", f"{first:.2f} s", 1.0 - first),
    ]
    opencv = opencv_times(bench["rows"])
    if opencv is not None:
        rows.insert(
            4, ("crop + paste against OpenCV and NumPy, one thread", ">= 3x faster", f"{opencv:.1f}x", opencv - 3)
        )
    noise = max(row["cv"] for row in (engine, yardstick, tracked))
    return [
        (
            f"{made(bench['machine'])}; R18 is {yardstick['median_ms']:.1f} ms on {threads} threads. Samples deviate by up to "
            f"{noise:.0%} of the mean."
        ),
        "",
        *markdown(
            ("what", "target", "measured", ""),
            ((what, target, value, "reached" if spare >= 0 else "missed") for what, target, value, spare in rows),
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
