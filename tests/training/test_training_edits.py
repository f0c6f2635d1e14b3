"""The renderer of edits in PyTorch against the definitions of design section 2, and against the readable reference."""

import numpy as np
import pytest
from tolerances import assert_close

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from lgin_edge import geometry, reference
from lgin_edge import kernels as run_time
from lgin_edge.faces import FaceBatch
from training import edits
from training.networks import FACE_BOX

SEED = 7
SIDE, S, P, F, A = 64, 32, 16, 4, 32
BOXES = torch.from_numpy(geometry.REGION_BOXES).float()[None]
EXTENT = FACE_BOX[2] - FACE_BOX[0]


def nothing(n=1):
    """Edits that change nothing; every point lies in the middle of mesh space."""
    place = torch.full((n, 2, F, F), 0.5)
    return edits.Edits(
        torch.zeros(n, 6, S, S), torch.zeros(n, 5, 4, P, P), torch.zeros(n, 2, F, F), place, torch.zeros(n, 1, A, A)
    )


@pytest.fixture
def canvas():
    return torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(SEED)) * 0.6 + 0.2


def render(made, canvas):
    return edits.apply(made, BOXES, canvas, FACE_BOX)


def middle(picture):
    """A few pixels round the middle, where the window of the whole face is 1."""
    return picture[..., SIDE // 2 - 4 : SIDE // 2 + 4, SIDE // 2 - 4 : SIDE // 2 + 4]


def test_no_edits_no_change(canvas):
    torch.testing.assert_close(render(nothing(), canvas), canvas, rtol=0, atol=2e-6)


def test_grey_takes_the_colour_and_keeps_the_light(canvas):
    made = nothing()
    made.face_edit[:, edits.GREY] = 1
    result = render(made, canvas)
    torch.testing.assert_close(middle(result), middle(edits.luma(canvas)).expand(-1, 3, -1, -1), rtol=0, atol=2e-6)


def test_a_grey_picture_stays_grey():
    generator = torch.Generator().manual_seed(SEED)
    canvas = torch.rand(1, 1, SIDE, SIDE, generator=generator).expand(-1, 3, -1, -1)
    made = nothing()
    for part in (made.face_edit[:, 3:], made.patch_edit[:, :, 3:], made.flow, made.place, made.lines):
        part.copy_(0.1 * torch.rand(part.shape, generator=generator))
    result = render(made, canvas)
    assert (result - canvas).abs().mean() > 0.01
    torch.testing.assert_close(result[:, :1].expand(-1, 3, -1, -1), result, rtol=0, atol=2e-6)


def test_flow_reads_a_grid_where_it_says():
    """On a ramp, what is read is the position: 0.05 of the canonical square to the right and 0.02 upwards."""
    t = (torch.arange(SIDE) + 0.5) / SIDE
    ramp = torch.stack([t.expand(SIDE, SIDE), t[:, None].expand(SIDE, SIDE), torch.zeros(SIDE, SIDE)])[None]
    made = nothing()
    made.flow[:, 0], made.flow[:, 1] = 0.05, -0.02
    moved = middle(render(made, ramp) - ramp)
    torch.testing.assert_close(moved[:, 0], torch.full_like(moved[:, 0], 0.05 / EXTENT), rtol=0, atol=1e-5)
    torch.testing.assert_close(moved[:, 1], torch.full_like(moved[:, 1], -0.02 / EXTENT), rtol=0, atol=1e-5)


def test_what_is_edited_moves():
    """Light on the left half, read an eighth of the canvas further to the right, ends an eighth further to the left."""
    made = nothing()
    made.face_edit[..., : S // 2] = 0.4
    made.flow[:, 0] = EXTENT / 8
    light = (render(made, torch.full((1, 3, SIDE, SIDE), 0.3)) - 0.3)[0, 0, SIDE // 2]
    edge, near = SIDE // 2 - SIDE // 8, SIDE // S + 1
    assert (light[edge - 8 : edge - near] > 0.1).all()
    torch.testing.assert_close(light[edge + near : SIDE // 2], torch.zeros_like(light[edge + near : SIDE // 2]))


@pytest.mark.parametrize("region", range(5))
def test_a_region_gains_in_its_own_box_alone(canvas, region):
    made = nothing()
    made.patch_edit[:, region, 3] = 0.3
    ratio = (render(made, canvas) / canvas)[0, 0]
    x0, y0, x1, y1 = (
        (BOXES[0, region] - FACE_BOX[0] * torch.tensor([1.0, 0, 1, 0]) - FACE_BOX[1] * torch.tensor([0, 1.0, 0, 1]))
        / EXTENT
        * SIDE
    ).tolist()
    assert float(ratio[int((y0 + y1) / 2), int((x0 + x1) / 2)]) == pytest.approx(1.3, abs=1e-4)
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    outside = (x < x0) | (x > x1) | (y < y0) | (y > y1)
    torch.testing.assert_close(ratio[outside], torch.ones_like(ratio[outside]), rtol=0, atol=1e-4)


def test_lines_are_light_at_their_place_on_skin():
    """A texture that gets lighter to the right, read at 0.25 of its width and drawn on half visible skin."""
    canvas = torch.full((1, 3, SIDE, SIDE), 0.4)
    made = nothing()
    made.lines[:] = 0.8 * (torch.arange(A) + 0.5) / A
    made.place[:, 0] = 0.25
    assert torch.equal(render(made, canvas), canvas)  # no skin, no lines
    made.face_edit[:, edits.SKIN] = 0.5
    expected = torch.full_like(canvas, 0.4 * np.exp(0.5 * 0.8 * 0.25))
    torch.testing.assert_close(middle(render(made, canvas)), middle(expected), rtol=1e-5, atol=0)


def test_residuals_are_in_units_of_the_networks():
    canvas = torch.full((1, 3, SIDE, SIDE), 0.5)
    made = nothing()
    made.face_edit[:, 0] = 0.2  # of [-1, 1], so a tenth of [0, 1]
    change = middle(render(made, canvas) - canvas)
    torch.testing.assert_close(change[:, 0], torch.full_like(change[:, 0], 0.1), rtol=0, atol=1e-5)
    assert not change[:, 1:].any()


@pytest.mark.parametrize("edit_format", [2, 3, 4])
def test_the_reference_does_the_same(edit_format):
    """Random edits of two faces, without flow: the reference reads the moved frame by a sharper filter."""
    generator = torch.Generator().manual_seed(SEED)
    made = nothing(2)
    for part, low, high in (
        (made.face_edit[:, :3], -0.3, 0.3),
        (made.face_edit[:, 3], -0.4, 0.6),
        (made.face_edit[:, 4:], 0, 1),
        (made.patch_edit, -0.3, 0.3),
        (made.place, 0.05, 0.95),
        (made.lines, -0.3, 0.3),
    ):
        part.copy_(torch.rand(part.shape, generator=generator) * (high - low) + low)
    frames = torch.randint(0, 256, (2, 3, SIDE, SIDE), generator=generator)
    boxes = BOXES.expand(2, -1, -1) + 0.02 * torch.rand(2, 5, 4, generator=generator) * torch.tensor([1, 1, 0, 0])
    result = edits.apply(made, boxes, frames / 255.0, FACE_BOX, edit_format)
    x0, y0, x1, y1 = FACE_BOX
    to_frame = np.array([[SIDE / (x1 - x0), 0, -x0 * SIDE / (x1 - x0)], [0, SIDE / (y1 - y0), -y0 * SIDE / (y1 - y0)]])
    spec = geometry.ViewSpec(S, P, face_box=FACE_BOX, edit_format=edit_format)
    for i in range(2):
        frame = np.ascontiguousarray(frames[i].permute(1, 2, 0).numpy().astype(np.uint8))
        plan = run_time.FacePlan.of(frame, FaceBatch(to_frame[None], boxes[i : i + 1].double().numpy()), spec)
        parts = run_time.Edits(*(getattr(made, name)[i : i + 1].numpy() for name in vars(made)))
        want = reference.region_paste(plan, frame, parts)
        have = (255 * result[i].permute(1, 2, 0)).round().numpy().astype(np.uint8)
        assert_close(have, want, kind="frame")
        assert (have != frame).mean() > 0.8


def test_everything_that_is_learnt_has_a_gradient(canvas):
    made = nothing()
    made.face_edit[:, edits.SKIN] = 0.5
    parts = [getattr(made, name).requires_grad_() for name in ("face_edit", "patch_edit", "flow", "lines")]
    render(made, canvas).square().sum().backward()
    assert all(part.grad.abs().max() > 0 for part in parts)


@pytest.mark.parametrize("side", [8, 32])
def test_maps_are_read_bilinearly(side):
    maps = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    wanted = torch.nn.functional.interpolate(maps, size=(32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(edits.read_maps(maps, 32), wanted)
