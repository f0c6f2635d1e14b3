"""What the evaluation measures, with known answers."""

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -e .[train]")
pytest.importorskip("skimage")

from training import data
from training.evaluation import estimators, measures, summary

SEED = 20240613
YEARS = [group.center for group in data.GROUPS]
IDENTITY = np.array([[96.0, 0.0, 0.0], [0.0, 96.0, 0.0]])


def test_slope_and_rank_correlation():
    x = [30, 40, 50, 60, 70]
    assert measures.slope(x, [3, 4, 5, 6, 7]) == pytest.approx(0.1)
    assert measures.slope(x, [65.97] * 5) == 0  # exactly: a rounding error must not count as rising
    assert measures.rank_correlation(x, [1, 8, 9, 50, 51]) == pytest.approx(1)
    assert measures.rank_correlation(x, [5, 4, 3, 2, 1]) == pytest.approx(-1)
    assert measures.rank_correlation(x, [2, 1, 4, 3, 5]) == pytest.approx(0.8)
    assert measures.rank_correlation([1, 2, 3], [1, 1, 2]) == pytest.approx(np.sqrt(3) / 2)  # ties share a rank
    assert measures.rank_correlation(x, [5, 5, 5, 5, 5]) == 0


def test_skin_tone_bins():
    assert measures.typology_angle((50 + 10, 5, 10)) == pytest.approx(45)
    assert measures.typology_angle((50, 5, 10)) == 0
    angles = (60, 50, 30, 20, 0, -40)
    assert [measures.tone(angle) for angle in angles] == [name for name, _ in measures.TONES]


def test_skin_reads_the_colour_of_the_cheeks():
    frame = np.zeros((96, 96, 3), np.uint8)
    frame[50:66, 28:68] = (200, 150, 120)
    found = measures.skin(frame, IDENTITY)["cheeks"]
    # The definition: sRGB to XYZ relative to D65's white, then cube roots.
    linear = ((np.array([200, 150, 120]) / 255 + 0.055) / 1.055) ** 2.4
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(matrix @ linear / (0.9505, 1.0, 1.089))
    np.testing.assert_allclose(found, (116 * y - 16, 500 * (x - y), 200 * (y - z)), atol=0.1)


def test_detail_follows_contrast():
    rng = np.random.default_rng(SEED)
    noise = rng.normal(0, 10, (384, 384, 1))
    affine = np.array([[384.0, 0, 0], [0, 384.0, 0]])

    def frame(gain):
        return np.repeat((128 + gain * noise).clip(0, 255), 3, 2).astype(np.uint8)

    ratio = measures.detail(frame(2.0), affine) / measures.detail(frame(1.0), affine)
    assert ratio == pytest.approx(2, rel=0.02)
    assert measures.detail(np.full((384, 384, 3), 90, np.uint8), affine) == pytest.approx(0, abs=1e-4)


def test_pairs_tell_people_apart():
    vectors = np.array([[1.0, 0], [1, 0.1], [0, 1]])
    found = measures.pairs(vectors, ["a", "a", "b"], ["F", "F", "M"])
    assert found["same"].distance == pytest.approx([0.1])
    assert sorted(found["different"].cosine) == pytest.approx([0, 0.1 / np.hypot(1, 0.1)])
    assert len(found["different, one gender"].cosine) == 0


def test_group_of_an_age():
    assert [summary.group_of(age, data.GROUPS) for age in (24, 25, 34.9, 35, 54.9, 55, 76)] == [0, 1, 1, 2, 3, 4, 6]


def test_tfjs_graph_runs_as_its_arithmetic_says(tmp_path):
    """A small graph of the kinds of node in faceres, weights in fp16: convolution, depthwise, relu6, mean, product."""
    import onnxruntime

    rng = np.random.default_rng(SEED)
    weights = {
        "full": rng.normal(size=(1, 1, 3, 2)),  # [kh, kw, in, out]
        "deep": rng.normal(size=(1, 1, 2, 1)),
        "scale": rng.normal(size=2),
        "six": np.array(6.0),
        "zero": np.array(0.0),
        "kernel": rng.normal(size=(2, 4)),
        "bias": rng.normal(size=4),
    }
    weights = {name: value.astype("<f2") for name, value in weights.items()}
    (tmp_path / "w.bin").write_bytes(b"".join(value.tobytes() for value in weights.values()))
    listed = [
        {"name": name, "shape": list(value.shape), "dtype": "float32", "quantization": {"dtype": "float16"}}
        for name, value in weights.items()
    ]
    same = {"padding": {"s": "U0FNRQ=="}, "strides": {"list": {"i": ["1", "2", "2", "1"]}}}
    biased = {"fused_ops": {"list": {"s": ["Qmlhc0FkZA==", "UmVsdQ=="]}}}
    nodes = [
        {"name": "input_1", "op": "Placeholder"},
        {"name": "a", "op": "Conv2D", "input": ["input_1", "full"], "attr": same},
        {"name": "b", "op": "DepthwiseConv2dNative", "input": ["a", "deep"], "attr": same},
        {"name": "c", "op": "Mul", "input": ["b", "scale"]},
        {"name": "d", "op": "Minimum", "input": ["c", "six"]},
        {"name": "e", "op": "Maximum", "input": ["d", "zero"]},
        {"name": "f", "op": "Mean", "input": ["e", "axes"]},
        {"name": "g", "op": "_FusedMatMul", "input": ["f", "kernel", "bias"], "attr": biased},
        {"name": "h", "op": "Softmax", "input": ["g"]},
    ]
    manifest = [{"paths": ["w.bin"], "weights": listed}]
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"modelTopology": {"node": nodes}, "weightsManifest": manifest}))
    session = onnxruntime.InferenceSession(estimators.onnx_of_faceres(path, ["h"]).SerializeToString())
    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    (found,) = session.run(["h"], {"input_1": x.transpose(0, 3, 1, 2)})

    w = {name: value.astype(np.float64) for name, value in weights.items()}
    a = x[:, ::2, ::2] @ w["full"][0, 0]
    b = a[:, ::2, ::2] * w["deep"][0, 0, :, 0] * w["scale"]
    g = np.maximum(np.clip(b, 0, 6).mean((1, 2)) @ w["kernel"] + w["bias"], 0)
    expected = np.exp(g) / np.exp(g).sum(-1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_damaged_or_missing_faceres_says_what_to_run(tmp_path):
    with pytest.raises(estimators.MissingJudge, match="--fetch"):
        estimators.FaceRes(tmp_path)
    (tmp_path / "faceres.json").write_text("{}")
    with pytest.raises(estimators.MissingJudge, match=r"damaged.*--fetch"):
        estimators.FaceRes(tmp_path)
