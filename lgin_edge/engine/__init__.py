"""From the exported ONNX to an engine: one graph without branches (``fuse``), in float16 where that is enough (``fp16``).

For the machine that prepares a model. Needs onnx and onnx-graphsurgeon, and onnxruntime to measure; imports no torch, and
importing the package itself imports none of them.
"""
