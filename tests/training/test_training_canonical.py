"""Crop, paste and composition in PyTorch against their definitions and the NumPy reference."""

import loose
import numpy as np
import pytest
from tolerances import assert_close

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


def test_sample_views_equals_the_reference(boxes):
    rng = np.random.default_rng(SEED)
    frame = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    angle, scale = 0.3, 70.0
    affine = np.array(
        [
            [scale * np.cos(angle), -scale * np.sin(angle), 40.0],
            [scale * np.sin(angle), scale * np.cos(angle), 5.0],
        ]
    )
    tensor = torch.from_numpy(frame).permute(2, 0, 1)[None].double() / 127.5 - 1
    for size in (16, 40):
        for box in boxes[0]:
            have = canonical.sample_views(tensor, torch.from_numpy(affine)[None], box[None, None], size)[0, 0]
            view = geometry.view_affine(affine, box.numpy())
            want = loose.reference_resample(frame, view, size, size)
            assert_close(have.numpy().astype(np.float32), want, kind="view")


def test_compose_equals_the_paste_of_the_reference(boxes):
    """On a frame that is the canvas itself, T(x) - x in training is what region_paste adds at run time."""
    rng = np.random.default_rng(SEED)
    side = 48
    face_delta = rng.uniform(-0.4, 0.4, (3, 3, 32, 32)).astype(np.float32)
    patch_delta = rng.uniform(-0.4, 0.4, (3, 5, 3, 16, 16)).astype(np.float32)
    frame = np.full((side, side, 3), 127, np.uint8)
    affine = np.array([[side, 0.0, 0.0], [0.0, side, 0.0]])
    composed = canonical.compose(
        torch.from_numpy(face_delta).double(), torch.from_numpy(patch_delta).double(), boxes, side
    )
    for n in range(3):
        pasted = loose.reference_paste(
            frame, affine[None], boxes[n : n + 1].numpy(), face_delta[n : n + 1], patch_delta[n : n + 1]
        )
        want = np.floor(np.clip(127 + 127.5 * composed[n].permute(1, 2, 0).numpy(), 0, 255) + 0.5).astype(np.uint8)
        assert_close(pasted, want, kind="frame")
        assert (pasted != frame).mean() > 0.8


def test_window_equals_geometry():
    t = np.linspace(-0.5, 1.5, 201)
    have = canonical.window(torch.from_numpy(t), geometry.REGION_TAPER)
    np.testing.assert_allclose(have.numpy(), geometry.window(t, geometry.REGION_TAPER), atol=1e-12)
