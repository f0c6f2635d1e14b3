"""Where age moves the parts of a face: the flow that is found, and what moving a picture by it does."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from training import prototypes, shape

SEED = 11
SIDE = shape.SIDE


def smooth(n: int, channels: int = 1) -> torch.Tensor:
    noise = torch.rand(n, channels, SIDE // 8, SIDE // 8, generator=torch.Generator().manual_seed(SEED))
    return torch.nn.functional.interpolate(noise, size=(SIDE, SIDE), mode="bicubic")


def displacement(x: float, y: float) -> torch.Tensor:
    return torch.tensor([x, y]).view(1, 2, 1, 1).expand(1, 2, SIDE, SIDE) / SIDE


def test_nothing_moves_by_nothing():
    x = smooth(2, 3)
    torch.testing.assert_close(shape.warp(x, displacement(0, 0).expand(2, -1, -1, -1)), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("dx", "dy"), [(5, 0), (0, 7), (-4, 3)])
def test_what_is_in_the_picture_moves_by_the_displacement(dx, dy):
    x = smooth(1, 3)
    moved = shape.warp(x, displacement(dx, dy))
    expected = torch.roll(x, (dy, dx), (-2, -1))
    inside = (..., slice(10, -10), slice(10, -10))
    torch.testing.assert_close(moved[inside], expected[inside], atol=1e-4, rtol=0)


def blobs(down: list[float]) -> torch.Tensor:
    """Faces of a kind: two dots that stay and a bar that lies lower by so many pixels."""
    t = torch.arange(SIDE, dtype=torch.float32)
    y, x = torch.meshgrid(t, t, indexing="ij")
    dots = sum(torch.exp(-((x - cx) ** 2 + (y - 80) ** 2) / 50) for cx in (72, 119))
    bars = [torch.exp(-((x - 95.5) ** 2) / 800 - ((y - 140 - by) ** 2) / 60) for by in down]
    return torch.stack([dots + bar for bar in bars])[:, None]


def test_flow_leads_from_the_mean_face_to_each_face():
    down = [-4.0, -2.0, 0.0, 2.0, 4.0] * 2
    found = shape.flows(shape.local_contrast(blobs(down))) * SIDE
    at_bar, at_dot = found[:, 1, 140, 85:106].mean(-1), found[:, 1, 80, 72]
    np.testing.assert_allclose(at_bar.numpy(), down, atol=0.7)
    assert at_dot.abs().max() < 0.3


def test_the_slope_is_what_moves_with_age():
    """Sideways displacement is mirrored with its sign turned, or a face that grows wider would not."""
    generator = torch.Generator().manual_seed(SEED)
    age = torch.linspace(-2, 2, 40)
    design = torch.stack([age, torch.ones(40)], 1)
    wider = torch.linspace(-1, 1, SIDE).expand(2, SIDE, SIDE) * torch.tensor([1.0, 0.0])[:, None, None]
    flows = age[:, None, None, None] * wider + 0.1 * torch.randn(40, 2, SIDE, SIDE, generator=generator)
    mirror = torch.tensor([-1.0, 1.0])[:, None, None]
    moves = prototypes.slope(flows, design, 3.0, mirror)
    torch.testing.assert_close(moves[0, 0, :, 20:-20], wider[0, :, 20:-20], atol=0.05, rtol=0)
    assert moves[0, 1].abs().max() < 0.05
    assert prototypes.slope(flows, design, 3.0)[0, 0].abs().max() < 0.05
