"""The part of ``onnx.proto`` that is read and run; field numbers are its own.

What is not named here (notes for people, quantisation hints, placements on devices) is passed over and never run.
"""

from __future__ import annotations

from .protobuf import Field, Kind, Schema

#: Bytes of one entry of the metadata, and of one text of an attribute: the description of a model is in one of them.
MAX_METADATA = 1 << 20


def _refused(**numbers: int) -> dict[int, Field]:
    return {number: Field(name, Kind.REFUSED) for name, number in numbers.items()}


_ENTRY: Schema = {1: Field("key", Kind.TEXT), 2: Field("value", Kind.TEXT, max_bytes=MAX_METADATA, plain=False)}
_PLACE: Schema = {1: Field("key", Kind.TEXT), 2: Field("value", Kind.TEXT, plain=False)}
_SIDE: Schema = {1: Field("dim_value", Kind.INTEGER), 2: Field("dim_param", Kind.TEXT)}
_SHAPE: Schema = {1: Field("dim", Kind.MESSAGES, _SIDE)}
_TENSOR_TYPE: Schema = {1: Field("elem_type", Kind.INTEGER), 2: Field("shape", Kind.MESSAGE, _SHAPE)}
_TYPE: Schema = {
    1: Field("tensor_type", Kind.MESSAGE, _TENSOR_TYPE),
} | _refused(sequence_type=4, map_type=5, opaque_type=7, sparse_tensor_type=8, optional_type=9)
_VALUE: Schema = {1: Field("name", Kind.TEXT), 2: Field("type", Kind.MESSAGE, _TYPE)}
TENSOR: Schema = {
    1: Field("dims", Kind.INTEGERS),
    2: Field("data_type", Kind.INTEGER),
    4: Field("float_data", Kind.FLOATS),
    5: Field("int32_data", Kind.INTEGERS),
    7: Field("int64_data", Kind.INTEGERS),
    8: Field("name", Kind.TEXT),
    9: Field("raw_data", Kind.BYTES),
    10: Field("double_data", Kind.DOUBLES),
    11: Field("uint64_data", Kind.INTEGERS),
    13: Field("external_data", Kind.MESSAGES, _PLACE),
    14: Field("data_location", Kind.INTEGER),
} | _refused(segment=3, string_data=6)
_ATTRIBUTE: Schema = {
    1: Field("name", Kind.TEXT),
    2: Field("f", Kind.FLOAT),
    3: Field("i", Kind.INTEGER),
    4: Field("s", Kind.TEXT, max_bytes=MAX_METADATA, plain=False),
    5: Field("t", Kind.MESSAGE, TENSOR),
    7: Field("floats", Kind.FLOATS),
    8: Field("ints", Kind.INTEGERS),
    9: Field("strings", Kind.TEXTS),
    10: Field("tensors", Kind.MESSAGES, TENSOR),
    20: Field("type", Kind.INTEGER),
} | _refused(g=6, graphs=11, tp=14, type_protos=15, ref_attr_name=21, sparse_tensor=22, sparse_tensors=23)
_NODE: Schema = {
    1: Field("input", Kind.TEXTS),
    2: Field("output", Kind.TEXTS),
    3: Field("name", Kind.TEXT),
    4: Field("op_type", Kind.TEXT),
    5: Field("attribute", Kind.MESSAGES, _ATTRIBUTE),
    7: Field("domain", Kind.TEXT),
} | _refused(overload=8)
_GRAPH: Schema = {
    1: Field("node", Kind.MESSAGES, _NODE),
    2: Field("name", Kind.TEXT),
    5: Field("initializer", Kind.MESSAGES, TENSOR),
    11: Field("input", Kind.MESSAGES, _VALUE),
    12: Field("output", Kind.MESSAGES, _VALUE),
    13: Field("value_info", Kind.MESSAGES, _VALUE),
} | _refused(sparse_initializer=15)
_OPSET: Schema = {1: Field("domain", Kind.TEXT), 2: Field("version", Kind.INTEGER)}
MODEL: Schema = {
    1: Field("ir_version", Kind.INTEGER),
    7: Field("graph", Kind.MESSAGE, _GRAPH),
    8: Field("opset_import", Kind.MESSAGES, _OPSET),
    14: Field("metadata_props", Kind.MESSAGES, _ENTRY),
} | _refused(training_info=20, functions=25)
