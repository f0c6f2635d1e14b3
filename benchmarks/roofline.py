"""Operations and bytes of each stage against what this machine can do: ``python benchmarks/roofline.py -o FILE.json``.

One thread. The ceilings are measured in the same run: multiply-adds of float32 by NumPy's matrix product (OpenBLAS), those of
8 bits by ONNX Runtime's, and bytes by copying far more than the caches hold. A stage can be no faster than its operations over
the first, nor than its bytes over the last (Williams et al. 2009); the fraction is that bound over the time it took.

Operations are what the definition asks for, an addition or a multiplication each (``Work``); bytes what must be read and
written once, weights among them. Copies on the target, and features inside the network, are not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import onnxruntime
import typer
from onnx import TensorProto, helper
from rich.console import Console
from rich.table import Table

from benchmarks.stages import machine, report, stages
from benchmarks.stages.measure import Candidate, measure_interleaved
from benchmarks.stages.resnet18 import GMAC, Sessions
from benchmarks.stages.stages import Model, Target
from lgin_edge import geometry, reference
from lgin_edge.transformer import INT8_WEIGHTS, WEIGHTS
from training.evaluation.cost import macs

_SIDE = 1024
_COPIED = 1 << 28  # bytes

#: Of a bilinear sample of three channels: three interpolations of 3 operations each, its position and fractions, its weight.
_SAMPLE = 3 * 3 * 3 + 8 + 3
#: Of a view's share of a changed pixel: its position, two raised cosines of 11, and the sample.
_VIEW = 8 + 22 + 3 + _SAMPLE


@dataclass(frozen=True)
class Work:
    """What a stage has to do: giga-operations and megabytes."""

    gops: float
    mb: float


def crop(model: Model) -> Work:
    """Each view pixel is the mean of its samples; the frame's square is read, the views are written."""
    scene, about = model.scene, model.description
    samples = 0
    for box, side in _views(model):
        view = geometry.view_affine(scene.face.affine, box) / side
        samples += side * side * int(np.prod([reference.sample_count(view[:, i]) for i in (0, 1)]))
    pixels = about.face_size**2 + 5 * about.patch_size**2
    return Work(samples * _SAMPLE / 1e9, (3 * _square(model) + 12 * pixels) / 1e6)


def paste(model: Model) -> Work:
    """Each pixel of the square is changed by the views over it; residuals and pixels are read, pixels written."""
    about = model.description
    share = 1 + sum(float(np.prod(np.clip(box[2:], 0, 1) - np.clip(box[:2], 0, 1))) for box in model.scene.face.boxes)
    pixels = about.face_size**2 + 5 * about.patch_size**2
    return Work(_square(model) * (share * _VIEW + 9) / 1e9, (2 * 3 * _square(model) + 12 * pixels) / 1e6)


def engine(model: Model) -> Work:
    """Two operations a multiply-accumulate; the file (weights), views and residuals."""
    about = model.description
    pixels = about.face_size**2 + 5 * about.patch_size**2
    # Counted in the float32 graph: the int8 one is the same network.
    return Work(2 * macs(onnx.load(str(WEIGHTS))) / 1e9, (model.path.stat().st_size + 2 * 12 * pixels) / 1e6)


def _views(model: Model) -> list[tuple[Any, int]]:
    about = model.description
    return [(geometry.FULL_BOX, about.face_size), *((box, about.patch_size) for box in model.scene.face.boxes)]


def _square(model: Model) -> float:
    """Pixels of the frame under the face's square."""
    return float(abs(np.linalg.det(model.scene.face.affine[:, :2])))


def ceilings(stack: ExitStack) -> list[Candidate]:
    """What is timed for the ceilings: two matrix products and a copy."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((_SIDE, _SIDE), np.float32) for _ in range(2))
    out = np.empty_like(a)
    small = [rng.integers(0, 100, (_SIDE, _SIDE)).astype(kind) for kind in (np.uint8, np.int8)]
    source, target = (np.ones(_COPIED // 8) for _ in range(2))
    session = _integer_product()

    def candidate(name: str, run: Callable[[], object], *inputs: Any) -> Candidate:
        return Candidate(name, "ceiling", run, lambda _: "not checked", list(inputs))

    return [
        candidate("float32 product", lambda: np.matmul(a, b, out=out), a, b),
        candidate("int8 product", lambda: session.run(None, dict(zip("ab", small, strict=True))), *small),
        candidate("copy", lambda: np.copyto(target, source), source[:1]),
    ]


def _integer_product() -> Any:
    shape = [_SIDE, _SIDE]
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info(n, t, shape) for n, t in (("a", TensorProto.UINT8), ("b", TensorProto.INT8))],
        [helper.make_tensor_value_info("c", TensorProto.INT32, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def main(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the rows as JSON.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for timing.")] = 40.0,
) -> None:
    """Measure ceilings and stages on one thread and print a table. Start it with OPENBLAS_NUM_THREADS=1."""
    facts = machine.describe()
    with ExitStack() as stack:
        whole, small = stages.open_models([WEIGHTS, INT8_WEIGHTS], stack)
        target = Target("onnxruntime", 1, stack)
        todo = [Sessions(stack).candidate(1), *ceilings(stack)]
        todo += [stages.build(stage, whole, target)[0] for stage in ("crop", "paste", "model")]
        todo += stages.build("model", small, target)[:1]
        works = [Work(2 * GMAC, 4 * 11.7 + 0.8), *(None for _ in range(3))]
        works += [crop(whole), paste(whole), engine(whole), engine(small)]
        measured, skipped = measure_interleaved(todo, seconds)
    for one in skipped:
        raise SystemExit(f"{one.stage} {one.name}: {one.reason}")
    found = report.rows(measured, "roofline")
    time = {row["stage"]: row["median_ms"] for row in found if row["candidate"] == "ceiling"}
    peak = {
        "fp32": 2 * _SIDE**3 / time["float32 product"] / 1e6,
        "int8": 2 * _SIDE**3 / time["int8 product"] / 1e6,
    }
    bandwidth = 2 * _COPIED / time["copy"] / 1e6  # read and written
    facts["ceilings"] = {
        "gflops": round(peak["fp32"], 1),
        "int8_gops": round(peak["int8"], 1),
        "gb_s": round(bandwidth, 1),
    }
    table = Table("stage", "type", "ms", "Gop", "MB", "Gop/s", "op/byte", "fraction of the bound", "bound by")
    for row, work in zip(found, works, strict=True):
        if work is None:
            continue
        times = {"operations": work.gops / peak[row["dtype"]] * 1e3, "bytes": work.mb / bandwidth}
        bound = max(times, key=times.__getitem__)
        row |= {
            "gops": round(work.gops, 4),
            "mb": round(work.mb, 3),
            "bound": bound,
            "fraction": round(times[bound] / row["median_ms"], 3),
        }
        table.add_row(
            row["stage"], row["dtype"], f"{row['median_ms']:.2f}", f"{work.gops:.3f}", f"{work.mb:.1f}",
            f"{work.gops / row['median_ms'] * 1e3:.0f}", f"{1e3 * work.gops / work.mb:.0f}", f"{row['fraction']:.0%}", bound,
        )  # fmt: skip
    Console().print(facts["ceilings"])
    Console().print(table)
    if out:
        report.write(out, facts, found)


if __name__ == "__main__":
    typer.run(main)
