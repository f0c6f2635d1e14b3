"""An ONNX file, looked at before ONNX Runtime gets it: a model is a program, and this one may come from anybody.

What is read is protobuf (field numbers of ``onnx.proto``), without the ``onnx`` package and within bounds: so much of it as
says what the file is, what it takes and gives, and how large it claims to be. What is run is written anew from what was
read: bytes that another parser could read in another way reach none.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from ..errors import ModelError
from ..files import check_sha256, is_file, read_bytes
from ..limits import LIMITS, Limits
from .description import METADATA_KEY
from .onnx_schema import MODEL
from .protobuf import Message, Reader, count_varints, encode, signed, varints

#: Versions of ONNX's operators that are run, and the names of their domain. No others: their operators may do anything.
OPSETS = range(7, 27)
DOMAINS = ("", "ai.onnx")
#: Elements that one tensor may claim: 1 GiB of float32.
_MAX_ELEMENTS = 1 << 28
#: Bits of an element by TensorProto.DataType, and the field that holds them where raw_data does not.
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16, 21: 4, 22: 4}
_BITS |= dict.fromkeys((17, 18, 19, 20), 8)
_TYPED = {1: "float_data", 7: "int64_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data"}
_NAMES = {1: "tensor(float)", 7: "tensor(int64)", 10: "tensor(float16)", 11: "tensor(double)"}
#: What an attribute must not have: subgraphs, sparse tensors, types, references to a function's attributes.
_NOT_RUN = {"g", "graphs", "sparse_tensor", "sparse_tensors", "tp", "type_protos", "ref_attr_name"}
#: A part of the path of a file with external data. ONNX Runtime gives a meaning to some names with other characters.
_PART = re.compile(r"[\w\-+ ][\w\-+ .]*")


Dtype: TypeAlias = type[np.float32] | type[np.float16]
_DTYPES: dict[str, Dtype] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
T = TypeVar("T")


@dataclass(frozen=True)
class Value:
    """An input or output: its type as ONNX Runtime names it, and its shape; None or a name where a side is left open."""

    type: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that may be given to ONNX Runtime."""

    path: Path  # external data lies in the same folder or below
    data: bytes  # the model, written anew from what was read of the file: the only bytes that a run time may get
    sha256: str  # of the file as it lies there
    metadata: dict[str, str]  # its ``metadata_props``
    inputs: dict[str, Value]  # of the graph, by name
    outputs: dict[str, Value]
    external: bool  # whether it keeps weights in other files


def read(path: Path, *, sha256: str | None = None, limits: Limits = LIMITS) -> OnnxFile:
    """Read a file and check all that can be known before it is loaded; takes well under a second, whatever the file.

    Args:
        sha256: that the file must have, 64 hexadecimal digits. It must then be whole: no data in other files.

    Raises:
        ModelError: missing, another hash, too large, no ONNX file, operators of other versions or by others, control flow,
            tensors that are not as large as they claim, or data outside the model's folder.
    """
    if not is_file(path):
        raise ModelError(f"{path}: no such model file; expected an .onnx file (Transformer() uses the bundled one)")
    data = read_bytes(path, limits)
    if sha256 is not None:
        check_sha256(path, data, sha256, "sha256= asks for", "so it is not loaded; get the file again")
    try:
        return parse(path, data, pinned=sha256 is not None, limits=limits)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from error


def parse(path: Path, data: bytes, *, pinned: bool = False, limits: Limits = LIMITS) -> OnnxFile:
    """``read`` of bytes that lie in memory. Raises ValueError."""
    model = Reader().message(data, MODEL, "an ONNX file")
    if "graph" not in model:
        raise ValueError("not an ONNX file: it has no graph")
    if "functions" in model or "training_info" in model:
        raise ValueError("functions or training steps inside a model are not run; export it without")
    versions = [(one.get("domain", ""), signed(one.get("version", 0))) for one in model.get("opset_import", [])]
    if not versions or any(domain not in DOMAINS or version not in OPSETS for domain, version in versions):
        got = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in versions) or "none"
        raise ValueError(
            f"expected ONNX operators of opset {OPSETS.start} to {OPSETS.stop - 1} and no others, got {got[:200]}; export it again"
        )
    graph = model["graph"]
    if "sparse_initializer" in graph:
        raise ValueError("sparse weights are not read; export it with dense ones")
    tensors = list(graph.get("initializer", []))
    weights = {tensor.get("name", "") for tensor in tensors}  # may be listed among the inputs, too
    for node in graph.get("node", []):
        tensors += _check_node(node)
    outside = [tensor for tensor in tensors if _check_tensor(tensor)]
    if outside:
        if pinned:
            raise ValueError("keeps weights in other files, for which the hash does not speak; save it as one file")
        _check_external(path, outside, limits.model_bytes - len(data))
    for value in graph.get("value_info", []):
        _value(value)
    return OnnxFile(
        path,
        encode(model, MODEL),
        hashlib.sha256(data).hexdigest(),
        _metadata(model),
        {name: value for name, value in _values(graph, "input").items() if name not in weights},
        _values(graph, "output"),
        bool(outside),
    )


def _check_node(node: Message) -> list[Message]:
    """The tensors of a node's attributes. Raises ValueError for a node that is not run."""
    kind, domain = node.get("op_type", "")[:80], node.get("domain", "")
    if domain not in DOMAINS or "overload" in node:
        raise ValueError(f"operator {kind!r} of {domain[:80]!r} is none of ONNX's; export it without")
    tensors: list[Message] = []
    for attribute in node.get("attribute", []):
        if attribute.keys() & _NOT_RUN:
            raise ValueError(f"operator {kind!r}: control flow and sparse tensors are not run; export it without")
        tensors += [attribute["t"]] if "t" in attribute else []
        tensors += attribute.get("tensors", [])
    return tensors


def _metadata(model: Message) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in model.get("metadata_props", []):
        key = entry.get("key", "")
        if key in found:
            raise ValueError(f"the metadata says {key[:80]!r} twice; export it again")
        found[key] = entry.get("value", "")
    return found


def _values(graph: Message, field: str) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for value in graph.get(field, []):
        name = value.get("name", "")
        if name in found:
            raise ValueError(f"two inputs or outputs are called {name[:80]!r}; export it again")
        found[name] = _value(value)
    return found


def _value(value: Message) -> Value:
    name, kind = value.get("name", ""), value.get("type", {})
    if kind.keys() - {"tensor_type"}:
        raise ValueError(f"{name[:80]!r} is no tensor; export it again")
    tensor = kind.get("tensor_type", {})
    element = tensor.get("elem_type", 0)
    sides: list[int | str | None] = [
        signed(axis["dim_value"]) if "dim_value" in axis else axis.get("dim_param") or None
        for axis in tensor.get("shape", {}).get("dim", [])
    ]
    _count([side for side in sides if isinstance(side, int)], name)
    return Value(_NAMES.get(element, f"tensor of type {element}"), tuple(sides))


def _count(sides: list[int], name: str) -> int:
    """Elements of a tensor. Raises ValueError for more than a tensor can have."""
    if any(not 0 <= side <= _MAX_ELEMENTS for side in sides) or math.prod(sides) > _MAX_ELEMENTS:
        raise ValueError(f"{name[:80]!r} has the shape {sides[:8]}; at most {_MAX_ELEMENTS} elements are taken")
    return math.prod(sides)


def _check_tensor(tensor: Message) -> bool:
    """Check that a tensor is as large as it claims; whether its data lies in another file. Raises ValueError."""
    name, kind = tensor.get("name", ""), tensor.get("data_type", 0)
    sides = varints(tensor.get("dims", b""))
    count = _count(sides, name)
    if kind not in _BITS or "string_data" in tensor or "segment" in tensor:
        raise ValueError(f"weight {name[:80]!r} has the type {kind}, which no model of lgin-edge has; export it again")
    size = tensor["size"] = (count * _BITS[kind] + 7) // 8
    if "external_data" in tensor or tensor.get("data_location", 0):
        if "raw_data" in tensor:
            raise ValueError(f"weight {name[:80]!r} lies here and elsewhere; export it again")
        return True
    if "raw_data" in tensor:
        found = len(tensor["raw_data"])
        enough = found == size
    else:
        field = _TYPED.get(kind, "int32_data")
        values = tensor.get(field, b"")
        width = {"float_data": 4, "double_data": 8}.get(field)
        found = len(values)
        numbers = count_varints(values) if width is None else found // width
        enough = numbers * (2 if kind in (21, 22) else 1) >= count
    if not enough:
        raise ValueError(
            f"weight {name[:80]!r} claims {size} bytes ({sides[:8]}) and has {found}: damaged; export it again"
        )
    return False


def _check_external(path: Path, tensors: list[Message], most: int) -> None:
    """Raises ValueError unless all external data lies in regular files in the model's folder, and is there."""
    folder = path.parent.resolve()
    files: dict[Path, int] = {}
    for tensor in tensors:
        size, name = tensor["size"], tensor.get("name", "")[:80]
        entries = {entry.get("key", ""): entry.get("value", "") for entry in tensor.get("external_data", [])}
        location = entries.get("location", "")
        if not all(_PART.fullmatch(part) for part in location.split("/")):
            raise ValueError(
                f"weight {name!r} lies in {location[:200]!r}; expected a file in the model's folder or below, without .."
            )
        file = (folder / location).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise ValueError(
                f"weight {name!r} lies in {location[:200]!r}, which is no file in the model's folder {folder} (links are followed)"
            )
        files[file] = file.stat().st_size
        offset, length = (entries.get(key, other) for key, other in (("offset", "0"), ("length", str(size))))
        numbers = (offset + length).isdecimal() and len(offset + length) <= 30
        if not numbers or int(length) != size or int(offset) + size > files[file]:
            raise ValueError(
                f"weight {name!r} is {size} bytes, and {location[:200]!r} does not hold them; export it again"
            )
    if sum(files.values()) > most:
        raise ValueError(f"{sum(files.values())} bytes in other files, {most} are left (Limits.model_bytes)")


def read_description(file: OnnxFile, parse: Callable[[str, Limits], T], limits: Limits = LIMITS) -> T:
    """The description that a file carries, parsed. Raises ModelError, naming the file."""
    text = file.metadata.get(METADATA_KEY)
    if text is None:
        raise ModelError(
            f"{file.path}: an ONNX file, but not a model of lgin-edge: it carries no description (metadata "
            f"{METADATA_KEY!r}); export it with python -m training.export"
        )
    try:
        return parse(text, limits)
    except ModelError as error:
        raise ModelError(f"{file.path}: {error}") from error


def check_interface(
    file: OnnxFile,
    inputs: Mapping[str, tuple[int, ...]],  # name -> shape without the batch
    outputs: Mapping[str, tuple[int, ...]],
) -> dict[str, Dtype]:
    """Check names and shapes against what the description promises; the dtype of each input and output by name."""
    dtypes: dict[str, Dtype] = {}
    for kind, found, expected in (("input", file.inputs, inputs), ("output", file.outputs, outputs)):
        if set(found) != set(expected):
            names = [name[:80] for name in sorted(found)[:20]]
            raise ModelError(f"{file.path}: expected the {kind}s {sorted(expected)}, got {names}; export it again")
        for name, shape in expected.items():
            value = found[name]
            # A dimension without a number is left to the run; the batch must be such a one.
            given = value.shape
            fits = len(given) == len(shape) + 1 and all(
                not isinstance(have, int) or have == want for have, want in zip(given[1:], shape, strict=True)
            )  # ANY is no side that a file can have: there it must be left to the run
            if not fits or isinstance(given[0], int) or value.type not in _DTYPES:
                raise ModelError(
                    f"{file.path}: {kind} {name!r} is {value.type} {list(given[:8])}; its description asks for float or float16 "
                    f"{['N', *shape]} with a dynamic N; export it again"
                )
            dtypes[name] = _DTYPES[value.type]
    return dtypes
