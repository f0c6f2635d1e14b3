"""``--profile``: where the engine's time goes, by ONNX Runtime's own profiler."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.stages.report import columns, plain
from benchmarks.stages.scene import Scene
from lgin_edge.cli.options import print_whole
from lgin_edge.inference.onnxruntime import DEFAULT_PROVIDERS, session_options
from lgin_edge.models.description import Description
from lgin_edge.models.model_file import read_description

_WARM_UP, _CALLS = 5, 20


@dataclass
class Layer:
    """A node of the graph as ONNX Runtime runs it, after its own fusions.

    Attributes:
        ms: of one call, in the mean.
        output: shape of its first output.
        gmac: multiply-accumulates of a convolution in units of 1e9, padding to the kernel's blocks included; 0 for others.
    """

    name: str
    kind: str
    ms: float = 0.0
    output: tuple[int, ...] = ()
    gmac: float = 0.0


@dataclass
class Profile:
    """Of one model.

    Attributes:
        layers: the slowest first.
        total_ms: of one call with the profiler on, which slows it a little; what no layer accounts for is between them.
    """

    layers: list[Layer] = field(default_factory=list)
    total_ms: float = 0.0

    def kinds(self) -> list[tuple[str, int, float]]:
        """Operator, how many of it, milliseconds a call; the slowest first."""
        found: dict[str, list[float]] = defaultdict(list)
        for layer in self.layers:
            found[layer.kind].append(layer.ms)
        return sorted(((kind, len(ms), sum(ms)) for kind, ms in found.items()), key=lambda one: -one[2])


def profile(path: Path, threads: int) -> Profile:
    """Time of every layer on the CPU.

    Raises:
        ModelError: the file is none that can be run.
        RuntimeError: ONNX Runtime wrote no profile.
    """
    import onnxruntime

    about = read_description(path)
    assert isinstance(about, Description)  # stages.open_models saw to it

    with TemporaryDirectory(prefix="lgin-edge-bench-") as folder:
        options = session_options(threads)
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(path), options, providers=list(DEFAULT_PROVIDERS))
        names = ("face", "patches", "boxes", "age")
        types = {value.name: value.type for value in session.get_inputs()}
        inputs = {
            name: array.astype("float16" if types[name] == "tensor(float16)" else "float32")
            for name, array in zip(names, Scene.of(about).engine_inputs(), strict=True)
        }
        for _ in range(_WARM_UP + _CALLS):
            session.run(None, inputs)
        file = Path(session.end_profiling())
        return parse(json.loads(file.read_text()))


def parse(events: Sequence[dict[str, Any]], warm_up: int = _WARM_UP) -> Profile:
    """Layers of the profiler's events, without the first ``warm_up`` calls. Raises RuntimeError if there are none."""
    calls = [event for event in events if event.get("name") == "model_run"][warm_up:]
    if not calls:
        raise RuntimeError("ONNX Runtime's profile holds no call")
    first = min(float(event["ts"]) for event in calls)
    found: dict[str, Layer] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith("_kernel_time") or float(event["ts"]) < first:
            continue
        about = event.get("args", {})
        layer = found.setdefault(name, Layer(name.removesuffix("_kernel_time"), str(about.get("op_name", "?"))))
        layer.ms += float(event["dur"]) / 1e3 / len(calls)
        if not layer.output:
            layer.output = _shape(about.get("output_type_shape"), 0)
            layer.gmac = _gmac(layer, _shape(about.get("input_type_shape"), 1))
    layers = sorted(found.values(), key=lambda layer: -layer.ms)
    return Profile(layers, sum(float(event["dur"]) for event in calls) / 1e3 / len(calls))


def _gmac(layer: Layer, weight: tuple[int, ...]) -> float:
    """Of a convolution: every weight once for each place of the output."""
    if "Conv" not in layer.kind or len(weight) != 4 or len(layer.output) != 4:
        return 0.0
    return math.prod(weight) * layer.output[0] * layer.output[2] * layer.output[3] / 1e9


def _shape(told: Any, index: int) -> tuple[int, ...]:
    """Of ``[{"float": [1, 3, 8, 8]}, ...]``."""
    if not isinstance(told, list) or index >= len(told) or not isinstance(told[index], dict):
        return ()
    return tuple(next(iter(told[index].values()), ()))


def show(console: Console, name: str, found: Profile, top: int = 12) -> None:
    """The model's time by operator, and its slowest layers."""
    told = sum(layer.ms for layer in found.layers)
    table = plain(f"{name}: {found.total_ms:.2f} ms a call with the profiler on, {told:.2f} ms in layers")
    columns(table, ("operator",), right=False)
    columns(table, ("nodes", "ms", "share"))
    for kind, count, ms in found.kinds():
        table.add_row(kind, str(count), f"{ms:.3f}", f"{ms / told:.1%}")
    print_whole(console, table)
    for title, layers in (
        (f"Slowest layers, {top} of {len(found.layers)}", found.layers),
        ("Slowest convolutions", [layer for layer in found.layers if layer.gmac]),
    ):
        table = plain(title)
        columns(table, ("layer", "operator", "output"), right=False)
        columns(table, ("ms", "share", "GMAC/s"))
        for layer in layers[:top]:
            speed = f"{1e3 * layer.gmac / layer.ms:.0f}" if layer.gmac and layer.ms else ""
            shape = "x".join(map(str, layer.output))
            table.add_row(layer.name, layer.kind, shape, f"{layer.ms:.3f}", f"{layer.ms / told:.1%}", speed)
        console.print()
        print_whole(console, table)
