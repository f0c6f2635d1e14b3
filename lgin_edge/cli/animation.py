"""The command line for clips: ``lgin-edge animate``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..errors import BackendError, InputError
from . import advice, options
from .options import exit_on_error, stderr, stdout


def animate(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A picture.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The clip: .mp4, .webm, .webp or .gif, at most 5 MB. Default: beside IN, as NAME.20to80years.mp4.",
            metavar="FILE",
        ),
    ] = None,
    years: Annotated[
        str | None,
        typer.Option(
            help="From which age to which. Default: from the youngest to the oldest of the model.", metavar="FROM:TO"
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=60, help="How long it takes from the one to the other.", metavar="SECONDS")
    ] = 3.0,
    boomerang: Annotated[bool, typer.Option(help="There and back, so that it repeats without a jump.")] = True,
    side: Annotated[
        int, typer.Option(min=64, max=3840, help="A larger picture is reduced to this longer side.", metavar="PIXELS")
    ] = 720,
    overwrite: options.OverwriteOption = False,
    model: options.ModelOption = None,
    device: options.DeviceOption = None,
    threads: options.ThreadsOption = None,
    sha256: options.Sha256Option = None,
    mark: options.MarkOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Make a clip of a picture in which every face grows older, or younger.

    Examples:

      lgin-edge animate portrait.jpg

      lgin-edge animate portrait.jpg --years 60:25 -o younger.gif

      lgin-edge animate portrait.jpg --seconds 5 --no-boomerang -o older.webp

    .mp4 and .webm need PyAV: pip install av
    """
    stdout.quiet = quiet
    with exit_on_error():
        from ..animation import WRITABLE
        from ..provenance import marked
        from ..transformer import Transformer

        advice.check_animated(source)
        ends = options.ages_of(years)
        if ends is not None and len(ends) == 1:
            raise InputError(
                f"--years: expected two ages like 20:80, got {years!r}; one age: lgin-edge age {source} --years {years}"
            )
        if out is not None and out.suffix.lower() not in WRITABLE:
            raise InputError(f"-o {out}: clips are written as {', '.join(WRITABLE)}, not as {out.suffix!r}")
        with Transformer(model, device=device, threads=threads, sha256=sha256) as transformer:
            groups = transformer.groups
            asked = ends or (groups[0].center, groups[-1].center)
            start, end = map(transformer.description.used_years, asked)
            if (start, end) != asked:
                stderr.print(f"the model does not reach all of these years: {start:g} to {end:g} are used")
            target = out or source.with_name(f"{source.stem}.{start:g}to{end:g}years.mp4")
            clip = transformer.animate(source, start, end, seconds, side=side)
            if mark:
                clip = replace(clip, frames=[marked(frame) for frame in clip.frames])
            clip = clip.boomerang() if boomerang else clip
            try:
                clip.save(target, overwrite=overwrite)
            except BackendError as error:
                raise BackendError(f"{error}; or write a .gif: -o {target.with_suffix('.gif')}") from error
        width, height = clip.frames[0].size
        stdout.print(f"{source} -> {target} ({clip.seconds:.1f} s, {width} x {height} pixels)")
