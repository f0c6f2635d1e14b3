"""What a model file is: its description, and the kinds of file that carry one.

A file is refused here, before a run time sees a byte of it: by ``onnx_file`` (claims more than it has, foreign operators) or by
``engine_file`` (an engine that is changed, foreign, or without its ``.json``).
"""
