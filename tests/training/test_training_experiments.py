"""The paper's experiments: plan, agers and document on made-up data; and a smoke run of everything where it can be run."""

import json
import subprocess

import loose
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install -e .[train]")
pytest.importorskip("matplotlib", reason='the evaluation needs its extra: pip install -e ".[evaluate]"')
pytest.importorskip("skimage", reason='the evaluation needs its extra: pip install -e ".[evaluate]"')

import typer
from PIL import Image
from test_training_comparison import made_up

from lgin_edge import geometry
from training import data, evaluate, experiments, fit
from training.config import PrototypeGains
from training.dataset import labels
from training.evaluation import cost, estimators, experiments_report, measures
from training.experiments import METHODS, Experiments, Plan
from training.networks import LGIN, NetworkConfig
from training.prototypes import FINE_LEVELS, LEVELS, REFERENCE_AGE, Prototypes

SEED = 5
YEARS = [group.center for group in data.GROUPS]
PLAN = Plan(False, 300, 100, 800, "", SEED, "digest of labels.csv")
TRAINED = [method for method in METHODS if method.settings is not None]


def test_every_method_takes_as_many_steps_from_one_seed():
    for method in TRAINED:
        config = PLAN.config(method)
        assert config.warm_steps + config.adversarial_steps == 400
        assert (config.seed, config.batch, config.classifier_steps) == (SEED, PLAN.base().batch, 0)


def test_methods_differ_from_the_full_one_only_as_they_say():
    configs = {method.name: PLAN.config(method) for method in TRAINED}
    assert configs["full"] == PLAN.base()
    assert not configs["no-interaction"].network.interaction
    assert configs["no-interaction"].network.local
    assert not configs["no-local"].network.local
    assert configs["no-local"].weights == PLAN.base().weights
    assert configs["no-classifier"].weights.classification == 0
    assert configs["no-classifier"].network == PLAN.base().network
    gan = configs["global-gan"]
    assert not gan.network.local
    assert gan.weights.prototype == gan.warm_steps == 0
    assert min(gan.weights.identity, gan.weights.classification, gan.weights.adversarial) > 0


@pytest.fixture
def frame(astronaut):
    return np.ascontiguousarray(astronaut[:256, 100:356])


LANDMARKS = geometry.TEMPLATE * 256


@pytest.mark.parametrize("switches", [{}, {"interaction": False}, {"local": False}])
def test_a_network_ages_as_the_reference_does(switches, frame):
    torch.manual_seed(SEED)
    small = NetworkConfig(
        global_widths=(8, 16, 16), decoder_width=8, local_widths=(8, 8), global_blocks=1, local_blocks=1, **switches
    )
    net = LGIN(small).eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.05)
    aged = experiments.ager_of_network(net)(frame, LANDMARKS, YEARS)
    assert len({one.tobytes() for one in aged} | {frame.tobytes()}) == len(YEARS) + 1

    affine = geometry.fit_similarity(LANDMARKS)
    boxes = geometry.region_boxes(LANDMARKS, affine)[None]
    views = loose.reference_crop(frame, affine[None], boxes)
    code = torch.eye(len(YEARS))[None, 3:4]
    with torch.no_grad():
        deltas = net(*map(torch.from_numpy, views), torch.from_numpy(boxes).float(), code)[:2]
    expected = loose.reference_paste(frame, affine[None], boxes, *(delta.numpy() for delta in deltas))
    assert np.abs(aged[3].astype(int) - expected).max() <= 1


def test_the_parts_of_a_model_file_add_up(tiny_model, frame):
    """Only to what both do: the tiny model shifts by its global residual alone."""
    years = [group.center for group in data.GROUPS][: len(YEARS)]
    both, whole, local = (
        experiments.ager_of_parts(tiny_model, *w)(frame, LANDMARKS, years) for w in ((1, 1), (1, 0), (0, 1))
    )
    assert any(one.tobytes() != frame.tobytes() for one in both)
    sums = [a.astype(int) + b.astype(int) - frame for a, b in zip(whole, local, strict=True)]
    inside = [np.abs(total - one).max() for total, one in zip(sums, both, strict=True)]
    assert max(inside) <= 1


def darkening():
    """Prototypes for which everything gets darker in the coarsest bands, and nothing else happens."""
    sides = [data.CANVAS // 2**level for level in range(LEVELS + 1)]
    colour = [torch.full((1, 3, side, side), -0.05 * (level >= LEVELS - 2)) for level, side in enumerate(sides)]
    texture = [torch.zeros(1, 1, s, s) for s in sides[:FINE_LEVELS]]
    return Prototypes(colour, texture, torch.zeros(1, 2, 8, 8), torch.zeros(len(data.GROUPS)))


def test_prototypes_age_from_the_present_age_and_only_inside_the_face(frame):
    wide = np.full((400, 400, 3), 120, np.uint8)
    wide[60:316, 70:326] = frame
    points = LANDMARKS + np.array([70, 60])
    ager = experiments.ager_of_prototypes(darkening(), PrototypeGains(wrinkles=0.0), lambda *_: 50.0)
    younger, same, older = ager(wide, points, [30, 50, 70])
    np.testing.assert_array_equal(same, wide)
    cheeks = (slice(60 + 143, 60 + 164), slice(70 + 84, 70 + 172))
    assert older[cheeks].mean() < wide[cheeks].mean() - 2
    assert younger[cheeks].mean() > wide[cheeks].mean() + 2
    mask = measures.outside_face(geometry.fit_similarity(points), *wide.shape[:2])
    assert all(measures.change(wide, one, mask)[2] == 0 for one in (younger, older))


def test_the_present_age_is_the_label_s(tmp_path, frame):
    rows = [
        labels.Photo(
            tmp_path, "", 384, "test", f"p{i}", "F", 40.0 + i, "dated", "us", 94.0, landmarks=LANDMARKS + 0.01 * i
        )
        for i in range(3)
    ]
    present = experiments.labelled(rows)
    assert [present(frame, row.landmarks) for row in rows] == [40, 41, 42]
    assert present(frame, LANDMARKS + 5) == REFERENCE_AGE


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
    Experiments(folder, PLAN, faces)
    assert Experiments(folder, PLAN, faces, people=1).rows  # fewer people are no other plan
    with pytest.raises(ValueError, match=r"seed: 5 then, 6 now.*another folder"):
        Experiments(folder, Plan(**{**vars(PLAN), "seed": SEED + 1}), faces)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (folder / "somebody.jpg").touch()
    found = subprocess.run(
        ["git", "status", "--short", "-uall"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "runs" not in found.stdout


def test_a_measurement_is_kept_until_its_people_change(tmp_path, faces, monkeypatch):
    asked = []

    def fake(ager, rows, judges, moved):
        asked.append(len(rows))
        return {"people": []}

    monkeypatch.setattr(evaluate, "prepare", lambda *_: None)
    monkeypatch.setattr(evaluate, "evaluate", fake)
    nothing = experiments.find("nothing")
    first = Experiments(tmp_path / "runs", PLAN, faces).measure(nothing)
    assert Experiments(tmp_path / "runs", PLAN, faces).measure(nothing) == first
    Experiments(tmp_path / "runs", PLAN, faces, people=1).measure(nothing)
    assert asked == [2, 1]


def write(**full):
    results = {method.name: made_up() for method in METHODS} | {"full": made_up(**full)}
    results["no-local"] = made_up(slope=0.6)
    results["nothing"] = made_up(slope=0.0, cosine=1.0)
    spent = {method.name: cost.RunCost({"warm": 300, "adversarial": 100}, {"warm": 2400}, 0.1) for method in TRAINED}
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
    for heading in ("## 1. Results", "## 2. Comparison", "## 3. Effect of the interactive", "## 4. Effect of the age"):
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
    aged = [np.full_like(frame, 40 * i) for i in range(len(YEARS))]
    sheet = np.asarray(experiments_report.compose([("one", frame, LANDMARKS, aged)] * 2, cell=64))
    cell = 64 + 6
    assert sheet.shape[1] == 7 * cell + 6
    middle = sheet[60]
    assert [int(middle[6 + (2 + i) * cell + 32, 0]) for i in range(5)] == [0, 40, 80, 120, 160]
    assert (sheet[24:80, 6:70] == 255).mean() > 0.8  # the title's own cell


@pytest.fixture(scope="module")
def real_folder(portraits):
    try:
        estimators.age_estimators(), estimators.Embedder()
    except estimators.MissingJudge as error:
        pytest.skip(str(error))
    return portraits[0][0].parent.parent


@pytest.mark.slow
def test_smoke_of_everything_and_nothing_is_done_twice(real_folder, bundled, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "runs"
    experiments.main(folder, portraits=real_folder, smoke=True, people=2)
    text = (folder / "experiments.md").read_text()
    assert "A smoke run" in text
    for method in METHODS:
        measured = json.loads((folder / "measured" / f"{method.name}.json").read_text())
        assert len(measured["people"]) == 2
        assert max(person["outside"]["changed"] for person in measured["people"]) == 0
    weights = [fit.classifier_weights(folder / method.name) for method in TRAINED]
    assert all(torch.equal(one["c.head.1.weight"], weights[0]["c.head.1.weight"]) for one in weights)  # one C
    assert 20_000 < (folder / "experiments" / "astronaut.jpg").stat().st_size < 150_000
    assert (folder / "figures" / "results.jpg").is_file()

    def again(*_, **__):
        raise AssertionError("done twice")

    monkeypatch.setattr(fit, "run", again)
    monkeypatch.setattr(evaluate, "prepare", again)
    experiments.main(folder, portraits=real_folder, smoke=True, people=2)
    assert (folder / "experiments.md").read_text() == text


def test_wrong_use_is_explained(tmp_path, faces, capsys):
    for options, said in (
        ({"only": ["nobody"]}, "no method 'nobody'"),
        ({"portraits": tmp_path}, "labels.csv"),
        ({"classifier": tmp_path}, "no checkpoint"),
    ):
        with pytest.raises(typer.Exit):
            experiments.main(tmp_path / "runs", **{"portraits": faces} | options)
        assert said in capsys.readouterr().err
