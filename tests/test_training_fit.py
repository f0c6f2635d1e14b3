"""Training end to end on made-up faces: data, prototypes, all three phases, resuming, and the export of the result."""

import csv
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

from PIL import Image

from lgin_edge import geometry
from training import data, export, fit, prototypes
from training.config import TrainConfig, override

SEED = 3
TINY = ["batch=2", "network.global_blocks=1", "network.local_blocks=1", "network.decoder_width=16"]


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """A folder like the portraits': 24 pictures whose forehead gets brighter with age, over noise."""
    root = tmp_path_factory.mktemp("faces")
    (root / "images").mkdir()
    rng = np.random.default_rng(SEED)
    points = dict(zip(("leye", "reye", "nose", "lmouth", "rmouth"), geometry.TEMPLATE, strict=True))
    rows = []
    for i in range(24):
        tier, side = ("A", 384) if i % 3 else ("B", 192)
        age = 28 + 2 * i
        picture = rng.normal(110, 12, (side, side, 3))
        # Above the cheeks, whose brightness is a regressor of its own.
        picture[int(0.26 * side) : int(0.44 * side), int(0.35 * side) : int(0.65 * side)] += age - 50
        name = f"images/{i:02}.png"
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(root / name)
        row = {"file": name, "tier": tier, "split": ("train", "train", "train", "val")[i % 4], "age": age}
        row |= {"gender": "MF"[i % 2], "src_eye_px": 90 if tier == "A" else 30}
        row |= {f"{p}_{a}": xy[k] * side for p, xy in points.items() for k, a in enumerate("xy")}
        rows.append(row)
    with (root / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


def steps(classifier: int, warm: int, adversarial: int) -> TrainConfig:
    counts = [f"classifier_steps={classifier}", f"warm_steps={warm}", f"adversarial_steps={adversarial}"]
    return override(TrainConfig(), [*TINY, *counts])


def run(folder, config, root, minutes=60.0):
    return fit.run(folder, config, root, torch.device("cpu"), minutes, None, 1000)


def test_prototypes_find_the_change_that_is_there(made_up):
    faces = data.load_portraits(made_up, "train")
    fitted = prototypes.fit(faces)
    x = torch.full((1, 3, data.CANVAS, data.CANVAS), -0.1)
    older = fitted.residual(x, torch.tensor([10.0]))
    younger = fitted.residual(x, torch.tensor([-10.0]))
    forehead, corner = (slice(None), slice(None), slice(115, 155), slice(150, 230)), (..., slice(0, 20), slice(0, 20))
    # Ten levels of 127.5 in ten years are 0.078; the low-pass rest (64 px a pixel, left alone) keeps about half of it.
    assert 0.02 < older[forehead].mean() < 0.09
    assert -0.09 < younger[forehead].mean() < -0.02
    assert older[corner].abs().mean() < 0.005


def test_no_change_of_age_is_no_residual(made_up):
    faces = data.load_portraits(made_up, "val")
    fitted = prototypes.fit(data.load_portraits(made_up, "train"))
    x = data.to_float(faces.pixels[:2])
    assert fitted.residual(x, torch.zeros(2)).abs().max() < 1e-5


def test_pyramid_collapses_to_its_picture():
    x = torch.rand(1, 3, data.CANVAS, data.CANVAS, generator=torch.Generator().manual_seed(SEED))
    torch.testing.assert_close(prototypes.collapse(prototypes.pyramid(x)), x)


def test_all_phases_then_export(made_up, tmp_path):
    folder = tmp_path / "run"
    assert run(folder, steps(2, 3, 2), made_up)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {row["phase"] for row in rows} == {"classifier", "warm", "adversarial"}
    adversarial = rows[-1]
    assert {"local", "variation", "identity", "adversarial", "classification", "L_d"} <= adversarial.keys()
    assert all(np.isfinite(value) for value in adversarial.values() if isinstance(value, float))
    assert list(folder.glob("adversarial-*.jpg"))
    net = export.load(folder / "checkpoint.pt")
    assert sum(p.abs().sum() for n, p in net.named_parameters() if "head.weight" in n) > 0
    export.export(net, tmp_path / "run.onnx")
    assert (tmp_path / "run.onnx").stat().st_size > 100_000


def test_training_learns_a_batch_by_heart(made_up, monkeypatch):
    faces = data.load_portraits(made_up, "train")
    config = override(steps(0, 30, 0), ["lr=2e-3", "colour=8"])
    trainer = fit.Trainer(config, faces, prototypes.fit(faces), torch.device("cpu"))
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
    whole, parts = (torch.load(tmp_path / f / "checkpoint.pt", weights_only=True) for f in ("whole", "parts"))
    assert whole["steps"] == parts["steps"] == {"classifier": 1, "warm": 2, "adversarial": 2}
    for name in ("net", "average", "d", "c"):
        for key, value in whole[name].items():
            torch.testing.assert_close(parts[name][key], value, rtol=0, atol=0, msg=f"{name}.{key}")


def test_missing_data_and_bad_settings_are_explained(made_up, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"labels\.csv"):
        data.load_portraits(tmp_path, "train")
    with pytest.raises(ValueError, match="split"):
        data.load_portraits(made_up, "tset")
    for bad, message in (("lr", "KEY=VALUE"), ("speed=1", "no setting 'speed'"), ("lr=fast", "expected float")):
        with pytest.raises(ValueError, match=message):
            override(TrainConfig(), [bad])
    assert override(TrainConfig(), ["weights.local=0.5"]).weights.local == 0.5


def test_views_of_training_are_views_of_the_run_time(made_up):
    from lgin_edge import reference

    faces = data.load_portraits(made_up, "val")
    affine = data.plain_affines(1)
    landmarks = faces.landmarks[:1] * data.CANVAS
    views = data.cut_views(data.to_float(faces.pixels[:1]), affine, landmarks)
    frame = faces.pixels[0].permute(1, 2, 0).numpy()
    face, patches = reference.region_crop(frame, affine.numpy().astype(np.float64), views.boxes.numpy())
    np.testing.assert_allclose(views.face.numpy(), face, atol=2e-4)
    np.testing.assert_allclose(views.patches.numpy(), patches, atol=2e-4)


def test_augmentation_keeps_pictures_in_range_and_pairs_together():
    generator = torch.Generator().manual_seed(SEED)
    x = torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1
    pair = data.photometric(torch.cat([x, x], 1), generator)
    torch.testing.assert_close(pair[:, :3], pair[:, 3:])
    assert pair.abs().max() <= 1
    assert (pair[:, :3] - x).abs().max() > 1e-3
    flipped, points = data.mirror(x, torch.tensor([[[10.0, 5], [50, 5], [30, 20], [20, 40], [40, 41]]]))
    assert torch.equal(flipped, x.flip(-1))
    assert points[0].tolist() == [[14, 5], [54, 5], [34, 20], [24, 41], [44, 40]]


def test_age_codes_are_those_of_the_run_time():
    codes = data.age_codes(torch.tensor([25.0, 30.0, 62.0, 90.0]))
    description = export.describe(TrainConfig().network, "x")
    for years, code in zip((25, 30, 62, 90), codes, strict=True):
        np.testing.assert_allclose(code.numpy(), description.age_code(years=years), atol=1e-6)
