"""ONNX Runtime's CUDA provider, as far as a machine without a GPU goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from lgin_edge import BackendError
from lgin_edge.inference.onnxruntime_gpu import PROVIDER, OnnxGpuEngine


def test_a_provider_that_does_not_load_says_which_library_is_missing(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime goes on with the CPU then, and says nothing."""
    session, seen = onnxruntime.InferenceSession, []

    def preload() -> None:
        seen.append("preload")
        print("Failed to load libcudnn.so.9")

    def open_session(data: bytes, options: Any, providers: list[Any]) -> Any:
        seen.extend(providers)
        return session(data, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [PROVIDER, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", preload)
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)
    with pytest.raises(BackendError, match=r"CUDAExecutionProvider does not work here.*\.so.*cuda,cudnn"):
        OnnxGpuEngine(tiny_model, 1, 4711)
    assert seen[0] == "preload"  # before the session, which looks once
    name, options = seen[1]
    assert name == PROVIDER
    assert options == {"device_id": "1", "user_compute_stream": "4711", "cudnn_conv_algo_search": "HEURISTIC"}
    assert capsys.readouterr().out == ""
