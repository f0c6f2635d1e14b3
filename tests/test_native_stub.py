"""The stub kept by hand says what the built module has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from lgin_edge import _native, kernels

STUB = Path(kernels.__file__).with_name("_native.pyi")


def stub_nodes() -> list[ast.stmt]:
    return ast.parse(STUB.read_text(encoding="utf-8")).body


def test_names_are_the_modules() -> None:
    stub = {node.name for node in stub_nodes() if isinstance(node, ast.FunctionDef)}
    stub |= {
        node.target.id for node in stub_nodes() if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    assert stub == {name for name in dir(_native) if not name.startswith("__")}


def test_parameters_are_the_modules() -> None:
    for node in stub_nodes():
        if isinstance(node, ast.FunctionDef):
            # pybind11 writes the signature into the first line of the docstring: name(a: type, b: type) -> type.
            signature = (getattr(_native, node.name).__doc__ or "").splitlines()[0]
            names = re.findall(r"[(,] ?(\w+):", re.sub(r"\[[^\[\]]*\]", "", signature))
            assert names == [argument.arg for argument in node.args.args], signature


def test_constants() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", _native.version)
    assert isinstance(_native.cuda_built, bool)
    assert _native.cuda_device_count() >= 0
