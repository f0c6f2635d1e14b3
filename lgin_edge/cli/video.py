"""The command line for films and cameras: ``lgin-edge video`` and ``camera``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BackendError, InputError
from . import advice, options
from .options import exit_on_error, stderr, stdout

if TYPE_CHECKING:
    from ..stream.stream import Stream
    from ..video.preview import Window
    from ..video.recording import Recording
    from ..video.transcode import Outcome

CodecOption = Annotated[
    str | None,
    typer.Option(
        help="An encoder of FFmpeg, like libx265 or h264_nvenc. Default: H.264, in .webm VP9.", metavar="NAME"
    ),
]


def video(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A film, of any kind that FFmpeg reads.")],
    others: Annotated[list[Path] | None, typer.Argument(hidden=True, metavar="")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The new film: .mp4, .m4v, .mov, .mkv or .webm. Default: beside IN, as NAME.70years.mp4.",
            metavar="FILE",
        ),
    ] = None,
    group: options.GroupOption = None,
    years: Annotated[
        str | None,
        typer.Option(
            help="Or an age in years; 30:70 goes from the one to the other while the film runs.", metavar="YEARS"
        ),
    ] = None,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="The film as it was beside the new one, in one picture.")
    ] = False,
    mark: options.MarkOption = False,
    codec: CodecOption = None,
    overwrite: options.OverwriteOption = False,
    model: options.ModelOption = None,
    device: options.DeviceOption = None,
    threads: options.ThreadsOption = None,
    sha256: options.Sha256Option = None,
    max_faces: options.MaxFacesOption = options.MAX_FACES,
    json_: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Make every face in a film younger or older.

    Examples:

      lgin-edge video party.mp4 --years 70

      lgin-edge video party.mp4 --group 0 -o younger.mp4

      lgin-edge video party.mp4 --years 30:70 --side-by-side

      lgin-edge video party.mov -o older.mkv --years 62 --codec libx265

    Faces are followed from frame to frame, and fade where a hand covers them or they turn away.

    Sound and subtitles are copied as they are; times, metadata and chapters are kept. Needs PyAV: pip install av
    """
    with exit_on_error():
        advice.check_film([source, *(others or ())], group, years)
    options.check_one_age(group, years)
    stdout.quiet = quiet or json_
    with exit_on_error():
        asked = options.ages_of(years)
        from rich.progress import Progress

        from ..transformer import Transformer
        from ..video.transcode import age_video
        from ..video.writer import WRITABLE

        limits = options.limits_of(faces=max_faces)
        with (
            Transformer(model, device=device, threads=threads, sha256=sha256, limits=limits) as transformer,
            Progress(console=stderr, transient=True) as bar,
        ):
            if group is not None:
                transformer.description.age_code(group=group)  # a wrong age fails before the film is read
            used = None if asked is None else tuple(options.reached(transformer, age) for age in asked)
            label = options.label_of(group, None) if used is None else "to".join(f"{age:g}" for age in used) + "years"
            suffix = source.suffix if source.suffix.lower() in WRITABLE else ".mp4"
            target = source.with_name(f"{source.stem}.{label}{suffix}") if out is None else out
            task = bar.add_task(source.name, total=None)
            outcome = age_video(
                source,
                target,
                transformer,
                group=group,
                years=used if used is None or len(used) == 2 else used[0],
                side_by_side=side_by_side,
                mark=mark,
                codec=codec,
                overwrite=overwrite,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    if json_:
        import json
        from dataclasses import asdict

        typer.echo(
            json.dumps({"file": str(source), "out": str(target) if outcome.with_faces else None, **asdict(outcome)})
        )
    _tell(source, target, outcome)


def camera(
    source: Annotated[
        str, typer.Argument(metavar="INDEX", help="Number of a camera, an address, or a GStreamer pipeline.")
    ] = "0",
    group: options.GroupOption = None,
    years: options.YearsOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Record what is shown: .mp4, .m4v, .mov, .mkv or .webm.", metavar="FILE"),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="End after so long. Default: at q, or at Ctrl-C.", metavar="SECONDS")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Ask the camera for this size, like 1280x720.", metavar="WxH")
    ] = None,
    mirror: Annotated[bool, typer.Option(help="Show the picture as a mirror does; records do not.")] = True,
    mark: Annotated[
        bool,
        typer.Option("--mark", help="Write 'changed by AI' into the record's corner. Its metadata says so anyhow."),
    ] = False,
    codec: CodecOption = None,
    overwrite: options.OverwriteOption = False,
    model: options.ModelOption = None,
    device: options.DeviceOption = None,
    threads: options.ThreadsOption = None,
    sha256: options.Sha256Option = None,
    max_faces: options.MaxFacesOption = options.MAX_FACES,
) -> None:
    """Show a camera with everyone in it younger or older, live.

    Examples:

      lgin-edge camera --years 70

      lgin-edge camera 1 --group 0 --size 1280x720

      lgin-edge camera rtsp://192.168.1.20/stream --years 60

      lgin-edge camera 0 --years 70 --out me.mp4 --seconds 10

    Keys: + and - change the age by five years, 0 to 9 choose a group, o shows the original, q or Esc ends.

    Without a screen --out FILE records until Ctrl-C, or for --seconds. Nothing is stored unless --out asks for it.
    """
    if group is None and years is None:
        years = 70.0
    options.check_one_age(group, years)
    with exit_on_error():
        if mark and out is None:
            raise InputError("--mark writes into what is recorded: give --out FILE, too")
        asked = _size(size)
        from ..stream.stream import Stream
        from ..transformer import Transformer
        from ..video.recording import Recording

        with ExitStack() as stack:
            window = _window(mirror, out)
            if window is not None:
                stack.callback(window.close)
            recording = None if out is None else Recording(out, overwrite=overwrite, codec=codec, mark=mark)
            if recording is not None:
                stack.callback(recording.close)
            limits = options.limits_of(faces=max_faces)
            transformer = Transformer(model, device=device, threads=threads, sha256=sha256, limits=limits)
            stack.enter_context(transformer)
            years = None if years is None else options.reached(transformer, years)
            camera_ = int(source) if source.isdecimal() else source
            stream = Stream(camera_, transformer, group=group, years=years, color="bgr", size=asked, live=True)
            _watch(stack.enter_context(stream), window, recording, seconds)


def _tell(source: Path, target: Path, outcome: Outcome) -> None:
    """What became of the film, and the exit code."""
    for note in outcome.notes:
        stderr.print(f"{source}: {note}")
    if outcome.damage:
        stderr.print(f"error: {outcome.damage}")
    if not outcome.with_faces:
        stderr.print(f"no face found in {outcome.frames} frames, nothing written")
        raise typer.Exit(options.NO_FACE)
    faces = f"faces in {outcome.with_faces} of {outcome.frames} frames"
    stdout.print(f"{source} -> {target} ({outcome.seconds:.1f} s, {faces})")
    if outcome.damage:
        raise typer.Exit(options.BAD_INPUT)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise InputError(f"--size: expected width and height like 1280x720, got {text!r}")
    return int(width), int(height)


def _window(mirror: bool, out: Path | None) -> Window | None:
    """The window; None where there is none and a file is written instead."""
    from ..video.preview import KEYS, Window

    try:
        window = Window(mirror=mirror)
    except BackendError as error:
        if out is None:
            raise BackendError(f"{error}; or record without a window: --out FILE") from error
        stderr.print(f"no window: {error}")
        return None
    stderr.print(KEYS)
    return window


def _watch(stream: Stream, window: Window | None, recording: Recording | None, seconds: float | None) -> None:
    """Show and record until it ends. What was recorded by then is kept, also after an error."""
    import time

    try:
        start = time.monotonic()
        for frame in stream:
            now = time.monotonic()
            if recording is not None:
                recording.add(frame, now)
            if (window is not None and not window.show(frame, stream)) or (seconds and now - start >= seconds):
                break
    except KeyboardInterrupt:
        if recording is None:
            raise
    finally:
        if recording is not None:
            recording.finish()
            stdout.print(f"{recording.target}: {recording.seconds:.1f} s, {recording.frames} frames")
        stats = stream.stats
        stderr.print(
            f"{stats.frames_out} frames, {stats.fps:.1f} a second, {1e3 * stats.latency_median:.0f} ms from camera to "
            f"picture, {stats.dropped} dropped"
        )
