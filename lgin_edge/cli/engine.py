"""The command line for engines: ``lgin-edge build`` and ``verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import BackendError, ImageError, InputError
from ..files import exists
from .options import exit_on_error, stderr, stdout


def build(
    model: Annotated[
        Path | None, typer.Argument(help="An .onnx model file. Default: the bundled model.", metavar="MODEL")
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The engine to write; its SHA-256 and description go beside it.", metavar="FILE"
        ),
    ] = Path("engine.plan"),
    runtime: Annotated[
        str, typer.Option(help="tensorrt, tensorrt-rtx, or auto: the one that is installed.", metavar="NAME")
    ] = "auto",
    precision: Annotated[str, typer.Option(help="fp16 or fp32.", metavar="fp16|fp32")] = "fp16",
    max_batch: Annotated[int, typer.Option(min=1, max=64, help="Most faces of one call.", metavar="N")] = 4,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="A GPU to build for, like sm86; may be repeated. tensorrt-rtx only; default: Ampere and newer RTX GPUs.",
            metavar="GPU",
        ),
    ] = None,
    device: Annotated[
        int, typer.Option(min=0, help="Number of the GPU to build for and on. tensorrt only.", metavar="N")
    ] = 0,
    workspace: Annotated[
        int | None,
        typer.Option(min=1, help="MiB of scratch memory that the engine may use. Default: no limit.", metavar="MIB"),
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            help="A file, NAME.cache, that makes the next build quicker; read if there, then written over.",
            metavar="FILE",
        ),
    ] = None,
    save_onnx: Annotated[
        Path | None,
        typer.Option(help="Write the FP16 model too, as .onnx: for --device cuda or other tools.", metavar="FILE"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Build a TensorRT engine of a model, in FP16.

    Examples:

      lgin-edge build -o engine.plan

      lgin-edge build my.onnx -o engine.plan --runtime tensorrt-rtx --target sm86 --target sm120

    tensorrt (Jetson, servers) builds for the GPU at hand and needs it; tensorrt-rtx (RTX desktops) needs no GPU to build. An
    engine runs on the version that built it, and it is native code: share the .onnx, and build on the device.
    """
    with exit_on_error():
        from ..transformer import model_path

        _check_output(out, overwrite)
        if save_onnx is not None:
            if save_onnx.suffix.lower() != ".onnx":
                raise InputError(f"--save-onnx {save_onnx}: a model file ends in .onnx")
            if exists(save_onnx) and exists(model_path(model)) and save_onnx.samefile(model_path(model)):
                raise InputError(f"--save-onnx {save_onnx}: is the model that is built")
            if exists(save_onnx) and not overwrite:
                raise InputError(f"--save-onnx {save_onnx} exists; --overwrite replaces it")
        if timing_cache is not None and timing_cache.suffix.lower() != ".cache":
            raise InputError(f"--timing-cache {timing_cache}: its name ends in .cache, because it is written over")
        if timing_cache is not None and timing_cache.name == f"{out.name}.cache":
            raise InputError(f"--timing-cache {timing_cache}: of this name TensorRT-RTX keeps what the engine compiles")
        from ..models import tensorrt_variants

        chosen = tensorrt_variants.choose(runtime)
        try:
            from ..engine import build as builder
        except ImportError as error:
            raise BackendError(f"building needs {error.name or 'onnx'}: {chosen.get}") from error
        with stderr.status("writing and measuring FP16"):
            prepared = builder.prepare(model_path(model), precision=precision)
        if prepared.psnr is not None:
            stdout.print(f"FP16 keeps {prepared.psnr:.1f} dB of the edits (PSNR against FP32)")
        try:
            if save_onnx is not None:
                from ..files import write_files

                write_files({save_onnx: prepared.model.SerializeToString()})
            from rich.progress import Progress

            with Progress(console=stderr, transient=True) as bar:
                task = bar.add_task(chosen.name, total=None)
                built = builder.build(
                    prepared,
                    out,
                    variant=chosen,
                    max_faces=max_batch,
                    targets=target or (),
                    device=device,
                    workspace=workspace,
                    timing_cache=timing_cache,
                    progress=lambda what, done, of: bar.update(task, description=what, completed=done, total=of),
                )
        except OSError as error:
            raise ImageError(f"cannot be written: {error}") from error
    facts = built.description.engine
    assert facts is not None  # it was just built
    stdout.print(f"wrote {out}: {built.size:,} bytes in {built.seconds:.1f} s, {facts.variant} {facts.version}")
    stdout.print(f"SHA-256 {built.sha256}, also in {out.name}.json")


def verify(
    engine: Annotated[Path, typer.Argument(help="An engine that lgin-edge build wrote.", metavar="ENGINE")],
    sha256: Annotated[
        str | None,
        typer.Option(help="The hash that it must have. Default: the one in the .json beside it.", metavar="HASH"),
    ] = None,
) -> None:
    """Check that an engine is whole and unchanged, and say what it needs. Nothing of it is loaded or run.

    Example:

      lgin-edge verify engine.plan
    """
    with exit_on_error():
        from ..models import engine_file, tensorrt_variants

        data, about = engine_file.read(engine, sha256)
        facts = about.engine
        assert facts is not None  # engine_file.read saw to it
        variant = tensorrt_variants.VARIANTS.get(facts.variant)
        gpus = ", ".join(facts.targets) or f"from sm{tensorrt_variants.RTX_OLDEST} on"
        stdout.print(
            f"{engine}: whole, {len(data):,} bytes, {about.model}, {about.precision}, up to {facts.max_faces} faces"
        )
        stdout.print(f"needs {facts.variant} {facts.version} and a GPU: {gpus}")
        if variant is None or not variant.installed:
            stdout.print(f"here {facts.variant} is not installed")
        else:
            stdout.print(f"here {facts.variant} {variant.version()} is installed")


def _check_output(out: Path, overwrite: bool) -> None:
    from ..models import engine_file

    if not engine_file.is_engine(out):
        raise InputError(f"--out {out}: an engine ends in {', '.join(engine_file.SUFFIXES)}")
    if out.exists() and not overwrite:
        raise InputError(f"--out {out} exists; --overwrite replaces it")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}")
