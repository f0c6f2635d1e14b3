"""What a run was made on. What cannot be read is left out, and nothing here fails."""

from __future__ import annotations

import csv
import os
import platform
import shutil
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import lgin_edge
from lgin_edge import _process

#: Cores that this process may use.
usable_cores = _process.usable_cores
PACKAGES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "opencv-python",
    "torch",
    "openvino",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "cuda-python",
)
_GPU_FIELDS = {
    "name": "name",
    "driver_version": "driver",
    "clocks.sm": "clock_mhz",
    "clocks.mem": "memory_clock_mhz",
    "clocks.max.sm": "max_clock_mhz",
    "power.limit": "power_limit_w",
    "persistence_mode": "persistence",
    "temperature.gpu": "celsius",
}


def describe() -> dict[str, Any]:
    """CPU, memory, system, versions, commit and GPUs, as far as this machine tells."""
    facts: dict[str, Any] = {
        "cpu": cpu(),
        "cores": usable_cores(),
        "architecture": platform.machine(),
        "board": _text("/proc/device-tree/model"),
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "clock_mhz": _clock(),
        "max_clock_mhz": _mhz("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"),
        "memory_mb": _memory(),
        "load": load(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "lgin_edge": lgin_edge.__version__,
        "versions": _versions(),
        "commit": _commit(),
        "providers": providers(),
        "gpus": _gpus(),
        "power_mode": _power_mode(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    return {name: value for name, value in facts.items() if value not in (None, "", [], {})}


def load() -> float | None:
    """Processes that ran or waited for a core in the last minute, on average; None where this system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _mhz(path: str) -> int | None:
    text = _text(path)
    return int(text) // 1000 if text.isdigit() else None


def _lines(path: str, name: str) -> list[str]:
    """Values of the lines ``name : value`` of a file of /proc."""
    pairs = (line.partition(":") for line in _text(path).splitlines())
    return [value.strip() for key, _, value in pairs if key.strip() == name]


def cpu() -> str:
    """Its name, as far as the system tells."""
    return next(iter(_lines("/proc/cpuinfo", "model name")), "") or platform.processor() or platform.machine()


def _clock() -> float | None:
    """Of the first core, now."""
    now = _mhz("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    clocks = _lines("/proc/cpuinfo", "cpu MHz")
    return now if now is not None else round(float(clocks[0])) if clocks else None


def _memory() -> int | None:
    total = _lines("/proc/meminfo", "MemTotal")
    return int(total[0].split()[0]) // 1024 if total else None


def _versions() -> dict[str, str]:
    installed = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    return {package: installed[package] for package in PACKAGES if package in installed}


def providers() -> list[str]:
    """Of the ONNX Runtime that is installed."""
    try:
        import onnxruntime
    except ImportError:
        return []
    return list(onnxruntime.get_available_providers())


def _commit() -> str:
    """Of the checkout that this package lies in, with ``+changes`` if tracked files of it were changed."""
    root = Path(lgin_edge.__file__).parent.parent
    if not (root / ".git").exists():
        return ""
    commit = _output(["git", "-C", str(root), "rev-parse", "HEAD"]).strip()
    changes = _output(
        ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no", "--", "lgin_edge", "csrc"]
    )
    return commit + ("+changes" if commit and changes.strip() else "")


def _gpus() -> list[dict[str, str]]:
    query = ["nvidia-smi", f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader,nounits"]
    rows = csv.reader(_output(query).splitlines(), skipinitialspace=True)
    gpus = (dict(zip(_GPU_FIELDS.values(), row, strict=False)) for row in rows if row)
    return [{name: value for name, value in gpu.items() if not value.startswith("[")} for gpu in gpus]


def _power_mode() -> str:
    """Of a Jetson: nvpmodel's name for it."""
    lines = _output(["nvpmodel", "-q"]).splitlines()
    return next((line.partition(":")[2].strip() for line in lines if "Power Mode" in line), "")


def _output(command: list[str]) -> str:
    """What a command prints; nothing if it is not there, fails or takes longer than five seconds."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""
