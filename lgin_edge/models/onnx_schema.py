"""The part of ``onnx.proto`` that is read and run; field numbers are its own.

What is not named here (notes for people, quantisation hints, placements on devices) is passed over and never run.
"""

from __future__ import annotations

from .protobuf import Field, Kind, Schema

#: Bytes of one entry of the metadata, and of one text of an attribute: the description of a model is in one of them.
MAX_METADATA = 1 << 20

_ENTRY: Schema = {1: Field("key", Kind.TEXT), 2: Field("value", Kind.TEXT, max_bytes=MAX_METADATA, plain=False)}
_PLACE: Schema = {1: Field("key", Kind.TEXT), 2: Field("value", Kind.TEXT, plain=False)}
_SIDE: Schema = {1: Field("dim_value", Kind.INTEGER), 2: Field("dim_param", Kind.TEXT)}
_SHAPE: Schema = {1: Field("dim", Kind.MESSAGES, _SIDE)}
_TENSOR_TYPE: Schema = {1: Field("elem_type", Kind.INTEGER), 2: Field("shape", Kind.MESSAGE, _SHAPE)}
_TYPE: Schema = {
    1: Field("tensor_type", Kind.MESSAGE, _TENSOR_TYPE),
    4: Field("sequence_type", Kind.REFUSED),
    5: Field("map_type", Kind.REFUSED),
    7: Field("opaque_type", Kind.REFUSED),
    8: Field("sparse_tensor_type", Kind.REFUSED),
    9: Field("optional_type", Kind.REFUSED),
}
_VALUE: Schema = {1: Field("name", Kind.TEXT), 2: Field("type", Kind.MESSAGE, _TYPE)}
TENSOR: Schema = {
    1: Field("dims", Kind.INTEGERS),
    2: Field("data_type", Kind.INTEGER),
    3: Field("segment", Kind.REFUSED),
    4: Field("float_data", Kind.FLOATS),
    5: Field("int32_data", Kind.INTEGERS),
    6: Field("string_data", Kind.REFUSED),
    7: Field("int64_data", Kind.INTEGERS),
    8: Field("name", Kind.TEXT),
    9: Field("raw_data", Kind.BYTES),
    10: Field("double_data", Kind.DOUBLES),
    11: Field("uint64_data", Kind.INTEGERS),
    13: Field("external_data", Kind.MESSAGES, _PLACE),
    14: Field("data_location", Kind.INTEGER),
}
_ATTRIBUTE: Schema = {
    1: Field("name", Kind.TEXT),
    2: Field("f", Kind.FLOAT),
    3: Field("i", Kind.INTEGER),
    4: Field("s", Kind.TEXT, max_bytes=MAX_METADATA, plain=False),
    5: Field("t", Kind.MESSAGE, TENSOR),
    6: Field("g", Kind.REFUSED),
    7: Field("floats", Kind.FLOATS),
    8: Field("ints", Kind.INTEGERS),
    9: Field("strings", Kind.TEXTS),
    10: Field("tensors", Kind.MESSAGES, TENSOR),
    11: Field("graphs", Kind.REFUSED),
    14: Field("tp", Kind.REFUSED),
    15: Field("type_protos", Kind.REFUSED),
    20: Field("type", Kind.INTEGER),
    21: Field("ref_attr_name", Kind.REFUSED),
    22: Field("sparse_tensor", Kind.REFUSED),
    23: Field("sparse_tensors", Kind.REFUSED),
}
_NODE: Schema = {
    1: Field("input", Kind.TEXTS),
    2: Field("output", Kind.TEXTS),
    3: Field("name", Kind.TEXT),
    4: Field("op_type", Kind.TEXT),
    5: Field("attribute", Kind.MESSAGES, _ATTRIBUTE),
    7: Field("domain", Kind.TEXT),
    8: Field("overload", Kind.REFUSED),
}
_GRAPH: Schema = {
    1: Field("node", Kind.MESSAGES, _NODE),
    2: Field("name", Kind.TEXT),
    5: Field("initializer", Kind.MESSAGES, TENSOR),
    11: Field("input", Kind.MESSAGES, _VALUE),
    12: Field("output", Kind.MESSAGES, _VALUE),
    13: Field("value_info", Kind.MESSAGES, _VALUE),
    15: Field("sparse_initializer", Kind.REFUSED),
}
_OPSET: Schema = {1: Field("domain", Kind.TEXT), 2: Field("version", Kind.INTEGER)}
MODEL: Schema = {
    1: Field("ir_version", Kind.INTEGER),
    7: Field("graph", Kind.MESSAGE, _GRAPH),
    8: Field("opset_import", Kind.MESSAGES, _OPSET),
    14: Field("metadata_props", Kind.MESSAGES, _ENTRY),
    20: Field("training_info", Kind.REFUSED),
    25: Field("functions", Kind.REFUSED),
}
