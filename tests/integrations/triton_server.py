"""A stand-in for NVIDIA Triton Inference Server: a model repository, ONNX Runtime, and the KServe v2 protocol over HTTP.

It reads ``config.pbtxt`` by Triton's own schema and refuses what Triton would: other names, types and shapes than the
configuration's, batches that are too large, and inputs that do not have the same batch.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import triton_to_np_dtype

#: Folders of versions that Triton sees.
VERSION = re.compile(r"[1-9][0-9]*")


def read_config(model: Path) -> Any:
    """``ModelConfig`` of a model's folder. Raises what protobuf raises on text that is none."""
    return text_format.Parse((model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def data_type(tensor: Any) -> str:
    """FP32 of TYPE_FP32."""
    return str(model_config_pb2.DataType.Name(tensor.data_type)).removeprefix("TYPE_")


class Served:
    """One model of a repository, its newest version."""

    def __init__(self, folder: Path) -> None:
        self.config = read_config(folder)
        assert self.config.name == folder.name
        assert self.config.backend == "onnxruntime"
        newest = max((one for one in folder.iterdir() if VERSION.fullmatch(one.name)), key=lambda one: int(one.name))
        self.session = onnxruntime.InferenceSession(newest / "model.onnx")
        self.batches: list[int] = []

    def infer(self, request: dict[str, Any], tensors: bytes) -> tuple[dict[str, Any], bytes]:
        known = {one.name: one for one in self.config.input}
        given = {one["name"]: one for one in request["inputs"]}
        if given.keys() != known.keys():
            raise ValueError(f"expected the inputs {sorted(known)}, got {sorted(given)}")
        feed, start = {}, 0
        for name, one in given.items():
            batch, *dims = one["shape"]
            if one["datatype"] != data_type(known[name]) or not _fits(dims, known[name].dims):
                raise ValueError(f"input {name} is {one['datatype']} {one['shape']}, and the model's is {known[name]}")
            if not 1 <= batch <= self.config.max_batch_size or batch != request["inputs"][0]["shape"][0]:
                raise ValueError(
                    f"input {name} has a batch of {batch}; at most {self.config.max_batch_size}, one for all"
                )
            size = one["parameters"]["binary_data_size"]
            kind = triton_to_np_dtype(one["datatype"])
            feed[name] = np.frombuffer(tensors[start : start + size], kind).reshape(one["shape"])
            start += size
        self.batches.append(batch)
        outputs, body = [], b""
        for wanted in request["outputs"]:
            (array,) = self.session.run([wanted["name"]], feed)
            (tensor,) = (one for one in self.config.output if one.name == wanted["name"])
            assert array.dtype == triton_to_np_dtype(data_type(tensor))
            assert len(array) == batch
            assert _fits(array.shape[1:], tensor.dims)
            about = {"name": tensor.name, "datatype": data_type(tensor), "shape": list(array.shape)}
            outputs.append(about | {"parameters": {"binary_data_size": array.nbytes}})
            body += array.tobytes()
        return {"model_name": self.config.name, "model_version": "1", "outputs": outputs}, body


def _fits(shape: Sequence[int], dims: Sequence[int]) -> bool:
    """Whether a shape is one that a configuration allows, in which -1 is any number."""
    return len(shape) == len(dims) and all(want in (-1, have) for have, want in zip(shape, dims, strict=True))


@contextmanager
def serving(repository: Path) -> Iterator[tuple[str, dict[str, Served]]]:
    """Serve a repository on a free port: HOST:PORT, and what is served by name."""
    models = {folder.name: Served(folder) for folder in repository.iterdir()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.split("/")[3]
            if name not in models:
                self._answer(400, {"error": f"Request for unknown model: '{name}' is not found"})
            else:
                self._answer(200, json_format.MessageToDict(models[name].config, preserving_proto_field_name=True))

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            length = int(self.headers["Inference-Header-Content-Length"])
            try:
                self._answer(200, *models[self.path.split("/")[3]].infer(json.loads(data[:length]), data[length:]))
            except Exception as error:  # noqa: BLE001 - whatever is wrong is the client's to be told
                self._answer(400, {"error": str(error)})

        def _answer(self, status: int, message: dict[str, Any], tensors: bytes = b"") -> None:
            head = json.dumps(message).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Inference-Header-Content-Length", str(len(head)))
            self.send_header("Content-Length", str(len(head) + len(tensors)))
            self.end_headers()
            self.wfile.write(head + tensors)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", models
        finally:
            server.shutdown()
            thread.join()
