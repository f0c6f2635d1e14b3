"""Blotches of skin's colour that get fainter."""

import pytest
import torch
from torch import Tensor

from training import blotches
from training.blotches import evened
from training.edits import luma
from training.greying import Greying

SIDE = 256
SKIN = torch.tensor([0.72, 0.54, 0.44])[:, None, None]
#: Changes of colour that leave the light as it is, a little redder and a little yellower.
REDDER, YELLOWER = (change - luma(change[None])[0] for change in torch.eye(3)[:, :, None, None][[0, 2]] * torch.tensor([0.05, -0.05])[:, None, None, None])  # fmt: skip


def face_with(change: Tensor) -> Tensor:
    """Skin [1, 3, SIDE, SIDE] in [0, 1] with a spot of another colour in its middle."""
    face = SKIN.expand(1, 3, SIDE, SIDE).clone()
    face[:, :, 124:132, 124:132] += change
    return face


def made_even(face: Tensor, skin: float = 1.0, aged: float = 1.0) -> Tensor:
    """The face as it is edited, with the tint that skin has beside its spot."""
    tint = (SKIN[::2] - luma(SKIN[None])[0])[None, None].expand(1, 1, 2, SIDE, SIDE)
    mask = torch.full((1, 1, 1, SIDE, SIDE), skin)
    return face + evened(face, luma(face), tint, mask, torch.full((1, 1), aged))[:, 0] / 2


@pytest.mark.parametrize("change", [REDDER, YELLOWER], ids=["red", "yellow"])
def test_a_blotch_gets_fainter_and_its_light_stays(change: Tensor) -> None:
    face = face_with(change)
    after = made_even(face)
    left = (after - SKIN)[0, :, 128, 128] / change[:, 0, 0]
    assert ((left > 1 - blotches.EVENED) & (left < 1 - 0.75 * blotches.EVENED)).all()
    torch.testing.assert_close(luma(after), luma(face))
    torch.testing.assert_close(after[:, :, :100], face[:, :, :100])


def test_half_as_aged_is_half_and_what_is_no_skin_stays() -> None:
    face = face_with(REDDER)
    torch.testing.assert_close(made_even(face, aged=0.5), (face + made_even(face)) / 2)
    torch.testing.assert_close(made_even(face, skin=0.0), face)


def test_what_is_far_from_skin_s_colour_stays() -> None:
    """A birthmark, a jewel; and a black mole, which has hardly any colour."""
    black = torch.tensor([0.17, 0.12, 0.10])[:, None, None] - SKIN
    for change, goes in ((4 * REDDER, 0.1), (black, 0.15)):
        face = face_with(change)
        assert (made_even(face) - face).abs().max() < goes * change.abs().max()


def test_greying_takes_the_tint_of_the_skin_nearby() -> None:
    """And not of the hair beside it, nor of the other ages."""
    face = face_with(REDDER)
    face[..., :100, :] = torch.tensor([0.30, 0.20, 0.08])[:, None, None]
    edit = torch.zeros(1, 2, 6, SIDE, SIDE)
    edit[:, :, 4, :100], edit[:, :, 5, 100:] = 0.8, 1.0
    module, aged = Greying(SIDE).eval(), torch.tensor([[1.0, 0.5]])
    change = module(2 * face - 1, luma(face), edit, aged) - module(2 * face - 1, luma(face), edit, 0 * aged)
    spot, rows = change[0, :, :3, 128, 128] / 2, slice(103, 110)
    assert (spot[0] / -REDDER[:, 0, 0] > 0.6 * blotches.EVENED).all()
    torch.testing.assert_close(spot[1], spot[0] / 2)
    assert change[0, :, :3, rows].abs().max() < 0.02
    assert change[0, :, :3, :98].abs().max() < 1e-3
    assert (change[:, :, 3:] == 0).all()
