"""Muon, the optimiser of the hidden convolutions."""

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from torch import nn

from training.networks import LGIN, NetworkConfig
from training.optimiser import Muon, orthogonal
from training.trainer import hidden_layers

SEED = 3


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (5, 8, 30)])
def test_an_update_has_equal_singular_values_and_its_own_directions(shape):
    generator = torch.Generator().manual_seed(SEED)
    update = torch.randn(shape, generator=generator) * 1e-3
    made = orthogonal(update)
    values = torch.linalg.svdvals(made)
    assert made.shape == update.shape
    assert 0.5 < values.min() < values.max() < 1.4
    u, _, v = torch.linalg.svd(update, full_matrices=False)
    assert nn.functional.cosine_similarity((u @ v).flatten(), made.flatten(), dim=0) > 0.95


def test_groups_of_a_convolution_are_matrices_of_their_own():
    """A group whose gradient is a thousand times another's moves as far as it."""
    torch.manual_seed(SEED)
    layer = nn.Conv2d(8, 8, 3, groups=2)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn_like(layer.weight)
    layer.weight.grad[4:] *= 1000
    Muon([layer], lr=0.01, decay=0.0).step()
    first, second = (layer.weight.detach() - before).chunk(2)
    assert first.norm().item() == pytest.approx(second.norm().item(), rel=0.35)
    assert 0.1 < first.square().mean().sqrt() / 0.01 < 0.5  # as large as Adam's


def test_it_takes_the_hidden_convolutions_and_no_head():
    net = LGIN(NetworkConfig(global_widths=(16, 16, 32), global_blocks=1, decoder_width=16, local_blocks=1))
    hidden = {id(layer) for layer in hidden_layers(net)}
    assert id(net.whole.stem[0]) in hidden
    assert id(net.local.decode[1]) in hidden
    assert not hidden & {id(net.whole.head), id(net.local.head), id(net.whole.flow[2]), id(net.whole.place[3])}
