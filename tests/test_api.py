"""The Python API: every form of input, several inputs and outputs, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from frontend.models import convolution, dense, model
from onnx import helper
from road import EXAMPLES, cnn, draws, golden, small

import aot
from aot.compiler import Net
from aot.interpret import run_quantized
from aot.ir import Array
from aot.oracle import Oracle

TWO = small("left", "right", outputs=("relu", "tanh"))


@pytest.fixture(scope="module")
def one() -> Net:
    return aot.compile(cnn(), draws(cnn(), 30), name="cnn")


@pytest.fixture(scope="module")
def two() -> Net:
    return aot.compile(TWO, draws(TWO, 30), name="two")


def test_a_model_in_every_form(tmp_path: Path) -> None:
    """A path, a text, bytes and a ModelProto of the same model make the same C."""
    net = dense()
    path = tmp_path / "net.onnx"
    onnx.save(net, path)
    forms = (path, str(path), path.read_bytes(), onnx.load(path))
    files = [aot.compile(form, draws(net), name="net").files for form in forms]
    assert all(f == files[0] for f in files)


def test_one_sample_or_many(one: Net) -> None:
    x = draws(cnn(), 5)["x"]  # [5, 1, 3, 9, 7]
    many = one.run(x)
    assert many.shape == (5, 4)
    assert many.dtype == np.float32
    np.testing.assert_array_equal(one.run(x[:, 0]), many)
    np.testing.assert_array_equal(one.run({"x": x}), many)
    for i in range(5):
        assert one.run(x[i]).shape == (1, 4)
        np.testing.assert_array_equal(one.run(x[i])[0], many[i])
        np.testing.assert_array_equal(one.run(x[i, 0])[0], many[i])
    assert one.run(x[:1]).shape == (1, 4)
    assert one.run(x[:0]).shape[0] == 0


def test_other_types_of_numbers(one: Net) -> None:
    """Lists, float64, strided and reversed arrays mean the same."""
    x = draws(cnn(), 2)["x"]
    expected = one.run(x)
    for form in (x.astype(np.float64), x.tolist(), np.asfortranarray(x), x[::-1].copy()[::-1], x.astype(">f4")):
        np.testing.assert_array_equal(one.run(form), expected)


def test_answers_are_near_the_float_model(one: Net, two: Net) -> None:
    for net in (one, two):
        oracle = Oracle(net.model)
        for sample in range(5):
            x = {n: a[sample] for n, a in draws(onnx.load_from_string(net.model), 5).items()}
            got, expected = net.run(x), oracle.run(x)
            for name, y in expected.items():
                found = got if len(expected) == 1 else got[name]
                assert found.shape == y.shape
                np.testing.assert_allclose(found, y, atol=0.15)


def test_several_inputs_and_outputs(two: Net) -> None:
    x = draws(TWO, 4)
    many = two.run(x)
    assert {n: a.shape for n, a in many.items()} == {"relu": (4, 5), "tanh": (4, 5)}
    alone = two.run({n: a[2] for n, a in x.items()})
    np.testing.assert_array_equal(alone["relu"][0], many["relu"][2])
    np.testing.assert_array_equal(alone["tanh"][0], many["tanh"][2])


def test_integers(one: Net, two: Net) -> None:
    """The same bytes as the twin's, in every form; other integer types hold the same numbers."""
    for q, expected in golden(one):
        np.testing.assert_array_equal(one.run_quantized(q), expected["y"])
        np.testing.assert_array_equal(one.run_quantized(q["x"].astype(np.int64)), expected["y"])
        assert one.run_quantized(q).dtype == np.int8
    for q, expected in golden(two):
        for name, y in two.run_quantized(q).items():
            np.testing.assert_array_equal(y, expected[name])
    stacked = np.concatenate([q["x"] for q, _ in golden(one)])
    np.testing.assert_array_equal(one.run_quantized(stacked),
                                  np.concatenate([run_quantized(one.graph, {"x": x[None]})["y"] for x in stacked]))


@pytest.mark.parametrize("x", [np.zeros(3), np.zeros((3, 9, 8)), np.zeros((1, 1, 1, 3, 9, 7)), np.float32(1), [],
                               "text", None, {}, {"y": np.zeros((1, 3, 9, 7))}, [[1, 2], [3]],
                               np.zeros((1, 3, 9, 7), complex),
                               {"x": np.zeros((1, 3, 9, 7)), "z": np.zeros(1)}, np.full((1, 3, 9, 7), None)],
                         ids=lambda x: str(np.shape(x)) if isinstance(x, np.ndarray) else str(x)[:12])
def test_inputs_that_do_not_fit(one: Net, x: Array) -> None:
    for run in (one.run, one.run_quantized):
        with pytest.raises(aot.AotError):
            run(x)


def test_inputs_that_do_not_fit_each_other(two: Net) -> None:
    a = np.zeros((2, 1, 6))
    for x in (a, {"left": a}, {"left": a, "right": a[:1]}, {"left": a, "right": a, "x": a}):
        with pytest.raises(aot.AotError):
            two.run(x)
    assert two.run({"left": a, "right": a})["relu"].shape == (2, 5)


@pytest.mark.parametrize("q", [np.full((1, 3, 9, 7), 128), np.full((1, 3, 9, 7), -129), np.zeros((1, 3, 9, 7))])
def test_integers_out_of_range(one: Net, q: Array) -> None:
    with pytest.raises(aot.AotError, match=r"-128 \.\. 127"):
        one.run_quantized(q)


def test_real_numbers_out_of_range(one: Net) -> None:
    """They saturate; NaN becomes zero, as in the float helpers of the generated code."""
    low, high = one.graph.values["x"].quant, np.ones((1, 3, 9, 7), np.float32)
    for value, q in ((np.inf, 127), (-np.inf, -128), (1e30, 127), (np.nan, low.zero)):
        np.testing.assert_array_equal(one.run(high * np.float32(value)), one.run((q - low.zero) * low.scale[0] * high))


def test_a_first_dimension_that_is_not_one() -> None:
    """One sample of a model with two rows is two rows; a stack has one more axis."""
    rows = model([helper.make_node("Relu", ["x"], ["y"], name="act")], {"x": [2, 3]}, {"y": [2, 3]})
    x = np.arange(24, dtype=np.float32).reshape(4, 2, 3) - 6
    net = aot.compile(rows, x)
    step = net.graph.values["x"].scale
    assert net.run(x[1]).shape == (2, 3)
    assert net.run(x).shape == (4, 2, 3)
    np.testing.assert_allclose(net.run(x), np.maximum(x, 0), atol=step)


def test_symbolic_batch() -> None:
    net = aot.compile(convolution(), np.random.default_rng(0).normal(size=(9, 2, 6, 6)))
    assert net.run(np.zeros((2, 6, 6))).shape == (1, 27)
    assert net.run(np.zeros((7, 2, 6, 6))).shape == (7, 27)


def test_the_report(one: Net) -> None:
    text = str(one.report)
    assert len(text.splitlines()) == 2 * len(one.report.rows) + 7
    assert all(row.name in text for row in one.report.rows)
    assert "stem + relu6" in text
    assert one.report.as_json()["macs"] == one.report.macs > 0
    assert one.report.weights == sum(row.weights for row in one.report.rows)


def test_write(one: Net, tmp_path: Path) -> None:
    one.write(tmp_path / "a" / "model")
    one.write(str(tmp_path / "b"))
    for path, text in one.files.items():
        assert (tmp_path / "a" / "model" / path).read_text() == (tmp_path / "b" / path).read_text() == text
    with pytest.raises(aot.AotError, match="cannot write"):
        one.write(tmp_path / "b" / "CMakeLists.txt" / "c")


@pytest.mark.parametrize("options", [{"target": "z80"}, {"optimize": "fast"}, {"precision": "int5"}, {"speed": True},
                                     {"calibration": "guess"}, {"corrections": "some"}, {"ram": -1}, {"flash": 1}])
def test_options_that_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(aot.AotError) as caught:
        aot.compile(dense(), draws(dense()), **options)
    assert caught.value.problems[0].hint


def test_without_corrections_weights_are_rounded_to_the_nearest() -> None:
    """And with them they are not: the option does something."""
    def off(corrections: str) -> float:
        net = aot.compile(cnn(), draws(cnn(), 60), corrections=corrections)
        exact = {n.output: net.float_graph.const(n.inputs[1]) for n in net.float_graph.nodes if n.op.linear}
        worst = 0.0
        for node in (n for n in net.graph.nodes if n.op.linear):
            value, w = net.graph.values[node.inputs[1]], exact[node.output]
            assert value.data is not None and w is not None
            steps = np.asarray(value.quant.scale).reshape([-1 if i == value.quant.axis else 1 for i in range(w.ndim)])
            worst = max(worst, float(np.abs(value.data - w / steps).max()))
        return worst

    assert off("none") <= 0.5001 < off("all")


def test_no_data() -> None:
    with pytest.raises(aot.AotError, match="calibration data"):
        aot.compile(dense())


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    aot.compile(dense(), draws(dense(), 4), progress=lambda *step: told.append(step))
    assert told == [("calibrating", i, 4) for i in range(1, 5)]


def test_every_precaution_of_the_readme() -> None:
    """What the README does first: an example, one image at a time."""
    calib = np.load(EXAMPLES / "digits_cnn" / "calib.npz")
    net = aot.compile(EXAMPLES / "digits_cnn" / "model.onnx", data=dict(calib), name="digits", target="cortex-m4")
    right = [int(net.run(x * calib["scale"]).argmax()) == y for x, y in zip(calib["x"], calib["y"], strict=True)] \
        if "y" in calib else []
    assert not right or np.mean(right) > 0.9
    assert net.name == "digits"
