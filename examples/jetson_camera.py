"""A Jetson's CSI camera to its screen, every frame on the device from beginning to end: NVMM, CUDA, changed in place, drawn.

    python examples/jetson_camera.py --model engine.plan
    python examples/jetson_camera.py --model engine.plan --source v4l2:///dev/video0 --sink webrtc://@:8554/older

``jetson_utils`` maps the camera's NVMM buffers into CUDA (through EGL) and draws from there; only a small copy of each frame is read
by the CPU, for the detector. It comes with jetson-containers and the builds of github.com/dusty-nv/jetson-utils, for the system's
Python: python3 -m venv --system-site-packages venv. Untried on a Jetson; ``gstreamer_nv12.py`` needs nothing that JetPack lacks.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any

import numpy as np

from lgin_edge import LginError, Transformer

#: Longer side of what the detector gets, pixels.
SEARCHED = 640


def jetson_utils() -> Any:
    """The module, or the end."""
    try:
        return importlib.import_module("jetson_utils")
    except ImportError as error:
        sys.exit(
            f"error: jetson_utils cannot be imported ({error}): build github.com/dusty-nv/jetson-utils (it was not built for "
            "another Python?), or use examples/gstreamer_nv12.py"
        )


def older(transformer: Transformer, utils: Any, frame: Any, small: Any, years: float) -> int:
    """Change a frame on the GPU in place; how many faces are in it.

    Args:
        frame: a ``cudaImage`` of format "rgb8".
        small: one of at most ``SEARCHED`` pixels, which the CPU can read.
    """
    utils.cudaResize(frame, small)
    utils.cudaDeviceSynchronize()
    faces = transformer.detect(np.array(utils.cudaToNumpy(small)))
    if faces:
        scale = (frame.width / small.width, frame.height / small.height)
        transformer.age(frame, years=years, landmarks=[face.landmarks * scale for face in faces])
    return len(faces)


def main() -> None:
    parser = argparse.ArgumentParser(description="A Jetson's camera to its screen, on the device.")
    parser.add_argument("--model", default="engine.plan", help="an engine of lgin-edge build")
    parser.add_argument("--years", type=float, default=70.0)
    parser.add_argument("--source", default="csi://0", help="as jetson_utils names it")
    parser.add_argument("--sink", default="display://0", help="as jetson_utils names it")
    args = parser.parse_args()
    utils, small = jetson_utils(), None
    try:
        camera, screen = utils.videoSource(args.source), utils.videoOutput(args.sink)
        with Transformer(args.model, device=0) as transformer:
            while camera.IsStreaming() and screen.IsStreaming():
                frame = camera.Capture(format="rgb8", timeout=1000)
                if frame is None:  # none came within a second
                    continue
                if small is None:
                    step = max(1.0, max(frame.width, frame.height) / SEARCHED)
                    size = {"width": int(frame.width / step), "height": int(frame.height / step)}
                    small = utils.cudaAllocMapped(**size, format="rgb8")
                older(transformer, utils, frame, small, args.years)
                screen.Render(frame)
    except LginError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        pass
    except Exception as error:  # noqa: BLE001 - what jetson_utils raises for a camera or a screen that is not there
        sys.exit(
            f"error: jetson_utils: {error}; of a CSI camera: is nvargus-daemon running (systemctl status nvargus-daemon), and "
            "no other program at the camera?"
        )


if __name__ == "__main__":
    main()
