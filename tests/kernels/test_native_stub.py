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
    stub = {node.name for node in stub_nodes() if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    stub |= {
        node.target.id for node in stub_nodes() if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    assert stub == {name for name in dir(_native) if not name.startswith("__")}


def test_parameters_are_the_modules() -> None:
    for node in stub_nodes():
        if isinstance(node, ast.FunctionDef):
            assert names_of(getattr(_native, node.name)) == [argument.arg for argument in node.args.args], node.name
        elif isinstance(node, ast.ClassDef):
            owner = getattr(_native, node.name)
            methods = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
            assert set(methods) == {name for name in vars(owner) if not name.startswith("_")} | {"__init__"}
            for name, method in methods.items():
                if not method.decorator_list:  # a property has no parameters
                    assert names_of(getattr(owner, name)) == [argument.arg for argument in method.args.args], name


def names_of(function: object) -> list[str]:
    """pybind11 writes the signature into the first line of the docstring: name(a: type, b: type) -> type."""
    signature = (function.__doc__ or "").splitlines()[0]
    return re.findall(r"[(,] ?(\w+):", re.sub(r"\[[^\[\]]*\]", "", signature))


def test_constants() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", _native.version)
    assert isinstance(_native.cuda_built, bool)
    assert _native.cuda_device_count() >= 0
