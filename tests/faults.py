"""What tests of faults share: limits, and programs in processes of their own, which may crash, hang or be killed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

#: Seconds after which a program counts as hanging. None needs ten on an idle machine.
HANGS = 300


def run(program: str, env: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """A program in a fresh interpreter that finds this package and the modules of the tests. ``env``: ``subprocess_env``."""
    paths = (env["PYTHONPATH"], str(Path(__file__).parent))
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=env | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONFAULTHANDLER": "1"},
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )


def succeed(program: str, env: dict[str, str], *arguments: object, code: int = 0) -> str:
    """What a program prints that ends with ``code`` and has nothing to complain about."""
    done = run(program, env, *arguments)
    assert (done.returncode, done.stderr) == (code, ""), f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def limit(kind: int, value: int) -> Iterator[None]:
    """Lower a limit of this process (``resource.RLIMIT_...``) for a while."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def memory_limit(more: int) -> AbstractContextManager[None]:
    """For a while, let this process have ``more`` bytes of address space than it has now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return limit(resource.RLIMIT_AS, pages * resource.getpagesize() + more)
