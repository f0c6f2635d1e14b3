"""The paper's experiments: plan, agers and document on made-up data; and a smoke run of everything where it can be run."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install -e .[train]")
pytest.importorskip("skimage")

import typer
from PIL import Image
from test_training_comparison import made_up as made_up_result

from lgin_edge import geometry
from training import canonical, data, edits, evaluate, experiments, fit
from training.dataset import labels
from training.evaluation import agers, cost, estimators, experiments_report, measures
from training.experiments import METHODS, Experiments, Plan
from training.networks import FACE_BOX, LGIN, NetworkConfig, in_face_box

SEED = 5
YEARS = [group.center for group in data.GROUPS]
PLAN = Plan(False, 300, 100, 800, "", SEED, "digest of labels.csv", "digest of targets")
TRAINED = [method for method in METHODS if method.settings is not None]


def test_every_method_takes_as_many_steps_from_one_seed():
    for method in TRAINED:
        config = PLAN.config(method)
        assert config.supervised_steps + config.adversarial_steps == 400
        assert (config.seed, config.batch, config.classifier_steps) == (SEED, PLAN.base().batch, 0)


def test_methods_differ_from_the_full_one_only_as_they_say():
    configs = {method.name: PLAN.config(method) for method in TRAINED}
    assert configs["full"] == PLAN.base()
    assert configs["full"].weights.classification > 0
    assert not configs["no-interaction"].network.interaction
    assert configs["no-interaction"].network.local
    assert not configs["no-local"].network.local
    assert configs["no-local"].weights == PLAN.base().weights
    assert configs["no-classifier"].weights.classification == 0
    assert configs["no-classifier"].network == PLAN.base().network
    weights = configs["no-gan"].weights
    assert not any((weights.adversarial, weights.classification))
    assert weights.picture == PLAN.base().weights.picture > 0
    gan = configs["global-gan"]
    assert not gan.network.local
    weights = gan.weights
    supervised = (
        weights.picture,
        weights.flow,
        weights.grey,
        weights.skin,
        weights.place,
        weights.which,
        weights.depth,
    )
    assert not any((*supervised, gan.supervised_steps))
    assert min(gan.weights.identity, gan.weights.classification, gan.weights.adversarial) > 0


@pytest.fixture
def frame(astronaut):
    return np.ascontiguousarray(astronaut[:256, 100:356])


LANDMARKS = geometry.TEMPLATE * 256


@pytest.mark.parametrize("switches", [{}, {"interaction": False}, {"local": False}])
def test_a_network_ages_as_its_renderer_does(switches, frame):
    """On a frame that is the canvas, without flow, which the kernels read by a sharper filter."""
    torch.manual_seed(SEED)
    small = NetworkConfig(
        global_widths=(8, 16, 16),
        decoder_width=8,
        local_widths=(8, 8),
        global_blocks=1,
        local_blocks=1,
        layers=2,
        texture_size=64,
        **switches,
    )
    net = LGIN(small).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(std=0.05)
        for p in net.whole.flow.parameters():
            p.zero_()
    x0, y0, x1, _ = FACE_BOX
    scale = 256 / (x1 - x0)
    landmarks = (geometry.TEMPLATE - (x0, y0)) * scale
    aged = agers.of_network(net)(frame, landmarks, YEARS)
    assert len({one.tobytes() for one in aged} | {frame.tobytes()}) == len(YEARS) + 1

    canvas = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255
    boxes = torch.from_numpy(geometry.REGION_BOXES).float()[None]
    local = canonical.crop(2 * canvas - 1, *canonical.crop_matrices(in_face_box(boxes), 128, 256))
    with torch.no_grad():
        said = net(2 * canvas - 1, local, boxes, torch.eye(len(YEARS))[None, 3:4])
        wanted = edits.apply(said.single(), boxes, canvas, FACE_BOX)[0].permute(1, 2, 0)
    off = np.abs(aged[3].astype(float) - 255 * wanted.numpy())
    assert np.median(off) < 0.6  # patches are cut by another filter where they reduce


def test_the_parts_of_a_model_file_add_up(tiny_model, frame):
    """Only to what both do: the tiny model shifts by its global residual alone."""
    years = [group.center for group in data.GROUPS]
    both, whole, local = (agers.of_parts(tiny_model, *w)(frame, LANDMARKS, years) for w in ((1, 1), (1, 0), (0, 1)))
    assert any(one.tobytes() != frame.tobytes() for one in both)
    sums = [a.astype(int) + b.astype(int) - frame for a, b in zip(whole, local, strict=True)]
    inside = [np.abs(total - one).max() for total, one in zip(sums, both, strict=True)]
    assert max(inside) <= 1


def test_targets_age_the_people_that_they_were_made_of(made_up, targets):
    """In their own picture and turned in a larger frame, inside the face's square alone; nobody else is changed."""
    photos = labels.read(made_up)
    ager, photo = agers.of_targets(targets, photos), photos[1]
    frame = photo.frame()
    present, older = ager(frame, photo.landmarks, [photo.age, 80])
    np.testing.assert_array_equal(present, frame)
    assert np.abs(older.astype(int) - frame).mean() > 2
    wide, points = evaluate.larger(frame, photo.landmarks + 0.3 * np.arange(10).reshape(5, 2), 1)
    assert np.array_equal(ager(wide, points, [80])[0], wide)  # that is nobody's landmarks
    wide, points = evaluate.larger(frame, photo.landmarks, 1)
    turned = ager(wide, points, [80])[0]
    outside = measures.outside_face(geometry.fit_similarity(points), *wide.shape[:2])
    changed = np.abs(turned.astype(int) - wide)
    assert changed[~outside].mean() > 1


def test_an_unknown_method_is_answered_with_those_that_there_are():
    assert experiments.find("no-local").title == "without local generators"
    with pytest.raises(ValueError, match=r"no method 'nolocal'.*no-local"):
        experiments.find("nolocal")


@pytest.fixture
def faces(tmp_path):
    root = tmp_path / "faces"
    root.mkdir()
    columns = ["file", "tier", "split", "bioguide", "gender", "age", "age_kind"]
    columns += [f"{point}_{axis}" for point in ("leye", "reye", "nose", "lmouth", "rmouth") for axis in "xy"]
    points = [str(value) for value in (geometry.TEMPLATE * 96).ravel()]
    lines = [
        ",".join(columns),
        *(",".join([f"{i}.png", "A", "test", f"p{i}", "F", "50", "dated", *points]) for i in "ab"),
    ]
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    for i in "ab":
        Image.fromarray(np.full((96, 96, 3), 99, np.uint8)).save(root / f"{i}.png")
    return root


def test_a_folder_holds_one_plan_and_git_ignores_it(tmp_path, faces):
    folder = tmp_path / "runs"
    Experiments(folder, PLAN, [faces], folder)
    assert Experiments(folder, PLAN, [faces], folder, people=1).rows  # fewer people are no other plan
    with pytest.raises(ValueError, match=r"seed: 5 then, 6 now.*another folder"):
        Experiments(folder, Plan(**{**vars(PLAN), "seed": SEED + 1}), [faces], folder)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (folder / "somebody.jpg").touch()
    found = subprocess.run(
        ["git", "status", "--short", "-uall"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "runs" not in found.stdout


def test_a_measurement_is_kept_until_its_people_change(tmp_path, faces, monkeypatch):
    asked = []

    def fake(ager, rows, judges, moved, face_box):
        asked.append(len(rows))
        return {"people": []}

    monkeypatch.setattr(evaluate, "prepare", lambda *_: None)
    monkeypatch.setattr(evaluate, "evaluate", fake)
    nothing = experiments.find("nothing")
    first = Experiments(tmp_path / "runs", PLAN, [faces], tmp_path).measure(nothing)
    assert Experiments(tmp_path / "runs", PLAN, [faces], tmp_path).measure(nothing) == first
    Experiments(tmp_path / "runs", PLAN, [faces], tmp_path, people=1).measure(nothing)
    assert asked == [2, 1]


def write(**full):
    results = {method.name: made_up_result() for method in METHODS} | {"full": made_up_result(**full)}
    results["no-local"] = made_up_result(slope=0.6)
    results["nothing"] = made_up_result(slope=0.0, cosine=1.0)
    spent = {
        method.name: cost.RunCost({"supervised": 300, "adversarial": 100}, {"supervised": 2400}, 0.1)
        for method in TRAINED
    }
    facts = experiments_report.Facts(PLAN, "python -m training.experiments x", "a machine", 775, spent)
    return experiments_report.markdown(METHODS, results, facts)


@pytest.fixture
def document():
    return write()


def test_networks_that_learnt_nothing_are_not_compared(document):
    idle = write(slope=0.01)
    assert "hardly begun to age faces: 0.010" in idle
    assert "Nothing can be said of the age classifier" in idle
    assert "no difference that these numbers show" not in idle
    assert "hardly begun" not in document
    assert "Nothing can be said" not in document


def test_the_document_says_what_the_numbers_allow(document):
    for heading in (
        "## 1. Results",
        "## 2. Comparison",
        "## 3. Effect of the interactive",
        "## 4. Effect of the critics",
    ):
        assert heading in document
    assert "**without local generators**: age error (judge) worse by 4.80 years [4.80, 4.80]" in document
    assert "Without the local generators, of the 6 measures that have a better and a worse, 1 got worse" in document
    assert "Without the age classifier, of the 6 measures that have a better and a worse, 0 got worse and 0" in document
    assert "**-0.400 [-0.400, -0.400]**" in document
    assert "One training a method, one seed" in document
    assert "python -m training.experiments x" in document
    assert "up to 7.5 %" in document  # 3 / 40 people
    assert "smoke" not in document
    assert "nan" not in document


def test_the_bundled_model_is_measured_but_not_compared(document):
    differences = [line for line in document.splitlines() if line.startswith("| less the full LGIN")]
    assert len(differences) == 3
    assert not any("bundled" in line for line in differences)
    assert any("bundled" in line for line in document.splitlines() if line.startswith("| mean over people"))


def test_a_sheet_has_a_row_a_title_and_the_original(frame):
    aged = [np.full_like(frame, 30 * i) for i in range(len(YEARS))]
    sheet = np.asarray(experiments_report.compose([("one", frame, LANDMARKS, aged)] * 2, cell=64))
    cell = 64 + 6
    assert sheet.shape[1] == (2 + len(YEARS)) * cell + 6
    middle = sheet[60]
    assert [int(middle[6 + (2 + i) * cell + 32, 0]) for i in range(len(YEARS))] == [30 * i for i in range(len(YEARS))]
    assert (sheet[24:80, 6:70] == 255).mean() > 0.8  # the title's own cell


@pytest.fixture(scope="module")
def real_folder(portraits):
    try:
        estimators.age_estimators(), estimators.Embedder()
    except estimators.MissingJudge as error:
        pytest.skip(str(error))
    return portraits[0][0].parent.parent


@pytest.fixture(scope="module")
def real_targets():
    folder = Path(os.environ.get("LGIN_TARGETS", "runs/targets"))
    if not (folder / "choice.npz").is_file():
        pytest.skip(f"no targets in {folder}: LGIN_TARGETS names what training.targets.build made of the portraits")
    return folder


@pytest.mark.slow
def test_smoke_of_everything_and_nothing_is_done_twice(
    real_folder, real_targets, bundled, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "runs"
    given = {"packs": [real_folder], "targets": real_targets, "smoke": True, "people": 2}
    experiments.main(folder, **given)
    text = (folder / "experiments.md").read_text()
    assert "A smoke run" in text
    for method in METHODS:
        measured = json.loads((folder / "measured" / f"{method.name}.json").read_text())
        assert len(measured["people"]) == 2
        assert max(person["outside"]["changed"] for person in measured["people"]) == 0
    weights = [fit.classifier_weights(folder / method.name) for method in TRAINED]
    assert all(torch.equal(one["c.head.1.weight"], weights[0]["c.head.1.weight"]) for one in weights)  # one C
    assert 20_000 < (folder / "experiments" / "astronaut.jpg").stat().st_size < 200_000  # seven groups
    assert (folder / "figures" / "results.jpg").is_file()

    def again(*_, **__):
        raise AssertionError("done twice")

    monkeypatch.setattr(fit, "run", again)
    monkeypatch.setattr(evaluate, "prepare", again)
    experiments.main(folder, **given)
    assert (folder / "experiments.md").read_text() == text


def test_wrong_use_is_explained(tmp_path, faces, targets, capsys):
    for options, said in (
        ({"only": ["nobody"]}, "no method 'nobody'"),
        ({"packs": [tmp_path]}, "labels.csv"),
        ({"targets": tmp_path}, "no targets in"),
        ({"classifier": tmp_path}, "no checkpoint"),
    ):
        with pytest.raises(typer.Exit):
            experiments.main(tmp_path / "runs", **{"packs": [faces], "targets": targets} | options)
        assert said in capsys.readouterr().err
