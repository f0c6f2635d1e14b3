"""Training end to end on drawn heads: all three phases, resuming, and what the export takes of the result."""

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")
pytest.importorskip("scipy", reason="training needs scipy: pip install 'lgin-edge[train]'")

from safetensors.torch import load_file

from lgin_edge import geometry
from training import augment, checkpoint, critics, data, edits, examples, export, fit, trainer
from training.config import PRESETS, LossWeights, TrainConfig, override, restored
from training.dataset import labels
from training.exported import Exported
from training.trainer import PHASES, Trainer

SEED = 3
TINY = [
    "batch=2",
    "classifier_batch=2",
    "workers=0",
    "network.global_widths=16,16,32",
    "network.global_blocks=1",
    "network.local_blocks=1",
    "network.decoder_width=16",
    "network.layers=2",
]


def steps(classifier: int, supervised: int, adversarial: int) -> TrainConfig:
    counts = zip(PHASES, (classifier, supervised, adversarial), strict=True)
    every_loss = ["weights.classification=0.01", "weights.variation=0.01"]
    return override(TrainConfig(), [*TINY, *every_loss, *(f"{phase}_steps={count}" for phase, count in counts)])


@pytest.fixture(scope="module")
def run(made_up, targets):
    def start(folder, config, minutes=60.0, **options):
        return fit.run(folder, config, targets, [made_up], fit.make_fabric("cpu", 1, 1), minutes, **options)

    return start


@pytest.fixture(scope="module")
def faces(made_up, targets):
    return examples.load(targets, examples.only(labels.read(made_up), "train"))


@pytest.fixture(scope="module")
def first(run, tmp_path_factory):
    """A finished run of all phases."""
    folder = tmp_path_factory.mktemp("fit") / "first"
    assert run(folder, steps(1, 2, 2))
    return folder


def test_all_phases_and_what_the_export_takes_of_them(first):
    rows = [json.loads(line) for line in (first / "metrics.jsonl").read_text().splitlines()]
    assert {row["phase"] for row in rows} == {
        "classifier",
        "C on held-out faces",
        "supervised",
        "adversarial",
        "held-out faces",
    }
    last = [row for row in rows if row["phase"] == "adversarial"][-1]
    every = {"picture", "grey", "skin", "flow", "place", "which", "depth", "local", "identity", "variation"}
    assert every | {"adversarial", "pull", "classification", "L_d"} <= last.keys()
    assert all(np.isfinite(value) for value in last.values() if isinstance(value, float))
    assert list(first.glob("adversarial-*.jpg"))
    net = export.load(first)
    assert net.whole.head.weight.abs().sum() > 0
    assert net.lines.layers.abs().max() > 0.01  # those of the targets


def test_training_learns_a_batch_by_heart(faces, monkeypatch):
    chosen = Trainer(override(steps(0, 1000, 0), ["lr=5e-3"]), faces, fit.make_fabric("cpu", 1, 1))
    chosen.steps["supervised"] = 100  # the rate has risen
    batch = chosen.batch("supervised")
    monkeypatch.setattr(chosen, "batch", lambda _: batch)
    history = [chosen.supervised_step() for _ in range(20)]
    weights = chosen.config.weights
    first, *_, last = (sum(getattr(weights, name) * value for name, value in one.items()) for one in history)
    assert last < 0.9 * first, (history[0], history[-1])


def test_losses_on_other_faces_are_those_of_the_average_and_of_the_same_examples(faces, monkeypatch):
    monkeypatch.setattr(trainer, "COMPARED", 1)
    chosen = Trainer(steps(0, 1, 0), faces, fit.make_fabric("cpu", 1, 1))
    said = chosen.losses_on(faces)
    with torch.no_grad():
        for weight in chosen.net.parameters():  # what learns is not asked
            weight.add_(0.1)
    assert chosen.losses_on(faces) == said
    with torch.no_grad():
        chosen.average.whole.head.weight.add_(0.1)
    assert chosen.losses_on(faces)["picture"] > said["picture"]


def test_d_sees_regions_and_hair_at_the_canvas_own_resolution():
    """A crop is what the canvas shows in its box, ramps stay those ramps; hair on the right is seen in a mirror."""
    side = examples.CANVAS
    along = (torch.arange(side) + 0.5) / side
    ramps = torch.stack([along.expand(side, side), along[:, None].expand(side, side), torch.zeros(side, side)])[None]
    boxes = torch.from_numpy(geometry.REGION_BOXES).float()[None]
    crops = (critics.crops_of(ramps, boxes, hair=True) + 1) / 2
    assert crops.shape == (1, 9, 3, critics.CROP_SIDE, critics.CROP_SIDE)
    torch.testing.assert_close((critics.crops_of(ramps, boxes, hair=False) + 1) / 2, crops[:, :5])
    x0, y0, x1, y1 = trainer.FACE_BOX
    t = (torch.arange(critics.CROP_SIDE) + 0.5) / critics.CROP_SIDE
    for crop, box in zip(crops[0], geometry.REGION_BOXES, strict=False):
        wanted = (box[0] + t * (box[2] - box[0]) - x0) / (x1 - x0)
        torch.testing.assert_close(crop[0, 40], wanted.float(), rtol=0, atol=1e-5)
        wanted = (box[1] + t * (box[3] - box[1]) - y0) / (y1 - y0)
        torch.testing.assert_close(crop[1, :, 40], wanted.float(), rtol=0, atol=1e-5)
    for left, right, (x, y) in ((5, 7, (0.17, 0.03)), (6, 8, (0.10, 0.27))):  # crown and side
        torch.testing.assert_close(crops[0, left, 0], 1 - crops[0, right, 0])
        torch.testing.assert_close(crops[0, left, 1], crops[0, right, 1])
        steps = (torch.arange(critics.CROP_SIDE) + 0.5) / side
        torch.testing.assert_close(crops[0, left, 0, 0], x + steps, rtol=0, atol=1e-5)
        torch.testing.assert_close(crops[0, left, 1, :, 0], y + steps, rtol=0, atol=1e-5)


def test_d_learns_skin_from_sharp_faces_alone(faces, monkeypatch):
    chosen = Trainer(steps(0, 0, 1), faces, fit.make_fabric("cpu", 1, 1))
    batch = chosen.batch("adversarial")
    batch.sharp[:] = torch.tensor([False, True])
    monkeypatch.setattr(chosen, "batch", lambda _: batch)
    seen = []
    judge = trainer.losses.adversarial_d
    monkeypatch.setattr(trainer.losses, "adversarial_d", lambda *logits: seen.append(len(logits[0])) or judge(*logits))
    chosen.adversarial_step()
    assert seen == [2, 1]  # whole faces, and crops of those that are sharp


def test_d_pulls_as_strongly_as_it_is_told(faces, monkeypatch):
    """Without other losses the generators follow D: what it says rises, by however little it says it."""
    alone = LossWeights(**dict.fromkeys((f.name for f in fields(LossWeights)), 0.0) | {"adversarial": 50.0})
    config = replace(
        steps(0, 0, 1), weights=alone, spectral=False, d_ramp=0, critic_lr=0.0, adversarial_lr=1e-3, d_augment=False
    )
    chosen = Trainer(config, faces, fit.make_fabric("cpu", 1, 1))
    chosen.steps["adversarial"] = 1000  # the rate has risen
    batch = chosen.batch("adversarial")
    monkeypatch.setattr(chosen, "batch", lambda _: batch)
    said = [chosen.adversarial_step()["adversarial"] for _ in range(8)]
    assert said[-1] < said[0] - 1e-4, said


@pytest.mark.parametrize("finished", [True, False])
def test_d_sees_pictures_as_an_export_finishes_them(faces, finished, monkeypatch):
    chosen = Trainer(replace(steps(0, 0, 1), d_sees_finished=finished), faces, fit.make_fabric("cpu", 1, 1))
    batch = chosen.batch("adversarial")
    batch.wanted[:] = 75.0
    net = chosen.net.module
    net.lines.layers.normal_()
    with torch.no_grad():
        net.whole.head.weight.normal_(0, 0.02)  # as it begins, nothing changes
        said = chosen.transform(batch)
        e = Exported(net).finished(said, batch.face) if finished else said.edits
        wanted = edits.apply(e.single(), batch.boxes, batch.canvas, trainer.FACE_BOX)
        other = edits.apply(
            (said.edits if finished else Exported(net).finished(said, batch.face)).single(),
            batch.boxes,
            batch.canvas,
            trainer.FACE_BOX,
        )
    monkeypatch.setattr(chosen, "batch", lambda _: batch)
    seen = []
    monkeypatch.setattr(chosen, "_critic_step", lambda batch, made: seen.append(made) or 0.0)
    chosen.adversarial_step()
    assert (seen[0] - batch.canvas).abs().max() > 0.02
    torch.testing.assert_close(seen[0], wanted, rtol=0, atol=1e-4)
    assert (seen[0] - other).abs().max() > 0.01


@pytest.mark.parametrize("hair", [True, False])
def test_d_is_told_how_grey_hair_is_that_it_sees(faces, hair, monkeypatch):
    chosen = Trainer(replace(steps(0, 0, 1), d_sees_hair=hair, r1=0.0), faces, fit.make_fabric("cpu", 1, 1))
    batch = chosen.batch("adversarial")
    batch.sharp[:] = True
    batch.grey_hair = torch.tensor([[0.125, 0.25], [0.5, 0.75]])
    seen, forward = [], chosen.d.module.forward
    monkeypatch.setattr(chosen.d.module, "forward", lambda *views: seen.append(views) or forward(*views))
    monkeypatch.setattr(chosen, "batch", lambda _: batch)
    chosen.adversarial_step()
    for (_, of_faces, crops, of_crops), grey in zip(seen, ([0.125, 0.5, 0.25, 0.75], [0.25, 0.75]), strict=True):
        assert of_faces.shape[1] == data.age_codes(batch.wanted).shape[1] + len(examples.KINDS) + hair
        assert torch.equal(of_faces, of_crops)
        assert crops.shape[1] == (9 if hair else 5)
        if hair:  # of photographs, then of what was made
            assert of_faces[:, -1].tolist() == grey


def test_d_paints_no_colour(faces):
    """What D says reaches skin by gain and grey, and by residuals the light alone of what is no skin; and it is the slope of what D sees."""
    chosen = Trainer(steps(0, 0, 1), faces, fit.make_fabric("cpu", 1, 1))
    batch = chosen.batch("adversarial")
    batch.face[:1, :, :, ::2] = 0.95  # light so bright that lines hardly show
    leaves = {name: getattr(chosen.transform(batch), name).detach() for name in ("depth", "read", "now")}
    made = chosen.transform(batch).edits.map(lambda part: part.detach().clone())
    half = made.face_edit.shape[-2] // 2
    made.face_edit[:, :, edits.SKIN, :half] = 1.0
    made.face_edit[:, :, edits.SKIN, half:] = 0.0
    leaves |= {"depth": torch.full_like(leaves["depth"], 0.3), "now": torch.full_like(leaves["now"], 0.12)}
    parts = (made.face_edit, made.patch_edit, made.flow, made.lines, *leaves.values())
    inputs = [part.requires_grad_() for part in parts]
    said = replace(chosen.transform(batch), edits=made, **leaves)
    seen = chosen.finish(batch, said).mean()
    face, patch, flow, lines, depth, read, now = torch.autograd.grad(seen, inputs, allow_unused=True)
    assert (face[:, :, :3, :half] == 0).all()
    beside_skin = face[:, :, :3, half + 1 :]
    torch.testing.assert_close(beside_skin, beside_skin[:, :, :1].expand_as(beside_skin))  # light, no colour
    assert (patch[..., :3, :, :] == 0).all()
    for moved in (beside_skin, face[:, :, 3:5, :half].unbind(2), patch[..., 3, :, :], flow, lines):
        assert all(one.abs().sum() > 0 for one in (moved if isinstance(moved, tuple) else [moved]))
    assert read is None
    assert now is None
    deeper, shallower = (
        chosen.finish(batch, replace(said, depth=leaves["depth"].detach() + by)).mean().item() for by in (0.02, -0.02)
    )
    assert depth.sum().item() == pytest.approx((deeper - shallower) / 0.04, rel=0.05)


def test_d_pulls_beside_a_compiled_comparison(faces, monkeypatch):
    """What a compiled function returns has no part in its other results' gradients: D's pull needs none there, and is the same."""
    config = replace(steps(0, 0, 1), d_ramp=0, d_augment=False)
    eager, compiled = (Trainer(config, faces, fit.make_fabric("cpu", 1, 1)) for _ in range(2))
    compare = compiled.compare

    def apart(*given):
        made, parts = compare(*given)
        return made.clone(), parts

    monkeypatch.setattr(compiled, "_compare", apart)
    said = eager.adversarial_step()
    assert said["pull"] > 0
    assert compiled.adversarial_step() == said


def test_resumed_equals_uninterrupted(run, first, tmp_path):
    # No time at all: every call ends after one step of the current phase.
    for _ in range(10):
        if run(tmp_path / "parts", steps(1, 2, 2), minutes=0.0):
            break
    (whole, counted), (parts, also) = (checkpoint.load(f / checkpoint.FILE) for f in (first, tmp_path / "parts"))
    assert counted == also
    assert counted["steps"] == {"classifier": 1, "supervised": 2, "adversarial": 2}
    assert whole.keys() == parts.keys()
    assert {key.split(".")[0] for key in whole} == {"net", "average", "d", "c", "optimiser", "rng"}
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=0, atol=0, msg=key)


def test_a_resumed_run_keeps_its_own_settings(first):
    assert fit.settings(first, "default") == steps(1, 2, 2)
    assert fit.settings(first / "new", "paper") == PRESETS["paper"]()
    with pytest.raises(ValueError, match=r"not those of this version.*speed"):
        restored(asdict(TrainConfig()) | {"speed": 1})
    older = asdict(TrainConfig())
    for setting in ("d_sees_finished", "d_sees_hair"):
        del older[setting]
        assert not getattr(restored(older), setting), "what runs did before it was a setting"


def test_targets_of_before_faces_were_dressed_serve_and_are_said(made_up, targets, tmp_path, capsys):
    older = tmp_path / "targets"
    shutil.copytree(targets, older, ignore=shutil.ignore_patterns("*.dressed*.npz"))
    assert fit.run(tmp_path / "run", steps(0, 1, 0), older, [made_up], fit.make_fabric("cpu", 1, 1))
    assert f"no face in {older} is dressed; python -m training.targets.build {older}" in capsys.readouterr().err


def test_bad_settings_are_explained():
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
    assert (paper.supervised_steps, paper.r1, paper.spectral, paper.d_augment) == (0, 0, False, False)
    assert not any((paper.d_knows_kind, paper.d_sees_finished, paper.d_sees_hair))
    w = paper.weights
    assert not any((w.picture, w.flow, w.grey, w.skin, w.place, w.which, w.depth, w.embedding))
    assert min(w.adversarial, w.classification, w.local, w.variation, w.identity) > 0


def test_age_codes_are_those_of_the_run_time():
    codes = data.age_codes(torch.tensor([25.0, 30.0, 62.0, 90.0]))
    description = export.describe(TrainConfig().network, "x")
    for years, code in zip((25, 30, 62, 90), codes, strict=True):
        np.testing.assert_allclose(code.numpy(), description.age_code(years=years), atol=1e-6)


def test_damaged_and_foreign_checkpoints_are_refused(run, first, tmp_path):
    path = tmp_path / checkpoint.FILE
    path.write_bytes((first / checkpoint.FILE).read_bytes())
    with pytest.raises(ValueError, match="does not fit this configuration"):
        run(tmp_path, override(steps(1, 3, 2), ["network.decoder_width=32"]))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a checkpoint"):
        run(tmp_path, steps(1, 3, 2))


def test_a_run_can_begin_from_the_weights_of_another(run, first, tmp_path):
    """What is kept of a run is its averaged weights, at half the size and without the layers."""
    checkpoint.save_start(first / checkpoint.FILE, tmp_path / "start")
    run(tmp_path / "second", override(steps(0, 1, 0), ["lr=1e-9"]), init=tmp_path / "start")
    (own, _), (kept, _) = (checkpoint.load(tmp_path / name / checkpoint.FILE) for name in ("second", "start"))
    averaged, _ = checkpoint.load(first / checkpoint.FILE, "average.")
    assert {f"average.{key}" for key in averaged} - kept.keys() == {"average.lines.layers", "average.lines.windows"}
    for key in ("whole.stem.0.weight", "whole.head.weight", "lines.depth"):
        assert kept[f"average.{key}"].dtype == torch.float16
        torch.testing.assert_close(own[f"net.{key}"], averaged[key], rtol=1e-3, atol=1e-5)


def test_weights_of_another_run_are_taken_and_what_it_had_not_starts_anew(faces, first, tmp_path):
    tensors, _ = checkpoint.load(first / checkpoint.FILE)
    own = Trainer(steps(0, 0, 0), faces, fit.make_fabric("cpu", 1, 1))
    assert own.adopt(tensors, tmp_path) == []
    for key, value in own.raw()["net"].state_dict().items():
        torch.testing.assert_close(value, tensors[f"net.{key}"], rtol=0, atol=0)
    older = {key: t for key, t in tensors.items() if ".position." not in key and not key.startswith("d.")}
    new = own.adopt(older, tmp_path)
    assert "d" in new
    assert "net.whole.position.maps" in new
    other = Trainer(replace(steps(0, 0, 0), d_sees_hair=False), faces, fit.make_fabric("cpu", 1, 1))
    assert other.adopt(tensors, tmp_path) == ["d"]  # which is shown and told other things
    trunk = next(key for key in tensors if key.startswith("d.face.trunk."))
    for bad, whole in ((tensors, True), (tensors | {trunk: torch.zeros(3)}, False)):
        with pytest.raises(ValueError, match=r"does not fit this configuration"):
            (other if whole else own).adopt(bad, tmp_path, whole)
    with pytest.raises(ValueError, match=r"has no average\.whole\.position"):
        own.adopt(older, tmp_path, whole=True)
    with pytest.raises(ValueError, match=r"nothing here takes its net\.elsewhere"):
        own.adopt(tensors | {"net.elsewhere": torch.zeros(1)}, tmp_path)


@pytest.mark.parametrize("switch", ["network.local=false", "network.interaction=false"])
def test_ablated_networks_train(run, tmp_path, switch):
    assert run(tmp_path / "run", override(steps(0, 1, 1), [switch, "weights.classification=0"]))


def test_embedding_loss_takes_an_exported_network(faces, tmp_path):
    class Embedder(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    example = (torch.zeros(2, 3, geometry.FACE_SIZE, geometry.FACE_SIZE),)
    torch.export.save(torch.export.export(Embedder(), example), tmp_path / "embedder.pt2")
    config = override(steps(0, 1, 0), ["weights.embedding=1", f"embedder={tmp_path / 'embedder.pt2'}"])
    assert 0 <= Trainer(config, faces, fit.make_fabric("cpu", 1, 1)).supervised_step()["embedding"] < 0.1


def test_differentiable_augmentation_passes_gradients_and_changes_pictures():
    generator = torch.Generator().manual_seed(SEED)
    x = (torch.rand(4, 3, 48, 48, generator=generator) * 2 - 1).requires_grad_()
    y = augment.differentiable(x, generator)
    assert y.shape == x.shape
    assert (y - x).abs().mean() > 0.05
    y.sum().backward()
    assert (x.grad != 0).float().mean() > 0.3


def torchrun(folder, root, targets, settings):
    """Two launches with a process each over gloo on the CPU, as on two machines, which meet at a port of this one."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes",
        "2",
        "--nproc-per-node",
        "1",
    ]
    command += ["--rdzv-id", folder.name, "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}"]
    script = [str(Path(__file__).with_name("torchrun_rank.py")), str(folder), "--data", str(root)]
    script += ["--targets", str(targets), "--preset", "smoke"]
    for name in settings:
        script += ["--set", name]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    launchers = [
        subprocess.Popen(
            [*command, "--node-rank", str(rank), *script, "--device", "cpu"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        told = [launcher.communicate(timeout=300)[0] for launcher in launchers]
    finally:
        for launcher in launchers:
            launcher.kill()
    assert [launcher.returncode for launcher in launchers] == [0, 0], told
    return "".join(told)


@pytest.mark.slow
def test_two_machines_go_on_where_one_stopped(run, made_up, targets, tmp_path):
    """From a checkpoint that has the random states of two processes."""
    settings = [*TINY, "classifier_steps=2", "supervised_steps=2", "adversarial_steps=1"]
    assert not run(tmp_path / "run", override(PRESETS["smoke"](), settings), 0.0)
    saved = tmp_path / "run" / checkpoint.FILE
    tensors, counters = checkpoint.load(saved)
    assert counters["steps"] == {"classifier": 1, "supervised": 0, "adversarial": 0}
    other = tensors["rng.states"].clone()
    other[0, : len(torch.Generator().get_state())] = torch.Generator().manual_seed(SEED + 1).get_state()
    checkpoint.save(saved, tensors | {"rng.states": torch.cat([tensors["rng.states"], other])}, counters)
    assert "finished" in torchrun(tmp_path / "run", made_up, targets, settings)
    tensors, counters = checkpoint.load(saved)
    assert counters["steps"] == {"classifier": 2, "supervised": 2, "adversarial": 1}
    assert tensors["rng.states"].shape[0] == 2
    assert not torch.equal(*tensors["rng.states"])  # each drew its own faces
    weights = {key: t for key, t in tensors.items() if not key.startswith(("optimiser.", "rng."))}
    for rank in (0, 1):
        of_rank = load_file(tmp_path / "run" / f"rank{rank}")
        assert of_rank.keys() == weights.keys()
        for key, value in weights.items():
            torch.testing.assert_close(of_rank[key], value, rtol=0, atol=0, msg=key)
    # One process cannot go on with two processes' random states.
    config = override(PRESETS["smoke"](), [*TINY, "supervised_steps=3"])
    with pytest.raises(ValueError, match="run with 2 processes"):
        run(tmp_path / "run", config)
