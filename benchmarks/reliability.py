"""The tables of ``docs/reliability.md``, from the committed results: ``python benchmarks/reliability.py``.

The results come first; ``docs/reliability.md`` has the commands.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from endurance import memory
from tables import fill, made, markdown

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "reliability.md"
#: What the files of tests are about.
FAULTS = {
    "test_faults_gpu.py": "GPU lost, calls broken off (stand-in for CUDA)",
    "test_faults_memory.py": "out of memory",
    "test_faults_process.py": "interrupted, forked, ended with work in flight",
    "test_faults_threads.py": "eight threads on one Transformer",
    "test_faults_writing.py": "disk full, killed while writing",
}


def read(name: str) -> dict[str, Any]:
    """A file of results; empty where there is none."""
    path = HERE / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def about(machine: dict[str, Any]) -> str:
    return made({"date": "", **machine}).rstrip(", ")


def missing(command: str) -> list[str]:
    return [f"Not measured yet: `{command}`."]


def faults(results: dict[str, Any]) -> list[str]:
    if not results:
        return missing("python benchmarks/endurance.py faults -o benchmarks/results/endurance.json")
    rows = [
        (FAULTS.get(row["file"], row["file"]), f"`{row['file']}`", row["passed"], row["failed"], row["skipped"])
        for row in results["files"]
    ]
    return [
        f"{about(results['machine'])}.",
        "",
        *markdown(("fault", "tests", "passed", "failed", "skipped"), rows),
    ]


def runs(endurance: dict[str, Any], soak: dict[str, Any]) -> list[str]:
    """The long runs, a row each."""
    names = {
        "kernels": "calls of `region_crop` and `region_paste`, small squares",
        "threads": "calls by eight threads on one Transformer, bundled models",
    }
    rows = [
        (
            f"{one['calls']:,} {names[name]}",
            one["wrong"],
            "{:.1f} to {:.1f} MB".format(*memory(one["samples"])),
            one["descriptors"][2] - one["descriptors"][0],
            one["threads"][2] - one["threads"][0],
            f"{one['seconds'] / 60:.1f}",
        )
        for name in names
        if (one := endurance.get(name))
    ]
    rows += [
        (
            f"{one['frames_out']:,} frames of a {one['source']} stream, tiny model",
            "not compared",
            "{:.1f} to {:.1f} MB".format(*memory(one["samples"])),
            one["descriptors_left"],
            one["threads_after"] - 1,
            f"{one['frames_out'] / one['frames_per_second'] / 60:.1f}",
        )
        for one in soak.get("sources", [])
    ]
    if not rows:
        return missing("python benchmarks/endurance.py -o benchmarks/results/endurance.json")
    made_on = {about(one["machine"]) for one in (*endurance.values(), soak) if one}
    head = ("what", "results that differ", "memory, half to end", "descriptors left", "threads left", "minutes")
    return [f"{'; '.join(sorted(made_on))}.", "", *markdown(head, rows)]


def fuzzing(results: dict[str, Any]) -> list[str]:
    if not results.get("targets"):
        return ["Not measured yet: there is no `benchmarks/results/fuzz.json`."]
    targets = results["targets"]
    rows = [
        (
            one["name"],
            f"{int(one['executions']):,}",
            f"{one['seconds'] / 60:.0f}",
            int(one["finds"]),
            one["corpus_files"],
        )
        for one in targets
    ]
    total = sum(one["executions"] for one in targets)
    return [
        f"{results['machine']}, commit {results['commit'][:12]}. {int(total):,} executions in all.",
        "",
        *markdown(("target", "executions", "minutes", "finds", "files in the corpus"), rows),
    ]


def main() -> None:
    """Replace what stands between the markers of the document."""
    endurance = read("endurance")
    tests = endurance.pop("faults", {})
    soak = read("stream").get("soak", {})
    fill(DOCUMENT, {"faults": faults(tests), "long runs": runs(endurance, soak), "fuzzing": fuzzing(read("fuzz"))})


if __name__ == "__main__":
    main()
