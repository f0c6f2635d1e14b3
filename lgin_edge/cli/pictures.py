"""The command line for pictures: ``lgin-edge age``, ``estimate``, ``info`` and ``demo``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..errors import ImageError, InputError
from .options import (
    BAD_INPUT,
    MAX_FACES,
    MAX_MB,
    MAX_MEGAPIXELS,
    NO_FACE,
    DeviceOption,
    GroupOption,
    MaxFacesOption,
    MaxMbOption,
    MaxMegapixelsOption,
    ModelOption,
    Sha256Option,
    ThreadsOption,
    YearsOption,
    explained,
    limits_of,
    stderr,
    stdout,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..age_estimator import AgeEstimate
    from ..faces import Face
    from ..jobs import Job
    from ..limits import Limits
    from ..models.description import AgeDescription, Description
    from ..transformer import Transformer

# Everything that does the work (NumPy, ONNX Runtime, Pillow) is imported inside the commands: --help is instant.


def age(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Pictures, or folders of pictures.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="A file for one picture; else a folder, in which folders given as IN are mirrored. Default: beside each "
            "picture, as NAME.group3.jpg. A folder given as IN needs it.",
            show_default=False,
        ),
    ] = None,
    group: GroupOption = None,
    years: YearsOption = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Or a labelled strip: every face, original and all age groups.")
    ] = False,
    model: ModelOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist. IN itself is never replaced.")
    ] = False,
    sha256: Sha256Option = None,
    max_faces: MaxFacesOption = MAX_FACES,
    max_megapixels: MaxMegapixelsOption = MAX_MEGAPIXELS,
    max_mb: MaxMbOption = MAX_MB,
) -> None:
    """Make every face in a picture younger or older.

    Examples:

      lgin-edge age portrait.jpg --years 70

      lgin-edge age portrait.jpg --group 3 -o older.png

      lgin-edge age holiday/ --group 0 -o younger/

      lgin-edge age portrait.jpg --timeline -o strip.png

    The EXIF orientation is applied, metadata and colour profile are kept, and pixels away from the faces do not change.
    """
    if (group is not None) + (years is not None) + timeline != 1:
        raise typer.BadParameter("give exactly one of --group, --years and --timeline")
    label = "timeline" if timeline else f"{years:g}years" if years is not None else f"group{group:g}"
    with explained():
        from .. import jobs
        from ..transformer import Transformer

        planned = jobs.plan(inputs, out, label)
        limits = limits_of(faces=max_faces, megapixels=max_megapixels, mb=max_mb)
        with Transformer(model, device=device, threads=threads, sha256=sha256, limits=limits) as transformer:
            if not timeline:
                transformer.description.age_code(
                    group=group, years=years
                )  # a wrong age fails before any picture is read
            faces, failures = _run(transformer, planned, group, years, overwrite, limits)
    if failures:
        stderr.print(f"{failures} of {len(planned)} pictures failed")
        raise typer.Exit(BAD_INPUT)
    if not faces:
        stderr.print("no face found in any picture, nothing written")
        raise typer.Exit(NO_FACE)


def estimate(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Pictures, or folders of pictures.")],
    json_: Annotated[
        bool, typer.Option("--json", help="A JSON array, one object a picture, with boxes and probabilities.")
    ] = False,
    age_model: Annotated[
        Path | None,
        typer.Option("--age-model", help="An .onnx age model. Default: the bundled one.", show_default=False),
    ] = None,
    threads: ThreadsOption = None,
    max_faces: MaxFacesOption = MAX_FACES,
    max_megapixels: MaxMegapixelsOption = MAX_MEGAPIXELS,
    max_mb: MaxMbOption = MAX_MB,
) -> None:
    """Estimate how old every face in a picture looks.

    Examples:

      lgin-edge estimate portrait.jpg

      lgin-edge estimate holiday/ --json

    Faces are numbered from the largest. A rough estimate: it never leaves the centres of the first and the last age group
    and leans to the middle; `lgin-edge info` lists the groups.
    """
    with explained():
        from .. import images, jobs

        found_in = [jobs.files(path, images.SUFFIXES) if path.is_dir() else [path] for path in inputs]
        files = [file for found in found_in for file in found]
        if not files:
            raise jobs.no_pictures(inputs)
        from ..transformer import Transformer

        limits = limits_of(faces=max_faces, megapixels=max_megapixels, mb=max_mb)
        with Transformer(age_model=age_model, threads=threads, limits=limits) as transformer:
            found, failures = _estimate_files(transformer, files, limits)
    if json_:
        _print_json(found)
    else:
        _print_table(found)
    if failures:
        stderr.print(f"{failures} of {len(files)} pictures failed")
        raise typer.Exit(BAD_INPUT)
    if not any(faces for _, faces in found):
        stderr.print("no face found in any picture")
        raise typer.Exit(NO_FACE)


def info(
    model: Annotated[
        Path | None,
        typer.Argument(help="An .onnx model file, or an engine. Default: the bundled models.", show_default=False),
    ] = None,
) -> None:
    """Say what a model file is: its age groups, sizes, training data and checksum."""
    with explained():
        from .. import age_estimator, transformer
        from ..models.description import Description
        from ..models.model_file import read_description

        bundled = (transformer.WEIGHTS, transformer.INT8_WEIGHTS, age_estimator.WEIGHTS)
        paths = bundled if model is None else (transformer.model_path(model),)
        for i, path in enumerate(paths):
            about = read_description(path)
            if isinstance(about, Description):
                what = f"makes younger or older: face view {about.face_size} px, local views {about.patch_size} px"
            else:
                what = f"estimates ages: face view {about.face_size} px"
            if i:
                stdout.print()
            _print_model(path, about, what)


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The strip, .png or .jpg; replaced if it exists.")] = Path(
        "lgin-edge-demo.png"
    ),
    image: Annotated[
        Path | None,
        typer.Option(
            help="A photograph of your own. Default: scikit-image's portrait of an astronaut.", show_default=False
        ),
    ] = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Age a real photograph and write a strip: the original and every age group."""
    with explained():
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
                raise typer.Exit(NO_FACE)
            strip = timeline_strip(transformer, photograph, faces)
        images.write(out, strip, overwrite=True)
        stdout.print(f"wrote {out} ({strip.width} x {strip.height} pixels)")


def _print_model(path: Path, about: Description | AgeDescription, what: str) -> None:
    import hashlib

    from rich.table import Table

    from ..models.description import Description

    data = path.read_bytes()
    table = Table(box=None, pad_edge=False)
    for name in ("group", "ages", "stands for"):
        table.add_column(name)
    for i, one in enumerate(about.groups):
        table.add_row(str(i), one.label, f"{one.center:g} years")
    stdout.print(f"{about.model}\n{path}, {len(data):,} bytes\nSHA-256 {hashlib.sha256(data).hexdigest()}\n")
    stdout.print(table)
    islands = about.fp32_islands if isinstance(about, Description) else ()
    precision = about.precision + (f" but for {', '.join(islands)}" if islands else "")
    stdout.print(f"\n{what}, {precision}, format {about.format}\ntraining data: {about.training_data}")
    if isinstance(about, Description) and about.engine is not None:
        engine = about.engine
        gpus = ", ".join(engine.targets) or "those that it takes by default"
        stdout.print(
            f"engine of {engine.variant} {engine.version}, for up to {engine.max_faces} faces a call on GPUs: {gpus}\n"
            f"built from the ONNX file with SHA-256 {about.onnx_sha256}"
        )


def _estimate_files(
    transformer: Transformer, files: Sequence[Path], limits: Limits
) -> tuple[list[tuple[Path, list[tuple[Face, AgeEstimate]]]], int]:
    """The faces of each picture that could be read, and how many could not."""
    from rich.progress import Progress

    from .. import images

    found, failures = [], 0
    with Progress(console=stderr, transient=True, disable=len(files) == 1) as progress:
        for file in progress.track(files, description="looking"):
            try:
                estimates = transformer.estimate_age(images.read(file, limits=limits).image)
            except (ImageError, InputError) as error:
                failures += 1
                stderr.print(f"error: {error}")
                continue
            found.append((file, list(zip(transformer.last_call.faces, estimates, strict=True))))
    return found, failures


def _print_table(found: Sequence[tuple[Path, Sequence[tuple[Face, AgeEstimate]]]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("file", "face", "years", "group"):
        table.add_column(name, justify="left" if name in ("file", "group") else "right", no_wrap=True)
    for file, faces in found:
        if not faces:
            stderr.print(f"{file}: no face found")
        for i, (_, one) in enumerate(faces):
            table.add_row(str(file), str(i), f"{one.years:.0f}", f"{one.group} ({one.label})")
    if table.row_count:
        # As wide as it needs: no path is cut short, in a narrow terminal or in a pipe.
        wide = stdout.measure(table, options=stdout.options.update(max_width=1_000_000)).maximum
        Console(highlight=False, markup=False, width=wide).print(table)


def _print_json(found: Sequence[tuple[Path, Sequence[tuple[Face, AgeEstimate]]]]) -> None:
    import json
    from dataclasses import asdict

    pictures = [
        {"file": str(file), "faces": [{"box": face.box.tolist(), **asdict(one)} for face, one in faces]}
        for file, faces in found
    ]
    typer.echo(json.dumps(pictures, indent=2))


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


def _run(
    transformer: Transformer,
    planned: Sequence[Job],
    group: float | None,
    years: float | None,
    overwrite: bool,
    limits: Limits,
) -> tuple[int, int]:
    """Do the jobs; returns how many faces were found and how many pictures failed."""
    from rich.progress import Progress

    from .. import jobs

    faces = failures = 0
    with Progress(console=stderr, transient=True, disable=len(planned) == 1) as progress:
        for job in progress.track(planned, description="ageing"):
            try:
                found = jobs.age_file(transformer, job, group=group, years=years, overwrite=overwrite, limits=limits)
            except (ImageError, InputError) as error:
                failures += 1
                stderr.print(f"error: {error}")
                continue
            faces += found
            if found:
                stdout.print(f"{job.source} -> {job.target} ({found} face{'s' if found > 1 else ''})")
            else:
                stderr.print(f"{job.source}: no face found, nothing written")
    return faces, failures
