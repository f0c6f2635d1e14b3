"""docs/troubleshooting.md: every message that it quotes is still in the code."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator

import pytest
from doc_blocks import CHECKOUT, ROOT, needs_checkout

PAGE = ROOT / "docs" / "troubleshooting.md"
#: What the page writes for the parts of a message that differ.
GAP = "…"

pytestmark = needs_checkout


def quoted() -> list[str]:
    return re.findall(r"^- `(.+)`\\?$", PAGE.read_text(), re.MULTILINE) if CHECKOUT else []


def texts(node: ast.AST) -> Iterator[str]:
    """The strings of a module; what is filled in is a gap, and texts that are written one after another are one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in child.values)
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value
        yield from texts(child)


@functools.cache
def messages() -> str:
    """All texts of the code, a line each."""
    found = [
        text
        for folder in ("lgin_edge", "training")
        for path in (ROOT / folder).rglob("*.py")
        for text in texts(ast.parse(path.read_text()))
    ]
    found += re.findall(r'": "(.*)"', (ROOT / "lgin_edge" / "kiosk" / "static" / "strings.en.json").read_text())
    found.append(re.sub(r'"\s*\n\s*"', "", (ROOT / "CMakeLists.txt").read_text()))
    return "\n".join(found)


def in_code(quote: str) -> bool:
    return re.search(".*".join(re.escape(part) for part in quote.split(GAP)), messages()) is not None


def test_it_quotes_messages() -> None:
    assert len(quoted()) > 40
    assert len(set(quoted())) == len(quoted())


@pytest.mark.parametrize("quote", quoted())
def test_a_quoted_message_is_in_the_code(quote: str) -> None:
    assert in_code(quote), "reworded or gone: change docs/troubleshooting.md too"


def test_a_reworded_message_is_noticed() -> None:
    assert in_code("group: expected a number from 0 to … (…), got …")
    assert not in_code("group: wanted a number from 0 to … (…), got …")
