"""T as a model file holds it: what is worked out from the picture beside what the generators say, and a face's lines, by which it goes."""

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from support.small_networks import SMALL

from training import data, texture
from training import exported as exported_module
from training.exported import Exported
from training.lines import Lines, lines_now
from training.networks import LGIN, example_inputs
from training.targets import curves


def lines_of(years: float, scale: float, wanted: float) -> dict[str, torch.Tensor]:
    """What a network says of a face of an age where it has learnt the targets: depth [1, 1, 5], and read [1, 2] and now [1, 1] of that."""
    read = torch.tensor([[scale * curves.older("lines", years, at) for at in Lines.READ]])
    depth = torch.full((1, 1, 5), scale * curves.older("lines", years, wanted))
    return {"depth": depth, "read": read, "now": lines_now(read), "age": data.age_codes(torch.tensor([[wanted]]))}


def exported_saying(monkeypatch: pytest.MonkeyPatch, faces: int = 1, ages: int = 1, **said: torch.Tensor) -> Any:
    """An exported network whose own answer is replaced where it is ``said``, and that answer; no hair turns grey of itself."""
    net = LGIN(SMALL).eval()
    exported = Exported(net).eval()
    with torch.no_grad():
        made = replace(net(*example_inputs(SMALL, faces, ages)), **said)
    monkeypatch.setattr(net, "forward", lambda *inputs: made)
    monkeypatch.setattr(exported.greying, "forward", lambda face, light, edit, aged: edit)
    return exported, made


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.3])
@pytest.mark.parametrize("years", [22.0, 36.0, 48.0, 59.0])
def test_a_face_s_lines_say_its_age_however_deep_they_are_drawn(years: float, scale: float) -> None:
    assert lines_of(years, scale, 75.0)["now"].item() == pytest.approx(curves.at("lines", years), abs=1e-5)


@pytest.mark.parametrize(("middle", "oldest"), [(1e-4, 1e-4), (0.02, 0.02), (0.02, 0.01), (0.02, 0.06)])
def test_a_face_older_than_all_has_lines(middle: float, oldest: float) -> None:
    """A softplus is never zero, and what is left of it says nothing."""
    assert lines_now(torch.tensor([[middle, oldest]])).item() > 0.3


@pytest.mark.parametrize(
    ("years", "older", "most"),
    [(36.0, 0.0, 0.08), (48.0, 0.0, 0.25), (58.0, 0.0, 1.0), (36.0, 0.01, 0.08), (36.0, 0.02, 1.0)],
    ids=["young", "some lines", "lined", "a little below the present age", "older"],
)
def test_light_hair_of_the_young_stays_light(
    years: float, older: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When they get younger: what is dark again was never grey. Of those with lines to lose, it may be."""
    said = lines_of(years, 1.0, years) | {"depth": torch.full((1, 1, 5), older)}
    exported, made = exported_saying(monkeypatch, **said)
    made.edits.face_edit[:] = 0.0
    made.edits.face_edit[:, :, :3] = -2.0  # as dark as can be
    with torch.no_grad():
        darker = -exported(*example_inputs(SMALL, 1, 1))[0][:, :, :3] / 2
    assert float(darker.max()) == pytest.approx(most, rel=1e-3)


@pytest.mark.parametrize(
    ("years", "wanted", "share"),
    [
        (28.0, 75.0, 0.0),
        (37.5, 75.0, 0.45),
        (50.0, 75.0, 1.0),
        (50.0, 60.0, 0.35),
        (50.0, 50.0, 0.0),
        (50.0, 22.0, 0.0),
        (66.0, 76.5, 0.64),
        (74.0, 76.5, 0.174),
    ],
    ids=["young", "less young", "older", "a little older", "unchanged", "younger", "old", "older than read"],
)
def test_skin_roughens_that_is_not_young(
    years: float, wanted: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported, _ = exported_saying(monkeypatch, **lines_of(years, 0.8, wanted))
    aged: list[torch.Tensor] = []
    monkeypatch.setattr(exported.texture, "forward", lambda face, light, skin, share: aged.append(share) or skin * 0)
    with torch.no_grad():
        exported(*example_inputs(SMALL, 1, 1))
    assert aged[0].item() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("years", "wanted", "share"), [(28.0, 75.0, 1.0), (28.0, 45.0, 0.25), (50.0, 75.0, 1.0), (50.0, 50.0, 0.0), (50.0, 30.0, 0.0)]
)  # fmt: skip
def test_blotches_get_fainter_on_faces_that_get_older_young_ones_too(
    years: float, wanted: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported, _ = exported_saying(monkeypatch, **lines_of(years, 1.0, wanted))
    got: list[torch.Tensor] = []
    monkeypatch.setattr(exported.greying, "forward", lambda face, light, edit, aged: got.append(aged) or edit)
    with torch.no_grad():
        exported(*example_inputs(SMALL, 1, 1))
    assert got[0].item() == pytest.approx(share, abs=0.02)


def test_lines_are_shaded_by_the_view_and_its_skin(monkeypatch: pytest.MonkeyPatch) -> None:
    exported, made = exported_saying(monkeypatch, 2, 1)
    made.edits.face_edit[0, :, 5], made.edits.face_edit[1, :, 5] = 0.9, 0.4
    face, *others = example_inputs(SMALL, 2, 1)
    face[1] = 0.5
    sharp = torch.tensor([1.0, 0.5])[:, None, None, None]
    monkeypatch.setattr(exported.greying, "sharpness", lambda light: sharp)
    got: list[tuple[torch.Tensor, ...]] = []
    monkeypatch.setattr(exported_module, "shaded", lambda *said: got.append(said) or 2 * said[0])
    monkeypatch.setattr(exported.grain, "forward", lambda amount: amount[..., None, None, None] * 0)
    with torch.no_grad():
        drawn = exported(face, *others)[4]
    lines, light, skin, clear = got[0]
    torch.testing.assert_close(drawn, 2 * made.edits.lines)
    torch.testing.assert_close(lines, made.edits.lines)
    assert light.mean((1, 2, 3)).tolist() == pytest.approx([0.5, 0.75])
    assert skin.mean((1, 2, 3, 4)).tolist() == pytest.approx([0.9, 0.4])
    assert clear.tolist() == [[1.0], [0.5]]


@pytest.mark.parametrize(
    ("years", "wanted", "amount"),
    [
        (22.0, 70.0, 0.9),
        (22.0, 45.0, 0.22),
        (41.0, 70.0, 0.47),
        (50.0, 70.0, 0.0),
        (50.0, 50.0, 0.0),
        (58.0, 50.0, 0.42),
        (58.0, 30.0, 0.93),
        (40.0, 22.0, 0.43),
        (30.0, 22.0, 0.0),
    ],
    ids=[
        "young",
        "young, a little older",
        "less young",
        "lined",
        "unchanged",
        "a little younger",
        "younger",
        "some lines",
        "none",
    ],
)
def test_skin_without_lines_gets_a_grain_and_skin_that_loses_them(
    years: float, wanted: float, amount: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported, _ = exported_saying(monkeypatch, **lines_of(years, 1.0, wanted))
    monkeypatch.setattr(exported.greying, "sharpness", lambda light: torch.ones(1, 1, 1, 1))
    got: list[torch.Tensor] = []
    monkeypatch.setattr(exported.grain, "forward", lambda amount: got.append(amount) or amount[..., None, None, None])
    with torch.no_grad():
        exported(*example_inputs(SMALL, 1, 1))
    assert got[0].item() == pytest.approx(amount, abs=0.02)


def test_each_face_gets_its_own_grain(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost counts for nothing while a face gets older: the third, who has lines, gets none."""
    faces = [lines_of(years, 1.0, 70.0) for years in (22.0, 22.0, 50.0)]
    said = {name: torch.cat([one[name] for one in faces]) for name in faces[0]}
    said["age"] = torch.stack([said["age"][:, 0], data.age_codes(torch.tensor([30.0, 30.0, 30.0]))], 1)
    said["depth"] = said["depth"].expand(-1, 2, -1)
    exported, _ = exported_saying(monkeypatch, 3, 2, **said)
    monkeypatch.setattr(exported.greying, "sharpness", lambda light: torch.tensor([1.0, 0.5, 1.0])[:, None, None, None])
    got: list[torch.Tensor] = []
    monkeypatch.setattr(exported.grain, "forward", lambda amount: got.append(amount) or amount[..., None, None, None])
    with torch.no_grad():
        exported(*example_inputs(SMALL, 3, 2))
    wanted = torch.tensor([[0.89, 0.89], [0.445, 0.445], [0.0, 0.0]])
    torch.testing.assert_close(got[0], wanted, atol=0.01, rtol=0)


def test_a_blurred_face_gets_no_grain(monkeypatch: pytest.MonkeyPatch) -> None:
    exported, made = exported_saying(monkeypatch, **lines_of(22.0, 1.0, 70.0))
    face, *others = example_inputs(SMALL, 1, 1)
    noise = torch.rand_like(face)
    blurred = torch.nn.functional.interpolate(noise[..., ::16, ::16], size=noise.shape[2:], mode="bicubic").clamp(0, 1)
    with torch.no_grad():
        sharp, soft = (exported(2 * picture - 1, *others)[4] - made.edits.lines for picture in (noise, blurred))
    assert sharp.std() > texture.GRAIN / 2
    assert (soft == 0).all()


def test_what_roughens_skin_is_added_to_residual_and_gain_after_the_hair_greyed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exported, _ = exported_saying(monkeypatch, 2, 3)
    rough = torch.rand(2, 3, 4, SMALL.face_size, SMALL.face_size)
    monkeypatch.setattr(exported.greying, "forward", lambda face, light, edit, aged: 0 * edit)
    monkeypatch.setattr(exported.texture, "forward", lambda face, light, skin, aged: rough)
    with torch.no_grad():
        edit = exported(*example_inputs(SMALL, 2, 3))[0]
    torch.testing.assert_close(edit[:, :, :4], rough)
    assert (edit[:, :, 4:] == 0).all()


def test_a_face_that_gets_older_moves_down_more_than_across(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that gets younger moves as the network says. Young faces keep their jaws."""
    depth = torch.tensor([0.0, Exported.OLDER]).reshape(1, 2, 1).expand(2, -1, 5)
    now = torch.tensor([[0.4], [0.0]])
    exported, made = exported_saying(monkeypatch, 2, 2, depth=depth, now=now)
    made.edits.flow[:] = 0.02
    with torch.no_grad():
        flow = exported(*example_inputs(SMALL, 2, 2))[2]
    for face, age, across, down in ((0, 0, 1.0, 1.0), (0, 1, 0.25, 1.25), (1, 0, 1.0, 1.0), (1, 1, 0.0, 0.9)):
        assert flow[face, age].mean((1, 2)).tolist() == pytest.approx([0.02 * across, 0.02 * down])


def test_what_gets_no_older_turns_no_greyer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fair hair that a network takes for grey hair would turn ashen when younger."""
    depth = torch.tensor([0.0, 0.02, 0.05, 0.5]).reshape(1, 4, 1).expand(-1, -1, 5)
    exported, made = exported_saying(monkeypatch, 1, 4, depth=depth)
    made.edits.face_edit[:, :, 4] = 0.5
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(exported.greying, "forward", lambda face, light, edit, aged: seen.append(edit) or edit)
    with torch.no_grad():
        exported(*example_inputs(SMALL, 1, 4))
    grey = seen[0][0, :, 4].amax((1, 2))
    torch.testing.assert_close(grey, torch.tensor([0.0, 0.2, 0.5, 0.5]))
    torch.testing.assert_close(seen[0][:, :, :4], made.edits.face_edit[:, :, :4])
