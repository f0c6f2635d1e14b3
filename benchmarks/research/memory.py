"""Peak memory of a stage, in a process of its own, so that neither the bench nor another stage counts.

``python -m benchmarks.research.memory STAGE MODEL PROVIDER THREADS AGES`` is that process; it prints megabytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import lgin_edge
from benchmarks.stages import stages

_CALLS = 3


def peak(stage: str, model: Path, provider: str, threads: int, ages: int = 1, timeout: float = 60.0) -> float | None:
    """Most resident memory of a process that loads what a stage needs and runs it a few times, MB of 2^20 bytes.

    None where this system does not tell, or where it took longer than ``timeout`` seconds.
    """
    command = [sys.executable, "-m", __name__, stage, str(model), provider, str(threads), str(ages)]
    package = str(Path(lgin_edge.__file__).parent.parent)
    paths = [package, str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return None
    text = done.stdout.strip()
    return float(text) if done.returncode == 0 and text else None


def own_peak() -> float | None:
    """Most resident memory of this process so far, MB."""
    # Not getrusage where it can be helped: its maximum is inherited from the process that started this one.
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main(stage: str, model: str, provider: str, threads: str, ages: str) -> None:
    with ExitStack() as stack:
        (found,) = stages.open_models([Path(model)], stack)
        candidates = stages.build(stage, found, stages.Target("", int(threads), stack, provider))
        candidate = next(one for one in candidates if one.ages == int(ages))
        for _ in range(_CALLS):
            candidate.answer()
        most = own_peak()
    print("" if most is None else round(most, 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
