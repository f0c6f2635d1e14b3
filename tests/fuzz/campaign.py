"""Runs the fuzz targets and keeps count of what was run: ``python tests/fuzz/campaign.py --executions 1000000``.

The targets of Python need atheris (``pip install lgin-edge[fuzz]``), those of C++ clang++ (``--clang``, libFuzzer with
AddressSanitizer and UndefinedBehaviorSanitizer). The corpus grows in ``build/fuzz``; ``--minimise`` writes what covers as much
into ``tests/fuzz/corpus``, a zip file a target, which ``tests/test_fuzz_corpus.py`` replays with neither of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CORPUS = HERE / "corpus"
BUILD = ROOT / "build" / "fuzz"
#: Targets of C++: ``native_NAME.cpp``.
NATIVE = ("plan", "crop", "paste", "block")
_KERNELS = (
    "plan.cpp",
    "block.cpp",
    "cpu/edit_paste.cpp",
    "cpu/region_crop.cpp",
    "cpu/region_paste.cpp",
    "cuda/finite_check.cu",
    "cuda/region_crop.cu",
    "cuda/region_paste.cu",
)
#: As CMakeLists.txt compiles them; a conversion to int that overflows is undefined, too, and not in -fsanitize=undefined.
FLAGS = ("-std=c++17", "-ffp-contract=off", "-fno-trapping-math")
SANITIZERS = "address,undefined,float-cast-overflow"
#: Looking for uses of a stack after its function's return makes everything 2.5 times as slow, and the kernels keep no such pointer.
_ASAN = "detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=0:malloc_context_size=4:quarantine_size_mb=16"
#: Bytes of an input. libFuzzer cuts what is longer, seeds too, and EXIF of 4096 bytes costs too little to be found.
_MOST_BYTES, _MOST_BYTES_OF = 4096, {"image": 1 << 15}
#: Executions after which the counts are written down.
_PORTION = 250_000


def main() -> int:
    """0, or 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="TARGET", help="which (default: all; --list shows them)")
    parser.add_argument("--list", action="store_true", help="say which targets there are, and end")
    parser.add_argument("--executions", type=int, default=100_000, help="of each target (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="the most for each target")
    parser.add_argument(
        "--timeout", type=int, default=60, help="seconds that one execution may take (default: %(default)s)"
    )
    parser.add_argument("--clang", default="clang++-19", help="a clang++ with libFuzzer (default: %(default)s)")
    parser.add_argument(
        "--minimise", action="store_true", help="then write the corpus of each target to tests/fuzz/corpus"
    )
    parser.add_argument(
        "-o", "--output", type=Path, help="a JSON file of the counts; those in it already are added to (finds, too)"
    )
    options = parser.parse_args()
    python = python_targets()
    known = (*NATIVE, *python)
    if options.list:
        print("\n".join(known))
        return 0
    unknown = set(options.names) - set(known)
    if unknown:
        parser.error(f"no targets {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    names = options.names or known
    if set(names) & set(NATIVE):
        compiler = [options.clang, "-O2", "-g1", "-fsanitize=fuzzer-no-link"]
        build_native(compiler, [name for name in NATIVE if name in names], "-fsanitize=fuzzer", BUILD)
    finds = 0
    for name in names:
        finds += run(name, options)
        if options.minimise:
            minimise(name, options)
    return 1 if finds else 0


def python_targets() -> list[str]:
    """Their names, without importing what they test: atheris must see that import."""
    return re.findall(r"^@target\ndef (\w+)", (HERE / "targets.py").read_text(), re.MULTILINE)


def run(name: str, options: argparse.Namespace) -> int:
    """Run a target for the executions and seconds asked for, in portions; how many inputs broke it (it stops at the first)."""
    corpus = working_corpus(name)
    end, left, finds = time.monotonic() + options.seconds, options.executions, 0
    while left > 0 and time.monotonic() < end and not finds:
        began, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        arguments = [f"-runs={min(left, _PORTION)}", "-print_final_stats=1"]
        if options.seconds < float("inf"):
            arguments.append(f"-max_total_time={max(1, int(end - time.monotonic()))}")
        log, status = libfuzzer(name, [*arguments, str(corpus)], options.timeout)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = last(r"stat::number_of_executed_units:\s*(\d+)", log)
        if status or not done:
            finds = 1
            print(log[-4000:], file=sys.stderr)
        left -= max(done, 1)
        counted = {
            "executions": done,
            "seconds": round(time.monotonic() - began, 1),
            "cpu_seconds": round(after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime, 1),
            "finds": finds,
            "edges": last(r"cov: (\d+)", log),
            "features": last(r" ft: (\d+)", log),
            "corpus_files": sum(1 for _ in corpus.iterdir()),
        }
        print(f"{name}: {json.dumps(counted)}", flush=True)
        if options.output is not None:
            write_down(options.output, name, counted, options.clang)
    return finds


def libfuzzer(name: str, arguments: list[str], timeout: int) -> tuple[str, int]:
    """What a target writes and its exit status."""
    (BUILD / "finds").mkdir(exist_ok=True)
    program = (
        [str(BUILD / f"native_{name}")] if name in NATIVE else [sys.executable, str(HERE / "atheris_target.py"), name]
    )
    common = [
        f"-artifact_prefix={BUILD / 'finds' / name}-",
        f"-timeout={timeout}",
        "-rss_limit_mb=3000",
        f"-max_len={_MOST_BYTES_OF.get(name, _MOST_BYTES)}",
    ]
    done = subprocess.run(
        [*program, *common, *arguments],
        env=os.environ | {"ASAN_OPTIONS": _ASAN, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.stdout, done.returncode


def last(pattern: str, text: str) -> int:
    """The last number that a pattern finds; 0 if none."""
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def working_corpus(name: str) -> Path:
    """The folder in which a target's corpus grows, begun with the committed one."""
    folder = BUILD / "corpus" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in committed(name):
        (folder / file).write_bytes(data)
    if name not in NATIVE:
        subprocess.run([sys.executable, str(HERE / "seeds.py"), name, str(folder)], check=True)
    return folder


def committed(name: str) -> list[tuple[str, bytes]]:
    """Names and bytes of a target's committed corpus."""
    path = CORPUS / f"{name}.zip"
    if not path.is_file():
        return []
    with zipfile.ZipFile(path) as archive:
        return [(file, archive.read(file)) for file in archive.namelist()]


def minimise(name: str, options: argparse.Namespace) -> None:
    """Write the fewest inputs that cover what the working corpus covers; two runs write the same bytes."""
    small = BUILD / "small" / name
    shutil.rmtree(small, ignore_errors=True)
    small.mkdir(parents=True)
    log, status = libfuzzer(name, ["-set_cover_merge=1", str(small), str(working_corpus(name))], options.timeout)
    if status or not any(small.iterdir()):
        raise SystemExit(f"{name}: its corpus could not be merged:\n{log[-2000:]}")
    CORPUS.mkdir(exist_ok=True)
    with zipfile.ZipFile(CORPUS / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(small.iterdir()):
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes(), zipfile.ZIP_DEFLATED)
    print(f"{name}: {sum(1 for _ in small.iterdir())} inputs kept", flush=True)


def build_native(compiler: Sequence[str], names: Sequence[str], main: str, folder: Path) -> list[Path]:
    """Build targets of C++, with the sanitizers and with the CUDA kernels for the host (``tests/cuda_on_host``).

    Args:
        compiler: with its options.
        names: of ``NATIVE``.
        main: what they are linked with: an option of libFuzzer's, or a source.
        folder: where they are built.
    """
    folder.mkdir(parents=True, exist_ok=True)
    includes = [f"-I{one}" for one in (ROOT / "csrc", HERE, HERE.parent / "cuda_on_host")]
    common = [*compiler, *FLAGS, f"-fsanitize={SANITIZERS}", "-fno-sanitize-recover=all", *includes, "-x", "c++"]
    sources = {name: ROOT / "csrc" / name for name in _KERNELS} | {
        f"native_{name}": HERE / f"native_{name}.cpp" for name in names
    }
    objects = {name: folder / f"{name.replace('/', '_')}.o" for name in sources}
    for name, source in sources.items():
        subprocess.run([*common, "-c", str(source), "-o", str(objects[name])], check=True)
    programs = []
    for name in names:
        programs.append(folder / f"native_{name}")
        parts = [str(objects[one]) for one in (*_KERNELS, f"native_{name}")]
        link = [*compiler, *FLAGS, f"-fsanitize={SANITIZERS}", *parts, main, "-o", str(programs[-1])]
        subprocess.run(link, check=True)
    return programs


def write_down(path: Path, name: str, counted: dict[str, Any], clang: str) -> None:
    """Add a run's counts to a file of results."""
    data: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    rows = {row["name"]: row for row in data.get("targets", [])}
    row = rows.setdefault(name, {"name": name})
    for key, value in counted.items():
        adds_up = key in ("executions", "seconds", "cpu_seconds", "finds")
        row[key] = round(row.get(key, 0) + value, 1) if adds_up else value
    row["commit"] = commit()
    rows = dict(sorted(rows.items()))
    total = {
        key: round(sum(one[key] for one in rows.values()), 1)
        for key in ("executions", "seconds", "cpu_seconds", "finds")
    }
    data |= {
        "machine": machine(),
        "commit": commit(),
        "tools": tools(clang),
        "total": total,
        "targets": list(rows.values()),
    }
    path.write_text(json.dumps(data, indent=1) + "\n")


def machine() -> str:
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def commit() -> str:
    """Of the checkout, with ``+changes`` if what is tested was changed since."""
    head = output("git", "rev-parse", "HEAD")
    return head + ("+changes" if output("git", "status", "--porcelain", "lgin_edge", "csrc", "tests/fuzz/*.*") else "")


def tools(clang: str) -> dict[str, str]:
    found = {"python": platform.python_version(), "clang": output(clang, "--version").partition("\n")[0]}
    packages = ("atheris", "pillow", "numpy", "pydantic", "fastapi")
    return found | {one.name.lower(): one.version for one in metadata.distributions() if one.name.lower() in packages}


def output(*command: str) -> str:
    """What a command prints; nothing if it is not there or fails."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
