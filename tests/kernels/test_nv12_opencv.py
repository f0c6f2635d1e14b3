"""NV12 means what OpenCV means by it: flat pictures of many colours, converted by both."""

import loose
import numpy as np
import pytest
from tolerances import assert_close

cv2 = pytest.importorskip("cv2", reason="needs opencv-python-headless")


def test_flat_colours_convert_as_in_opencv() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = [], []
    for y, u, v in rng.integers(0, 256, (300, 3)):
        frame = np.full((9, 8), y, np.uint8)  # 6 rows of Y, 3 of UV
        frame[6:, 0::2], frame[6:, 1::2] = u, v
        view = loose.resample(frame, np.array([[8.0, 0, 0], [0, 6.0, 0]]), 6, 8, color="nv12")
        ours.append(np.floor((view[:, 2, 2] + 1) * 127.5 + 0.5).astype(np.uint8))
        theirs.append(cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_NV12)[2, 2])
    assert_close(np.array(ours), np.array(theirs), kind="frame")
