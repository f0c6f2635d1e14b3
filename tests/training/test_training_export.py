"""What the export reads of a run's folder, and the two models that it writes."""

import copy
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'lgin-edge[train]'")

import onnx
import onnxruntime
from safetensors.torch import save_file
from support.macs import count_macs
from typer.testing import CliRunner

from lgin_edge import transformer
from lgin_edge.age_estimator import AgeModel
from lgin_edge.inference.loader import open_model
from lgin_edge.models.model_file import read_description
from training import checkpoint, data, export
from training import networks as networks_module
from training.ages import OLD, YOUNG
from training.config import TrainConfig
from training.critics import CLASSIFIER_SIDE, AgeClassifier
from training.evaluation import cost
from training.networks import FACE_BOX, LGIN, NetworkConfig, example_inputs
from training.targets import curves

SEED = 5
SMALL = NetworkConfig(
    face_size=64,
    patch_size=32,
    global_widths=(8, 16, 16),
    decoder_width=8,
    local_widths=(8, 8),
    global_blocks=1,
    local_blocks=1,
    layers=3,
    texture_size=288,  # large enough to be stored in int8
)
#: Largest difference between PyTorch and the file: what 8 bits of a line's light leave.
CLOSE = 2e-3


def networks() -> dict[str, torch.nn.Module]:
    """Small networks whose every weight is random, also those that start at zero."""
    torch.manual_seed(SEED)
    made = {"net": LGIN(SMALL), "average": LGIN(SMALL), "c": AgeClassifier(SMALL.groups)}
    for name in ("net", "average"):
        for p in made[name].parameters():
            torch.nn.init.normal_(p, std=0.05)
        made[name].lines.layers.uniform_(-0.1, 0.1)
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
    with pytest.raises(ValueError, match="has no 'average'; a start has averaged weights alone"):
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


def test_onnx_equals_pytorch(whole, exported):
    assert export.compare(export.load(whole), exported / "t.onnx", SEED) < CLOSE


def test_its_costs_are_the_network_s(exported):
    macs = cost.macs(onnx.load(exported / "t.onnx"))
    assert macs == pytest.approx(count_macs(export.Exported(LGIN(SMALL)), *example_inputs(SMALL)), rel=0.02)


def test_onnx_outputs_are_not_trivial(exported):
    session = onnxruntime.InferenceSession(str(exported / "t.onnx"), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(SEED)
    about = read_description(exported / "t.onnx")
    feeds = {name: t.numpy() for name, t in zip(about.inputs, example_inputs(SMALL, 2, 3), strict=True)}
    feeds |= {name: rng.uniform(-1, 1, feeds[name].shape).astype(np.float32) for name in ("face", "patches")}
    feeds["age"] = rng.dirichlet(np.ones(7), (2, 3)).astype(np.float32)
    outputs = dict(zip(about.outputs, session.run(list(about.outputs), feeds), strict=True))
    assert all(output.std() > 1e-4 for output in outputs.values())
    assert {name: o.shape for name, o in outputs.items()} == {name: about.shape(name, 2, 3) for name in about.outputs}


def test_the_model_describes_itself(exported):
    about = read_description(exported / "t.onnx")
    assert (about.format, about.face_size, about.patch_size, about.lines_size) == (4, 64, 32, 288)
    assert about.face_box == FACE_BOX
    assert about.groups == data.GROUPS
    assert "Congress" in about.training_data


def test_the_run_time_runs_it(exported):
    """Two ages of a face through the loader that checks names and shapes."""
    backend = open_model(exported / "t.onnx", providers=("CPUExecutionProvider",), threads=1)
    face, patches, boxes, age = (t.numpy() for t in example_inputs(SMALL, 1, 2))
    outputs = backend.run(face, patches, boxes, age[0])
    backend.close()
    assert [len(output) for output in outputs] == [2, 2, 2, 1, 2]


def test_textures_are_stored_in_8_bits(exported):
    graph = onnx.load(exported / "t.onnx").graph
    kinds = {tuple(t.dims): t.data_type for t in graph.initializer if len(t.dims) > 1 and t.dims[-1] in (288, 144)}
    assert kinds == dict.fromkeys([(3, 288, 288), (5, 288, 288), (144, 144)], onnx.TensorProto.INT8)


def test_onnx_uses_only_operators_that_run_everywhere(exported):
    model = onnx.load(exported / "t.onnx")
    assert [(o.domain, o.version) for o in model.opset_import] == [("", export.OPSET)]
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"GroupNormalization", "Einsum", "Loop", "If"}
    assert not model.functions
    raw = (exported / "t.onnx").read_bytes()
    assert b"site-packages" not in raw
    assert b"training/" not in raw


def test_the_age_model_is_c(whole, exported):
    classifier = export.load_classifier(whole)
    # Kernels are stored as float16, eleven bits of every weight.
    assert export.compare_classifier(classifier, exported / "age.onnx", SEED) < 2e-3
    side = CLASSIFIER_SIDE
    face = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(SEED)) * 2 - 1
    with torch.no_grad():
        p = classifier(face).exp().numpy()
    estimates = AgeModel(exported / "age.onnx").run(face.numpy())
    centers = [group.center for group in data.GROUPS]
    np.testing.assert_allclose([one.probability for one in estimates], p, atol=2e-3)
    np.testing.assert_allclose([one.years for one in estimates], p @ centers, atol=0.2)


def test_the_age_model_describes_itself(exported):
    about = AgeModel(exported / "age.onnx").description
    assert (about.model, about.face_size, about.groups) == ("small-1", CLASSIFIER_SIDE, data.GROUPS)
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


def test_without_classifier_only_one_file_is_written(whole, exported, tmp_path, monkeypatch):
    def export_again(net, path, name):
        return onnx.load(shutil.copy(exported / "t.onnx", path))

    monkeypatch.setattr(export, "export", export_again)
    assert CliRunner().invoke(export_app(), [str(whole), str(tmp_path / "t.onnx")]).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["t.onnx"]


def test_a_start_is_exported_with_the_layers_of_targets(whole, exported, tmp_path, monkeypatch):
    """What a run hands on has no age layers: without them it is refused, with them it is T again, in half precision."""

    def export_again(net, path, name):
        return onnx.load(shutil.copy(exported / "t.onnx", path))

    monkeypatch.setattr(export, "export", export_again)
    start, bank = tmp_path / "start", tmp_path / "layers.npz"
    assert (
        CliRunner().invoke(export_app(), [str(whole), str(tmp_path / "t.onnx"), "--start", str(start)]).exit_code == 0
    )
    with pytest.raises(ValueError, match=r"no age layers.*--layers"):
        export.load(start)
    with pytest.raises(FileNotFoundError, match=r"no age layers at .*training\.targets\.build"):
        export.load(start, layers=bank)
    bank.write_bytes(b"I am no archive")
    with pytest.raises(ValueError, match="holds no age layers"):
        export.load(start, layers=bank)
    np.savez(bank, layers=np.zeros((2, 8, 8), np.float32), windows=np.zeros((5, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"layers\.npz: expected finite layers of shape .*, got \(2, 8, 8\)"):
        export.load(start, layers=bank)
    shape = networks()["average"].lines.layers.shape
    np.savez(bank, layers=np.full(shape, 0.5, np.float32), windows=np.full((5, *shape[1:]), 0.2, np.float32))
    net, before = export.load(start, layers=bank), networks()["average"]
    assert net.config == SMALL
    assert (net.lines.layers == 0.5).all()
    torch.testing.assert_close(net.whole.head.weight, before.whole.head.weight, rtol=1e-3, atol=1e-6)


def test_what_the_bundled_weights_are_exported_from_is_there(tmp_path):
    """``training/start``, with age layers of the shape that targets have, by the command of docs/training.md."""
    start, bank, made = Path(export.__file__).parent / "start", tmp_path / "layers.npz", tmp_path / "t.onnx"
    config = export.network_config(start)
    side = config.texture_size
    windows = np.full((5, side, side), 0.2, np.float32)
    np.savez_compressed(bank, layers=np.full((config.layers, side, side), 0.1, np.float32), windows=windows)
    ages = ["--years", "20,22,40,52,66,74.5,76.5", "--young-years", "20,28,45,60,69,74.5,76.5"]
    done = CliRunner().invoke(export_app(), [str(start), str(made), "--layers", str(bank), *ages])
    assert done.exit_code == 0, done.output
    bundled, about = (read_description(path) for path in (transformer.WEIGHTS, made))
    assert (about.format, about.model, about.face_box) == (bundled.format, bundled.model, bundled.face_box)
    mine, theirs = (
        {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
        for path in (made, transformer.WEIGHTS)
    )
    assert mine.keys() == theirs.keys()
    differ = {name for name, value in mine.items() if not np.allclose(value, theirs[name], rtol=1e-4, atol=1e-5)}
    assert {name.rpartition("_")[0] for name in differ} == {"net.lines.layers", "net.lines.windows"}


def test_a_calibrated_generator_works_for_other_ages(monkeypatch: pytest.MonkeyPatch):
    """What is asked for at 80 is drawn as at 60 was, of old faces as at 50, and of others in between; a face's own age as it is."""
    now = torch.tensor([[0.1], [0.6], [(OLD + YOUNG) / 2], [curves.at("lines", 80.0)]])
    monkeypatch.setattr(networks_module, "lines_now", lambda read: now)
    as_asked = networks()["net"]
    net = copy.deepcopy(as_asked)
    years = [group.center for group in data.GROUPS]
    export.calibrate(net, [*years[:-4], 46.0, 47.0, 48.0, 50.0], [*years[:-3], 55.0, 58.0, 60.0])
    inputs = [torch.rand_like(one) for one in example_inputs(SMALL, 4)][:3]
    codes = data.age_codes(torch.tensor([[60.0], [50.0], [50.0], [80.0]]))
    codes[2] = (codes[0] + codes[1]) / 2
    with torch.no_grad():
        hears, as_heard = net(*inputs, data.age_codes(torch.full((4, 1), 80.0))), as_asked(*inputs, codes)
    torch.testing.assert_close(hears.age, as_heard.age)
    for name in ("face_edit", "patch_edit", "flow", "lines"):
        torch.testing.assert_close(getattr(hears.edits, name), getattr(as_heard.edits, name), rtol=1e-4, atol=1e-5)


def test_a_network_without_local_generators_is_calibrated_too():
    net = LGIN(replace(SMALL, local=False)).eval()
    inputs = [torch.rand_like(one) for one in example_inputs(SMALL)][:3]
    years = [group.center for group in data.GROUPS]
    export.calibrate(net, [*years[:-1], 72.0])
    with torch.no_grad():
        heard = net(*inputs, data.age_codes(torch.tensor([[80.0]]))).age
    torch.testing.assert_close(heard, data.age_codes(torch.tensor([[72.0]])))


def test_years_of_the_young_need_those_of_the_others(tmp_path):
    start = Path(export.__file__).parent / "start"
    done = CliRunner().invoke(
        export_app(), [str(start), str(tmp_path / "t.onnx"), "--young-years", "20,30,40,50,60,70,80"]
    )
    assert done.exit_code != 0
    assert "give both" in done.output


@pytest.mark.parametrize("wrong", [[20.0, 30.0], [80.0, 70.0, 60.0, 50.0, 40.0, 30.0, 20.0]])
def test_ages_that_generators_work_for_are_one_for_each_group_and_rise(wrong: list[float]):
    right = [group.center for group in data.GROUPS]
    for years in ((wrong, right), (right, wrong)):
        with pytest.raises(ValueError, match="years: expected 7 rising ages"):
            export.calibrate(networks()["net"], *years)
