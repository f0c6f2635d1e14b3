"""Write the ONNX models: ``python -m training.export runs/first my.onnx --classifier age.onnx``.

One file is a whole model of format 4: weights, graph and the description (design section 5). Each face is encoded once however
many ages are asked for: ``age`` is [N, G, K]. C goes to a file of its own, if asked for: the run time's ``estimate_age`` is not
needed to age a face.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any
from zipfile import BadZipFile

import numpy as np
import onnx
import torch
import typer
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from lgin_edge import geometry
from lgin_edge.files import atomic_write
from lgin_edge.models.description import ANY, METADATA_KEY, AgeDescription, Description

from . import checkpoint, data
from .ages import Ages
from .command import exit_on_error, run_command
from .critics import CLASSIFIER_SIDE, AgeClassifier
from .detector import store_weights, weights_of
from .evaluation import cost
from .exported import Exported
from .lines import Lines
from .networks import FACE_BOX, LGIN, NetworkConfig, example_inputs

OPSET = 20  # the newest that TensorRT 10.3 (JetPack 6) reads
CONFIG = "config.json"

TRAINING_DATA = (
    "1,219 faces of people of 18 and more: 775 official portraits of members of the US Congress (mostly presumed US-government "
    "works, not checked per image; ages 25-76, three men to one woman, most of them white), 195 staff portraits of US federal "
    "programmes (CC0), 130 pictures of research volunteers (Face Research Lab London Set, DeBruine & Jones 2017, CC BY 4.0) and "
    "119 AI-generated faces (SFHQ-T2I, Beniaguev 2024, MIT), beside which 8 more lend lines of old skin. Few are over 65. Ages: "
    "congress-legislators (CC0), FiveThirtyEight (CC BY 4.0), stated by volunteers, else estimated."
)


class ExportedClassifier(nn.Module):
    """C with probabilities for log-probabilities."""

    def __init__(self, classifier: AgeClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, face: Tensor) -> Tensor:
        return self.classifier(face).exp()


def describe(config: NetworkConfig, name: str) -> Description:
    return Description(
        **_common(name),
        face_size=config.face_size,
        patch_size=config.patch_size,
        face_taper=geometry.FACE_TAPER,
        region_taper=geometry.REGION_TAPER,
        format=4,
        face_box=FACE_BOX,
        lines_size=config.texture_size,
    )


def _common(name: str) -> dict[str, Any]:
    """What the descriptions of both kinds of models say."""
    template = tuple((float(x), float(y)) for x, y in geometry.TEMPLATE)
    facts = {"model": name, "groups": data.GROUPS, "template": template, "precision": "fp32"}
    return facts | {"training_data": TRAINING_DATA}


def export(net: LGIN, path: Path, name: str = "lgin") -> onnx.ModelProto:
    """Export T to ``path``, checked, with its description.

    Args:
        net: on the CPU, in evaluation mode.
    """
    config = net.config
    faces, ages = torch.export.Dim("faces"), torch.export.Dim("ages")
    shapes = ({0: faces}, {0: faces}, {0: faces}, {0: faces, 1: ages})
    about = describe(config, name)
    model = to_onnx(Exported(net), example_inputs(config, faces=2, ages=3), shapes, about)
    store_textures(model)
    save(model, about, path)
    return model


#: Textures among what is stored, by the ends of their names.
_TEXTURES = ("lines.layers", "lines.windows", "greying.bank", "grain.tile")


def store_textures(model: onnx.ModelProto) -> None:
    """Store the age layers, and what else is a texture, as int8 with one step for each of its first axis: their light has no finer one. 3.2 MB instead of 13."""
    graph = model.graph
    for initializer in list(graph.initializer):
        if not initializer.name.endswith(_TEXTURES):
            continue
        array = numpy_helper.to_array(initializer)
        step = np.maximum(np.abs(array).reshape(len(array), -1).max(1), 1e-6).astype(np.float32) / 127
        packed = np.rint(array / step.reshape(-1, *[1] * (array.ndim - 1))).astype(np.int8)
        name = initializer.name
        graph.initializer.remove(initializer)
        graph.initializer.extend(
            [
                numpy_helper.from_array(packed, f"{name}_int8"),
                numpy_helper.from_array(step, f"{name}_step"),
                numpy_helper.from_array(np.zeros(len(array), np.int8), f"{name}_zero"),
            ]
        )
        inputs = [f"{name}_int8", f"{name}_step", f"{name}_zero"]
        graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}_light", axis=0))


def export_classifier(classifier: AgeClassifier, path: Path, name: str = "lgin") -> onnx.ModelProto:
    """Export C to ``path``: ``face`` [N, 3, CLASSIFIER_SIDE, CLASSIFIER_SIDE] in [-1, 1] -> ``probability`` [N, K].

    Its kernels are stored as float16 behind a Cast and run as float32.

    Args:
        classifier: on the CPU, in evaluation mode.
    """
    example = (torch.zeros(2, 3, CLASSIFIER_SIDE, CLASSIFIER_SIDE),)
    shapes = ({0: torch.export.Dim("faces")},)
    about = AgeDescription(**_common(name), face_size=CLASSIFIER_SIDE)
    model = to_onnx(ExportedClassifier(classifier), example, shapes, about)
    store_weights(model, weights_of(model), half=True)
    save(model, about, path)
    return model


def to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    shapes: tuple[dict[int, Any], ...],
    about: Description | AgeDescription,
) -> onnx.ModelProto:
    """The exporter's graph as it is; ``shapes`` names the dynamic dimensions of each input."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
        warnings.simplefilter("ignore")  # the exporter's notes on its own internals
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports that torchvision is not there
        raw = Path(scratch) / "raw.onnx"
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=shapes,
            input_names=tuple(about.inputs),
            output_names=tuple(about.outputs),
            external_data=False,
            verbose=False,
        )
        program.save(str(raw))
        return onnx.load(str(raw))


def save(model: onnx.ModelProto, description: Description | AgeDescription, path: Path) -> None:
    """Write a checked model with its description, under its final name only when it is whole."""
    name_shapes(model, description)
    forget_source(model)
    helper.set_model_props(model, {METADATA_KEY: description.to_json()})
    model.producer_name, model.doc_string = "lgin-edge training.export", ""
    onnx.checker.check_model(model, full_check=True)
    with atomic_write(path) as partial:
        onnx.save(model, str(partial))


def name_shapes(model: onnx.ModelProto, about: Description | AgeDescription) -> None:
    """Give the graph's inputs and outputs, all float, the shapes that the description says, for N faces at G ages each."""
    graph, shapes = model.graph, about.inputs | about.outputs
    for values in (graph.input, graph.output):
        named = [
            helper.make_tensor_value_info(
                v.name, TensorProto.FLOAT, ["N", *("G" if side == ANY else side for side in shapes[v.name])]
            )
            for v in values
        ]
        del values[:]
        values.extend(named)
    del graph.value_info[:]  # they name the exporter's own dimensions


def forget_source(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: stack traces with paths of this machine in every node."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del item.metadata_props[:]
        item.doc_string = ""


def load(run: Path, average: bool = True, layers: Path | None = None) -> LGIN:
    """T from the folder of a run of ``training.fit``: its averaged weights, or the last ones.

    Args:
        layers: age layers of other targets (``layers.npz``) in place of the run's own; a start (``--start``) has none.

    Raises:
        FileNotFoundError: the folder lacks its networks or its config, or there are no such layers.
        ValueError: they hold something that this version does not know, or lack something that it needs.
    """
    net = LGIN(network_config(run))
    _load_into(net, run, "average" if average else "net", {} if layers is None else age_layers(layers, net.lines))
    return net.eval()


def age_layers(path: Path, lines: Lines | None) -> dict[str, Tensor]:
    """The weights of ``lines`` that a ``layers.npz`` of ``training.targets.build`` holds. Raises FileNotFoundError, ValueError."""
    if lines is None:
        raise ValueError("the run's network draws no lines: leave --layers out")
    if not path.is_file():
        raise FileNotFoundError(
            f"no age layers at {path}; python -m training.targets.build FOLDER makes FOLDER/layers.npz"
        )
    try:
        with np.load(path) as file:
            found = {name: torch.from_numpy(file[name]) for name in ("layers", "windows")}
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, OSError, BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} holds no age layers: {error}") from error
    for name, values in found.items():
        expected = tuple(getattr(lines, name).shape)
        if tuple(values.shape) != expected or not values.isfinite().all():
            raise ValueError(
                f"{path}: expected finite {name} of shape {expected}, as the run's, got {tuple(values.shape)}"
            )
    return {f"lines.{name}": values for name, values in found.items()}


def calibrate(net: LGIN, years: Sequence[float], young: Sequence[float] = ()) -> None:
    """Have the generators work for other ages than T is asked for (``ages``).

    Args:
        years: for each age group the years that the generators work for, rising. young: those for young faces, where they differ.

    Raises ValueError: not as many years as groups, or years that do not rise.
    """
    net.ages = Ages(years, young or years)


def load_classifier(run: Path) -> AgeClassifier:
    """C from the folder of a run of ``training.fit``. Errors: as for ``load``."""
    classifier = AgeClassifier(network_config(run).groups)
    _load_into(classifier, run, "c")
    return classifier.eval()


def network_config(run: Path) -> NetworkConfig:
    """Widths and depths of a run's networks. Errors: as for ``load``."""
    path = _file(run, CONFIG)
    config = json.loads(path.read_text())
    if not isinstance(config, dict) or not isinstance(config.get("network"), dict):
        raise ValueError(f"{path}: expected an object with a 'network', as training.fit writes it")
    network, known = config["network"], {field.name for field in fields(NetworkConfig)}
    if set(network) != known:
        raise ValueError(
            f"{path}: 'network' has {_listed(set(network) - known)} that this version does not know and lacks "
            f"{_listed(known - set(network))}; export with the version that trained it"
        )
    return NetworkConfig(**{key: tuple(value) if isinstance(value, list) else value for key, value in network.items()})


def _load_into(module: nn.Module, run: Path, network: str, others: Mapping[str, Tensor] = MappingProxyType({})) -> None:
    """Load the weights of one of a run's networks, with others in their places. Raises ValueError, naming what does not fit."""
    weights, _ = checkpoint.load(_file(run, checkpoint.FILE), f"{network}.")
    if not weights:
        raise ValueError(f"{run / checkpoint.FILE} has no {network!r}; a start has averaged weights alone")
    weights |= others
    if isinstance(module, LGIN) and module.lines is not None and "lines.layers" not in weights:
        raise ValueError(f"{run} has no age layers, as no start has: give those of targets, --layers layers.npz")
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{run / checkpoint.FILE}: {network!r} does not fit {run / CONFIG}: {error}") from error


def _file(run: Path, name: str) -> Path:
    path = run / name
    if not path.is_file():
        raise FileNotFoundError(f"no {name} in {run}; python -m training.fit FOLDER makes such a folder")
    return path


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(map(repr, names))) or "nothing"


def compare(net: LGIN, path: Path, seed: int = 0) -> float:
    """Largest difference between PyTorch and ONNX Runtime over random faces and several ages a face."""
    import onnxruntime

    rng = np.random.default_rng(seed)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for n, g in ((1, 1), (2, 1), (1, 6), (3, 2)):
        face, patches, boxes, age = (t.numpy() for t in example_inputs(net.config, n, g))
        face = rng.uniform(-1, 1, face.shape).astype(np.float32)
        patches = rng.uniform(-1, 1, patches.shape).astype(np.float32)
        boxes = boxes + rng.uniform(-0.02, 0.02, boxes.shape).astype(np.float32)
        age = rng.dirichlet(np.ones(age.shape[-1]), (n, g)).astype(np.float32)
        with torch.no_grad():
            expected = Exported(net)(*(torch.from_numpy(a) for a in (face, patches, boxes, age)))
        feeds = {"face": face, "patches": patches, "boxes": boxes, "age": age}
        for have, want in zip(session.run(None, feeds), expected, strict=True):
            worst = max(worst, float(np.abs(have - want.numpy()).max()))
    return worst


def compare_classifier(classifier: AgeClassifier, path: Path, seed: int = 0) -> float:
    """Largest difference of a probability between PyTorch (float32 weights) and ONNX Runtime, over random faces."""
    import onnxruntime

    rng = np.random.default_rng(seed)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for n in (1, 2, 5):
        # From smooth to noisy: a single kind of picture may be one group's for certain, and then nothing differs.
        coarse = torch.from_numpy(rng.uniform(-1, 1, (n, 3, 12 * n, 12 * n)).astype(np.float32))
        face = nn.functional.interpolate(coarse, size=(CLASSIFIER_SIDE, CLASSIFIER_SIDE), mode="bilinear")
        with torch.no_grad():
            expected = ExportedClassifier(classifier)(face).numpy()
        (have,) = session.run(["probability"], {"face": face.numpy()})
        worst = max(worst, float(np.abs(have - expected).max()))
    return worst


def main(
    run: Annotated[Path, typer.Argument(help="folder of a run of training.fit")],
    output: Annotated[Path, typer.Argument(help="the .onnx to write")] = Path("lgin_edge/weights/lgin.onnx"),
    classifier: Annotated[
        Path | None, typer.Option(help="Write C too, the age model of estimate_age, to this .onnx.", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option(help="Name and version that the files carry.")] = "lgin-edge-1.16",
    start: Annotated[
        Path | None,
        typer.Option(
            help="Write the averaged weights to this folder too, a start for other runs (--init).", show_default=False
        ),
    ] = None,
    years: Annotated[
        str,
        typer.Option(
            help="Ages that the generators work for where they are asked for the groups' centres, with commas: what makes people"
            " look as old as asked."
        ),
    ] = "",
    young_years: Annotated[
        str, typer.Option(help="The same for young faces, where they differ from --years, which they need.")
    ] = "",
    layers: Annotated[
        Path | None,
        typer.Option(
            help="Age layers of these targets (layers.npz) in place of the run's own. training/start has none.",
            show_default=False,
        ),
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Export the last weights instead of the averaged ones.")] = False,
) -> None:
    """Export T of a run to ONNX with its description, and compare it with PyTorch in ONNX Runtime."""
    with exit_on_error("export"):
        if young_years and not years:
            raise ValueError("--young-years says what differs from --years: give both")
        net = load(run, average=not last, layers=layers)
        if years:
            calibrate(net, *([float(one) for one in given.split(",")] for given in (years, young_years) if given))
        c = load_classifier(run) if classifier is not None else None
    report(output, export(net, output, name), compare(net, output))
    if start is not None:
        checkpoint.save_start(run / checkpoint.FILE, start)
        (start / CONFIG).write_text(json.dumps({"network": asdict(net.config)}, indent=1) + "\n")
    if c is not None and classifier is not None:
        report(classifier, export_classifier(c, classifier, name), compare_classifier(c, classifier))


def report(path: Path, model: onnx.ModelProto, difference: float) -> None:
    size = path.stat().st_size / 1e6
    typer.echo(f"{path}: {size:.1f} MB, {len(model.graph.node)} nodes, {cost.macs(model) / 1e9:.2f} GMAC")
    typer.echo(f"largest difference to PyTorch: {difference:.1e}")


if __name__ == "__main__":
    run_command(main)
