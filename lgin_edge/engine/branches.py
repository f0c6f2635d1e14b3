"""Five branches of a graph as one: walking back through them in lockstep, and one rule an operator.

What the five branches have at one place becomes one tensor. Five equal tensors are what they share, five slices of one
stacked tensor are where they begin, five constants are weights to merge, and five nodes of one kind become one node by the
rule of that kind. Nothing goes by names. Whatever is not alike in all branches is refused, saying where.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_graphsurgeon as gs

from ..errors import ModelError
from ..geometry import REGION_NAMES

COUNT = len(REGION_NAMES)
AGAIN = "export the model again with python -m training.export"

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[Any, ...]  # a dimension that is no int is not known
Tensor: TypeAlias = Any  # gs.Variable or gs.Constant; graphsurgeon has no types
Node: TypeAlias = Any  # gs.Node


@dataclass(frozen=True)
class Lifted:
    """The tensors of one place in the five branches, as one tensor.

    ``right`` dimensions of a branch's tensor, the first of them the *block axis* (a picture's channels), stand behind the
    place where the branches are joined:

        one branch  [..., C, ...]
        merged      [..., 5 C, ...]       the five blocks side by side, as a grouped convolution reads them
        stacked     [..., 5, C, ...]      the five blocks on an axis of their own
    """

    tensor: Tensor
    shape: Shape  # of one branch
    right: int
    stacked: bool = False

    @property
    def axis(self) -> int:
        """Where the branches are joined: the block axis of one branch and of the merged form, the axis of five stacked."""
        return len(self.shape) - self.right

    @property
    def full_shape(self) -> Shape:
        front, (block, *rest) = self.shape[: self.axis], self.shape[self.axis :]
        if self.stacked:
            return (*front, COUNT, block, *rest)
        return (*front, COUNT * block if isinstance(block, int) else None, *rest)


class Walk:
    """Lifts tensors of the branches, writing each five nodes on the way once more as one. Raises ModelError."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.lifted: dict[tuple[int, ...], Lifted | Tensor] = {}
        self.walked: list[Node] = []  # nodes of the branches, which must be gone in the end
        self.made = 0

    def replace(self, stack: Node) -> None:
        """Put a lifted tensor in the place of ``stack``, the Concat over axis 1 of the branches' unsqueezed tensors."""
        lifted = self.lift([t.inputs[0].inputs[0] for t in stack.inputs])
        if not isinstance(lifted, Lifted) or lifted.axis != 1:
            raise ModelError(f"{place(stack)} stacks something else than five branches; {AGAIN}")
        self.walked.append(stack)
        source = self.change(lifted, stacked=True)
        (out,) = stack.outputs
        stack.outputs.clear()
        self.graph.nodes.append(gs.Node("Identity", f"{out.name}/stacked", inputs=[source.tensor], outputs=[out]))

    def check_replaced(self) -> None:
        """After the graph's clean-up: nothing else may hold on to the branches."""
        kept = {id(node) for node in self.graph.nodes}
        for node in reversed(self.walked):
            if id(node) in kept:
                raise ModelError(f"{place(node)}, in a local branch, is used outside the branches as well; {AGAIN}")

    def lift(self, tensors: Sequence[Tensor]) -> Lifted | Tensor:
        """The five tensors as one; if all branches have the same there, that tensor."""
        if is_same(tensors):
            return tensors[0]
        key = tuple(id(t) for t in tensors)
        if key not in self.lifted:
            begin = beginning(tensors)
            if begin is not None:
                self.lifted[key] = begin
                return begin
            nodes = alike(tensors)
            if all(self.is_shared(column) for column in zip(*(node.inputs for node in nodes), strict=True)):
                outputs = list(nodes[0].outputs)
            elif nodes[0].op in RULES:
                self.walked += nodes
                outputs = RULES[nodes[0].op](self, nodes)
            else:
                raise ModelError(f"{place(nodes[0])}: no rule merges five of these, only of {', '.join(RULES)}")
            for i, out in enumerate(outputs):
                self.lifted[tuple(id(node.outputs[i]) for node in nodes)] = out
        return self.lifted[key]

    def is_shared(self, tensors: Sequence[Tensor]) -> bool:
        """Whether all branches have the same there, computed once or five times."""
        if is_same(tensors):
            return True
        return not is_constant(tensors[0]) and not isinstance(self.lift(tensors), Lifted)

    def operand(self, nodes: Sequence[Node], i: int, *, stacked: bool = False, right: int | None = None) -> Lifted:
        """Input ``i`` of five nodes, lifted, in the form that is asked for."""
        lifted = self.lift([node.inputs[i] for node in nodes])
        if not isinstance(lifted, Lifted) or right not in (None, lifted.right):
            raise no_rule(nodes)
        return self.change(lifted, stacked=stacked)

    def change(self, lifted: Lifted, *, stacked: bool) -> Lifted:
        """The same in merged or stacked form."""
        if lifted.stacked == stacked:
            return lifted
        shape = Lifted(None, lifted.shape, lifted.right, stacked).full_shape
        gaps = unknown(shape)
        if any(i >= lifted.axis for i in gaps):
            raise ModelError(
                f"{lifted.tensor.name!r}: its shape {list(shape)} is not known well enough to fuse; {AGAIN}"
            )
        # 0 keeps a dimension; the front is the same in both forms. A single -1 can be read through later.
        gap = -1 if len(gaps) == 1 else 0
        dims = np.array([d if isinstance(d, int) else gap for d in shape], np.int64)
        (out,) = self.node("Reshape", [lifted.tensor, self.constant(dims)])
        return Lifted(out, lifted.shape, lifted.right, stacked)

    def node(self, op: str, inputs: Sequence[Tensor], outputs: int = 1, **attributes: Any) -> list[Tensor]:
        """A new node; returns its outputs."""
        self.made += 1
        name = f"branches/{self.made}_{op}"
        outs = [gs.Variable(f"{name}_{i}" if i else name, np.float32) for i in range(outputs)]
        self.graph.nodes.append(gs.Node(op, name, attributes, list(inputs), outs))
        return outs

    def vector(self, elements: Sequence[int | Tensor]) -> Tensor:
        """A vector of integers, of which some are tensors of one element."""
        if all(isinstance(e, int) for e in elements):
            return self.constant(np.array(elements, np.int64))
        inputs = [self.constant(np.array([e], np.int64)) if isinstance(e, int) else e for e in elements]
        return self.node("Concat", inputs, axis=0)[0]

    def constant(self, values: Array) -> Tensor:
        self.made += 1
        return gs.Constant(f"branches/{self.made}", np.ascontiguousarray(values))


def is_constant(tensor: Tensor) -> bool:
    return isinstance(tensor, gs.Constant)


def is_same(tensors: Sequence[Tensor]) -> bool:
    """One tensor, equal constants, or an optional input that all leave out."""
    first = tensors[0]
    if all(t is first for t in tensors) or all(t.is_empty() for t in tensors):
        return True
    return all(map(is_constant, tensors)) and all(np.array_equal(t.values, first.values) for t in tensors)


def producer(tensor: Tensor) -> str:
    """The operator that a tensor comes out of, "" for a constant and for an input of the graph."""
    return str(tensor.inputs[0].op) if tensor.inputs else ""


def values(tensor: Tensor) -> list[Any] | None:
    """The elements of a constant, None for any other tensor."""
    return tensor.values.ravel().tolist() if is_constant(tensor) else None


def unknown(shape: Sequence[Any]) -> list[int]:
    return [i for i, d in enumerate(shape) if not isinstance(d, int)]


def place(node: Node) -> str:
    return f"{node.op} {(node.name or node.outputs[0].name)!r}"


def no_rule(nodes: Sequence[Node]) -> ModelError:
    return ModelError(f"{place(nodes[0])}: used in a way that cannot be merged over five branches; {AGAIN}")


def expect_same(where: str, found: Sequence[Any]) -> None:
    if any(what != found[0] for what in found):
        raise differ(where, found)


def differ(where: str, found: Sequence[Any]) -> ModelError:
    texts = [f"{what:g}" if isinstance(what, float) else str(what) for what in found]
    each = ", ".join(f"{name} {text}" for name, text in zip(REGION_NAMES, texts, strict=True))
    return ModelError(
        f"the five local branches differ in {where}: {each}. Only branches that are alike but for their weights can be "
        f"fused; {AGAIN}"
    )


def beginning(tensors: Sequence[Tensor]) -> Lifted | None:
    """Where the branches begin: Squeeze(Slice(x)) = ``x[:, r]`` of one x [N, 5, C, ...], for r = 0 to 4.

    None where they do not begin. Raises ModelError where they do, but in another order.
    """
    sources, cuts = [], []
    for t in tensors:
        if producer(t) != "Squeeze" or producer(t.inputs[0].inputs[0]) != "Slice":
            return None
        source, *cut = t.inputs[0].inputs[0].inputs[0].inputs
        sources.append(source)
        cuts.append([values(t.inputs[0].inputs[1]), *map(values, cut[:3])])
    source = sources[0]
    if any(s is not source for s in sources) or not source.shape or len(source.shape) < 3 or source.shape[1] != COUNT:
        return None
    if any(cut != [[1], [r], [r + 1], [1]] for r, cut in enumerate(cuts)):  # squeezed axis; from, to, axis
        raise differ(
            f"what they read of {source.name!r}", [f"from {cut[1]} to {cut[2]} of axis {cut[3]}" for cut in cuts]
        )
    return Lifted(source, (source.shape[0], *source.shape[2:]), len(source.shape) - 2, stacked=True)


def alike(tensors: Sequence[Tensor]) -> list[Node]:
    """The nodes that five tensors come out of. Raises ModelError unless they differ in nothing but their inputs."""
    kinds = [producer(t) or ("a constant" if is_constant(t) else f"the tensor {t.name!r}") for t in tensors]
    if len(set(kinds)) > 1 or not tensors[0].inputs:
        raise differ(f"what {tensors[0].name!r} of {REGION_NAMES[0]} comes from", kinds)
    nodes = [t.inputs[0] for t in tensors]
    where = place(nodes[0])
    expect_same(f"{where}, number of inputs", [len(node.inputs) for node in nodes])
    expect_same(f"{where}, number of outputs", [len(node.outputs) for node in nodes])
    for name in sorted(set().union(*(node.attrs for node in nodes))):
        expect_same(f"{where}, attribute {name}", [node.attrs.get(name) for node in nodes])
    expect_same(f"{where}, output", [node.outputs.index(t) for node, t in zip(nodes, tensors, strict=True)])
    return nodes


def weights(nodes: Sequence[Node], i: int) -> list[Array]:
    """Input ``i`` of five nodes, constants of one shape. Raises ModelError if it is anything else."""
    tensors = [node.inputs[i] for node in nodes]
    where = f"{place(nodes[0])}, input {i}"
    if not all(map(is_constant, tensors)):
        raise ModelError(f"{where}: expected weights, constants, in all five branches; {AGAIN}")
    expect_same(f"{where}, shape", [list(t.values.shape) for t in tensors])
    return [t.values for t in tensors]


def shared(nodes: Sequence[Node], i: int) -> Tensor:
    """Input ``i`` of five nodes, the same for all. Raises ModelError if it is not."""
    tensors = [node.inputs[i] for node in nodes]
    if not is_same(tensors):
        raise differ(f"{place(nodes[0])}, input {i}", [values(t) if is_constant(t) else repr(t.name) for t in tensors])
    return tensors[0]


def result(tensor: Tensor, node: Node, right: int, *, stacked: bool = False, output: int = 0) -> Lifted:
    """A new tensor as the lifted form of what ``node`` and its four likes gave."""
    shape = node.outputs[output].shape
    if shape is None:
        raise ModelError(f"{place(node)}: the shape of what it gives is not known; {AGAIN}")
    return Lifted(tensor, tuple(shape), right, stacked)


def elements(vector: Tensor) -> list[Any]:
    """The elements of a shape that is put together from parts: a number, or the tensor that holds it, or None if not known."""
    if is_constant(vector):
        return values(vector) or []
    if producer(vector) == "Concat":
        return [element for part in vector.inputs[0].inputs for element in elements(part)]
    size = vector.shape[0] if vector.shape else 0
    return [vector] if size == 1 else [None] * size


def _conv(walk: Walk, nodes: list[Node]) -> list[Lifted]:
    """Five times the groups; of one picture that all branches read, five times the output channels."""
    kernels = [weights(nodes, i) for i in range(1, len(nodes[0].inputs))]
    attributes = dict(nodes[0].attrs)
    right = kernels[0][0].ndim - 1
    source = walk.lift([node.inputs[0] for node in nodes])
    if isinstance(source, Lifted):
        source = walk.operand(nodes, 0, right=right).tensor
        attributes["group"] = COUNT * attributes.get("group", 1)
    elif attributes.get("group", 1) != 1:
        raise no_rule(nodes)
    merged = [walk.constant(np.concatenate(each)) for each in kernels]
    (out,) = walk.node("Conv", [source, *merged], **attributes)
    return [result(out, nodes[0], right)]


def _elementwise(walk: Walk, nodes: list[Node]) -> list[Lifted]:
    """Merged if the operands' blocks fit each other, else stacked, where they broadcast as they do in one branch."""
    columns = list(zip(*(node.inputs for node in nodes), strict=True))
    operands = {i: walk.lift(c) for i, c in enumerate(columns) if is_same(c) or not is_constant(c[0])}
    lifted = {i: x for i, x in operands.items() if isinstance(x, Lifted)}
    common = {i: x for i, x in operands.items() if not isinstance(x, Lifted) and not x.is_empty()}
    own = {i: weights(nodes, i) for i in range(len(columns)) if i not in operands}
    rights = {x.right for x in lifted.values()}
    if len(rights) != 1:
        raise no_rule(nodes)
    (right,) = rights

    def block(shape: Sequence[Any]) -> Any:
        return shape[-right] if len(shape) >= right else 1

    size = block(next(iter(lifted.values())).shape)
    fit = (
        all(block(x.shape) == size for x in lifted.values())
        and all(block(x.shape) == 1 for x in common.values())
        and all(block(each[0].shape) in (1, size) for each in own.values())
    )
    stacked = not fit or all(x.stacked for x in lifted.values())
    operands |= {i: walk.change(x, stacked=stacked).tensor for i, x in lifted.items()}
    for i, each in own.items():
        shape = (1,) * (right - each[0].ndim) + each[0].shape
        axis = len(shape) - right
        if stacked:
            operands[i] = walk.constant(np.stack([w.reshape(shape) for w in each], axis))
        else:
            wide = (*shape[:axis], size, *shape[axis + 1 :])
            operands[i] = walk.constant(np.concatenate([np.broadcast_to(w.reshape(shape), wide) for w in each], axis))
    for i, x in common.items():
        if stacked and len(x.shape) > right:
            (operands[i],) = walk.node("Unsqueeze", [x, walk.constant(np.array([len(x.shape) - right]))])
    (out,) = walk.node(nodes[0].op, [operands[i] for i in range(len(columns))], **nodes[0].attrs)
    return [result(out, nodes[0], right, stacked=stacked)]


def _unsqueeze(walk: Walk, nodes: list[Node]) -> list[Lifted]:
    source = walk.operand(nodes, 0)
    added = values(shared(nodes, 1)) or []
    rank = len(source.shape) + len(added)
    axes = [axis % rank for axis in added]
    old = [i for i in range(rank) if i not in axes]  # where the old dimensions went
    (out,) = walk.node("Unsqueeze", [source.tensor, walk.constant(np.array(axes))])
    return [result(out, nodes[0], rank - old[source.axis])]


def _expand(walk: Walk, nodes: list[Node]) -> list[Lifted]:
    source = walk.operand(nodes, 0)
    shape = shared(nodes, 1)
    sizes = elements(shape)
    if len(sizes) >= source.right and sizes[-source.right] != 1:
        raise no_rule(nodes)
    (out,) = walk.node("Expand", [source.tensor, shape])
    return [result(out, nodes[0], source.right)]


def _reshape(walk: Walk, nodes: list[Node]) -> list[Lifted]:
    """Blocks lie behind one another in memory, so the new block axis is the one from which on a branch is as large."""
    source = walk.operand(nodes, 0)
    target = elements(shared(nodes, 1))
    shape = tuple(nodes[0].outputs[0].shape or ())
    block = source.shape[source.axis :]
    tails = {right: shape[-right:] for right in range(1, len(shape) + 1)}
    fits = [r for r, tail in tails.items() if not unknown(block + tail) and math.prod(block) == math.prod(tail)]
    if not fits or len(target) != len(shape) or any(e is None for e in target[: -fits[0]]):
        raise no_rule(nodes)
    right = fits[0]
    front, tail = target[:-right], tails[right]
    if any(isinstance(e, int) and e == 0 for e in front[source.axis :]):
        raise no_rule(nodes)
    dims = [*front, COUNT * tail[0], *tail[1:]]
    (out,) = walk.node("Reshape", [source.tensor, walk.vector(dims)])
    return [result(out, nodes[0], right)]


def _transpose(walk: Walk, nodes: list[Node]) -> list[Lifted]:
    source = walk.operand(nodes, 0)
    perm = nodes[0].attrs["perm"]
    (out,) = walk.node("Transpose", [source.tensor], perm=perm)
    return [result(out, nodes[0], len(perm) - perm.index(source.axis))]


def _matmul(walk: Walk, nodes: list[Node]) -> list[Lifted]:
    """What all branches read, times matrices side by side; else a batch of products, the branches one of its axes."""
    matrices = weights(nodes, 1)
    source = walk.lift([node.inputs[0] for node in nodes])
    if matrices[0].ndim != 2:
        raise no_rule(nodes)
    if not isinstance(source, Lifted):
        (out,) = walk.node("MatMul", [source, walk.constant(np.concatenate(matrices, 1))])
        return [result(out, nodes[0], 1)]
    if source.right < 2:
        raise no_rule(nodes)
    between = (1,) * (source.right - 2)  # axes of the batch behind that of the branches
    batch = np.stack(matrices).reshape(COUNT, *between, *matrices[0].shape)
    (out,) = walk.node("MatMul", [walk.operand(nodes, 0, stacked=True).tensor, walk.constant(batch)])
    return [result(out, nodes[0], source.right, stacked=True)]


def _depth_to_space(walk: Walk, nodes: list[Node]) -> list[Lifted]:
    """In the order (channel, row, column) only: the channels that come out of one branch stay side by side."""
    if nodes[0].attrs.get("mode") != "CRD":
        raise no_rule(nodes)
    (out,) = walk.node("DepthToSpace", [walk.operand(nodes, 0, right=3).tensor], **nodes[0].attrs)
    return [result(out, nodes[0], 3)]


def _resize(walk: Walk, nodes: list[Node]) -> list[Lifted]:
    """By scales that leave the block axis alone."""
    source = walk.operand(nodes, 0)
    rest = [shared(nodes, i) for i in range(1, len(nodes[0].inputs))]
    scales = values(rest[1]) if len(rest) == 2 else None
    if scales is None or len(scales) != len(source.shape) or scales[source.axis] != 1:
        raise no_rule(nodes)
    (out,) = walk.node("Resize", [source.tensor, *rest], **nodes[0].attrs)
    return [result(out, nodes[0], source.right)]


def _split(walk: Walk, nodes: list[Node]) -> list[Lifted]:
    """Stacked, because along the block axis it cuts every block."""
    source = walk.operand(nodes, 0, stacked=True)
    attributes = dict(nodes[0].attrs)
    axis = attributes.get("axis", 0) % len(source.shape)
    attributes["axis"] = axis + (axis >= source.axis)
    rest = [shared(nodes, i) for i in range(1, len(nodes[0].inputs))]
    outs = walk.node("Split", [source.tensor, *rest], len(nodes[0].outputs), **attributes)
    return [result(out, nodes[0], source.right, stacked=True, output=i) for i, out in enumerate(outs)]


#: How five nodes of one operator become one.
RULES: dict[str, Callable[[Walk, list[Node]], list[Lifted]]] = {
    "Conv": _conv,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Resize": _resize,
    "Split": _split,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Div", "Max", "Min", "Clip", "LeakyRelu", "Relu", "Sigmoid", "Tanh"), _elementwise
    ),
}
