"""What the commands share: the two consoles, the exit codes, and errors told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from .errors import BackendError, InputError, LginError, ModelError

NO_FACE, BAD_INPUT, BAD_MODEL, INTERRUPTED = 3, 4, 5, 130
EXIT_CODES = (
    "Exit codes: 0 all went well, 2 wrong usage, 3 no face in any picture, 4 a picture could not be read or written (the "
    "others were still done), 5 the model or its run time is not usable, 130 interrupted."
)

stdout = Console(highlight=False, markup=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def explained() -> Iterator[None]:
    """Our errors as one line and an exit code, never as a stack trace."""
    try:
        yield
    except LginError as error:
        stderr.print(f"error: {error}")
        code = BAD_MODEL if isinstance(error, (ModelError, BackendError)) else BAD_INPUT
        raise typer.Exit(2 if isinstance(error, InputError) else code) from error
    except KeyboardInterrupt:
        stderr.print("interrupted")
        raise typer.Exit(INTERRUPTED) from None
