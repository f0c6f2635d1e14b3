"""The command line for pictures: ``lgin-edge age``, ``estimate`` and ``demo``."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ImageError, InputError
from . import advice, options
from .options import exit_on_error, stderr, stdout

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..images import Picture
    from ..jobs import Job
    from ..limits import Limits
    from ..transformer import Transformer

#: Stands for stdin as IN, and for stdout as --out.
_PIPE = Path("-")

# Everything that does the work (NumPy, ONNX Runtime, Pillow) is imported inside the commands: --help is instant.


def age(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN", help="Pictures, or folders of pictures; - for stdin.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="A file for one picture, - for stdout; else a folder, in which folders given as IN are mirrored. Default: "
            "beside each picture, as NAME.group3.jpg. A folder given as IN needs it.",
            metavar="PATH",
        ),
    ] = None,
    group: options.GroupOption = None,
    years: options.YearsOption = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Or a labelled strip: every face, original and all age groups.")
    ] = False,
    model: options.ModelOption = None,
    device: options.DeviceOption = None,
    threads: options.ThreadsOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist. IN itself is never replaced.")
    ] = False,
    sha256: options.Sha256Option = None,
    max_faces: options.MaxFacesOption = options.MAX_FACES,
    max_megapixels: options.MaxMegapixelsOption = options.MAX_MEGAPIXELS,
    max_mb: options.MaxMbOption = options.MAX_MB,
    tiles: options.TilesOption = None,
    mark: options.MarkOption = False,
    json_: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Make every face in a picture younger or older.

    Examples:

      lgin-edge age portrait.jpg --years 70

      lgin-edge age portrait.jpg --group 3 -o older.png

      lgin-edge age holiday/ --group 0 -o younger/

      lgin-edge age portrait.jpg --timeline -o strip.png

      lgin-edge age - --years 70 < portrait.jpg > older.jpg

    The EXIF orientation is applied, metadata and colour profile are kept, and pixels away from the faces do not change.
    """
    with exit_on_error():
        advice.check_pictures(inputs, group, years)
    if (group is not None) + (years is not None) + timeline != 1:
        raise typer.BadParameter("give exactly one of --group, --years and --timeline")
    stdout.quiet = quiet or json_
    to_stdout = out == _PIPE or (out is None and inputs == [_PIPE])
    with exit_on_error():
        _check_pipes(inputs, out)
        from .. import jobs
        from ..transformer import Transformer

        label = "timeline" if timeline else options.label_of(group, years)
        planned = [] if to_stdout else jobs.plan(inputs, out, label)
        limits = options.limits_of(faces=max_faces, megapixels=max_megapixels, mb=max_mb)
        detector = options.detector_of(tiles, threads, max_faces)
        with Transformer(
            model, device=device, threads=threads, sha256=sha256, detector=detector, limits=limits
        ) as transformer:
            if not timeline:  # a wrong age fails before any picture is read
                transformer.description.age_code(group=group, years=years)
            if years is not None and (used := options.reached(transformer, years)) != years:
                years = used
                planned = [] if to_stdout else jobs.plan(inputs, out, options.label_of(group, years))
            if to_stdout:
                _through(transformer, inputs[0], group, years, mark, limits)
                return
            _say_left_out(inputs)
            change = partial(jobs.age_file, transformer, group=group, years=years, mark=mark, limits=limits, read=_read)
            change = partial(change, overwrite=overwrite)
            work = [(job.source, partial(_aged, job, change)) for job in planned]
            done = _each(work, "ageing", hint="lgin-edge batch goes on where it was broken off")
    if json_:
        _print_json(done)
    _finish(done, "no face found in any picture, nothing written")


def estimate(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN", help="Pictures, or folders of pictures; - for stdin.")],
    json_: Annotated[
        bool, typer.Option("--json", help="A JSON array, one object a picture, with boxes and probabilities.")
    ] = False,
    age_model: Annotated[
        Path | None, typer.Option("--age-model", help="An .onnx age model. Default: the bundled one.", metavar="FILE")
    ] = None,
    threads: options.ThreadsOption = None,
    max_faces: options.MaxFacesOption = options.MAX_FACES,
    max_megapixels: options.MaxMegapixelsOption = options.MAX_MEGAPIXELS,
    max_mb: options.MaxMbOption = options.MAX_MB,
    tiles: options.TilesOption = None,
) -> None:
    """Estimate how old every face in a picture looks.

    Examples:

      lgin-edge estimate portrait.jpg

      lgin-edge estimate holiday/ --json

    Faces are numbered from the largest. A rough estimate: it never leaves the centres of the first and the last age group
    and leans to the middle; `lgin-edge info` lists the groups.
    """
    with exit_on_error():
        from .. import images, jobs

        advice.check_estimated(inputs)
        _check_pipes(inputs)
        found_in = [jobs.files(path, images.SUFFIXES) if path.is_dir() else [path] for path in inputs]
        files = [file for found in found_in for file in found]
        if not files:
            raise jobs.no_pictures(inputs)
        _say_left_out(inputs)
        from ..transformer import Transformer

        limits = options.limits_of(faces=max_faces, megapixels=max_megapixels, mb=max_mb)
        detector = options.detector_of(tiles, threads, max_faces)
        with Transformer(age_model=age_model, threads=threads, detector=detector, limits=limits) as transformer:
            done = _each([(file, partial(_estimated, transformer, file, limits)) for file in files], "looking")
    read = [one for one in done if "error" not in one]
    if json_:
        _print_json(read)
    else:
        _print_table(read)
    _finish(done, "no face found in any picture")


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The strip, .png or .jpg; replaced if it exists.", metavar="FILE")
    ] = Path("lgin-edge-demo.png"),
    image: Annotated[
        Path | None,
        typer.Option(
            help="A photograph of your own. Default: scikit-image's portrait of an astronaut.", metavar="FILE"
        ),
    ] = None,
    model: options.ModelOption = None,
    device: options.DeviceOption = None,
    threads: options.ThreadsOption = None,
) -> None:
    """Age a real photograph and write a strip: the original and every age group."""
    with exit_on_error():
        from PIL import Image

        from .. import images
        from ..contact_sheet import timeline_strip
        from ..transformer import Transformer

        if image is not None and out.resolve() == image.resolve():
            raise typer.BadParameter("--out would replace the photograph itself; choose another name")
        photograph = Image.fromarray(_astronaut()) if image is None else images.read(image).image
        with Transformer(model, device=device, threads=threads) as transformer:
            faces = transformer.detect(photograph)
            if not faces:
                stderr.print(f"no face found in {image}, nothing written")
                raise typer.Exit(options.NO_FACE)
            strip = timeline_strip(transformer, photograph, faces)
        images.write(out, strip, overwrite=True)
        stdout.print(f"wrote {out} ({strip.width} x {strip.height} pixels)")


def _each(work: Sequence[tuple[Path, Callable[[], dict[str, Any]]]], what: str, hint: str = "") -> list[dict[str, Any]]:
    """Do the work on each picture; what became of it, as ``--json`` says it. ``hint`` is for a run that is broken off."""
    from rich.progress import Progress

    done: list[dict[str, Any]] = []
    with Progress(console=stderr, transient=True, disable=len(work) == 1 or stdout.quiet) as progress:
        for file, do in progress.track(work, description=what):
            try:
                one = do()
            except KeyboardInterrupt:
                if hint and len(work) > 1:
                    stderr.print(f"{len(done)} of {len(work)} pictures are done. {hint}")
                raise
            except (ImageError, InputError) as error:
                one = {"out": None, "faces": 0, "error": str(error)}
                stderr.print(f"error: {error}")
            done.append({"file": str(file), **one})
    return done


def _finish(done: Sequence[dict[str, Any]], no_face: str) -> None:
    """The exit code, where not all went well."""
    failures = sum("error" in one for one in done)
    if failures:
        stderr.print(f"{failures} of {len(done)} pictures failed")
        raise typer.Exit(options.BAD_INPUT)
    if not any(one["faces"] for one in done):
        stderr.print(no_face)
        raise typer.Exit(options.NO_FACE)


def _aged(job: Job, change: Callable[[Job], int]) -> dict[str, Any]:
    """Do a job by ``jobs.age_file``."""
    found = change(job)
    if not found:
        stderr.print(f"{job.source}: no face found, nothing written")
        return {"out": None, "faces": 0}
    stdout.print(f"{job.source} -> {job.target} ({found} face{'s' if found > 1 else ''})")
    return {"out": str(job.target), "faces": found}


def _estimated(transformer: Transformer, file: Path, limits: Limits) -> dict[str, Any]:
    from dataclasses import asdict

    estimates = transformer.estimate_age(_read(file, limits=limits).image)
    faces = zip(transformer.last_call.faces, estimates, strict=True)
    return {"faces": [{"box": face.box.tolist(), **asdict(one)} for face, one in faces]}


def _print_table(found: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("file", "face", "years", "group"):
        table.add_column(name, justify="left" if name in ("file", "group") else "right", no_wrap=True)
    for picture in found:
        if not picture["faces"]:
            stderr.print(f"{picture['file']}: no face found")
        for i, one in enumerate(picture["faces"]):
            table.add_row(picture["file"], str(i), f"{one['years']:.0f}", f"{one['group']} ({one['label']})")
    if table.row_count:
        options.print_whole(stdout, table)
        stdout.print(f"\n{_in_words([one['years'] for picture in found for one in picture['faces']])}")


def _in_words(years: Sequence[float]) -> str:
    """The estimates in a sentence."""
    youngest, oldest = min(years), max(years)
    if len(years) == 1:
        return f"The face looks roughly {youngest:.0f} years old."
    if round(youngest) == round(oldest):
        return f"The {len(years)} faces look roughly {youngest:.0f} years old."
    mean = sum(years) / len(years)
    return f"The {len(years)} faces look roughly {youngest:.0f} to {oldest:.0f} years old, {mean:.0f} on average."


def _print_json(value: Any) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))


def _astronaut() -> npt.NDArray[np.uint8]:
    try:
        from skimage import data
    except ImportError as error:
        raise InputError(
            "the demo's portrait comes with scikit-image, which is not installed: pip install 'lgin-edge[demo]', or give a "
            "photograph of your own with --image FILE"
        ) from error
    portrait: npt.NDArray[np.uint8] = data.astronaut()  # type: ignore[no-untyped-call,unused-ignore]
    return portrait


def _say_left_out(inputs: Sequence[Path]) -> None:
    from .. import jobs

    for folder in filter(Path.is_dir, inputs):
        for file in jobs.left_out(folder):
            stderr.print(f"{file}: {jobs.why_left_out(file)}, left out")


def _check_pipes(inputs: Sequence[Path], out: Path | None = None) -> None:
    """Raises InputError where stdin or stdout stands for more than one picture, or a result of stdin has no name."""
    from .. import images

    if _PIPE in inputs and len(inputs) > 1:
        raise InputError("-: one picture comes from stdin, and IN is several; do the others apart")
    if out == _PIPE and (len(inputs) > 1 or inputs[0].is_dir()):
        raise InputError("-o -: one picture goes to stdout, and IN is several; give a folder")
    named = out is None or out == _PIPE or (out.suffix.lower() in images.WRITABLE and not out.is_dir())
    if _PIPE in inputs and not named:
        raise InputError(
            f"-o {out}: what comes from stdin needs the name of a file, with one of the endings {', '.join(images.WRITABLE)}"
        )


def _read(path: Path, *, limits: Limits) -> Picture:
    """``images.read``, also of stdin."""
    import sys

    from .. import images

    if path != _PIPE:
        return images.read(path, limits=limits)
    if sys.stdin is None:
        raise InputError("-: a picture is expected from stdin, which is closed")
    if sys.stdin.isatty():
        raise InputError("-: a picture is expected from a file or another program: < FILE")
    data = sys.stdin.buffer.read(limits.image_bytes + 1)
    if not data:
        raise ImageError("stdin: nothing came from it")
    return images.decode(data, "stdin", limits=limits)


@contextmanager
def whole_stdout(out: Any) -> Iterator[Any]:
    """Standard output that takes all that is written, or raises ImageError. Unbuffered, it is a file that may take a part of it."""
    whole = io.BufferedWriter(out) if isinstance(out, io.RawIOBase) else out
    try:
        yield whole
        whole.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ImageError(f"stdout: cannot be written: {error.strerror or error}") from error
    finally:
        if whole is not out:
            with suppress(OSError, ValueError):
                whole.detach()


def _through(
    transformer: Transformer, source: Path, group: float | None, years: float | None, mark: bool, limits: Limits
) -> None:
    """A picture from a file or stdin, to stdout."""
    import sys

    from .. import images, jobs

    if sys.stdout is None:
        raise InputError("-: the picture would go to stdout, which is closed: -o FILE")
    if sys.stdout.isatty():
        raise InputError("-: the picture would go to the terminal; send it on: > FILE, or -o FILE")
    picture = _read(source, limits=limits)
    result, _ = jobs.age_picture(transformer, picture, group=group, years=years, mark=mark)
    if result is None:
        stderr.print(f"{'stdin' if source == _PIPE else source}: no face found, nothing written")
        raise typer.Exit(options.NO_FACE)
    original = None if group is years is None else picture
    kind = picture.format if original is not None and picture.format in images.WRITABLE.values() else "PNG"
    data = images.encode(result, kind, original)
    with whole_stdout(sys.stdout.buffer) as whole:
        whole.write(data)
