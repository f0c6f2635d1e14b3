"""From the exported ONNX to an engine: operators that TensorRT joins (``fusable``), float16 (``fp16``), TensorRT (``build``).

What ``fusable`` writes anew is told by rules (``products``, ``maps``) for a rewriter of graphs (``rewriting``).

For the machine that prepares a model; engines are checked, and refused, in ``models.engine_file`` and ``inference.tensorrt``. Needs onnx and onnx-graphsurgeon, and onnxruntime to convert and measure; imports no torch,
and importing the package itself imports none of them.
"""
