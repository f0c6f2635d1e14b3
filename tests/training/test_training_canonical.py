"""Crop and paste between views in PyTorch, against their definitions."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from lgin_edge import geometry
from training import canonical

SEED = 7


@pytest.fixture
def boxes():
    rng = np.random.default_rng(SEED)
    moved = geometry.REGION_BOXES + np.tile(rng.uniform(-0.02, 0.02, (3, 5, 2)), 2)
    return torch.from_numpy(moved)


def test_hat_rows_are_bilinear_weights():
    rows = canonical.hat(torch.tensor(0.2), torch.tensor(0.7), 5, 10)
    assert torch.allclose(rows.sum(-1), torch.ones(5))
    # The first sample lies at 0.25 of the side = pixel position 2.0 of 10.
    assert rows[0].nonzero().tolist() == [[2]]
    assert torch.allclose(rows[1], torch.eye(10)[3], atol=1e-6)


def test_hat_replicates_the_border():
    rows = canonical.hat(torch.tensor(-1.0), torch.tensor(2.0), 6, 4)
    assert torch.equal(rows[0], torch.eye(4)[0])
    assert torch.equal(rows[-1], torch.eye(4)[3])


def test_crop_and_paste_are_adjoint(boxes):
    generator = torch.Generator().manual_seed(SEED)
    features = torch.randn(3, 6, 20, 20, generator=generator, dtype=torch.float64)
    patches = torch.randn(3, 5, 6, 9, 9, generator=generator, dtype=torch.float64)
    ay, ax = canonical.crop_matrices(boxes, 9, 20)
    left = (canonical.crop(features, ay, ax) * patches).sum()
    right = (features * canonical.paste(patches, ay, ax)).sum()
    assert torch.isclose(left, right, rtol=1e-12)
    assert abs(float(left)) > 1


def test_crop_of_a_ramp_is_the_ramp(boxes):
    x = (torch.arange(32, dtype=torch.float64) + 0.5) / 32
    ramp = x.expand(3, 1, 32, 32)
    ay, ax = canonical.crop_matrices(boxes, 8, 32)
    cut = canonical.crop(ramp, ay, ax)[:, :, 0]
    t = (torch.arange(8, dtype=torch.float64) + 0.5) / 8
    expected = boxes[..., 0, None] + t * (boxes[..., 2] - boxes[..., 0])[..., None]
    assert torch.allclose(cut, expected[:, :, None].expand_as(cut))


def test_window_equals_geometry():
    t = np.linspace(-0.5, 1.5, 201)
    have = canonical.window(torch.from_numpy(t), geometry.REGION_TAPER)
    np.testing.assert_allclose(have.numpy(), geometry.window(t, geometry.REGION_TAPER), atol=1e-12)
