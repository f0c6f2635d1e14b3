"""A target of ``targets.py`` under atheris: ``atheris_target.py NAME [libFuzzer's options] CORPUS``; ``campaign.py`` runs it."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
with atheris.instrument_imports(include=["lgin_edge", "PIL", "targets"]):
    import targets

atheris.Setup([sys.argv[0], *sys.argv[2:]], targets.TARGETS[sys.argv[1]])
atheris.Fuzz()
