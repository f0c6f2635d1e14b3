"""Tiny models with the interface of a real one, whose answers are known in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lgin_edge import geometry
from lgin_edge.models.description import ANY, METADATA_KEY, AgeDescription, AgeGroup, Description, groups_from_centers

S, P = 64, 32
GROUPS = groups_from_centers((35, 45, 55, 65), (30, 40, 50, 60, 70))
#: Residual of each group, in [-1, 1] units: older is darker, and group 2 changes nothing.
SHIFTS = np.array([0.4, 0.2, 0.0, -0.2, -0.4], np.float32)
AGE_S = 48
#: Logit of each group for a white face: brighter is older, and mid-grey is every age.
SLOPES = np.array([-4, -2, 0, 2, 4], np.float32)


def describe(**changes: object) -> Description:
    values: dict[str, object] = {
        "model": "test model",
        "groups": GROUPS,
        "face_size": S,
        "patch_size": P,
        "face_taper": 0.12,
        "region_taper": 0.30,
        "template": tuple((float(x), float(y)) for x, y in geometry.TEMPLATE),
        "precision": "fp32",
        "training_data": "none: made by tests/models.py",
    }
    return Description(**(values | changes))  # type: ignore[arg-type]


def build(
    *,
    face_gain: float = 0.0,
    patch_gain: float = 0.0,
    description: str | None = "",
    batch: int | str = "N",
    inputs: tuple[str, ...] = ("face", "patches", "boxes", "age"),
    side: int = S,
) -> onnx.ModelProto:
    """A model with ``face_delta = age . SHIFTS + face_gain * face`` and ``patch_delta = patch_gain * patches + 0 * boxes``.

    M = N G rows come out, face-major, like those of a real model. ``description`` None leaves it out.
    """
    constants = {
        "shifts": SHIFTS[:, None],
        "n_g_k": np.array([-1, len(SHIFTS)], np.int64),
        "n_g": np.array([-1, 1, 1, 1], np.int64),
        "n_g_patch": np.array([-1, 1, 1, 1, 1], np.int64),
        "first": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "rows": np.array([-1, 3, side, side], np.int64),
        "patch_rows": np.array([-1, 5, 3, P, P], np.int64),
        "face_gain": np.array(face_gain, np.float32),
        "patch_gain": np.array(patch_gain, np.float32),
        "zero": np.array(0, np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Shape", ["face"], ["face_shape"]),
        node("Gather", ["face_shape", "first"], ["n"]),
        node("Concat", ["n", "n_g_k"], ["age_shape"], axis=0),
        node("Reshape", ["age", "age_shape"], ["ages"]),  # [N, G, K]
        node("MatMul", ["ages", "shifts"], ["shift"]),  # [N, G, 1]
        node("Concat", ["n", "n_g"], ["shift_shape"], axis=0),
        node("Reshape", ["shift", "shift_shape"], ["shift5"]),  # [N, G, 1, 1, 1]
        node("Unsqueeze", ["face", "one"], ["face5"]),  # [N, 1, 3, S, S]
        node("Mul", ["face5", "face_gain"], ["gained"]),
        node("Add", ["gained", "shift5"], ["delta5"]),  # [N, G, 3, S, S]
        node("Reshape", ["delta5", "rows"], ["face_delta"]),
        node("Mul", ["patches", "patch_gain"], ["patch_gained"]),
        node("Unsqueeze", ["patch_gained", "one"], ["patch6"]),  # [N, 1, 5, 3, P, P]
        node("Concat", ["n", "n_g_patch"], ["shift6_shape"], axis=0),
        node("Mul", ["shift", "zero"], ["nothing"]),
        node("ReduceSum", ["boxes"], ["box_sum"], keepdims=0),
        node("Mul", ["box_sum", "zero"], ["no_box"]),
        node("Reshape", ["nothing", "shift6_shape"], ["nothing6"]),
        node("Add", ["patch6", "nothing6"], ["patch_ages"]),
        node("Add", ["patch_ages", "no_box"], ["patch_sum"]),
        node("Reshape", ["patch_sum", "patch_rows"], ["patch_delta"]),
    ]
    shapes = {
        "face": [batch, 3, side, side],
        "patches": [batch, 5, 3, P, P],
        "boxes": [batch, 5, 4],
        "age": ["M", len(SHIFTS)],
    }
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "test",
        [value(name, TensorProto.FLOAT, shapes[name]) for name in inputs],
        [
            value("face_delta", TensorProto.FLOAT, ["M", 3, side, side]),
            value("patch_delta", TensorProto.FLOAT, ["M", 5, 3, P, P]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    if description is not None:
        helper.set_model_props(model, {METADATA_KEY: description or describe().to_json()})
    return model


#: Edits: seven groups, a face view that reaches over the square, and the residual of each group.
GROUPS_2 = groups_from_centers((25, 35, 45, 55, 65, 75), (20, 30, 40, 50, 60, 70, 80))
SHIFTS_2 = np.array([0.6, 0.4, 0.2, 0.0, -0.2, -0.4, -0.6], np.float32)
FACE_BOX, A = (-0.15, -0.3, 1.15, 1.0), 32


def describe_edits(**changes: object) -> Description:
    return describe(**({"groups": GROUPS_2, "format": 4, "face_box": FACE_BOX, "lines_size": A} | changes))


def build_edits(
    *,
    gain: float = 0.0,
    grey: float = 0.0,
    flow: tuple[float, float] = (0.0, 0.0),
    description: str | None = "",
    ages: int | str = "G",
    groups: tuple[AgeGroup, ...] = GROUPS_2,
    textured: float = 0.0,
) -> onnx.ModelProto:
    """A model of format 4 whose edits are the same everywhere: residual ``age . SHIFTS_2``, ``gain``, ``grey``, ``flow``; no lines.

    ``textured`` makes them uneven: the residual follows the face's light too, and patches and lines have patterns so strong.
    """
    random = np.random.default_rng(2)
    m = S // 8
    centres = ((np.arange(m) + 0.5) / m).astype(np.float32)
    constants = {
        "shifts": SHIFTS_2[: len(groups), None],
        "axes": np.array([3, 4], np.int64),
        "last": np.array([5], np.int64),
        "residual": np.repeat(np.float32([1, 1, 1, 0, 0, 0]), S * S).reshape(1, 1, 6, S, S),
        "others": np.repeat(np.float32([0, 0, 0, gain, grey, 1]), S * S).reshape(1, 1, 6, S, S),
        "patch": textured * random.uniform(-1, 1, (1, 1, 5, 4, P, P)).astype(np.float32),
        "no_map": np.zeros((1, 1, 2, m, m), np.float32),
        "flow_map": np.repeat(np.float32(flow), m * m).reshape(1, 1, 2, m, m),
        "grid": np.stack(np.meshgrid(centres, centres))[None],
        "views": np.array([1, 2, 3], np.int64),
        "zero": np.array(0, np.float32),
        "pattern": textured * random.uniform(-1, 1, (1, 1, 1, A, A)).astype(np.float32),
        "by_light": np.array(textured, np.float32),
        "age_axis": np.array([4], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["face", "views"], ["light"]),  # [N, 1, 1, 1]
        node("Mul", ["light", "by_light"], ["lit"]),
        node("Unsqueeze", ["lit", "age_axis"], ["lit5"]),
        node("MatMul", ["age", "shifts"], ["shift"]),  # [N, G, 1]
        node("Unsqueeze", ["shift", "axes"], ["shift_alone"]),
        node("Add", ["shift_alone", "lit5"], ["shift5"]),
        node("Mul", ["shift5", "residual"], ["residuals"]),
        node("Add", ["residuals", "others"], ["face_edit"]),
        node("Unsqueeze", ["shift5", "last"], ["shift6"]),
        node("Mul", ["shift6", "patch"], ["patch_edit"]),
        node("Mul", ["shift5", "no_map"], ["still"]),
        node("Add", ["still", "flow_map"], ["flow"]),
        node("Mul", ["light", "zero"], ["dark"]),
        node("Add", ["dark", "grid"], ["place"]),
        node("Mul", ["shift5", "pattern"], ["lines"]),
    ]
    about = describe_edits(groups=groups)

    def value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(
            name, TensorProto.FLOAT, ["N", *(ages if one == ANY else one for one in shape)]
        )

    graph = helper.make_graph(
        nodes,
        "test",
        [value(*one) for one in about.inputs.items()],
        [value(*one) for one in about.outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    if description is not None:
        helper.set_model_props(model, {METADATA_KEY: description or about.to_json()})
    return model


def save(path: Path, **options: object) -> Path:
    """Build a model into a file; see ``build``."""
    path.write_bytes(build(**options).SerializeToString())  # type: ignore[arg-type]
    return path


def save_edits(path: Path, **options: object) -> Path:
    """Build a model of format 4 into a file; see ``build_edits``."""
    path.write_bytes(build_edits(**options).SerializeToString())  # type: ignore[arg-type]
    return path


def describe_age(**changes: object) -> AgeDescription:
    about = describe()
    values: dict[str, object] = {"model": "test age model", "face_size": AGE_S}
    values |= {name: getattr(about, name) for name in ("groups", "template", "precision", "training_data")}
    return AgeDescription(**(values | changes))  # type: ignore[arg-type]


def build_age(
    *, description: str | None = "", batch: int | str = "N", output: str = "probability", scale: float = 1.0
) -> onnx.ModelProto:
    """An age model with ``probability = scale * softmax(SLOPES * mean(face))``."""
    k = len(SLOPES)
    nodes = [
        helper.make_node("ReduceMean", ["face", "axes"], ["mean"], keepdims=1),  # [N, 1, 1, 1]
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Mul", ["flat", "slopes"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["softmax"], axis=1),
        helper.make_node("Mul", ["softmax", "scale"], [output]),
    ]
    constants = {"axes": np.array([1, 2, 3], np.int64), "slopes": SLOPES[None], "scale": np.array(scale, np.float32)}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "test",
        [value("face", TensorProto.FLOAT, [batch, 3, AGE_S, AGE_S])],
        [value(output, TensorProto.FLOAT, [batch, k])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    if description is not None:
        helper.set_model_props(model, {METADATA_KEY: description or describe_age().to_json()})
    return model


def save_age(path: Path, **options: object) -> Path:
    """Build an age model into a file; see ``build_age``."""
    path.write_bytes(build_age(**options).SerializeToString())  # type: ignore[arg-type]
    return path
