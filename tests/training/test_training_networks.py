"""The networks, their losses, and the ONNX file that is made of them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
onnx = pytest.importorskip("onnx")

import onnxruntime

from lgin_edge.models.description import METADATA_KEY, Description
from training import data, export, losses
from training.config import PRESETS
from training.networks import LGIN, AgeClassifier, Discriminator, NetworkConfig, Position, count_macs, example_inputs

SEED = 11
SMALL = NetworkConfig(
    face_size=64, patch_size=32, global_widths=(16, 16, 32), global_blocks=1, decoder_width=16, local_blocks=1
)
RESNET18_MACS = 2.37e9  # at 256x256


def randomised(config: NetworkConfig) -> LGIN:
    """T with every weight random: fresh weights have zero residuals, which would make every comparison true."""
    torch.manual_seed(SEED)
    net = LGIN(config).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=0.15)
    return net


def random_inputs(config: NetworkConfig, faces: int, ages: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(SEED)
    face, patches, boxes, age = example_inputs(config, faces, ages)
    face = torch.rand(face.shape, generator=generator) * 2 - 1
    patches = torch.rand(patches.shape, generator=generator) * 2 - 1
    age = torch.rand(age.shape, generator=generator).softmax(-1)
    return face, patches, boxes, age


def test_whole_network_costs_less_than_resnet18():
    net = LGIN()
    one = count_macs(net, *example_inputs(net.config))
    assert 0.5e9 < one <= RESNET18_MACS
    assert count_macs(net, *example_inputs(net.config, ages=6)) < 3 * one


def test_a_fresh_network_changes_nothing():
    face_delta, patch_delta, coarse = LGIN(SMALL)(*random_inputs(SMALL, 2, 1))
    assert not any(t.any() for t in (face_delta, patch_delta, *coarse))


def test_a_place_has_no_drawing_of_its_own_before_training():
    generator = torch.Generator().manual_seed(SEED)
    age = torch.rand(2, 3, 5, generator=generator)
    position = Position(width=4, groups=5, side=16)
    assert not position(age).any()
    with torch.no_grad():
        position.weight.normal_(generator=generator)
    drawn = position(age)
    assert drawn.shape == (2, 3, 4, 16, 16)
    torch.testing.assert_close(drawn[1, 1], position(age[1:, 1:2])[0, 0])
    torch.testing.assert_close(position(2 * age), 2 * drawn)


def test_the_paper_has_no_maps_of_place():
    assert not [name for name in LGIN(PRESETS["paper"]().network).state_dict() if "position" in name]
    assert [name for name in LGIN().state_dict() if "position" in name]


def test_coarse_images_have_the_decoder_scales():
    _, _, coarse = LGIN(SMALL)(*random_inputs(SMALL, 2, 3))
    assert [tuple(t.shape) for t in coarse] == [(6, 3, 16, 16), (6, 3, 32, 32)]


def test_several_ages_equal_one_age_at_a_time():
    net = randomised(SMALL)
    face, patches, boxes, age = random_inputs(SMALL, 2, 3)
    with torch.no_grad():
        together = net(face, patches, boxes, age)[:2]
        for g in range(3):
            alone = net(face, patches, boxes, age[:, g : g + 1])[:2]
            for all_ages, one_age in zip(together, alone, strict=True):
                torch.testing.assert_close(all_ages.unflatten(0, (2, 3))[:, g], one_age, rtol=1e-4, atol=1e-4)


def test_regions_interact_both_ways():
    net = randomised(SMALL)
    face, patches, boxes, age = random_inputs(SMALL, 1, 1)
    with torch.no_grad():
        before = net(face, patches, boxes, age)
        nose = patches.clone()
        nose[:, 2] += 0.5
        from_local = net(face, nose, boxes, age)
        from_whole = net(face + 0.5, patches, boxes, age)
    assert (from_local[0] - before[0]).abs().max() > 1e-4, "the nose's patch does not reach the global generator"
    assert (from_whole[1] - before[1]).abs().amin((0, 2, 3, 4)).numel() == 5
    assert ((from_whole[1] - before[1]).abs().amax((0, 2, 3, 4)) > 1e-4).all(), "the face does not reach every region"


@pytest.mark.parametrize("critic", [Discriminator(5), AgeClassifier(5).eval()], ids=["D", "C"])
def test_critics_depend_on_what_they_are_given(critic):
    torch.manual_seed(SEED)
    x = torch.rand(2, 3, 192, 192) * 2 - 1
    if isinstance(critic, Discriminator):
        young, old = torch.eye(5)[[0, 0]], torch.eye(5)[[4, 4]]
        assert critic(x, young).shape == (2, 1, 6, 6)
        assert (critic(x, young) - critic(x, old)).abs().max() > 1e-6
    else:
        torch.testing.assert_close(critic(x).exp().sum(-1), torch.ones(2))


# --- losses, each against the formula written out ---


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


def test_variation_loss():
    picture = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]]])
    assert losses.variation(picture).item() == pytest.approx((1.0 + 0.0) / 2 + (0.5 + 0.5) / 2)


def test_identity_loss_is_per_scale_mean():
    scales = [torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 4, 4), -0.25)]
    assert losses.identity(scales, torch.full((1, 3, 16, 16), 0.1), 2.0).item() == pytest.approx(0.95)


def test_prototype_loss_weighs_paint_beyond_brightness():
    target = torch.zeros(1, 3, 8, 8)
    brighter = torch.full((1, 3, 8, 8), 0.1)
    bluer = torch.tensor([-0.1, 0.0, 0.1]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert losses.prototype(brighter, target, 6.0).item() == pytest.approx(0.1)
    assert losses.prototype(bluer, target).item() == pytest.approx(0.2 / 3)
    assert losses.prototype(bluer, target, 6.0).item() == pytest.approx(7 * 0.2 / 3)


# --- export ---


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    net = randomised(SMALL)
    path = tmp_path_factory.mktemp("export") / "small.onnx"
    export.export(net, path, "small")
    return net, path


def test_onnx_equals_pytorch(exported):
    net, path = exported
    assert export.compare(net, path, SEED) < 1e-4


def test_onnx_outputs_are_not_trivial(exported):
    _, path = exported
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    face, patches, boxes, age = random_inputs(SMALL, 1, 1)
    feeds = dict(zip(export.INPUTS, (face, patches, boxes, age[:, 0]), strict=True))
    outputs = session.run(list(export.OUTPUTS), {name: t.numpy() for name, t in feeds.items()})
    assert all(o.std() > 1e-3 for o in outputs)


def test_onnx_carries_its_description(exported):
    _, path = exported
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    description = Description.from_json(properties[METADATA_KEY])
    assert (description.face_size, description.patch_size) == (64, 32)
    assert description.groups == data.GROUPS
    assert "Congress" in description.training_data


def test_onnx_uses_only_operators_that_run_everywhere(exported):
    model = onnx.load(exported[1])
    assert [(o.domain, o.version) for o in model.opset_import] == [("", export.OPSET)]
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"GridSample", "GroupNormalization", "DepthToSpace", "Einsum", "Loop", "If"}
    assert not model.functions


def test_onnx_tells_nothing_of_the_machine_it_was_made_on(exported):
    raw = exported[1].read_bytes()
    assert b"site-packages" not in raw
    assert b"training/" not in raw
