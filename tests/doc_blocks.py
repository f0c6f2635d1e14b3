"""The pages of the documentation, their code blocks, and the command lines in those."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
#: Neither the tests alone nor a source archive has all that the pages link to.
CHECKOUT = all((ROOT / name).is_dir() for name in ("docs", "benchmarks", ".ci"))
needs_checkout = pytest.mark.skipif(not CHECKOUT, reason="needs a checkout of the repository")
#: A line before a block: why no test runs it. ``.ci/run`` takes those that it runs by their names from the README.
_MARKER = re.compile(r"<!-- (?:not run: (?P<reason>.+)|(?P<step>demo|tests)) -->\s*")
#: A directive of the site's, not code.
_DIRECTIVE = re.compile(r"\{.+\}")
_ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: the file.
        line: number of its first line of code, from 1.
        language: what stands behind the fence.
        not_run: why no test runs it; None for one that is run.
    """

    page: Path
    line: int
    language: str
    code: str
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """README and its like, and docs/; none outside a checkout."""
    if not CHECKOUT:
        return []
    others = (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "benchmarks/README.md",
        "examples/README.md",
        "integrations/README.md",
    )
    return [*(ROOT / name for name in others), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    found, marker = [], None
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence" and not _DIRECTIVE.match(token.info):
            reason = marker and (marker["reason"] or f"the step {marker['step']} of .ci/run")
            assert token.map is not None
            found.append(Block(page, token.map[0] + 2, token.info.strip(), token.content, reason))
        marker = _MARKER.fullmatch(token.content) if token.type == "html_block" else None
    return found


def commands(code: str) -> list[list[str]]:
    """The commands of a shell block as words, without comments, pipes, assignments before them and prompts."""
    found = []
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set("|&;"):
                words += [word] if words or not _ASSIGNMENT.fullmatch(word) else []
            elif words:
                found.append(words)
                words = []
    return found
