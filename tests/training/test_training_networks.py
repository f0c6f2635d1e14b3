"""The networks: their definitions, what they cost, and the critics."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from support.macs import count_macs
from support.small_networks import SMALL

from lgin_edge import geometry
from training import data, networks
from training.config import PRESETS
from training.critics import AgeClassifier, Discriminator
from training.lines import Lines, lines_now
from training.networks import LGIN, NetworkConfig, Position, example_inputs

SEED = 11
MOST_MACS = 1.5e9
OUTPUTS = ("face_edit", "patch_edit", "flow", "place", "lines")


def randomised(config: NetworkConfig) -> LGIN:
    """T with every weight random: fresh weights have zero edits, which would make every comparison true."""
    torch.manual_seed(SEED)
    net = LGIN(config).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=0.15)
        if net.lines is not None:
            net.lines.layers.normal_(std=0.1)
            net.lines.windows.uniform_(0, 0.4)
    return net


def random_inputs(config: NetworkConfig, faces: int, ages: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(SEED)
    face, patches, boxes, age = example_inputs(config, faces, ages)
    face = torch.rand(face.shape, generator=generator) * 2 - 1
    patches = torch.rand(patches.shape, generator=generator) * 2 - 1
    age = torch.rand(age.shape, generator=generator).softmax(-1)
    return face, patches, boxes, age


def test_the_whole_network_keeps_to_its_budget():
    net = LGIN()
    one = count_macs(net, *example_inputs(net.config))
    assert 0.5e9 < one < MOST_MACS
    assert count_macs(net, *example_inputs(net.config, ages=6)) < 4 * one


def test_a_fresh_network_changes_nothing():
    said = LGIN(SMALL)(*random_inputs(SMALL, 2, 1))
    assert not any(
        t.any() for t in (said.edits.face_edit[:, :, :4], said.edits.patch_edit, said.edits.flow, *said.coarse)
    )
    assert said.edits.face_edit[:, :, 4].max() < 0.05  # next to nothing is grey
    assert not said.edits.lines.any()  # there are no layers yet


def test_place_begins_where_the_alignment_puts_it():
    """The middle of a texel of the map, on the mean face, in units of the textures' box."""
    place = LGIN(SMALL)(*random_inputs(SMALL, 1, 1)).edits.place[0]
    side = place.shape[-1]
    (x0, y0, x1, y1), (u0, v0, u1, v1) = networks.FACE_BOX, networks.TEXTURE_BOX
    for row, column in ((0, 0), (2, 5), (side - 1, 1)):
        x, y = x0 + (column + 0.5) / side * (x1 - x0), y0 + (row + 0.5) / side * (y1 - y0)
        want = [(x - u0) / (u1 - u0), (y - v0) / (v1 - v0)]
        np.testing.assert_allclose(place[:, row, column].detach().numpy(), want, atol=1e-6)


def test_boxes_of_textures_and_targets_agree():
    mean_face = pytest.importorskip("training.targets.mean_face", reason="scipy", exc_type=ImportError)
    assert networks.TEXTURE_BOX == mean_face.TEXTURE_BOX


def alone(generators: networks.LocalGenerators, region: int) -> networks.LocalGenerators:
    """One region's generator as a network of its own: its fifth of every weight."""
    one = copy.deepcopy(generators)

    def fifth(tensor: torch.Tensor, axis: int = 0) -> torch.nn.Parameter:
        return torch.nn.Parameter(tensor.chunk(5, axis)[region].clone())

    for module in one.modules():
        if isinstance(module, torch.nn.Conv2d):
            assert module.groups == 5
            module.groups, module.in_channels, module.out_channels = (
                1,
                module.in_channels // 5,
                module.out_channels // 5,
            )
            module.weight, module.bias = fifth(module.weight), fifth(module.bias)
        elif isinstance(module, torch.nn.Linear):
            module.weight = fifth(module.weight)
        elif isinstance(module, Position):
            module.maps, module.weight = fifth(module.maps), fifth(module.weight, 1)
    return one


@torch.no_grad()
def test_grouped_generators_are_five_that_share_nothing(monkeypatch):
    local = randomised(SMALL).local
    _, patches, _, age = random_inputs(SMALL, 2, 3)
    together = local(*local.encode(patches), age)
    assert together.shape == (6, 5, 4, 32, 32)
    monkeypatch.setattr(geometry, "REGION_NAMES", ("one",))
    for region in range(5):
        one = alone(local, region)
        made = one(*one.encode(patches[:, region : region + 1]), age)
        torch.testing.assert_close(made[:, 0], together[:, region], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_lines_are_the_formula():
    """``L = sum_r W_r sum_k a_rk L_k``, over layers and their mirror images, of fractions of length 1."""
    lines = randomised(SMALL).lines
    generator = torch.Generator().manual_seed(SEED)
    fractions = torch.softmax(torch.randn(2, 5, 6, generator=generator), -1)
    depth = torch.rand(2, 4, 5, 1, generator=generator)
    amount = (fractions / fractions.norm(dim=-1, keepdim=True))[:, None] * depth  # [N, G, 5, 2 K]
    both = torch.cat([lines.layers, lines.layers.flip(-1)])
    wanted = torch.einsum("ryx,ngrk,kyx->ngyx", lines.windows, amount, both)
    torch.testing.assert_close(lines.texture(fractions, depth)[:, :, 0], wanted, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_how_deep_lines_are_is_the_formula():
    """A softplus of features that the age modulates; and which layers, in the same product."""
    lines = randomised(SMALL).lines
    generator = torch.Generator().manual_seed(SEED)
    h, age = torch.randn(5, 2, lines.HIDDEN, generator=generator), torch.rand(2, 3, SMALL.groups, generator=generator)
    logits, slopes = lines.told(h)
    torch.testing.assert_close(logits, torch.einsum("rnh,rhk->nrk", h, lines.which), rtol=1e-4, atol=1e-4)
    modulation = 1 + lines.modulation(age).unflatten(-1, (5, -1))
    wanted = torch.einsum("rnh,ngrh,rh->ngr", h, modulation, lines.depth[..., 0])
    wanted = torch.nn.functional.softplus(wanted + lines.usual(age) + lines.depth_bias[:, 0], beta=lines.SLOPE)
    torch.testing.assert_close(lines.deep(slopes, age)[..., 0], wanted, rtol=1e-4, atol=1e-4)


def test_no_region_can_stop_learning_how_deep_its_lines_are():
    """A depth that a rectifier shut stayed shut: four regions of five had no lines, whatever the losses said."""
    lines = LGIN(SMALL).lines
    generator = torch.Generator().manual_seed(SEED)
    # Features of a trained network are no longer small.
    local = 9 * torch.randn(2, 5, SMALL.local_widths[1], 4, 4, generator=generator)
    whole = 9 * torch.randn(2, SMALL.global_widths[2], 4, 4, generator=generator)
    _, slopes = lines.told(lines.hidden(local, whole))
    depth = lines.deep(slopes, torch.eye(SMALL.groups).expand(2, -1, -1))
    assert ((depth > 0) & (depth < 1)).all()
    for target in (0.0, 1.0):
        lines.zero_grad()
        (depth - target).abs().sum().backward(retain_graph=True)
        assert (lines.depth_bias.grad.abs() > 1).all()


def test_a_place_has_no_drawing_of_its_own_before_training():
    generator = torch.Generator().manual_seed(SEED)
    age = torch.rand(2, 3, 5, generator=generator)
    position = Position(width=4, ages=5, side=16)
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
    coarse = LGIN(SMALL)(*random_inputs(SMALL, 2, 3)).coarse
    assert [tuple(t.shape) for t in coarse] == [(6, 3, 16, 16), (6, 3, 32, 32)]


@torch.no_grad()
def test_nothing_is_copied_from_the_host(monkeypatch):
    """A CUDA graph could not record it."""
    network, inputs = LGIN(SMALL), example_inputs(SMALL)
    for owner, name in ((torch, "tensor"), (torch, "as_tensor"), (torch, "from_numpy"), (torch.Tensor, "new_tensor")):
        monkeypatch.setattr(owner, name, None)
    network(*inputs)


def test_several_ages_equal_one_age_at_a_time():
    net = randomised(SMALL)
    face, patches, boxes, age = random_inputs(SMALL, 2, 3)
    together = net(face, patches, boxes, age)
    for g in range(3):
        one = net(face, patches, boxes, age[:, g : g + 1])
        torch.testing.assert_close(one.depth[:, 0], together.depth[:, g], rtol=1e-4, atol=1e-4)
        for name in OUTPUTS:
            all_ages, single = getattr(together.edits, name), getattr(one.edits.single(), name)
            wanted = all_ages if name == "place" else all_ages[:, g]
            torch.testing.assert_close(single, wanted, rtol=1e-4, atol=1e-4, msg=name)


@torch.no_grad()
def test_regions_interact_both_ways():
    net = randomised(SMALL)
    face, patches, boxes, age = random_inputs(SMALL, 1, 1)
    before = net(face, patches, boxes, age).edits
    nose = patches.clone()
    nose[:, 2] += 0.5
    from_local = net(face, nose, boxes, age).edits
    from_whole = net(face + 0.5, patches, boxes, age).edits
    assert (from_local.face_edit - before.face_edit).abs().max() > 1e-4, "the nose does not reach the global generator"
    reached = (from_whole.patch_edit - before.patch_edit).abs().amax((0, 1, 3, 4, 5))
    assert reached.shape == (5,)
    assert (reached > 1e-4).all(), "the face does not reach every region"


def test_without_local_generators_there_are_neither_regions_nor_lines():
    config = NetworkConfig(**vars(SMALL) | {"local": False})
    said = randomised(config)(*random_inputs(config, 2, 3))
    assert not said.edits.patch_edit.any()
    assert not said.edits.lines.any()
    assert said.edits.face_edit.std() > 0.01
    whole = LGIN(SMALL)(*random_inputs(SMALL, 2, 3))
    assert [getattr(said.edits, name).shape for name in OUTPUTS] == [
        getattr(whole.edits, name).shape for name in OUTPUTS
    ]


def test_d_judges_crops_by_age_and_place():
    torch.manual_seed(SEED)
    d = Discriminator(5, hair=True)
    faces = torch.rand(3, 3, 128, 128) * 2 - 1
    crops = (torch.rand(2, 1, 3, 96, 96) * 2 - 1).expand(-1, 9, -1, -1, -1)
    young, old = torch.eye(5)[[0, 0, 0]], torch.eye(5)[[4, 4, 4]]
    whole, said = d(faces, young, crops, young[:2])
    assert (whole.shape[0], *said.shape[:2]) == (3, 2, 9)
    for one, other in zip((whole, said), d(faces, old, crops, old[:2]), strict=True):
        assert (one - other).abs().max() > 1e-6
    # The same crop, as another place: five regions, crown and side; of hair the left and the right one are one kind.
    apart = (said[0, :, None] - said[0, None]).abs().amax((-1, -2)) > 1e-6
    kinds = torch.tensor([0, 1, 2, 3, 4, 5, 6, 5, 6])
    assert (apart == (kinds[:, None] != kinds)).all()
    assert Discriminator(5)(faces, young, crops[:, :5], young[:2])[1].shape[:2] == (2, 5)


def test_c_gives_probabilities():
    torch.manual_seed(SEED)
    c = AgeClassifier(5).eval()
    torch.testing.assert_close(c(torch.rand(2, 3, 192, 192) * 2 - 1).exp().sum(-1), torch.ones(2))


def test_compiled_enlarging_is_the_same(monkeypatch):
    x = torch.randn(2, 3, 4, 5)
    wanted = networks.doubled(x)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.equal(networks.doubled(x), wanted)
    assert wanted.shape == (2, 3, 8, 10)


def test_lines_are_read_at_the_ages_that_are_named() -> None:
    net = LGIN(SMALL).eval()
    seen: list[torch.Tensor] = []
    deep = net.lines.deep
    net.lines.deep = lambda slopes, l: seen.append(l) or deep(slopes, l)
    with torch.no_grad():
        made = net(*example_inputs(SMALL, 2, 3))
    torch.testing.assert_close(seen[0], data.age_codes(torch.tensor([Lines.READ])))
    torch.testing.assert_close(made.now, lines_now(made.read))
    assert made.read.shape == (2, 2)
    assert (made.read[:, 1] > made.read[:, 0]).all()
