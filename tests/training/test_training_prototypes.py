"""The prototype residual: it finds the change that is there, and changes nothing else."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from support.portraits import training_faces

from lgin_edge import geometry
from training import data, prototypes
from training.config import PrototypeGains

SEED = 3
TEMPLATE = torch.from_numpy(np.float32(geometry.TEMPLATE))[None]


@pytest.fixture(scope="module")
def train_faces(made_up):
    return training_faces(made_up)


@pytest.fixture(scope="module")
def fitted(train_faces):
    return prototypes.fit(train_faces)


def everywhere(n: int) -> torch.Tensor:
    return torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(n, 2, data.CANVAS, data.CANVAS)


def test_prototypes_find_the_change_that_is_there(fitted):
    x = torch.full((1, 3, data.CANVAS, data.CANVAS), -0.1)
    # Without exaggeration: older shades count 1.5 (lines) and 1.3 (colour), younger ones 0.75 and 0.5.
    gains = PrototypeGains(shape=0.0, colour=1.0, chroma=1.0, lines=1.0, texture=1.0, wrinkles=0.0)
    fifty = torch.tensor([50.0])
    older = fitted.residual(x, everywhere(1), TEMPLATE, fifty, fifty + 10, gains)
    younger = fitted.residual(x, everywhere(1), TEMPLATE, fifty, fifty - 10, gains)
    forehead, corner = (slice(None), slice(None), slice(115, 155), slice(150, 230)), (..., slice(0, 20), slice(0, 20))
    # Ten levels of 127.5 in ten years are 0.078; the low-pass rest (64 px a pixel, left alone) keeps about half of it.
    assert 0.03 < older[forehead].mean() < 0.12
    assert -0.07 < younger[forehead].mean() < -0.01
    assert older[corner].abs().mean() < 0.005


def test_no_change_of_age_is_no_residual(train_faces, fitted):
    x = data.to_float(train_faces.pixels[:2])
    fifty = torch.full((2,), 50.0)
    half = torch.full((2, 2, data.CANVAS, data.CANVAS), 0.5)
    assert fitted.residual(x, half, TEMPLATE, fifty, fifty, PrototypeGains()).abs().max() < 1e-5


def test_nothing_changes_outside_skin_and_hair(train_faces, fitted):
    x = data.to_float(train_faces.pixels[:1])
    nowhere = torch.zeros(1, 2, data.CANVAS, data.CANVAS)
    ages = torch.tensor([40.0]), torch.tensor([70.0])
    assert fitted.residual(x, nowhere, TEMPLATE, *ages, PrototypeGains()).abs().max() < 1e-5
    assert fitted.residual(x, everywhere(1), TEMPLATE, *ages, PrototypeGains()).abs().max() > 0.05


def test_dark_hair_greys_and_grey_hair_darkens():
    fitted = prototypes.Prototypes(
        [torch.zeros(1, 3, 1, 1)] * (prototypes.LEVELS + 1),
        [torch.zeros(1, 1, 1, 1)] * prototypes.FINE_LEVELS,
        torch.zeros(1, 2, 1, 1),
        torch.tensor([0.0, 0.1, 0.3, 0.6, 0.8]),
    )
    hair = torch.zeros(1, 2, 64, 64)
    hair[:, 1, :32] = 1  # short hair
    young, old = torch.tensor([30.0]), torch.tensor([70.0])
    dark, grey = torch.full((1, 3, 64, 64), -0.7), torch.full((1, 3, 64, 64), 0.0)
    assert fitted.residual(dark, hair, TEMPLATE, young, old, PrototypeGains())[..., :28, :].mean() > 0.3
    assert fitted.residual(grey, hair, TEMPLATE, old, young, PrototypeGains())[..., :28, :].mean() < -0.3
    assert fitted.residual(dark, hair, TEMPLATE, old, young, PrototypeGains()).abs().mean() < 0.05


def test_pyramid_collapses_to_its_picture():
    x = torch.rand(1, 3, data.CANVAS, data.CANVAS, generator=torch.Generator().manual_seed(SEED))
    torch.testing.assert_close(prototypes.collapse(prototypes.pyramid(x)), x)


def test_a_wide_blur_at_half_the_size_looks_the_same():
    x = torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(SEED))
    t = torch.arange(-16, 17).float()
    kernel = torch.exp(-0.5 * (t / 4) ** 2)
    kernel = kernel / kernel.sum()
    padded = torch.nn.functional.pad(x, (16,) * 4, mode="reflect")
    exact = torch.nn.functional.conv2d(padded, torch.outer(kernel, kernel)[None, None])
    inside = (..., slice(16, -16), slice(16, -16))  # at the border the two reflect a little differently
    torch.testing.assert_close(prototypes.blur(x, 4.0)[inside], exact[inside], atol=0.01, rtol=0)


def moving() -> prototypes.Prototypes:
    """Everything of a head sinks by eight pixels in ten years, and nothing else happens."""
    down = torch.tensor([0.0, 8 / data.CANVAS]).view(1, 2, 1, 1).expand(1, 2, 192, 192)
    sides = [data.CANVAS // 2**level for level in range(prototypes.LEVELS + 1)]
    colour, texture = ([torch.zeros(1, c, s, s) for s in sides] for c in (3, 1))
    return prototypes.Prototypes(colour, texture[: prototypes.FINE_LEVELS], down, torch.zeros(len(data.GROUPS)))


def test_the_head_moves_and_the_wall_stays():
    x = torch.full((1, 3, data.CANVAS, data.CANVAS), 0.2)
    x[..., 200:204, :] = -0.5  # a line from wall to wall
    soft = torch.zeros(1, 2, data.CANVAS, data.CANVAS)
    soft[:, 0, :, 130:254] = 1
    fifty = torch.tensor([50.0])
    gains = PrototypeGains(shape=1.0, colour=0.0, lines=0.0, texture=0.0, wrinkles=0.0)
    older = x + moving().residual(x, soft, TEMPLATE, fifty, fifty + 10, gains)
    younger = x + moving().residual(x, soft, TEMPLATE, fifty, fifty - 10, gains)

    def row(picture: torch.Tensor, column: int) -> float:
        dark = (0.2 - picture[0, 0, :, column]).clamp(min=0)
        return float((dark * torch.arange(data.CANVAS)).sum() / dark.sum())

    assert abs(row(older, 192) - row(x, 192) - 8) < 0.5
    assert abs(row(younger, 192) - row(x, 192) + 8) < 0.5
    assert row(older, 60) == pytest.approx(row(x, 60), abs=0.1)


def test_rims_neither_fade_nor_move(fitted):
    """Of who is known to wear glasses; elsewhere in the face all goes on."""
    fitted = prototypes.Prototypes(fitted.colour, [t - 0.2 for t in fitted.texture], moving().shape, fitted.grey)
    x = torch.full((1, 3, data.CANVAS, data.CANVAS), 0.1)
    for row in (200, 300):  # below the eye, and across the chin
        x[..., row : row + 3, 130:254] = -0.05
    fifty = torch.tensor([50.0])
    gains = PrototypeGains(colour=0.0, lines=0.0, texture=2.0)

    def contrast(worn: bool, row: int) -> float:
        younger = x + fitted.residual(x, everywhere(1), TEMPLATE, fifty, fifty - 20, gains, torch.tensor([worn]))
        return float(younger[0, 0, row - 12, 150:230].mean() - younger[0, 0, row + 1, 150:230].mean()) / 0.15

    assert contrast(True, 200) > 0.9
    assert contrast(False, 200) < 0.6
    assert contrast(True, 300) == pytest.approx(contrast(False, 300), abs=0.02)


def test_long_hair_hardly_greys():
    """Half of it hangs out of the square, and would stay dark."""
    fitted = moving()
    fitted.grey = torch.linspace(0, 0.8, len(data.GROUPS))
    dark = torch.full((1, 3, data.CANVAS, data.CANVAS), -0.7)
    short, long = torch.zeros(2, 1, 2, data.CANVAS, data.CANVAS)
    short[:, 1, 20:100, 100:284] = 1
    long[:, 1, 20:290, 60:130] = 1
    young, old = torch.tensor([30.0]), torch.tensor([70.0])
    top = (..., slice(40, 80), slice(110, 120))
    changes = [
        fitted.residual(dark, soft, TEMPLATE, young, old, PrototypeGains(shape=0.0))[top] for soft in (short, long)
    ]
    assert changes[0].mean() > 0.3
    assert 0 < changes[1].mean() < 0.4 * changes[0].mean()


def test_what_is_trained_without_prototypes_has_none_on_any_device():
    assert not prototypes.none().to("cpu").colour
