"""The five local generators of an exported model as one: grouped convolutions, one kernel a layer instead of five.

The exported graph draws them as five chains of nodes, and stacks their tensors where it needs all of them at once:
``Concat(Unsqueeze(x_0), ..., Unsqueeze(x_4))`` over axis 1. From each such stack ``branches`` walks back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..errors import ModelError
from ..models.description import METADATA_KEY, Description
from . import pixel_shuffle
from .branches import AGAIN, COUNT, Node, Tensor, Walk, producer, unknown, values

#: Operators that give the same numbers in the same order, in another shape.
_VIEWS = ("Identity", "Reshape", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class FuseReport:
    """What fusing did: how many nodes of each operator there were before and are after.

    ``already_fused``: the model had been fused before, and came back as it was.
    """

    before: dict[str, int]
    after: dict[str, int]
    already_fused: bool = False

    @property
    def nodes_before(self) -> int:
        return sum(self.before.values())

    @property
    def nodes_after(self) -> int:
        return sum(self.after.values())

    @property
    def convolutions_before(self) -> int:
        return self.before.get("Conv", 0)

    @property
    def convolutions_after(self) -> int:
        return self.after.get("Conv", 0)


def fuse(model: onnx.ModelProto) -> tuple[onnx.ModelProto, FuseReport]:
    """Merge the five local branches of a model, fold its constants and drop what does nothing; the same numbers come out.

    Inputs, outputs, opset, IR version and metadata stay as they are.

    Args:
        model: as ``training.export`` writes it; it is not changed.

    Raises:
        ModelError: it carries no description, or has not five branches that are alike but for their weights; the message
            says where they differ.
    """
    description_of(model)
    before = _count(model)
    graph = _graph(pixel_shuffle.from_convolutions(model))
    graph.fold_constants().cleanup().toposort()
    stacks = [node for node in graph.nodes if _is_stack(node)]
    if all(len(node.inputs) != COUNT for node in stacks):
        if _is_fused(model):
            return model, FuseReport(before, before, already_fused=True)
        sizes = sorted({len(node.inputs) for node in stacks})
        found = f"stacks of {' and of '.join(map(str, sizes))}" if sizes else "no stack"
        raise ModelError(
            f"no five branches to fuse: expected the tensors of the five local generators stacked (Unsqueeze, then Concat, "
            f"over axis 1), found {found}. A model without local generators cannot be fused; any other: {AGAIN}"
        )
    walk = Walk(graph)
    for node in stacks:
        if len(node.inputs) == COUNT:
            walk.replace(node)
    graph.cleanup().toposort()
    walk.check_replaced()
    graph = _graph(_model(graph, model))  # once more, to know the new tensors' shapes
    _drop_idle_views(graph)
    result = _model(graph.cleanup().toposort(), model)
    onnx.checker.check_model(result, full_check=True)
    return result, FuseReport(before, _count(result))


def description_of(model: onnx.ModelProto) -> Description:
    """The description that a model carries. Raises ModelError if it has none or it cannot be read."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            return Description.from_json(entry.value)
    raise ModelError(f"not a model of lgin-edge: it carries no description (metadata {METADATA_KEY!r}); {AGAIN}")


def _count(model: onnx.ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in model.graph.node))


def _graph(model: onnx.ModelProto) -> Any:
    """The model for graphsurgeon, with the tensors' shapes as far as they can be known."""
    return gs.import_onnx(onnx.shape_inference.infer_shapes(model, data_prop=True))


def _model(graph: Any, origin: onnx.ModelProto) -> onnx.ModelProto:
    """The graph as a model, with what graphsurgeon need not keep of the model that it came from."""
    model: onnx.ModelProto = gs.export_onnx(graph)
    for listed, kept in ((model.graph.input, origin.graph.input), (model.graph.output, origin.graph.output)):
        del listed[:]
        listed.extend(kept)
    model.ir_version = origin.ir_version
    model.producer_name = origin.producer_name
    model.metadata_props.extend(origin.metadata_props)
    del model.graph.value_info[:]
    return model


def _is_stack(node: Node) -> bool:
    if node.op != "Concat" or node.attrs["axis"] != 1:
        return False
    return all(producer(t) == "Unsqueeze" and values(t.inputs[0].inputs[1]) == [1] for t in node.inputs)


def _is_fused(model: onnx.ModelProto) -> bool:
    attributes = [a for node in model.graph.node if node.op_type == "Conv" for a in node.attribute]
    return any(a.name == "group" and a.i == COUNT for a in attributes)


def _drop_idle_views(graph: Any) -> None:
    """One Reshape for each chain of views, and none for a chain that ends in the shape in which it began."""
    for node in list(graph.nodes):
        if node.op not in _VIEWS:
            continue
        root, (out,) = node.inputs[0], node.outputs
        while producer(root) in _VIEWS:
            root = root.inputs[0].inputs[0]
        if root.shape is None or out.shape is None or len(unknown(out.shape)) > 1:
            continue
        before, after = ([d if isinstance(d, int) else -1 for d in t.shape] for t in (root, out))
        if before == after:
            _bypass(graph, node, root)
        elif root is not node.inputs[0]:
            node.op, node.attrs = "Reshape", {}
            node.inputs = [root, gs.Constant(f"{out.name}/shape", np.array(after, np.int64))]


def _bypass(graph: Any, node: Node, root: Tensor) -> None:
    """Let all who read the node's output read ``root``."""
    (out,) = node.outputs
    keep, drop = root, out
    if any(out is t for t in graph.outputs):  # it must keep its name, so who gave root gives it
        if not root.inputs or any(root is t for t in graph.outputs):
            return
        keep, drop = out, root
        node.outputs.clear()
        source = root.inputs[0]
        source.outputs[source.outputs.index(root)] = out
    for reader in list(drop.outputs):
        for i, used in enumerate(reader.inputs):
            if used is drop:
                reader.inputs[i] = keep
