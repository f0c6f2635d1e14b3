"""Where skin and hair are, for training only: the prototypes must not light up the wall behind a head.

GrabCut (Rother et al. 2004, OpenCV's) separates head from background, started from where the alignment puts heads; the
colour of the cheeks then separates skin from hair. Good enough to aim training at; the run time needs no masks, because the
network learns from the targets where hair ends.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 192


def _ellipse(cx: float, cy: float, rx: float, ry: float) -> npt.NDArray[np.float64]:
    """Distance from a centre in units of the radii, for every pixel of the canonical square: 1 on the ellipse."""
    y, x = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE
    return np.hypot((x - cx) / rx, (y - cy) / ry)


def _seed() -> npt.NDArray[np.uint8]:
    """GrabCut's first guess for any aligned portrait."""
    y, x = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE
    seed = np.full((SIDE, SIDE), cv2.GC_PR_BGD, np.uint8)
    seed[_ellipse(0.5, 0.48, 0.33, 0.46) < 1] = cv2.GC_PR_FGD
    seed[(y > 0.86) & (abs(x - 0.5) < 0.4)] = cv2.GC_PR_FGD  # neck and clothes belong to the person
    seed[_ellipse(0.5, 0.56, 0.21, 0.30) < 1] = cv2.GC_FGD
    side = abs(x - 0.5)
    seed[((side > 0.45) & (y < 0.7)) | ((side > 0.38) & (y < 0.25))] = cv2.GC_BGD
    return seed


def skin_and_hair(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Soft masks of one aligned face.

    Args:
        picture: [H, W, 3] uint8 RGB.

    Returns:
        [2, SIDE, SIDE] uint8, 255 where skin (the face with eyes and mouth, ears, neck), 255 where hair of the head.
    """
    small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    seed = _seed()
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(small[..., ::-1]), seed, None, *models, 4, cv2.GC_INIT_WITH_MASK)
    person = (seed == cv2.GC_FGD) | (seed == cv2.GC_PR_FGD)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    cheeks = lab[_ellipse(0.5, 0.62, 0.17, 0.16) < 1]
    center = np.median(cheeks, 0)
    spread = 1.48 * np.median(abs(cheeks - center), 0) + (4, 2, 2)
    strict = np.where((np.arange(SIDE)[:, None] + 0.5) / SIDE < 0.36, 1.7, 2.2)
    like_skin = np.linalg.norm((lab - center) / spread / (2.2, 1.5, 1.5), axis=-1) < strict
    face = _ellipse(0.5, 0.60, 0.21, 0.27) < 1
    skin = person & (face | (like_skin & (_ellipse(0.5, 0.54, 0.33, 0.46) < 1)))
    skin = cv2.morphologyEx(skin.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    skin = cv2.morphologyEx(skin, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    # Ears stay skin: hair is darker than the cheeks or less red.
    lightness, redness = np.moveaxis(cv2.GaussianBlur(lab, (0, 0), 1.5) - center, -1, 0)[:2]
    hair_colour = (lightness < -25) | (redness < -5)
    y = (np.arange(SIDE)[:, None] + 0.5) / SIDE
    hair = person & (skin == 0) & hair_colour & (y < 0.76) & (_ellipse(0.5, 0.48, 0.42, 0.52) < 1)
    hair = cv2.morphologyEx(hair.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return np.stack([cv2.GaussianBlur(m * 255, (0, 0), sigma) for m, sigma in ((skin, 3.0), (hair, 1.2))])


def of_all(pixels: Tensor) -> Tensor:
    """Masks of pictures [N, 3, H, W] uint8: [N, 2, SIDE, SIDE] uint8 (0.1 s a face and core)."""
    with ThreadPoolExecutor() as pool:
        masks = list(pool.map(lambda p: skin_and_hair(np.ascontiguousarray(p.permute(1, 2, 0).numpy())), pixels.cpu()))
    return torch.from_numpy(np.stack(masks))


def to_float(masks: Tensor, side: int) -> Tensor:
    """uint8 masks -> [N, 2, side, side] in [0, 1]."""
    return F.interpolate(masks.float() / 255, size=(side, side), mode="bilinear", align_corners=False)
