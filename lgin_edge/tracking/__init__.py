"""Faces from frame to frame: where each one is, which way it looks, and how much of it can be seen. No threads and no clocks."""

from .tracker import TrackedFace, Tracker

__all__ = ["TrackedFace", "Tracker"]
