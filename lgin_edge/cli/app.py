"""The command line ``lgin-edge``: all commands under one name."""

from __future__ import annotations

import signal
import sys
import warnings
from typing import Annotated

import typer

from . import animation, batch, engine, info, kiosk, pictures, video
from .options import EXIT_CODES, Command, Group

app = typer.Typer(
    name="lgin-edge",
    cls=Group,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,
    help="Make the faces in pictures younger or older, or estimate their ages, on this machine. Nothing is sent anywhere.",
    epilog=EXIT_CODES,
)


def _version(asked: bool) -> None:
    if asked:
        from .. import __version__

        typer.echo(f"lgin-edge {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version, and no more.")
    ] = False,
) -> None:
    """What goes before a command."""


for command in (
    pictures.age,
    pictures.estimate,
    animation.animate,
    video.video,
    video.camera,
    kiosk.kiosk,
    batch.batch,
    info.info,
    pictures.demo,
    engine.build,
    engine.verify,
):
    app.command(cls=Command, epilog=EXIT_CODES)(command)


def main() -> None:
    """Entry point of ``lgin-edge``."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # odd EXIF, large pictures: what matters is checked in images
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that a console's encoding lacks ends no run
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # of nohup it is not
            signal.signal(number, _end)
    try:
        app()
    except _Ended as ended:
        signal.signal(ended.number, signal.SIG_DFL)
        signal.raise_signal(ended.number)


class _Ended(SystemExit):
    """The process is to end, and what is half written to be removed first. Event loops let no other exception through."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


def _end(number: int, _: object) -> None:
    raise _Ended(number)
