"""The losses, each against its formula written out."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from training import losses
from training.trainer import patch_change


def test_share_is_the_cross_entropy_above_the_targets_own_and_has_a_gradient_where_a_map_is_nearly_zero():
    target = torch.tensor([[[[0.0, 0.5, 1.0, 0.25]]]])
    everywhere = torch.ones_like(target)
    assert losses.share(target, target, everywhere).item() == pytest.approx(0, abs=1e-6)
    half = torch.full_like(target, 0.5)
    expected = (2 * math.log(2) + 0 + 0.25 * math.log(0.5) + 0.75 * math.log(1.5)) / 4
    assert losses.share(half, target, everywhere).item() == pytest.approx(expected, rel=2e-3)
    logit = torch.full_like(target, -6.0, requires_grad=True)
    losses.share(torch.sigmoid(logit), everywhere, everywhere).backward()
    assert logit.grad.sum().item() == pytest.approx(-1, abs=0.01)


def test_adversarial_losses():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    d_real, d_fake = 1 / (1 + torch.exp(-real)), 1 / (1 + torch.exp(-fake))
    expected = -(torch.log(d_real).mean() + torch.log(1 - d_fake).mean())
    torch.testing.assert_close(losses.adversarial_d(real, fake), expected)
    torch.testing.assert_close(losses.adversarial_g(fake), -torch.log(d_fake).mean())


def test_classification_loss_of_a_soft_code():
    p = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])
    a = torch.tensor([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])
    expected = -(0.5 * np.log(0.2) + 0.5 * np.log(0.7) + np.log(0.5)) / 2
    assert losses.classification(p.log(), a).item() == pytest.approx(expected, rel=1e-6)


def test_local_loss_sums_over_regions():
    delta = torch.zeros(2, 5, 3, 4, 4)
    delta[:, 1] = -0.5
    delta[:, 4] = 0.25
    assert losses.local(delta).item() == pytest.approx(0.75)


def test_a_patch_changes_by_its_gain_and_its_residual():
    """A pixel of 0.2 in [-1, 1] is 0.6 in [0, 1]; half as much again, and 0.1 on top, make 0.9 + 0.05."""
    edit = torch.zeros(1, 5, 4, 2, 2)
    edit[:, :, 3], edit[:, :, :3] = 0.5, 0.1
    patches = torch.full((1, 5, 3, 2, 2), 0.2)
    torch.testing.assert_close((patches + patch_change(edit, patches) + 1) / 2, torch.full_like(patches, 0.95))


def test_variation_loss():
    picture = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]]])
    assert losses.variation(picture).item() == pytest.approx((1.0 + 0.0) / 2 + (0.5 + 0.5) / 2)


def test_identity_loss_is_per_scale_mean():
    scales = [torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 4, 4), -0.25)]
    assert losses.identity(scales, torch.full((1, 3, 16, 16), 0.1), 2.0).item() == pytest.approx(0.95)


def test_picture_loss_counts_error_and_gradients_where_the_target_is_known():
    made, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.0, 0.4], [0.0, 0.4]]]])
    everywhere = torch.ones(1, 1, 2, 2)
    assert losses.picture(made, target, everywhere).item() == pytest.approx(
        losses.to_mean(torch.tensor(0.4), 0.05).item() / 2 + 0.4
    )
    assert losses.picture(made, target, 1 - target / 0.4).item() == 0


def test_beside_still_a_pixel_changes_only_where_it_is_hair_more_likely_than_not():
    """Hair gets lighter by 0.3, the wall beside it does not change: what costs least is no halo. Without ``still`` it is one."""
    lighter, answers = 0.3, torch.linspace(0, 0.4, 401)

    def halo(likely: float, weight: float) -> float:
        costs = []
        for answer in answers:
            made = answer.expand(1, 3, 4, 4)
            before = torch.zeros(1, 3, 4, 4)
            hair = losses.picture(made, before + lighter, torch.ones(1, 1, 4, 4))
            wall = losses.picture(made, before, torch.ones(1, 1, 4, 4))
            wall = wall + weight * losses.still(made, before, before, torch.ones(1, 1, 4, 4))
            costs.append(likely * hair + (1 - likely) * wall)
        return answers[torch.stack(costs).argmin()].item()

    assert halo(0.3, 0.0) > 0.05
    assert halo(0.3, 1.5) < 0.002
    assert halo(0.7, 1.5) > 0.2


def test_what_is_to_change_is_not_still():
    before = torch.full((1, 3, 6, 6), 0.4)
    made, everywhere = before + 0.1, torch.ones(1, 1, 6, 6)
    assert losses.still(made, before, before, everywhere).item() == pytest.approx(0.1)
    assert losses.still(made, before + 0.2, before, everywhere).item() == 0
    assert losses.still(made, before, before, 0 * everywhere).item() == 0
    nearly = losses.still(made, before + 1 / 255, before, everywhere).item()  # JPEG
    assert 0.05 < nearly < 0.1


def test_to_mean_has_the_slope_of_l1_at_a_unit_and_of_three_at_most():
    error = torch.tensor([-2.0, -0.1, 0.0, 0.05, 0.1, 0.3, 5.0], requires_grad=True)
    losses.to_mean(error, 0.1).sum().backward()
    assert error.grad.tolist() == pytest.approx([-3, -1, 0, 0.5, 1, 3, 3])


def test_what_is_not_certain_is_learnt_as_a_mean_not_as_nothing():
    """Of three faces that look alike, one has grey hair that gets dark; L1 would leave all three as they are."""
    targets, answers = torch.tensor([0.0, 0.0, 0.12]), torch.linspace(-0.05, 0.15, 201)
    costs = torch.stack([losses.supervised(a.expand(3), targets, unit=0.05) for a in answers])
    assert answers[costs.argmin()].item() == pytest.approx(0.04, abs=1e-3)
    assert answers[
        torch.stack([losses.supervised(a.expand(3), targets) for a in answers]).argmin()
    ].item() == pytest.approx(0, abs=1e-3)


def test_maps_count_where_they_are_supervised():
    made, target = torch.zeros(1, 1, 1, 4), torch.tensor([[[[1.0, 1.0, 3.0, 3.0]]]])
    assert losses.supervised(made, target).item() == pytest.approx(2)
    assert losses.supervised(made, target, torch.tensor([[[[1.0, 1, 0, 0]]]])).item() == pytest.approx(1)


def test_the_choice_of_layers_is_best_where_it_is_the_target_s():
    fractions = torch.tensor([[[0.7, 0.2, 0.1]]])
    entropy = -(fractions * fractions.log()).sum().item()
    assert losses.choice(fractions.log() + 3, fractions).item() == pytest.approx(entropy, rel=1e-5)
    assert losses.choice(fractions.flip(-1).log(), fractions).item() > entropy + 0.1
