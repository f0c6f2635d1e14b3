"""Frames that are on the GPU already, of a decoder or a renderer: changed there in place, with CuPy or PyTorch.

    python examples/gpu_frames.py film.mp4 --model engine.plan

Only a small copy of each frame comes down, for the detector: 640 pixels at most. What is queued on the array's own stream
before ``age`` comes before it and what is queued after comes after, so nothing has to be waited for. A film is read here
because everybody has one; PyNvVideoCodec, DALI and DeepStream give frames on the GPU, which ``older`` takes as they are.
Needs a GPU, lgin-edge built with CUDA (docs/engines.md), and cupy-cuda12x, cupy-cuda13x or torch.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np

from lgin_edge import LginError, Transformer

#: Longer side of what the detector gets, pixels; it would reduce a larger picture to that itself.
SEARCHED = 640


class CuPy:
    """The three things that differ from PyTorch."""

    def __init__(self) -> None:
        self.cupy: Any = importlib.import_module("cupy")

    def up(self, frame: np.ndarray) -> Any:
        return self.cupy.asarray(frame)

    def down(self, frame: Any) -> np.ndarray:
        result: np.ndarray = self.cupy.asnumpy(frame)
        return result

    def wait(self) -> None:
        self.cupy.cuda.Device().synchronize()


class Torch:
    """The same with PyTorch."""

    def __init__(self) -> None:
        self.torch: Any = importlib.import_module("torch")

    def up(self, frame: np.ndarray) -> Any:
        return self.torch.from_numpy(frame).cuda()

    def down(self, frame: Any) -> np.ndarray:
        result: np.ndarray = frame.cpu().numpy()
        return result

    def wait(self) -> None:
        self.torch.cuda.synchronize()


def arrays() -> CuPy | Torch:
    """Whichever is installed."""
    if find_spec("cupy"):
        return CuPy()
    if find_spec("torch"):
        return Torch()
    sys.exit("error: needs CuPy or PyTorch: pip install cupy-cuda13x")


def older(transformer: Transformer, gpu: CuPy | Torch, frame: Any, years: float) -> int:
    """Change a frame on the GPU in place; how many faces are in it.

    Args:
        frame: [H, W, 3] uint8 BGR on the GPU, by ``__cuda_array_interface__`` or DLPack; rows may have a pitch.
    """
    step = -(-max(frame.shape[:2]) // SEARCHED)
    small = np.ascontiguousarray(gpu.down(frame[::step, ::step]))
    faces = transformer.detect(small, color="bgr")
    if faces:
        landmarks = [face.landmarks * step for face in faces]  # [5, 2] each, in pixels of the frame
        transformer.age(frame, years=years, landmarks=landmarks, color="bgr")
    return len(faces)


def main() -> None:
    parser = argparse.ArgumentParser(description="Change frames on the GPU.")
    parser.add_argument("film")
    parser.add_argument("--years", type=float, default=70.0)
    parser.add_argument(
        "--model", help="an engine of lgin-edge build; default: the bundled model by ONNX Runtime on the GPU"
    )
    parser.add_argument("--out", help="write the last frame that has a face to this picture")
    args = parser.parse_args()
    gpu, capture = arrays(), cv2.VideoCapture(args.film)
    last, frames, with_faces, start = None, 0, 0, time.perf_counter()
    try:
        with Transformer(args.model, device=0) as transformer:
            while True:
                there, host = capture.read()
                if not there:
                    break
                frame = gpu.up(host)
                found = older(transformer, gpu, frame, args.years)
                frames, with_faces, last = frames + 1, with_faces + bool(found), frame if found else last
            gpu.wait()
    except LginError as error:
        sys.exit(f"error: {error}")
    if not frames:
        sys.exit(f"error: {args.film}: no frame in it that OpenCV can read")
    print(f"{frames} frames, {frames / (time.perf_counter() - start):.1f} a second, faces in {with_faces}")
    if args.out and last is not None:
        cv2.imwrite(args.out, gpu.down(last))


if __name__ == "__main__":
    main()
