"""Nothing of the run time unpickles, evaluates or shells out what it reads: a file can be damaged, but not a program."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lgin_edge

PACKAGE = Path(lgin_edge.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "yaml",
    "torch",
    "subprocess",
}
#: What some files may, and why: a YuNet file is tried in a process of its own, since OpenCV may end the process that loads it;
#: pictures of strangers are decoded in some that can be ended; fontconfig is asked for a font, and the operator's own command
#: prints. No shell reads any of it: what runs there is a constant, a path or a number an argument.
ALLOWED = {
    name: ["subprocess"] for name in ("detectors/yunet.py", "image_decoders.py", "fonts.py", "kiosk/printing.py")
}
CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "memmap", "fromregex"}


def offences(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names if one.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] in MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            loads = (
                name == "load"
                and isinstance(node.func, ast.Attribute)
                and ast.unparse(node.func.value) in ("np", "numpy")
            )
            pattern = isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "re.compile"
            if (name in CALLS and not pattern) or loads or any(word.arg == "allow_pickle" for word in node.keywords):
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sources(path: Path) -> None:
    assert offences(path.read_text()) == ALLOWED.get(path.relative_to(PACKAGE).as_posix(), [])


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "np.load('x')",
        "f(allow_pickle=True)",
        "eval('1')",
        "import torch.nn",
    ],
)
def test_the_test_can_fail(source: str) -> None:
    assert offences(source)


def test_nothing_is_unpickled(
    subprocess_env: dict[str, str], tiny_model: Path, tiny_age_model: Path, tmp_path: Path
) -> None:
    """The interpreter itself tells of every class that pickle looks for, whoever calls it."""
    code = f"""
import sys
import numpy as np, PIL.Image, onnxruntime, lgin_edge
from lgin_edge import images
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event) if event.startswith(("pickle.", "exec", "os.system")) else None)
PIL.Image.fromarray(np.full((128, 128, 3), 99, np.uint8)).save("in.png")
picture = images.read("in.png")
with lgin_edge.Transformer({str(tiny_model)!r}, age_model={str(tiny_age_model)!r}) as t:
    landmarks = lgin_edge.geometry.TEMPLATE * 100
    t.detect(picture.image)
    out = t.age(picture.image, group=1, landmarks=landmarks)
    t.estimate_age(picture.image, landmarks=landmarks)
images.write("out.png", out, picture)
print([event for event in seen if event != "exec"])
import pickle
pickle.loads(pickle.dumps(np.float32))
print("pickle.find_class" in seen)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=subprocess_env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[]", "True"]
