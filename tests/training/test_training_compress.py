"""Narrower networks: which channels stay, and learning from the wider one."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from support.portraits import training_faces
from typer.testing import CliRunner

from training import compress, data, export, fit, prototypes
from training.config import TrainConfig, override
from training.networks import LGIN, NetworkConfig
from training.trainer import Trainer

WIDE = NetworkConfig(global_blocks=1, local_blocks=1, decoder_width=16, hidden=1.0, detail_width=32)
SEED = 5


def wide(seed=SEED):
    """Random weights everywhere, also where training starts from zero."""
    torch.manual_seed(seed)
    net = LGIN(WIDE).eval()
    with torch.no_grad():
        for p in net.parameters():
            if not p.any():
                p.normal_(std=0.02)
    return net


def residuals(net, faces):
    views = data.cut_views(data.to_float(faces.pixels), data.plain_affines(len(faces)), faces.landmarks * data.CANVAS)
    code = data.age_codes(torch.linspace(30, 70, len(faces)))
    with torch.no_grad():
        return net(views.face, views.patches, views.boxes, code[:, None])[:2]


def test_what_is_cut_out_is_what_adds_nothing(made_up):
    faces = data.load_portraits(made_up, "train", 4)
    net, config = wide(), replace(WIDE, hidden=0.5, detail_width=16)
    kept = {}
    with torch.no_grad():
        for before, _, after in compress.channel_pairs(net):
            width = len(net.get_submodule(before).bias)
            silent = torch.randperm(width, generator=torch.Generator().manual_seed(SEED))[: width // 2]
            net.get_submodule(after).weight[:, silent] = 0
            kept[before] = [c for c in range(width) if c not in set(silent.tolist())]
    small = compress.narrow(net, config, faces)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in net.parameters())
    for before, channels in kept.items():
        assert torch.equal(small.get_submodule(before).weight, net.get_submodule(before).weight[channels])
    for have, want in zip(residuals(small, faces), residuals(net, faces), strict=True):
        assert want.abs().max() > 0.01
        torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-5)


def test_weak_residuals_get_the_strength_of_the_wide_ones(made_up):
    faces = data.load_portraits(made_up, "train", 4)
    strong, weak = wide(), wide()
    weakness = {name: 0.9 - 0.02 * i for i, name in enumerate(compress.generators(weak))}
    with torch.no_grad():
        for name, generator in compress.generators(weak).items():
            generator.head.weight[:12] *= weakness[name]
            generator.head.bias[:12] *= weakness[name]
    gains = compress.match(weak, strong, faces)
    assert gains == pytest.approx({name: 1 / less for name, less in weakness.items()}, rel=1e-4)
    for have, want in zip(residuals(weak, faces), residuals(strong, faces), strict=True):
        torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-5)


def test_nothing_cannot_be_made_stronger(made_up):
    faces = data.load_portraits(made_up, "train", 2)
    with pytest.raises(ValueError, match="they do something"):
        compress.match(LGIN(WIDE).eval(), wide(), faces)


@pytest.mark.parametrize("change", [{"hidden": 1.5}, {"decoder_width": 32}, {"detail_width": 48}])
def test_only_narrower_and_only_there(made_up, change):
    faces = data.load_portraits(made_up, "train", 2)
    with pytest.raises(ValueError, match="only hidden and detail_width can be made smaller"):
        compress.narrow(wide(), replace(WIDE, **change), faces)


def test_the_warm_up_learns_from_a_teacher(made_up):
    faces = training_faces(made_up)
    teacher = wide()
    config = override(TrainConfig(network=WIDE), ["warm_steps=12", "batch=2", "lr=3e-3", "augment=0"])
    config = replace(config, network=replace(WIDE, hidden=0.5))
    trainer = Trainer(config, faces, prototypes.none(), fit.make_fabric("cpu", 1, 1), teacher)
    small = compress.narrow(teacher, config.network, faces)
    trainer.raw()["net"].load_state_dict(small.state_dict())
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    reports = []
    for _ in range(12):
        reports.append(trainer.warm_step())
        trainer.steps["warm"] += 1
    assert reports[0].keys() == {"distillation", "psnr_db"}
    loss = [report["distillation"] for report in reports]
    assert sum(loss[-4:]) < 0.9 * sum(loss[:4])
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_from_a_run_to_a_narrower_run(made_up, tmp_path):
    settings = ["classifier_steps=1", "warm_steps=1", "adversarial_steps=0", "batch=2", "classifier_batch=2"]
    config = replace(override(TrainConfig(), settings), network=WIDE)
    fabric = fit.make_fabric("cpu", 1, 1)
    assert fit.run(tmp_path / "wide", config, made_up, fabric, limit=4, sample_every=1000)
    app = compress.typer.Typer()
    app.command()(compress.main)
    arguments = [str(tmp_path / "wide"), str(tmp_path / "small"), "--data", str(made_up), "--set", "hidden=0.25"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert export.load(tmp_path / "small").config == replace(WIDE, hidden=0.25)
    config = replace(config, classifier_steps=0, network=replace(WIDE, hidden=0.25))
    run = {"limit": 4, "sample_every": 1000, "init": tmp_path / "small", "teacher": tmp_path / "wide"}
    assert fit.run(tmp_path / "done", config, made_up, fabric, **run)
    before, after = (dict(export.load_classifier(tmp_path / name).state_dict()) for name in ("wide", "done"))
    assert all(torch.equal(value, after[name]) for name, value in before.items())  # C came along
    assert not (tmp_path / "done" / "prototypes.safetensors").exists()  # nothing is fitted that nobody needs

    matched = [
        str(tmp_path / "done"),
        str(tmp_path / "matched"),
        "--data",
        str(made_up),
        "--match",
        str(tmp_path / "wide"),
    ]
    result = CliRunner().invoke(app, matched)
    assert result.exit_code == 0, result.output
    assert "residuals times" in result.output
    before, after = (export.load(tmp_path / name).state_dict() for name in ("done", "matched"))
    assert {name for name in before if not torch.equal(before[name], after[name])} >= {"whole.head.weight"}

    result = CliRunner().invoke(app, [*arguments[:4], "--set", "hidden=2"])
    assert result.exit_code == 2
    assert "can be made smaller" in result.output
