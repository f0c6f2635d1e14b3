"""Training end to end on made-up faces: data, prototypes, all three phases, resuming, and the export of the result."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import loose
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from safetensors.torch import load_file
from support.portraits import training_faces

from lgin_edge import geometry
from training import augment, checkpoint, data, export, fit, prototypes
from training.config import PRESETS, TrainConfig, override
from training.trainer import Trainer, sampling_weights

SEED = 3
TEMPLATE = torch.from_numpy(np.float32(geometry.TEMPLATE))[None]
TINY = [
    "batch=2",
    "classifier_batch=2",
    "network.global_blocks=1",
    "network.local_blocks=1",
    "network.decoder_width=16",
]


def steps(classifier: int, warm: int, adversarial: int) -> TrainConfig:
    counts = [f"classifier_steps={classifier}", f"warm_steps={warm}", f"adversarial_steps={adversarial}"]
    return override(TrainConfig(), [*TINY, *counts])


def run(folder, config, root, minutes=60.0):
    return fit.run(folder, config, root, fit.make_fabric("cpu", 1, 1), minutes, sample_every=1000)


def test_all_phases_then_export(made_up, tmp_path):
    folder = tmp_path / "run"
    assert run(folder, steps(2, 3, 2), made_up)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {row["phase"] for row in rows} == {"classifier", "C on held-out faces", "warm", "adversarial"}
    adversarial = rows[-1]
    assert {"local", "variation", "identity", "adversarial", "classification", "L_d"} <= adversarial.keys()
    assert all(np.isfinite(value) for value in adversarial.values() if isinstance(value, float))
    assert list(folder.glob("adversarial-*.jpg"))
    net = export.load(folder)
    assert sum(p.abs().sum() for n, p in net.named_parameters() if "head.weight" in n) > 0
    export.export(net, tmp_path / "run.onnx")
    assert (tmp_path / "run.onnx").stat().st_size > 100_000


def test_training_learns_a_batch_by_heart(made_up, monkeypatch):
    faces = training_faces(made_up)
    # Light and shade: drawn lines, moved or smoothed noise, and tints take longer to learn than a test may.
    off = ["prototype.texture=0", "prototype.shape=0", "prototype.wrinkles=0", "weights.prototype_chroma=0"]
    config = override(steps(0, 30, 0), ["lr=2e-3", "prototype.colour=8", *off])
    trainer = Trainer(config, faces, prototypes.fit(faces), fit.make_fabric("cpu", 1, 1))
    batch = trainer.batch()
    monkeypatch.setattr(trainer, "batch", lambda: batch)
    first = trainer.warm_step()["prototype"]
    for _ in range(30):
        trainer.steps["warm"] += 1
        last = trainer.warm_step()["prototype"]
    assert last < 0.8 * first


def test_resumed_equals_uninterrupted(made_up, tmp_path):
    config = steps(1, 2, 2)
    run(tmp_path / "whole", config, made_up)
    # No time at all: every call ends after one step of the current phase.
    for _ in range(10):
        if run(tmp_path / "parts", config, made_up, minutes=0.0):
            break
    (whole, counted), (parts, also) = (checkpoint.load(tmp_path / f / checkpoint.FILE) for f in ("whole", "parts"))
    assert counted == also
    assert counted["steps"] == {"classifier": 1, "warm": 2, "adversarial": 2}
    assert whole.keys() == parts.keys()
    assert {key.split(".")[0] for key in whole} == {"net", "average", "d", "c", "fine", "optimiser", "rng"}
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=0, atol=0, msg=key)


def test_missing_data_and_bad_settings_are_explained(made_up, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"labels\.csv"):
        data.load_portraits(tmp_path, "train")
    with pytest.raises(ValueError, match="split"):
        data.load_portraits(made_up, "tset")
    for bad, message in (("lr", "KEY=VALUE"), ("speed=1", "no setting 'speed'"), ("lr=fast", "expected float")):
        with pytest.raises(ValueError, match=message):
            override(TrainConfig(), [bad])
    for bad, message in (
        ("spectral=1", "true or false"),
        ("network.global_widths=1,2", "numbers with commas like 32,64,96"),
        ("weights=3", "name one of its parts, weights.adversarial"),
        ("lr.x=1", "'lr' is a float and has no parts"),
    ):
        with pytest.raises(ValueError, match=message):
            override(TrainConfig(), [bad])
    config = override(TrainConfig(), ["weights.local=0.5", "spectral=false", "network.global_widths=16,16,32"])
    assert (config.weights.local, config.spectral, config.network.global_widths) == (0.5, False, (16, 16, 32))


def test_the_paper_preset_has_only_what_the_paper_states():
    paper = PRESETS["paper"]()
    assert (paper.warm_steps, paper.r1, paper.spectral, paper.d_augment, paper.d_detail) == (0, 0, False, False, False)
    assert (paper.weights.prototype, paper.weights.embedding, paper.augment) == (0, 0, 0)


def test_views_of_training_are_views_of_the_run_time(made_up):

    faces = data.load_portraits(made_up, "val")
    affine = data.plain_affines(1)
    landmarks = faces.landmarks[:1] * data.CANVAS
    views = data.cut_views(data.to_float(faces.pixels[:1]), affine, landmarks)
    frame = faces.pixels[0].permute(1, 2, 0).numpy()
    face, patches = loose.reference_crop(frame, affine.numpy().astype(np.float64), views.boxes.numpy())
    np.testing.assert_allclose(views.face.numpy(), face, atol=2e-4)
    np.testing.assert_allclose(views.patches.numpy(), patches, atol=2e-4)


def test_augmentation_keeps_pictures_in_range_and_pairs_together():
    generator = torch.Generator().manual_seed(SEED)
    x = torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1
    pair = augment.photometric(torch.cat([x, x], 1), generator)
    torch.testing.assert_close(pair[:, :3], pair[:, 3:])
    assert pair.abs().max() <= 1
    assert (pair[:, :3] - x).abs().max() > 1e-3
    flipped, points = augment.mirror(x, torch.tensor([[[10.0, 5], [50, 5], [30, 20], [20, 40], [40, 41]]]))
    assert torch.equal(flipped, x.flip(-1))
    assert points[0].tolist() == [[14, 5], [54, 5], [34, 20], [24, 41], [44, 40]]


def test_age_codes_are_those_of_the_run_time():
    codes = data.age_codes(torch.tensor([25.0, 30.0, 62.0, 90.0]))
    description = export.describe(TrainConfig().network, "x")
    for years, code in zip((25, 30, 62, 90), codes, strict=True):
        np.testing.assert_allclose(code.numpy(), description.age_code(years=years), atol=1e-6)


def test_damaged_and_foreign_checkpoints_are_refused(made_up, tmp_path):
    folder = tmp_path / "run"
    assert run(folder, steps(1, 1, 1), made_up)
    path = folder / checkpoint.FILE
    with pytest.raises(ValueError, match="does not fit this configuration"):
        run(folder, override(steps(1, 2, 1), ["network.decoder_width=32"]), made_up)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a checkpoint"):
        run(folder, steps(1, 2, 1), made_up)


def test_a_run_can_begin_from_the_weights_of_another(made_up, tmp_path):
    assert run(tmp_path / "first", steps(1, 2, 1), made_up)
    config = steps(0, 0, 0)
    fit.run(tmp_path / "second", config, made_up, fit.make_fabric("cpu", 1, 1), init=tmp_path / "first")
    trainer = Trainer(config, data.load_portraits(made_up, "train"), prototypes.none(), fit.make_fabric("cpu", 1, 1))
    tensors, _ = checkpoint.load(tmp_path / "first" / checkpoint.FILE)
    assert trainer.adopt(tensors, tmp_path) == []
    for key, value in trainer.raw()["net"].state_dict().items():
        torch.testing.assert_close(value, tensors[f"net.{key}"], rtol=0, atol=0)


def test_weights_that_another_run_did_not_have_start_anew(made_up, tmp_path):
    assert run(tmp_path / "first", steps(1, 1, 1), made_up)
    tensors, _ = checkpoint.load(tmp_path / "first" / checkpoint.FILE)
    older = {key: t for key, t in tensors.items() if ".position." not in key and not key.startswith("fine.")}
    faces = data.load_portraits(made_up, "train")
    trainer = Trainer(steps(0, 0, 0), faces, prototypes.none(), fit.make_fabric("cpu", 1, 1))
    new = trainer.adopt(older, tmp_path)
    assert "fine" in new
    assert "net.whole.position.maps" in new
    torch.testing.assert_close(trainer.raw()["net"].state_dict()["whole.head.bias"], tensors["net.whole.head.bias"])
    with pytest.raises(ValueError, match=r"has no average\.whole\.position"):
        trainer.adopt(older, tmp_path, whole=True)
    with pytest.raises(ValueError, match=r"nothing here takes its net\.elsewhere"):
        trainer.adopt(tensors | {"net.elsewhere": torch.zeros(1)}, tmp_path)


def test_ablated_networks_train(made_up, tmp_path):
    for switch in ("network.local=false", "network.interaction=false"):
        config = override(steps(1, 1, 1), [switch])
        assert run(tmp_path / switch, config, made_up)


def test_embedding_loss_takes_an_exported_network(made_up, tmp_path):
    class Embedder(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    example = (torch.zeros(2, 3, geometry.FACE_SIZE, geometry.FACE_SIZE),)
    torch.export.save(torch.export.export(Embedder(), example), tmp_path / "embedder.pt2")
    config = override(steps(1, 1, 0), ["weights.embedding=1", f"embedder={tmp_path / 'embedder.pt2'}"])
    assert run(tmp_path / "run", config, made_up)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any("embedding" in row for row in rows)


def test_differentiable_augmentation_passes_gradients_and_changes_pictures():
    generator = torch.Generator().manual_seed(SEED)
    x = (torch.rand(4, 3, 48, 48, generator=generator) * 2 - 1).requires_grad_()
    y = augment.differentiable(x, generator)
    assert y.shape == x.shape
    assert (y - x).abs().mean() > 0.05
    y.sum().backward()
    assert (x.grad != 0).float().mean() > 0.3


def test_camera_faults_keep_shape_and_range():
    generator = torch.Generator().manual_seed(SEED)
    x = torch.rand(24, 3, 40, 40, generator=generator) * 2 - 1
    y = augment.degrade(x, generator)
    assert y.shape == x.shape
    assert y.abs().max() <= 1
    changed = (y != x).flatten(1).any(1)
    assert 0.2 < changed.float().mean() < 1
    assert (augment.jpeg(x[:1] * 0.2, 95) - x[:1] * 0.2).abs().mean() < 0.1


def test_faces_of_rare_groups_are_drawn_more_often(made_up):
    faces = data.load_portraits(made_up, "train")
    even = sampling_weights(faces, 0.0)
    assert even.unique().numel() == 1
    group = data.age_codes(faces.age).argmax(-1) * 2 + faces.sharp.long()
    balanced = sampling_weights(faces, 1.0)
    totals = [balanced[group == g].sum().item() for g in group.unique()]
    np.testing.assert_allclose(totals, totals[0], rtol=1e-5)


def torchrun(folder, root, nodes, *options):
    """Two processes over gloo on the CPU, on one machine or on two (which meet at a port of this one)."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes",
        str(nodes),
        "--nproc-per-node",
        str(2 // nodes),
    ]
    command += ["--rdzv-id", folder.name, "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}"]
    script = [str(Path(__file__).with_name("torchrun_rank.py")), str(folder), "--data", str(root), "--preset", "smoke"]
    for name in (*TINY, "classifier_steps=2", "warm_steps=2", "adversarial_steps=1"):
        script += ["--set", name]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    launchers = [
        subprocess.Popen(
            [*command, "--node-rank", str(rank), *script, "--device", "cpu", *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(nodes)
    ]
    try:
        told = [launcher.communicate(timeout=300)[0] for launcher in launchers]
    finally:
        for launcher in launchers:
            launcher.kill()
    assert [launcher.returncode for launcher in launchers] == [0] * nodes, told
    return "".join(told)


@pytest.mark.slow
def test_two_machines_go_on_where_one_stopped(made_up, tmp_path):
    """One launch of torchrun with two processes, then two launches with one each, as on a machine of its own."""
    assert "time is up" in torchrun(tmp_path / "run", made_up, 1, "--max-minutes", "0")
    _, counters = checkpoint.load(tmp_path / "run" / checkpoint.FILE)
    assert counters["steps"] == {"classifier": 1, "warm": 0, "adversarial": 0}
    assert "finished" in torchrun(tmp_path / "run", made_up, 2)
    tensors, counters = checkpoint.load(tmp_path / "run" / checkpoint.FILE)
    assert counters["steps"] == {"classifier": 2, "warm": 2, "adversarial": 1}
    assert tensors["rng.states"].shape[0] == 2
    assert not torch.equal(*tensors["rng.states"])  # each drew its own faces
    weights = {key: t for key, t in tensors.items() if not key.startswith(("optimiser.", "rng."))}
    for rank in (0, 1):
        of_rank = load_file(tmp_path / "run" / f"rank{rank}")
        assert of_rank.keys() == weights.keys()
        for key, value in weights.items():
            torch.testing.assert_close(of_rank[key], value, rtol=0, atol=0, msg=key)
    # One process cannot go on with two processes' random states.
    config = override(PRESETS["smoke"](), [*TINY, "warm_steps=3"])
    with pytest.raises(ValueError, match="run with 2 processes"):
        run(tmp_path / "run", config, made_up)
