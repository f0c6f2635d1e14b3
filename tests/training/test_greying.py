"""Hair that greys by the picture's own edges and strands."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from training import greying as greying_module
from training.greying import AMOUNT, Greying, kept_light, streaks
from training.lines import shown

SIDE = 256
#: Colours of hair and of skin for a luma of 1.
BROWN, SKIN = (torch.tensor(colour)[:, None, None] for colour in ((1.35, 0.93, 0.45), (1.17, 0.95, 0.81)))
HAIRLINE = 120  # rows above it are hair, below skin
#: What is left of the light of a beard that greys.
BEARD = 1 - greying_module._BEARDS_LIGHT
#: Skin that does not age.
STAYS = torch.zeros(1, 1)


@pytest.fixture(scope="module")
def greying() -> Callable[[Tensor, Tensor], Tensor]:
    """Edits of hair that greyed, of a view's light, whose colours are ``coloured``, and the edits."""
    module = Greying(SIDE).eval()
    return lambda light, edit: module(coloured(light), light, edit, STAYS)


def lightness(light: Tensor, edit: Tensor) -> Tensor:
    """What an edit makes of a view's light, both of hair without colour: [SIDE, SIDE]."""
    residual, gain = edit[0, 0, :3].mean(0), edit[0, 0, 3]
    return (1 + gain) * light[0, 0] + residual / 2


def coloured(light: Tensor) -> Tensor:
    """A view [1, 3, SIDE, SIDE] in [-1, 1] of this light: brown where it is dark, pink where it is not."""
    pink = ((light - 0.2) / 0.3).clamp(0, 1)
    return 2 * light * (BROWN + pink * (SKIN - BROWN)) - 1


def view(angle: float = 0.0, blur: int = 1) -> Tensor:
    """The light of dark hair of fine strands at an angle to the vertical, over light skin: [1, 1, SIDE, SIDE]."""
    random = torch.Generator().manual_seed(4)
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.0, torch.arange(SIDE) + 0.0, indexing="ij")
    across = x * torch.cos(torch.tensor(angle)) + y * torch.sin(torch.tensor(angle))
    strands = torch.rand(2 * SIDE, generator=random)[(across + SIDE / 2).long().clamp(0, 2 * SIDE - 1)]
    light = torch.where(y < HAIRLINE, 0.06 + 0.10 * strands, 0.65 + 0.02 * torch.rand(SIDE, SIDE, generator=random))
    light = light[None, None]
    if blur > 1:
        light = torch.nn.functional.interpolate(
            torch.nn.functional.avg_pool2d(light, blur), scale_factor=blur, mode="bilinear"
        )
    return light


def edit(spread: float = 0.5, lighter: float = 0.2) -> Tensor:
    """Hair that greys and gets lighter, which ends within ``spread`` rows of the hairline: [1, 1, 6, SIDE, SIDE]."""
    rows = torch.arange(SIDE)[:, None].expand(SIDE, SIDE) + 0.5
    share = ((HAIRLINE + spread - rows) / (2 * spread)).clamp(0, 1)
    result = torch.zeros(1, 1, 6, SIDE, SIDE)
    result[:, :, :3] = 2 * lighter * share
    result[:, :, 4] = 0.8 * share
    result[:, :, 5, HAIRLINE + 20 :] = 1.0
    return result


def test_grey_keeps_to_the_edge_of_hair_beside_skin(greying: Callable[[Tensor, Tensor], Tensor]) -> None:
    before = edit(spread=10)
    after = greying(view(), before)
    beyond, inside = (..., slice(HAIRLINE + 2, HAIRLINE + 10), slice(None)), (..., slice(HAIRLINE - 12), slice(None))
    for channel in (0, 4):
        assert after[:, :, channel][beyond].mean() < 0.65 * before[:, :, channel][beyond].mean()
    assert after[:, :, 4][inside].mean() > 0.98 * before[:, :, 4][inside].mean()


def test_no_hair_is_whiter_than_all_others() -> None:
    """One alone in dark hair looks like a scratch."""
    bank = streaks(128)
    assert bank.amax((1, 2)).max() < 5
    assert (bank > 3).float().mean() > 0.01


@pytest.mark.parametrize("angle", [0.0, 0.7, 1.57])
def test_white_hairs_lie_along_the_hair(
    monkeypatch: pytest.MonkeyPatch, greying: Callable[[Tensor, Tensor], Tensor], angle: float
) -> None:
    monkeypatch.setattr(greying_module, "CONTRAST", 0.0)
    light = greying(view(angle), edit())[0, 0, 0, 20 : HAIRLINE - 20, 20:-20]
    gy, gx = (d.flatten() for d in torch.gradient(light))
    # The energy of changes along the strands against that across them, whose direction is (cos, sin) of the angle.
    c, s = torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))
    along, across = (c * gy - s * gx).square().mean(), (c * gx + s * gy).square().mean()
    assert along < 0.25 * across


def coarse(colour: Tensor = BROWN) -> tuple[Tensor, Tensor]:
    """The light and the picture of a view of strands coarser than a speck, of hair of one hue."""
    light = view(blur=2)
    face = coloured(light)
    face[..., :HAIRLINE, :] = (2 * light * colour - 1)[..., :HAIRLINE, :]
    return light, face


def test_dark_hair_that_gets_lighter_keeps_its_strands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Light that is added takes its contrast. Its mean stays, and its colour; fair hair and what has contrast enough stay as they were."""
    monkeypatch.setattr(greying_module, "AMOUNT", 0.0)
    module, rows, made = Greying(SIDE).eval(), slice(20, HAIRLINE - 40), edit()
    light, face = coarse()
    after = module(face, light, made, STAYS)
    before, lit = (lightness(light, e)[rows] for e in (made, after))
    assert 1.35 * before.std() < lit.std() < 1.6 * before.std()
    assert lit.mean() == pytest.approx(float(before.mean()), abs=0.01)
    # What is left of the hair's colour: (1 + gain) (1 - grey).
    kept = [((1 + e[0, 0, 3]) * (1 - e[0, 0, 4]))[rows] for e in (made, after)]
    torch.testing.assert_close(kept[1], kept[0], atol=0.01, rtol=0.05)
    fair, striped = view() + 0.6, 0.1 + 0.3 * (torch.arange(SIDE) // 4 % 2).expand(1, 1, SIDE, SIDE)
    for other in (fair, striped):
        assert (module(coloured(other), other, made, STAYS)[0, 0, 3] - made[0, 0, 3])[rows].abs().max() < 0.05


def test_hair_that_is_hardly_grey_and_skin_keep_their_contrast() -> None:
    light, face = coarse()
    made = edit()
    made[:, :, 4] *= 0.1
    rows = slice(20, HAIRLINE - 40)
    few, all_ = (Greying(SIDE).eval()(face, light, e, STAYS)[0, 0, 3, rows].mean() for e in (made, edit()))
    assert few < 0.2 * all_
    skinned = edit()
    skinned[:, :, 5] = 1.0
    assert Greying(SIDE).eval()(face, light, skinned, STAYS)[0, 0, 3, rows].abs().max() < 0.01


def test_no_rim_gets_darker_where_hair_ends_at_a_white_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greying_module, "AMOUNT", 0.0)
    for edge in range(96, 104):
        light = torch.full((1, 1, SIDE, SIDE), 0.95)
        light[..., edge:] = 0.12
        made = torch.zeros(1, 1, 6, SIDE, SIDE)
        made[:, :, :3, :, edge:] = 0.4
        made[:, :, 4, :, edge:] = 0.8
        after = Greying(SIDE).eval()((2 * light - 1).expand(-1, 3, -1, -1), light, made, STAYS)
        assert (lightness(light, after) - lightness(light, made))[20:140, edge:-20].min() > -0.02  # above beards
        assert after[0, 0, 3, 20:140, edge + 16 : -20].min() > 0.3


def test_hair_that_gets_darker_gets_no_white_hairs(greying: Callable[[Tensor, Tensor], Tensor]) -> None:
    before = edit(lighter=-0.05)
    after = greying(view(), before)
    assert torch.allclose(after[..., : HAIRLINE - 50, :], before[..., : HAIRLINE - 50, :], atol=1e-5)


def test_what_is_as_light_as_grey_hair_gets_half_as_much_lighter(greying: Callable[[Tensor, Tensor], Tensor]) -> None:
    before = edit()
    wall, hair = (slice(4, 50), slice(4, 60)), (slice(4, 50), slice(110, 240))
    light = view()
    light[..., :60, :80] = 0.8
    after = lightness(light, greying(light, before)) - light[0, 0]
    assert float(after[wall].mean()) == pytest.approx(0.5 * 0.2, rel=0.05)
    assert after[hair].mean() > 0.95 * 0.2


def test_fair_hair_gets_no_white_hairs(
    monkeypatch: pytest.MonkeyPatch, greying: Callable[[Tensor, Tensor], Tensor]
) -> None:
    monkeypatch.setattr(greying_module, "CONTRAST", 0.0)
    fair = view() + 0.4
    made, without = greying(fair, edit(lighter=0.05))[0, 0, 0], edit(lighter=0.05)[0, 0, 0]
    assert (made - without)[20 : HAIRLINE - 40].abs().max() < 0.01


def test_a_blurred_picture_shows_no_single_hairs(
    monkeypatch: pytest.MonkeyPatch, greying: Callable[[Tensor, Tensor], Tensor]
) -> None:
    monkeypatch.setattr(greying_module, "CONTRAST", 0.0)
    spread = [greying(view(blur=blur), edit())[0, 0, 0, 20 : HAIRLINE - 20].std() for blur in (1, 8)]
    assert spread[0] > AMOUNT
    assert spread[1] < 0.02 * spread[0]


@pytest.mark.parametrize(
    ("rows", "columns", "grey", "of_light", "of_grey"),
    [
        (slice(108, 118), slice(60, 110), 0.6, 0.4, 0.8),  # a brow
        (slice(108, 118), slice(60, 110), 0.0, 1.0, 1.0),  # one that does not grey
        (slice(165, 180), slice(90, 140), 0.6, BEARD, 0.8 * 0.7),
        (slice(165, 180), slice(10, 50), 0.6, 1.0, 0.8),  # hair beside a jaw
    ],
)
def test_brows_and_beards_keep_some_of_their_darkness_and_colour(
    monkeypatch: pytest.MonkeyPatch, rows: slice, columns: slice, grey: float, of_light: float, of_grey: float
) -> None:
    """Holes in skin that grey: between their hairs skin shows, and light over them is a smudge."""
    monkeypatch.setattr(greying_module, "CONTRAST", 0.0)
    light, before = (x.roll(60 - HAIRLINE, dims=-2) for x in (view(), edit()))  # hair above row 60
    before[:, :, 5, 62:196] = 1.0
    brow = (..., rows, columns)
    light[brow] = 0.2
    before[:, :, 5][brow], before[:, :, 4][brow], before[:, :, :3][brow] = 0.0, grey, 0.1
    face = coloured(light)
    face[brow] = 0.4 * SKIN - 1
    after = Greying(SIDE).eval()(face, light, before, STAYS)
    inside = (slice(rows.start + 2, rows.stop - 2), slice(columns.start + 6, columns.stop - 6))
    assert float(after[(0, 0, 4, *inside)].mean()) == pytest.approx(of_grey * grey, rel=0.1)
    lighter = (lightness(light, after) - light[0, 0])[inside].mean()
    assert float(lighter) == pytest.approx(0.05 * of_light, rel=0.2)


ORANGE, PINK, COOL = (0.75, 0.45, 0.15), (0.58, 0.47, 0.44), (0.42, 0.50, 0.60)


@pytest.mark.parametrize(
    ("row", "colour", "is_red"),
    [(102, ORANGE, True), (102, PINK, False), (102, COOL, False), (102, (0.5, 0.5, 0.5), False), (86, ORANGE, False), (160, ORANGE, False)],
)  # fmt: skip
def test_red_brows_lose_the_colour_that_skin_has_not(row: int, colour: tuple[float, ...], is_red: bool) -> None:
    """A network takes them for skin, and they stay orange under grey hair. A jewel or a mouth is no brow (what touches brown hair is the hair's own rim)."""
    light, before = (x.roll(60 - HAIRLINE, dims=-2) for x in (view(), edit()))  # hair above row 60
    hole, inside = (slice(row, row + 10), slice(60, 110)), (slice(row + 2, row + 8), slice(66, 104))
    light[(..., *hole)] = 0.5
    before[:, :, 5, 62:196] = 1.0  # up to the hair, or what lies high is no hole in skin
    before[:, :, 5][(..., *hole)] = 0.0
    # Skin of the brow's own hue but for the orange one: under a cool lamp, and in a picture without colours.
    face = coloured(light) if is_red or colour == ORANGE else 2 * light * torch.tensor(colour)[:, None, None] / 0.5 - 1
    face[(0, slice(3), *hole)] = 2 * torch.tensor(colour)[:, None, None] - 1
    made = Greying(SIDE).eval()(face, light, before, STAYS)[(0, 0, 4, *inside)].mean()
    assert 0.3 < made < 0.8 if is_red else made < 0.1


@pytest.mark.parametrize(
    ("hair", "colour", "is_red"),
    [((1.6, 0.9, 0.3), ORANGE, True), ((1.6, 0.9, 0.3), PINK, False), ((1.0, 1.0, 1.0), ORANGE, False)],
)
def test_a_red_rim_of_red_hair_at_the_hairline_greys_with_it(
    hair: tuple[float, ...], colour: tuple[float, ...], is_red: bool
) -> None:
    """A network takes it for skin, and it stays orange under grey hair. Beside black hair it is an earring."""
    light, before = (x.roll(60 - HAIRLINE, dims=-2) for x in (view(), edit()))  # hair above row 60, where no brow is
    rim = (..., slice(60, 65), slice(None))
    before[:, :, 5, 60:196] = 1.0
    light[rim] = 0.5
    face = coloured(light)
    face[rim] = 2 * torch.tensor(colour)[:, None, None] - 1
    face[..., :60, :] = 2 * light[..., :60, :] * torch.tensor(hair)[:, None, None] - 1
    made = Greying(SIDE).eval()(face, light, before, STAYS)[0, 0, 4, 61:64].mean()
    assert made > 0.4 if is_red else made < 0.15


def test_grey_brows_in_bluish_skin_are_no_red_ones() -> None:
    light, before = (x.roll(60 - HAIRLINE, dims=-2) for x in (view(), edit()))
    brow = (slice(102, 112), slice(60, 110))
    light[(..., *brow)] = 0.5
    before[:, :, 5][(..., *brow)] = 0.0
    face = 2 * light * torch.tensor((1.0, 0.95, 1.26))[:, None, None] - 1
    face[(0, slice(3), *brow)] = 0.0
    made = Greying(SIDE).eval()(face, light, before, STAYS)
    assert made[(0, 0, 4, slice(104, 110), slice(66, 104))].mean() < 0.1


@pytest.mark.parametrize("darker", [1.0, 0.4])
def test_what_does_not_grey_is_not_touched(darker: float) -> None:
    """Of hair that gets dark again and of a face without hair, on light and on dark skin."""
    before = edit(lighter=-0.05)
    before[:, :, 4] = 0
    light = darker * view()
    after = Greying(SIDE).eval()(coloured(light), light, before, STAYS)
    assert torch.equal(after, before)


def test_a_view_of_one_colour_is_no_division_by_nothing_in_half_precision() -> None:
    module = Greying(SIDE).half().eval()
    for light in (0.0, 0.5, 1.0):
        flat = torch.full((1, 1, SIDE, SIDE), light, dtype=torch.half)
        assert module((2 * flat - 1).expand(-1, 3, -1, -1), flat, edit().half(), STAYS.half()).isfinite().all()


def test_light_hair_gets_darker_by_no_more_than_is_said() -> None:
    """And by one factor for gain and residual; skin, and what gets lighter or a little darker, as it was."""
    random = torch.Generator().manual_seed(9)
    light = torch.rand(2, 2, 8, 8, generator=random)
    edits = 0.4 * torch.randn(2, 2, 4, 8, 8, generator=random)
    skin = torch.zeros(2, 2, 1, 8, 8)
    skin[..., 6:] = 1
    most = torch.tensor([[0.05, 0.2], [0.08, 5.0]])[..., None, None]

    def darker(edits: Tensor) -> Tensor:
        luma = (edits[:, :, :3] * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(2) / 2
        return -(edits[:, :, 3] * light + luma)

    made = kept_light(light, edits, skin, most)
    before, after = darker(edits), darker(made)
    hair = (..., slice(6))
    torch.testing.assert_close(after[hair], torch.minimum(before, most)[hair])
    assert (before > most)[hair].any()
    torch.testing.assert_close(made[..., 6:], edits[..., 6:])
    few = (before <= most)[:, :, None].expand_as(edits)
    torch.testing.assert_close(made[few], edits[few])
    factor = made / edits
    torch.testing.assert_close(factor, factor[:, :, :1].expand_as(factor))


def test_each_age_is_as_alone(greying: Callable[[Tensor, Tensor], Tensor]) -> None:
    both = torch.cat([edit(spread=6), edit(lighter=0.1)], 1)
    made = greying(view(0.3), both)
    for k in (0, 1):
        alone = greying(view(0.3), both[:, k : k + 1])
        assert torch.allclose(made[:, k], alone[:, 0], atol=1e-5)


def test_streaks_are_the_same_at_each_call_and_of_mean_0() -> None:
    made = streaks(64)
    assert torch.equal(made, streaks(64))
    assert torch.allclose(made.mean((1, 2)), torch.zeros(len(made)), atol=0.02)  # half a step of int8
    assert torch.allclose(made.std((1, 2)), torch.ones(len(made)), atol=1e-2)


def test_lines_fade_where_a_picture_is_nearly_white() -> None:
    skin = torch.ones(1, 1, 4, 4)
    kept = [float(shown(torch.full((1, 1, 4, 4), light), skin).mean()) for light in (0.2, 0.8, 0.9, 1.0)]
    assert kept[0] == kept[1] == 1
    assert 1 > kept[2] > kept[3] == pytest.approx(0.35)
