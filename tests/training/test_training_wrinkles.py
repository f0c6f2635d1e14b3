"""The drawn lines: where they are, and that they follow the landmarks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from lgin_edge import geometry
from training import wrinkles

SIDE = 192
SEED = 5
TEMPLATE = torch.from_numpy(np.float32(geometry.TEMPLATE))[None]


def center_of_mass(drawn: torch.Tensor) -> torch.Tensor:
    t = (torch.arange(SIDE) + 0.5) / SIDE
    weight = drawn.abs() / drawn.abs().sum()
    return torch.stack([(weight.sum(-2) * t).sum(), (weight.sum(-1) * t).sum()])


def test_every_line_has_a_region():
    assert {region for region, *_ in (*wrinkles.PAIRS, *wrinkles.CENTRAL)} <= set(geometry.REGION_NAMES)


def test_lines_of_a_face_like_the_template_are_all_drawn():
    drawn = wrinkles.fitted_map(TEMPLATE, SIDE)[0, 0].numpy()
    total = sum(wrinkles.wrinkle_map(SIDE, region) for region in geometry.REGION_NAMES)
    np.testing.assert_allclose(drawn, total, atol=1e-4)
    np.testing.assert_allclose(drawn, drawn[:, ::-1], atol=1e-4)
    assert np.abs(drawn).max() > 0.3


def test_lines_follow_the_face():
    plain = wrinkles.fitted_map(TEMPLATE, SIDE)
    for shift in ((4 / SIDE, 0.0), (0.0, 6 / SIDE)):  # whole pixels, or thin lines would be blurred
        moved = wrinkles.fitted_map(TEMPLATE + torch.tensor(shift), SIDE)
        by = center_of_mass(moved) - center_of_mass(plain)
        np.testing.assert_allclose(by.numpy(), shift, atol=1e-4)


def test_a_line_stays_at_its_place_in_its_regions_box():
    """Which is what a local generator sees of it."""
    generator = np.random.default_rng(SEED)
    landmarks = np.float32(geometry.TEMPLATE + generator.normal(0, 0.012, (5, 2)))
    identity = np.array([[1.0, 0, 0], [0, 1, 0]])
    views = []
    for points in (np.float32(geometry.TEMPLATE), landmarks):
        boxes = geometry.region_boxes(points, identity)
        x0, y0, x1, y1 = boxes[geometry.REGION_NAMES.index("eyes")]
        drawn = wrinkles.fitted_map(torch.from_numpy(points)[None], 384)
        t = (np.arange(64) + 0.5) / 64
        grid = np.stack(np.meshgrid(x0 + t * (x1 - x0), y0 + t * (y1 - y0)), -1) * 2 - 1
        view = torch.nn.functional.grid_sample(drawn, torch.from_numpy(np.float32(grid))[None], align_corners=False)
        views.append(view[0, 0, 26:50, :14].numpy())  # crow's feet, far from other regions' lines
    assert np.abs(views[0]).max() > 0.2
    assert np.corrcoef(views[0].ravel(), views[1].ravel())[0, 1] > 0.9


def test_a_mouth_that_moves_leaves_the_forehead_alone():
    lower = TEMPLATE.clone()
    lower[:, 3:, 1] += 0.03
    change = (wrinkles.fitted_map(lower, SIDE) - wrinkles.fitted_map(TEMPLATE, SIDE)).abs()[0, 0]
    eyes, mouth = (round(float(TEMPLATE[0, k, 1]) * SIDE) for k in (0, 3))
    assert change[mouth - 8 : mouth + 8].max() > 0.1
    assert change[: eyes + 2].max() < 0.01
