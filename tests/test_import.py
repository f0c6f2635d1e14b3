"""What importing costs: heavy modules are loaded when they are used, and torch never."""

from __future__ import annotations

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "torch",
    "onnxruntime",
    "cv2",
    "PIL",
    "onnx",
    "typer",
    "rich",
    "skimage",
    "hypothesis",
    "fastapi",
    "uvicorn",
    "ray",
    "pyarrow",
)


def loaded(code: str, env: dict[str, str], cwd: Path) -> set[str]:
    """Top-level modules of HEAVY that are loaded after ``code`` ran in a fresh interpreter."""
    code += f"\nimport json, sys\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_loads_nothing_heavy(subprocess_env: dict[str, str], tmp_path: Path) -> None:
    assert loaded("import lgin_edge; lgin_edge.LginError; lgin_edge.__version__", subprocess_env, tmp_path) == set()


def test_names_alone_load_nothing_heavy(subprocess_env: dict[str, str], tmp_path: Path) -> None:
    code = "import lgin_edge; lgin_edge.Transformer, lgin_edge.Face, lgin_edge.YuNet, lgin_edge.AgeEstimate"
    assert loaded(code, subprocess_env, tmp_path) == set()


def test_ageing_an_array_needs_only_onnxruntime(
    subprocess_env: dict[str, str], tiny_model: Path, tmp_path: Path
) -> None:
    code = f"""
import numpy as np, lgin_edge
t = lgin_edge.Transformer({str(tiny_model)!r})
t.age(np.zeros((64, 64, 3), np.uint8), group=1)
"""
    assert loaded(code, subprocess_env, tmp_path) == {"onnxruntime"}


def test_help_does_not_load_the_run_time(subprocess_env: dict[str, str], tmp_path: Path) -> None:
    code = """
import contextlib, io
from lgin_edge.cli.app import app
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    app(["batch", "--help"])
"""
    assert loaded(code, subprocess_env, tmp_path) <= {"typer", "rich"}


def test_public_names_exist() -> None:
    import lgin_edge

    for name in lgin_edge.__all__:
        assert getattr(lgin_edge, name) is not None
        assert name in dir(lgin_edge)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = lgin_edge.nonsense


def test_errors_are_also_the_built_in_ones() -> None:
    import lgin_edge

    assert issubclass(lgin_edge.InputError, ValueError)
    assert issubclass(lgin_edge.ImageError, OSError)
    for name in ("BackendError", "ClosedError", "ImageError", "InputError", "ModelError"):
        assert issubclass(getattr(lgin_edge, name), lgin_edge.LginError)


def imports(root: Path) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports, wherever in its file; not those that only type checkers see."""
    names = {".".join(path.relative_to(root.parent).with_suffix("").parts): path for path in root.rglob("*.py")}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    found: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        tree = ast.parse(path.read_text())
        unseen = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or id(node) in unseen:
                continue
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                target = f"{base}.{alias.name}"
                found[name] |= {one for one in ((target if target in names else base),) if one in names and one != name}
    return found


def test_no_module_imports_itself_by_a_detour() -> None:
    """Imports run downward only: no cycle, not even one that an import inside a function breaks."""
    import lgin_edge

    graph = imports(Path(lgin_edge.__file__).parent)
    assert {"lgin_edge.geometry", "lgin_edge.inference.cpu"} <= graph.keys()
    assert "lgin_edge.kernels" in graph["lgin_edge.inference.cpu"]
    order = graphlib.TopologicalSorter(graph)
    try:
        order.prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))
