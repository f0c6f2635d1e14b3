"""Building from source says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from doc_blocks import ROOT, needs_checkout

pytestmark = needs_checkout


def test_without_a_compiler_the_error_says_what_to_install(tmp_path: Path) -> None:
    cmake, ninja = (shutil.which(name) for name in ("cmake", "ninja"))
    if not cmake or not ninja:
        pytest.skip("needs cmake and ninja: pip install 'lgin-edge[dev]'")
    env = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX")} | {"PATH": str(tmp_path)}
    command = [cmake, "-S", ROOT, "-B", tmp_path / "build", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode
    said = " ".join(done.stderr.split())
    assert "no C++ compiler found" in said
    assert "apt install g++ python3-dev" in said
