"""What the commands ``python -m training.NAME`` share: options, errors in one line, and their start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from lgin_edge.errors import LginError

PacksOption = Annotated[
    list[Path] | None, typer.Option("--data", help="Pack of faces; may be repeated (default: portraits and faces)")
]

MeshesArgument = Annotated[Path, typer.Argument(metavar="MESHES", help="What training/targets/mesh.py wrote.")]


@contextmanager
def exit_on_error(name: str, *others: type[Exception]) -> Iterator[None]:
    """What a user can mend as one line and exit code 2: wrong values, files, ``LginError``, and ``others``."""
    try:
        yield
    except (ValueError, OSError, LginError, *others) as error:
        typer.echo(f"training.{name}: {error}", err=True)
        raise typer.Exit(2) from None


def run_command(main: Callable[..., None]) -> None:
    """Run a module's one command."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
