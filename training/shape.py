"""How age moves the parts of a face: the mean displacement in ten years, for the prototypes.

Every training face is brought to the mean face by dense optical flow, the mean is made again from the faces so aligned
(Vetter, Jones & Poggio 1997), and the flow is regressed on age like the colours (``training.prototypes``): jowls sink, the
hairline climbs, ears grow, brows fall. Landmarks cannot say it, because alignment keeps them in place.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 192
#: Times that the mean face is made again from the faces aligned to the last one.
_ROUNDS = 4
#: Pixels of SIDE over which a single face's flow is smoothed, and those of the local contrast that it is measured on.
_SMOOTH, _CONTRAST = 2.0, 16.0


def local_contrast(luma: Tensor) -> npt.NDArray[np.uint8]:
    """Brightness relative to its surroundings, so that light is not taken for shape: [N, 1, H, W] -> uint8 [N, SIDE, SIDE]."""
    small = F.interpolate(luma, size=(SIDE, SIDE), mode="area")[:, 0].cpu().numpy()
    levels = np.empty(small.shape, np.uint8)
    for i, picture in enumerate(small):
        centered = picture - cv2.GaussianBlur(picture, (0, 0), _CONTRAST)
        spread = np.sqrt(cv2.GaussianBlur(centered**2, (0, 0), _CONTRAST) + 0.02)
        levels[i] = ((centered / spread / 4 + 0.5) * 255).clip(0, 255)
    return levels


def flows(pictures: npt.NDArray[np.uint8]) -> Tensor:
    """Displacement from the mean face to each face, [N, SIDE, SIDE] -> [N, 2, SIDE, SIDE] (x, y) in canonical units."""
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    found = np.zeros((len(pictures), SIDE, SIDE, 2), np.float32)
    mean = pictures.astype(np.float32).mean(0)
    for _ in range(_ROUNDS):
        template = ((mean + mean[:, ::-1]) / 2).clip(0, 255).astype(np.uint8)  # a face has no preferred side
        mean = np.zeros((SIDE, SIDE), np.float32)
        for i, picture in enumerate(pictures):
            found[i] = cv2.GaussianBlur(finder.calc(template, picture, None), (0, 0), _SMOOTH)
            at_x, at_y = x + found[i, ..., 0], y + found[i, ..., 1]
            mean += cv2.remap(picture, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mean /= len(pictures)
    return torch.from_numpy(found).permute(0, 3, 1, 2) / SIDE


def warp(x: Tensor, displacement: Tensor) -> Tensor:
    """Move what is in ``x`` by ``displacement``: ``x(u - displacement(u))``.

    Args:
        x: [N, C, H, W]. displacement: [N, 2, h, w] (x, y), canonical units; enlarged to H x W.
    """
    d = F.interpolate(displacement, size=x.shape[-2:], mode="bilinear", align_corners=False)
    t, s = ((torch.arange(side, device=x.device) + 0.5) / side for side in x.shape[-2:])
    points = torch.stack(torch.meshgrid(s, t, indexing="xy"), -1)
    grid = (points - d.permute(0, 2, 3, 1)) * 2 - 1
    return F.grid_sample(x, grid, mode="bicubic", padding_mode="border", align_corners=False)
