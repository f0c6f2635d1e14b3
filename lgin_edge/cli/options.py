"""What the commands share: the two consoles, the exit codes, options, and errors in one line."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperArgument, TyperCommand, TyperGroup

from ..errors import BackendError, InputError, LginError, ModelError
from ..limits import LIMITS, Limits

if TYPE_CHECKING:
    from rich.table import Table

    from ..detectors.centerface import CenterFace
    from ..transformer import Transformer

WRONG_USAGE, NO_FACE, BAD_INPUT, BAD_MODEL, INTERRUPTED = 2, 3, 4, 5, 130
#: What they mean, for every command (docs/command-line.md).
EXIT_CODES = (
    "Exit codes: 0 all went well, 2 wrong usage, 3 no face found, 4 a picture, a film or a camera could not be read or a result "
    "not be written (what could be done was done), 5 a model or its run time is not usable, 130 interrupted."
)

stdout = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


GroupOption = Annotated[
    float | None,
    typer.Option(
        help="Age group, 0 is the youngest; 3.5 is between two. `lgin-edge info` lists them.", metavar="GROUP"
    ),
]
YearsOption = Annotated[float | None, typer.Option(help="Or an age in years.", metavar="YEARS")]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        help="An .onnx model file, or an engine of lgin-edge build; int8 for the bundled model in 8 bits, which is faster on "
        "some CPUs. Default: the bundled model.",
        metavar="FILE",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(help="cpu, or a GPU: cuda, cuda:1. Default: the CPU, for an engine cuda.", metavar="DEVICE"),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, max=1024, help="CPU threads. Default: as many as there are cores.", metavar="N")
]
Sha256Option = Annotated[
    str | None,
    typer.Option(
        help="The SHA-256 that the model file must have. Default: any; an engine's stands beside it.", metavar="HASH"
    ),
]
MaxFacesOption = Annotated[
    int, typer.Option(min=1, help="Most faces of one picture; of more, the largest are taken.", metavar="N")
]
MaxMegapixelsOption = Annotated[
    float, typer.Option(min=0.001, max=1e6, help="Largest picture that is read, millions of pixels.", metavar="N")
]
TilesOption = Annotated[
    bool | None,
    typer.Option(
        "--tiles/--no-tiles",
        help="Search pictures from 1780 px on in tiles, too, which finds faces from 50 px on and takes a time in proportion to "
        "the pixels. Default: from 2667 px on where no face is large, as in groups and panoramas.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Say it as JSON, for programs.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
MaxMbOption = Annotated[
    float, typer.Option(min=0.001, max=1e6, help="Largest file of a picture that is read, megabytes.", metavar="N")
]
MarkOption = Annotated[
    bool, typer.Option("--mark", help="Write 'changed by AI' into its corner. The metadata says so anyhow.")
]
#: Their defaults.
MAX_FACES, MAX_MEGAPIXELS, MAX_MB = LIMITS.faces, LIMITS.image_pixels / 1e6, LIMITS.image_bytes / 1e6


def print_whole(console: Console, table: Table) -> None:
    """A table as wide as it needs: no name is cut short, in a narrow terminal or in a pipe."""
    needed = console.measure(table, options=console.options.update(max_width=1_000_000)).maximum
    Console(file=console.file, highlight=False, markup=False, emoji=False, width=max(needed, console.width)).print(
        table
    )


def _without_types(params: list[Any]) -> list[Any]:
    """The parameters of a command, of which help shows no types: flags have none to tell, and arguments have names."""
    for param in params:
        if isinstance(param, TyperArgument) or getattr(param, "is_flag", False):
            vars(param)["display_type_rich"] = lambda ctx: None  # typer's, from 0.29 on; others do not ask
    return params


class Command(TyperCommand):
    """A command whose help shows no types and no hidden arguments."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece for piece in super().collect_usage_pieces(ctx) if piece.strip("[].")]


class Group(TyperGroup):
    """Commands under one name, whose help shows no types."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


def limits_of(*, faces: int = LIMITS.faces, megapixels: float = MAX_MEGAPIXELS, mb: float = MAX_MB) -> Limits:
    """The limits that the options ask for."""
    return Limits(faces=faces, image_pixels=round(1e6 * megapixels), image_bytes=round(1e6 * mb))


def check_one_age(group: float | None, years: float | str | None) -> None:
    if (group is None) == (years is None):
        raise typer.BadParameter("give exactly one of --group and --years")


def label_of(group: float | None, years: float | None) -> str:
    """What goes into the name of a result."""
    return f"{years:g}years" if years is not None else f"group{group:g}"


def reached(transformer: Transformer, years: float) -> float:
    """The age that is used where this one is asked for; where it is another, that is said."""
    used = transformer.description.used_years(years)
    if used != years:
        stderr.print(f"the model does not reach {years:g} years: {used:g} is used")
    return used


def ages_of(text: str | None) -> tuple[float, ...] | None:
    """One age, or two from one to the other, of ``--years 70`` or ``--years 30:70``. Raises InputError."""
    if text is None:
        return None
    try:
        ages = tuple(float(part) for part in text.split(":"))
    except ValueError:
        ages = ()
    if not 1 <= len(ages) <= 2 or not all(0 <= age <= 130 for age in ages):
        raise InputError(f"--years: expected an age, or two like 30:70, of 0 to 130 years, got {text!r}")
    return ages


def detector_of(tiles: bool | None, threads: int | None, max_faces: int) -> CenterFace | None:
    """The detector that ``--tiles`` asks for; None for that of ``Transformer``."""
    if tiles is None:
        return None
    from .._process import usable_cores
    from ..detectors.centerface import CenterFace

    return CenterFace(tiles=tiles, threads=threads or usable_cores(), max_faces=max_faces)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Our errors as one line and an exit code, never as a stack trace."""
    try:
        yield
    except LginError as error:
        stderr.print(f"error: {error}")
        code = BAD_MODEL if isinstance(error, (ModelError, BackendError)) else BAD_INPUT
        raise typer.Exit(WRONG_USAGE if isinstance(error, InputError) else code) from error
    except OSError as error:
        if error.filename is None and error.errno == errno.ENOSPC:
            stderr.print("error: stdout: no space left for what is printed")
            raise typer.Exit(BAD_INPUT) from error
        if error.filename is None:
            raise
        stderr.print(f"error: {error.filename}: {error.strerror or error}")
        raise typer.Exit(BAD_INPUT) from error
    except RuntimeError as error:  # of pathlib, before Python 3.13
        if "Symlink loop" not in str(error):
            raise
        stderr.print(f"error: {error}")
        raise typer.Exit(BAD_INPUT) from error
    except MemoryError as error:
        stderr.print(f"error: not enough memory: {str(error) or 'reduce the picture first'}")
        raise typer.Exit(BAD_INPUT) from error
    except KeyboardInterrupt:
        stderr.print("interrupted")
        raise typer.Exit(INTERRUPTED) from None
