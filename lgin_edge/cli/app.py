"""The command line ``lgin-edge``: all commands under one name."""

from __future__ import annotations

import typer

from . import batch, engine, kiosk, pictures, triton, video
from .options import EXIT_CODES

app = typer.Typer(
    name="lgin-edge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Make the faces in pictures younger or older, or estimate their ages, on this machine. Nothing is sent anywhere.",
    epilog=EXIT_CODES,
)

for command in (pictures.age, pictures.estimate, pictures.info, pictures.demo, batch.batch):
    app.command(epilog=EXIT_CODES)(command)
app.command(epilog=video.EXIT_CODES)(video.video)
app.command(epilog=video.EXIT_CODES)(video.camera)
app.command(epilog=kiosk.EXIT_CODES)(kiosk.kiosk)
app.command(epilog=EXIT_CODES)(engine.build)
app.command(epilog=EXIT_CODES)(engine.verify)
app.command(epilog=EXIT_CODES)(triton.export_triton)


def main() -> None:
    """Entry point of ``lgin-edge``."""
    app()
