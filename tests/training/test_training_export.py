"""What the export reads of a run's folder, and the age model that it writes."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

import onnx
from safetensors.torch import save_file
from typer.testing import CliRunner

from lgin_edge.age_estimator import AgeModel
from training import checkpoint, data, export
from training.config import TrainConfig
from training.networks import LGIN, AgeClassifier, NetworkConfig

SEED = 5
SMALL = NetworkConfig(global_widths=(8, 16, 16), decoder_width=8, local_widths=(8, 8), global_blocks=1, local_blocks=1)


def networks() -> dict[str, torch.nn.Module]:
    """Small networks whose every weight is random, also those that start at zero."""
    torch.manual_seed(SEED)
    made = {"net": LGIN(SMALL), "average": LGIN(SMALL), "c": AgeClassifier(SMALL.groups)}
    for name in ("net", "average"):
        for p in made[name].parameters():
            torch.nn.init.normal_(p, std=0.05)
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run's folder as training.fit leaves it, as far as the export looks."""
    folder = tmp_path_factory.mktemp("run")
    flat = {
        f"{n}.{key}": value.contiguous() for n, net in networks().items() for key, value in net.state_dict().items()
    }
    checkpoint.save(folder / checkpoint.FILE, flat | {"d.weight": torch.zeros(1)}, {})
    (folder / export.CONFIG).write_text(json.dumps(asdict(TrainConfig(network=SMALL))))
    return folder


@pytest.fixture
def run(whole, tmp_path):
    """The same folder, to be damaged."""
    return shutil.copytree(whole, tmp_path / "run")


def change_network(run, change):
    config = json.loads((run / export.CONFIG).read_text())
    change(config["network"])
    (run / export.CONFIG).write_text(json.dumps(config))


def test_a_run_gives_its_networks_back(whole):
    made = networks()
    loaded = {
        "average": export.load(whole),
        "net": export.load(whole, average=False),
        "c": export.load_classifier(whole),
    }
    assert loaded["net"].config == SMALL
    for name, module in loaded.items():
        assert not module.training
        for key, value in made[name].state_dict().items():
            torch.testing.assert_close(module.state_dict()[key], value, rtol=0, atol=0, msg=f"{name}.{key}")


@pytest.mark.parametrize("name", [checkpoint.FILE, export.CONFIG])
def test_a_missing_file_is_named(run, name):
    (run / name).unlink()
    for load in (export.load, export.load_classifier):
        with pytest.raises(FileNotFoundError, match=f"no {name} in .*training.fit"):
            load(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda network: network.update(hats=3), r"'hats' that this version does not know"),
        (lambda network: network.pop("groups"), r"lacks 'groups'"),
        (lambda network: network.update(decoder_width=16), r"'average' does not fit"),
    ],
)
def test_a_config_that_does_not_fit_is_explained(run, change, message):
    change_network(run, change)
    with pytest.raises(ValueError, match=message):
        export.load(run)


def test_damaged_files_are_explained(run):
    checkpoint.save(run / checkpoint.FILE, {"hat.weight": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match="'average' does not fit"):
        export.load(run)
    save_file({"average.weight": torch.zeros(1)}, run / checkpoint.FILE)
    with pytest.raises(ValueError, match=r"is not a checkpoint of training.fit"):
        export.load(run)
    (run / checkpoint.FILE).write_bytes(b"I am no tensor")
    with pytest.raises(ValueError, match=r"is not a checkpoint of training.fit"):
        export.load(run)
    (run / export.CONFIG).write_text("[]")
    with pytest.raises(ValueError, match="'network'"):
        export.load(run)


@pytest.fixture(scope="module")
def exported(whole, tmp_path_factory):
    """Both models, written by the command."""
    folder = tmp_path_factory.mktemp("models")
    result = CliRunner().invoke(
        export_app(),
        [str(whole), str(folder / "t.onnx"), "--classifier", str(folder / "age.onnx"), "--name", "small-1"],
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.count("largest difference to PyTorch") == 2
    return folder


def export_app():
    import typer

    app = typer.Typer()
    app.command()(export.main)
    return app


def test_the_age_model_is_c(whole, exported):
    classifier = export.load_classifier(whole)
    # Kernels are stored as float16, eleven bits of every weight.
    assert export.compare_classifier(classifier, exported / "age.onnx", SEED) < 2e-3
    side = export.CRITIC_SIZE
    face = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(SEED)) * 2 - 1
    with torch.no_grad():
        p = classifier(face).exp().numpy()
    estimates = AgeModel(exported / "age.onnx").run(face.numpy())
    centers = [group.center for group in data.GROUPS]
    np.testing.assert_allclose([one.probability for one in estimates], p, atol=2e-3)
    np.testing.assert_allclose([one.years for one in estimates], p @ centers, atol=0.2)


def test_the_age_model_describes_itself(exported):
    about = AgeModel(exported / "age.onnx").description
    assert (about.model, about.face_size, about.groups) == ("small-1", data.CANVAS // 2, data.GROUPS)
    assert "Congress" in about.training_data


def test_the_age_model_is_small_plain_and_tells_nothing_of_its_machine(exported):
    path = exported / "age.onnx"
    assert path.stat().st_size < 2.5e6
    model = onnx.load(path)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", export.OPSET)]
    assert not model.functions
    assert [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim][:1] == ["N"]
    raw = path.read_bytes()
    assert b"site-packages" not in raw
    assert b"training/" not in raw


def test_the_command_explains(tmp_path):
    result = CliRunner().invoke(export_app(), [str(tmp_path / "none"), str(tmp_path / "t.onnx")])
    assert result.exit_code == 2
    assert "training.fit FOLDER" in result.stderr
    assert not (tmp_path / "t.onnx").exists()


def test_without_classifier_only_one_file_is_written(whole, tmp_path):
    assert CliRunner().invoke(export_app(), [str(whole), str(tmp_path / "t.onnx")]).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["t.onnx"]
