"""The OpenCV loop that you have, with lgin-edge in it: opencv_loop.py [camera or film]. Esc ends; it needs opencv-python."""

import sys
import time

import cv2

from lgin_edge import Transformer
from lgin_edge.stream import Pipeline

source = sys.argv[1] if len(sys.argv) > 1 else "0"
capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
with Transformer() as transformer, Pipeline(transformer, years=70, color="bgr") as older:
    while cv2.waitKey(1) != 27:
        there, frame = capture.read()
        if not there:
            sys.exit(f"no frame from {source}: is it plugged in, and free?")
        cv2.imshow("70 years", older(frame, time.monotonic()).image)  # frames without a face pass as they are
