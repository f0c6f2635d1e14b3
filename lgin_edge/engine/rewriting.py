"""Rewriting an ONNX graph node by node: what rules can ask about it, and how they put nodes in the place of one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array: TypeAlias = npt.NDArray[Any]


class Graph:
    """What is known of a model's tensors by their names, and constants that are added to it.

    Attributes:
        shapes: sides; 0 where a side is not known.
        constants: values, also of constants that are transposed or joined.
        makers: the node that a tensor comes from.
        readers: the nodes that read it.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        inferred = onnx.shape_inference.infer_shapes(model).graph
        values = (*inferred.input, *inferred.value_info, *inferred.output)
        self.shapes = {one.name: [side.dim_value for side in one.type.tensor_type.shape.dim] for one in values}
        self.shapes |= {one.name: list(one.dims) for one in inferred.initializer}
        self.constants: dict[str, Array] = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
        self.makers: dict[str, onnx.NodeProto] = {}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        self.added: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        for node in model.graph.node:
            self.makers |= dict.fromkeys(node.output, node)
            for name in node.input:
                self.readers[name].append(node)
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.op_type == "Transpose" and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]].transpose(attributes(node).get("perm"))
            elif node.op_type == "Concat" and all(name in self.constants for name in node.input):
                parts = [self.constants[name] for name in node.input]
                self.constants[node.output[0]] = np.concatenate(parts, attributes(node)["axis"])

    def constant(self, values: npt.ArrayLike) -> str:
        """Name of a constant of float32, or of int64 for whole numbers."""
        array = np.asarray(values)
        array = np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.int64)
        key = (array.dtype.str, array.shape, array.tobytes())
        tensor = self.added.setdefault(key, numpy_helper.from_array(array, f"fusable/{len(self.added)}"))
        return str(tensor.name)

    def maker(self, name: str, kind: str) -> onnx.NodeProto | None:
        """The node of this kind that a tensor comes from."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type == kind else None


class Replacement:
    """Nodes in the place of one. ``add`` them in order, the last ``to`` its output; other tensors are named after that."""

    def __init__(self, graph: Graph, node: onnx.NodeProto) -> None:
        self.graph, self.out = graph, node.output[0]
        self.nodes: list[onnx.NodeProto] = []

    def add(self, kind: str, *inputs: str | npt.ArrayLike, to: str = "", **settings: Any) -> str:
        """Name of the new node's output. Inputs that are no names are constants."""
        names = [one if isinstance(one, str) else self.graph.constant(one) for one in inputs]
        name = to or f"{self.out}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [name], name, **settings))
        return name

    def part(self, source: str, start: int, axis: int) -> str:
        """One of the parts along an axis, which stays."""
        return self.add("Slice", source, [start], [start + 1], [axis])

    def total(self, terms: Sequence[str], to: str = "") -> str:
        """Sum of at least two."""
        return self._folded("Add", terms, to)

    def greatest(self, terms: Sequence[str], to: str = "") -> str:
        """Largest of at least two."""
        return self._folded("Max", terms, to)

    def _folded(self, kind: str, terms: Sequence[str], to: str) -> str:
        """In pairs, and pairs of those, by which each term is rounded less often than one by one."""
        rest = list(terms)
        while len(rest) > 2:
            rest = [*rest[2:], self.add(kind, *rest[:2])]
        return self.add(kind, *rest, to=to)


#: The nodes in the place of one, or None where a rule does not apply.
Rule: TypeAlias = Callable[[Graph, onnx.NodeProto], list[onnx.NodeProto] | None]


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def rewrite(model: onnx.ModelProto, rules: Sequence[Rule]) -> onnx.ModelProto:
    """A copy in which the first rule that applies to a node replaces it; nodes that nobody reads any more are left out."""
    graph = Graph(model)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        found = next((new for rule in rules if (new := rule(graph, node)) is not None), [node])
        nodes += found
    needed: set[str] = {one.name for one in model.graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    result: onnx.ModelProto = onnx.ModelProto.FromString(model.SerializeToString())
    del result.graph.node[:], result.graph.value_info[:]
    result.graph.node.extend(reversed(kept))
    result.graph.initializer.extend(graph.added.values())
    used = [one for one in result.graph.initializer if one.name in needed]
    copies = [onnx.TensorProto.FromString(one.SerializeToString()) for one in used]
    del result.graph.initializer[:]
    result.graph.initializer.extend(copies)
    return result
