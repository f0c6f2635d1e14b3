"""Masks of skin and hair, on a photograph."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from lgin_edge import geometry
from training import data, masks
from training.canonical import sample_views


def test_masks_find_skin_and_hair_of_a_portrait(astronaut):
    # Eyes, nose and mouth of scikit-image's astronaut, as seen.
    points = np.array([[207, 110], [247, 108], [229, 132], [212, 150], [247, 149]], np.float64)
    affine = geometry.fit_similarity(points)
    frame = torch.from_numpy(astronaut.copy()).permute(2, 0, 1)[None].float()
    full = torch.from_numpy(np.float32([[geometry.FULL_BOX]]))
    face = sample_views(frame, torch.from_numpy(affine).float()[None], full, data.CANVAS)[0, 0]
    skin, hair = masks.skin_and_hair(face.permute(1, 2, 0).round().byte().numpy()) / 255

    def at(mask, x, y):
        return mask[int(y * masks.SIDE), int(x * masks.SIDE)]

    assert at(skin, 0.5, 0.6) > 0.9  # nose
    assert at(skin, 0.38, 0.62) > 0.9  # cheek
    assert at(hair, 0.5, 0.6) < 0.1
    assert at(skin, 0.03, 0.1) < 0.1  # wall
    assert at(hair, 0.03, 0.1) < 0.1
    assert hair.mean() > 0.03
