"""Building engines: for real with TensorRT-RTX, which needs no GPU, and every way in which it can go wrong."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import models
import pytest
from typer.testing import CliRunner

from lgin_edge import BackendError, InputError, ModelError, Transformer, transformer
from lgin_edge.cli import app as cli
from lgin_edge.cli import options
from lgin_edge.models import engine_file, tensorrt_variants
from lgin_edge.models.model_file import read_description

pytest.importorskip("onnx_graphsurgeon", reason="building needs onnx-graphsurgeon: ./bootstrap.sh test,tensorrt-rtx")

from lgin_edge.engine import build as builder
from lgin_edge.engine import fp16

RTX = tensorrt_variants.VARIANTS["tensorrt-rtx"]
needs_rtx = pytest.mark.skipif(not RTX.installed, reason="needs TensorRT-RTX: ./bootstrap.sh test,tensorrt-rtx")


@pytest.fixture(scope="module")
def prepared() -> builder.Prepared:
    return builder.prepare(transformer.WEIGHTS)


@pytest.fixture(scope="module")
def engine(prepared: builder.Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model's engine for two GPUs."""
    path = tmp_path_factory.mktemp("engines") / "engine.plan"
    builder.build(prepared, path, variant=RTX, max_faces=2, targets=("sm120", "sm86"))
    return path


def test_progress_memory_and_kernels_of_a_build(
    prepared: builder.Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT-RTX's own log of a build, at the default of four faces: the bounds are what was reached, rounded up."""
    trt = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: ./bootstrap.sh test,tensorrt-rtx")
    lines: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            lines.append(message)

    create = trt.Builder.create_builder_config

    def detailed(self: Any) -> Any:
        settings = create(self)
        settings.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        return settings

    monkeypatch.setattr(tensorrt_variants.Log, "attach", lambda self, trt: Logger())
    monkeypatch.setattr(trt.Builder, "create_builder_config", detailed)
    seen: list[tuple[str, int, int]] = []
    output = tmp_path / "engine.plan"
    builder.build(prepared, output, variant=RTX, targets=("sm86",), progress=lambda *step: seen.append(step))
    assert seen[-1][1] == seen[-1][2] > 1
    assert all(0 <= done <= of for _, done, of in seen)
    log = "\n".join(lines)
    (memory,) = (int(size) for size in re.findall(r"Max Scratch Memory: (\d+) bytes", log))
    assert memory <= 106e6
    kernels = re.findall(r"^Name: (\S+), LayerType: (\w+),", log, re.MULTILINE)
    kinds = Counter(kind for _, kind in kernels)
    assert not kinds["signal"], "a second stream"
    assert kinds.total() - kinds["shape_call"] <= 81
    assert sum(bool(re.match(r"__myl_(Tran|Resh|Move|Repl|Conc|Slic)+_myl", name)) for name, _ in kernels) <= 4, (
        "layout"
    )


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(one) for one in arguments])


def test_prepare(prepared: builder.Prepared, tmp_path: Path) -> None:
    assert prepared.description.precision == "fp16"
    assert prepared.description.onnx_sha256 == hashlib.sha256(transformer.WEIGHTS.read_bytes()).hexdigest()
    assert prepared.psnr is not None
    assert prepared.psnr >= fp16.LEAST_PSNR_DB
    kept = builder.prepare(transformer.WEIGHTS, precision="fp32")
    assert (kept.description.precision, kept.psnr) == ("fp32", None)
    edits = builder.prepare(models.save_edits(tmp_path / "edits.onnx", gain=0.1, flow=(0.02, -0.01), textured=0.5))
    assert (edits.description.format, edits.description.precision) == (4, "fp16")
    assert edits.psnr is not None
    assert edits.psnr >= fp16.LEAST_PSNR_DB


def test_prepare_refuses(tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("not a model")
    for path, error, message in (
        (tmp_path / "none.onnx", ModelError, "no such model file"),
        (text, ModelError, "not an ONNX file"),
        (tmp_path / "a.plan", ModelError, "an engine is built from an .onnx file"),
        (models.save(tmp_path / "bare.onnx", description=None), ModelError, "description"),
    ):
        with pytest.raises(error, match=message):
            builder.prepare(path)
    with pytest.raises(InputError, match="expected fp16 or fp32, got 'int8'"):
        builder.prepare(text, precision="int8")


@needs_rtx
def test_the_bundled_model_builds_without_a_gpu(engine: Path, prepared: builder.Prepared) -> None:
    data, about = engine_file.read(engine)
    assert about == replace(
        prepared.description,
        engine=about.engine,
    )
    assert about.engine is not None
    assert about.engine.variant == "tensorrt-rtx"
    assert about.engine.version == RTX.version()
    assert about.engine.targets == ("sm120", "sm86")
    assert about.engine.max_faces == 2
    assert read_description(engine) == about
    for name in (*about.inputs, *about.outputs):
        assert name.encode() in data
    assert 1e6 < len(data) < 60e6
    assert sorted(one.name for one in engine.parent.iterdir()) == ["engine.plan", "engine.plan.json"]


@needs_rtx
def test_an_interrupted_build_writes_nothing(
    prepared: builder.Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    join, first = threading.Thread.join, [True]

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        if timeout is not None and first:
            first.clear()
            raise KeyboardInterrupt
        join(self, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        builder.build(prepared, tmp_path / "a.plan", variant=RTX)
    assert list(tmp_path.iterdir()) == []


@needs_rtx
def test_build_refuses(prepared: builder.Prepared, tmp_path: Path) -> None:
    out = tmp_path / "a.plan"
    with pytest.raises(InputError, match=r"builds for .*sm86.*, got sm90, gpu"):
        builder.build(prepared, out, variant=RTX, targets=("sm90", "sm86", "gpu"))
    with pytest.raises(InputError, match="max_faces: expected 1 to 64, got 0"):
        builder.build(prepared, out, variant=RTX, max_faces=0)
    assert list(tmp_path.iterdir()) == []


def test_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_variants.Variant, "installed", property(lambda self: self.name == "tensorrt-rtx"))
    assert tensorrt_variants.choose("auto") is RTX
    monkeypatch.setattr(tensorrt_variants.Variant, "installed", property(lambda self: True))
    assert tensorrt_variants.choose("auto").name == "tensorrt"
    monkeypatch.setattr(tensorrt_variants.Variant, "installed", property(lambda self: False))
    with pytest.raises(BackendError, match=r"neither .*JetPack.*pip install lgin-edge\[tensorrt-rtx\]"):
        tensorrt_variants.choose("auto")
    with pytest.raises(BackendError, match="expected auto, tensorrt or tensorrt-rtx, got 'trt'"):
        tensorrt_variants.choose("trt")
    missing = replace(RTX, module="tensorrt_that_is_not_there")
    with pytest.raises(BackendError, match=r"cannot be imported.*pip install lgin-edge\[tensorrt-rtx\]"):
        missing.load()


@needs_rtx
def test_full_tensorrt_without_a_gpu_says_what_is_missing(prepared: builder.Prepared, tmp_path: Path) -> None:
    """TensorRT-RTX plays TensorRT, whose wheels are not to be had: the same API, but for a GPU that is here."""
    full = replace(RTX, name="tensorrt", cross=False)
    pytest.importorskip("cuda.bindings.runtime")
    try:
        builder.build(prepared, tmp_path / "a.plan", variant=full)
    except BackendError as error:
        assert "Run lgin-edge build on the device itself, or use --runtime tensorrt-rtx" in str(error)  # noqa: PT017
    with pytest.raises(InputError, match="builds only for the GPU that is here"):
        builder.build(prepared, tmp_path / "b.plan", variant=full, targets=("sm86",))


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    model, other, picture = tmp_path / "my.onnx", tmp_path / "half.onnx", tmp_path / "me.jpg"
    for path in (model, other, picture):
        path.write_bytes(b"mine")
    for options_, words in (
        (("--save-onnx", model), "is the model that is built"),
        (("--save-onnx", model, "--overwrite"), "is the model that is built"),
        (("--save-onnx", other), "exists; --overwrite replaces it"),
        (("--save-onnx", picture, "--overwrite"), r"a model file ends in .onnx"),
        (("--timing-cache", picture), "its name ends in .cache"),
        (("--timing-cache", tmp_path / "engine.plan.cache"), "TensorRT-RTX keeps what the engine compiles"),
    ):
        done = run("build", model, "-o", tmp_path / "engine.plan", *options_)
        assert done.exit_code == 2
        assert words in done.output
    assert {path.read_bytes() for path in (model, other, picture)} == {b"mine"}
    done = run("build", "-o", tmp_path / "engine.plan", "--save-onnx", transformer.WEIGHTS, "--overwrite")
    assert (done.exit_code, "is the model that is built" in done.output) == (2, True)


def test_an_engine_is_built_on_the_gpu_that_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By TensorRT it is made in another thread, whose device is the first one."""
    current = threading.local()
    cuda: Any = SimpleNamespace(activate=lambda: setattr(current, "device", 1))

    def serialized(network: object, settings: object) -> bytes:
        return b"%d" % getattr(current, "device", 0)

    maker = SimpleNamespace(build_serialized_network=serialized)
    trt = SimpleNamespace()
    assert builder._run(trt, maker, None, SimpleNamespace(), lambda *_: None, cuda) == b"1"
    assert builder._run(trt, maker, None, SimpleNamespace(), lambda *_: None, None) == b"0"
    devices = [0]

    @contextmanager
    def here() -> Iterator[None]:
        devices.append(1)
        yield
        devices.append(0)

    def make(self: object, kind: str, *_: object) -> None:
        assert devices[-1] == 1
        raise BackendError("seen")

    full = replace(RTX, name="tensorrt", cross=False)
    monkeypatch.setattr(tensorrt_variants.Variant, "load", lambda self: SimpleNamespace())
    monkeypatch.setattr(tensorrt_variants.Log, "attach", lambda *_: None)
    monkeypatch.setattr(tensorrt_variants.Variant, "make", make)
    monkeypatch.setattr(builder, "_gpu", lambda *_: SimpleNamespace(current=here, capability=86))
    with pytest.raises(BackendError, match="seen"):
        builder.build(SimpleNamespace(), Path("a.plan"), variant=full, device=1)  # type: ignore[arg-type]


@needs_rtx
def test_loading_it_without_a_gpu_says_what_is_missing(engine: Path) -> None:
    with pytest.raises((BackendError, ModelError), match=r"CPU kernels only|no NVIDIA GPU can be used here|built for"):
        Transformer(engine)
    with pytest.raises(InputError, match=r"runs on a GPU alone; give the \.onnx file"):
        Transformer(engine, device="cpu")


@needs_rtx
def test_a_changed_engine_is_refused_before_anything_else(engine: Path, tmp_path: Path) -> None:
    copy = tmp_path / engine.name
    data = bytearray(engine.read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    engine_file.json_file(copy).write_bytes(engine_file.json_file(engine).read_bytes())
    with pytest.raises(ModelError, match="changed, damaged or cut off"):
        Transformer(copy)
    with pytest.raises(ModelError, match="sha256= asks for 0000"):
        Transformer(engine, sha256="0" * 64)


@needs_rtx
def test_command(tmp_path: Path) -> None:
    out, half = tmp_path / "engine.plan", tmp_path / "half.onnx"
    done = run("build", "-o", out, "--runtime", "tensorrt-rtx", "--target", "sm89", "--save-onnx", half)
    assert done.exit_code == 0, done.output
    for text in ("dB of the edits", "tensorrt-rtx", "SHA-256", "engine.plan.json"):
        assert text in done.output
    assert "fp16" in run("info", half).output
    assert "for up to 4 faces a call on GPUs: sm89" in run("info", out).output
    whole = run("verify", out)
    assert whole.exit_code == 0
    assert "whole" in whole.output
    assert "needs tensorrt-rtx" in whole.output
    assert run("build", "-o", out).exit_code == 2  # it exists
    again = run("build", half, "-o", out, "--overwrite", "--precision", "fp32")
    assert again.exit_code == options.BAD_MODEL
    assert "engines are built from the fp32 one" in " ".join(again.output.split())
    out.write_bytes(out.read_bytes()[:-1])
    cut = run("verify", out)
    assert cut.exit_code == options.BAD_MODEL
    assert "changed, damaged or cut off" in cut.output


def test_command_refuses(tmp_path: Path) -> None:
    for arguments, message in (
        (("-o", tmp_path / "engine.onnx"), "an engine ends in .plan"),
        (("-o", tmp_path / "no" / "engine.plan"), "there is no folder"),
        (("-o", tmp_path / "a.plan", "--runtime", "x"), "expected auto"),
    ):
        done = run("build", *arguments)
        assert done.exit_code != 0
        assert message in " ".join(done.output.split())
    assert run("verify", tmp_path / "none.plan").exit_code == options.BAD_MODEL
