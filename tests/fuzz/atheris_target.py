"""A target of ``targets.py`` under atheris: ``atheris_target.py NAME [libFuzzer's options] CORPUS``; ``campaign.py`` runs it."""

from __future__ import annotations

import shlex
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
# An editable install has a finder and loader of its own, whose modules atheris does not trace: the checkout comes first.
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]
sys.meta_path.insert(0, PathFinder)
with atheris.instrument_imports(
    include=["lgin_edge", "PIL", "targets", "webdataset_shards", "arguments", "kiosk_alone"]
):
    import targets

# libFuzzer starts itself again to merge a corpus, by what it takes for its name, through a shell.
myself = shlex.join([sys.executable, *sys.argv[:2]])
atheris.Setup([myself, *sys.argv[2:]], targets.TARGETS[sys.argv[1]])
atheris.Fuzz()
