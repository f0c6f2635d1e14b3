"""Running a model on a frame, on the CPU or on a GPU.

``loader`` chooses how. A frame's way is ``cpu`` or ``gpu``; the model in the middle is ``onnxruntime`` or ``tensorrt``, which refuses an
engine of another version or another GPU (``models.engine_file`` has refused a damaged one).
"""
