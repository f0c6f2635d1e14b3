"""Texts out of figures: Jinja templates and Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Figures as they are written down and read.
Json = dict[str, Any]


def render(template: Path, **values: Any) -> str:
    """A template filled in; the same values give the same text. What it names must be there.

    Templates have the functions ``table``, ``percent``, ``listed`` and ``stem``, as filters too. HTML is escaped.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=template.suffix == ".html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    functions = {"table": table, "percent": percent, "listed": listed, "stem": lambda file: Path(file).stem}
    environment.globals |= functions
    environment.filters |= functions
    return environment.get_template(template.name).render(values)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; the first column left, the others right, a missing value as a dash."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join("-" if v is None else str(v) for v in line) + " |\n" for line in lines)


def percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"


def listed(values: Sequence[float], between: str = ", ") -> str:
    return between.join(f"{value:g}" for value in values)
