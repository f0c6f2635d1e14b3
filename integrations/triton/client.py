"""The model on NVIDIA Triton Inference Server: faces are found, cut and pasted here, and the server computes the change.

    python integrations/triton/export.py repository/
    tritonserver --model-repository=repository/
    python integrations/triton/client.py portrait.jpg older.png --years 70

The server gets the square of each face, never the picture. What the model is (sizes, age groups, windows) comes from the server's
configuration, where export.py put it: no model file is needed here. Needs pip install "lgin-edge[triton]".
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from lgin_edge import CenterFace, Face, LginError, images
from lgin_edge.errors import BackendError
from lgin_edge.faces import FaceBatch
from lgin_edge.frames import PixelFormat
from lgin_edge.inference.cpu import CpuFramePath
from lgin_edge.models.description import Description

Array = npt.NDArray[Any]


class TritonBackend:
    """A model on a server, as ``lgin_edge.inference.interfaces.Backend``.

    Args:
        address: HOST:PORT of its HTTP service.
        name: of the model there.

    Raises:
        BackendError: no answer, no such model, or none that export.py wrote.
        ModelError: its description is one that this version cannot read.
    """

    def __init__(self, address: str, name: str) -> None:
        self._client, self._name = InferenceServerClient(address), name
        try:
            config = self._client.get_model_config(name)
            text = config["parameters"]["lgin"]["string_value"]
        except KeyError as error:
            raise BackendError(
                f"{name} at {address} was not written by integrations/triton/export.py: it lacks {error}"
            ) from error
        except (InferenceServerException, OSError) as error:
            raise BackendError(f"{name} at {address}: {error}") from error
        self.description = Description.from_json(text)
        self._types = {one["name"]: one["data_type"].removeprefix("TYPE_") for one in config["input"]}
        self._most: int = config["max_batch_size"]

    def run(self, face: Array, patches: Array, boxes: Array, age: Array) -> tuple[Array, ...]:
        """As ``lgin_edge.inference.interfaces.Backend.run``, in calls of as many rows as Triton batches.

        In a model of format 1 ages are rows, too: a face at several ages is sent once for each.
        """
        about = self.description
        each = len(age) // len(face) if about.format == 1 else 1
        rows = {"face": face, "patches": patches, "boxes": boxes}
        whole = {name: np.repeat(array, each, axis=0) for name, array in rows.items()}
        whole["age"] = age.reshape(about.shape("age", len(face), len(age) // len(face)))
        parts = [
            self._infer({name: array[start : start + self._most] for name, array in whole.items()})
            for start in range(0, len(whole["age"]), self._most)
        ]
        joined = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return tuple(about.rows(name, array) for name, array in zip(about.outputs, joined, strict=True))

    def _infer(self, rows: dict[str, Array]) -> list[Array]:
        inputs = []
        for name, array in rows.items():
            tensor = InferInput(name, array.shape, self._types[name])
            tensor.set_data_from_numpy(np.ascontiguousarray(array, triton_to_np_dtype(self._types[name])))
            inputs.append(tensor)
        outputs = [InferRequestedOutput(name) for name in self.description.outputs]
        try:
            answer = self._client.infer(self._name, inputs, outputs=outputs)
        except (InferenceServerException, OSError) as error:
            raise BackendError(f"{self._name}: {error}") from error
        return [answer.as_numpy(name) for name in self.description.outputs]

    def close(self) -> None:
        self._client.close()


def older(path: CpuFramePath, picture: Array, faces: list[Face], code: Array) -> Array:
    """The picture, [H, W, 3] uint8 RGB, with its faces at the age of a code, [K]."""
    result: Array = picture.copy()
    batch = FaceBatch.of(faces)
    path.change(picture, PixelFormat.RGB, batch, code[None], [result], lambda stage: nullcontext())
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Make faces younger or older by a model on a Triton server.")
    parser.add_argument("picture")
    parser.add_argument("out")
    parser.add_argument("--years", type=float, default=70.0)
    parser.add_argument("--address", default="localhost:8000", help="of the server's HTTP service")
    parser.add_argument("--model", default="lgin_edge_onnx", help="its name there")
    args = parser.parse_args()
    try:
        source = images.read(args.picture)
        picture = np.asarray(source.image.convert("RGB"))
        backend = TritonBackend(args.address, args.model)
        path = CpuFramePath(backend, threads=1)
        try:
            faces = CenterFace()(picture, "rgb")
            if not faces:
                sys.exit(f"error: no face in {args.picture}")
            result = older(path, picture, faces, backend.description.age_code(years=args.years))
        finally:
            path.close()
        images.write(args.out, Image.fromarray(result), source, overwrite=True)
    except LginError as error:
        sys.exit(f"error: {error}")
    print(f"{len(faces)} face(s), {args.out}")


if __name__ == "__main__":
    main()
