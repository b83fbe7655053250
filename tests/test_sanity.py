"""Calibration data that cannot be right is found, with what was expected; data that is right is let alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from frontend.models import dense
from road import EXAMPLES, SHARED, Shared, draws, shared_files, small
from test_cli import Command, command  # noqa: F401

import aot
from aot import data
from aot.batch import Batch, stack
from aot.builder import Builder
from aot.frontend import load
from aot.interpret import walk_float
from aot.ir import Array, Graph, TensorType, Value
from aot.ops import OPS
from aot.passes import run_passes
from aot.sanity import look, respond

Change = Callable[[Array], Array]
MEAN = np.array([0.4914, 0.4822, 0.4465])[:, None, None]
STD = np.array([0.2470, 0.2435, 0.2616])[:, None, None]

#: Model -> what could be done to its data by mistake, and a word of what is said then.
MISTAKES: dict[str, dict[str, tuple[Change, str]]] = {
    "ic01_resnet8": {"in 0..1": (lambda x: x / 255, "x * 255"), "in -1..1": (lambda x: x / 127.5 - 1, "too small"),
                     "standardized": (lambda x: (x / 255 - 0.47) / 0.25, "too small")},
    "vww96_mobilenetv1_025": {"in 0..255": (lambda x: x * 255, "x / 255"), "twice": (lambda x: x / 255, "x * 255")},
    "mnist_mlp": {"in 0..255": (lambda x: x * 255, "x / 255"), "twice": (lambda x: x / 255, "x * 255"),
                  "in -1..1": (lambda x: 2 * x - 1, "(x + 1) / 2")},
    "digits_mlp": {"in 0..16": (lambda x: x * 16, "x / 16"), "twice": (lambda x: x / 16, "too small")},
    "fashion_lenet": {"in 0..255": (lambda x: x * 255, "x / 255"), "twice": (lambda x: x / 255, "x * 255")},
    "cifar_mbv2": {"in 0..1": (lambda x: x * STD + MEAN, "standard deviation 1"),
                   "in 0..255": (lambda x: (x * STD + MEAN) * 255, "standard deviation 1"),
                   "times 255": (lambda x: x * 255, "too large")},
    "kws01_dscnn": {"raw bytes": (lambda x: x / 0.58470291 + 83, "same answer"),
                    "divided by 255": (lambda x: x / 255, "too small"), "times 255": (lambda x: x * 255, "too large")},
    "ad01_autoencoder": {"divided by 255": (lambda x: x / 255, "too small"),
                         "times 255": (lambda x: x * 255, "too large")},
}


def shared_graph(item: Shared) -> tuple[Graph, Path, Path]:
    path, calib, evaluation = shared_files(item)
    return run_passes(load(path).graph), calib, evaluation


@pytest.mark.shared
@pytest.mark.parametrize("item", [s for s in SHARED if s.name in MISTAKES], ids=lambda s: s.name)
def test_data_in_a_wrong_scale(item: Shared) -> None:
    graph, calib, _ = shared_graph(item)
    name = graph.inputs[0]
    right = stack(list(data.load(calib, graph).first(100)))[name].astype(np.float64)
    for mistake, (change, words) in MISTAKES[item.name].items():
        found = look(graph, data.load({name: change(right).astype(np.float32)}, graph))
        assert len(found) == 1, (mistake, found)
        assert words in str(found[0]), mistake
        assert "expected" in found[0].hint


@pytest.mark.shared
@pytest.mark.parametrize("item", SHARED, ids=lambda s: s.name)
def test_right_data_is_let_alone(item: Shared) -> None:
    graph, calib, evaluation = shared_graph(item)
    assert look(graph, data.load(calib, graph)) == ()
    if item.name != "ad01_autoencoder":  # its evaluation data has another form
        assert look(graph, data.load(evaluation, graph)) == ()


@pytest.mark.parametrize("name", ["digits_dense", "digits_cnn"])
def test_the_examples(name: str) -> None:
    graph = run_passes(load(EXAMPLES / name / "model.onnx").graph)
    samples = data.load(EXAMPLES / name / "calib.npz", graph)
    assert look(graph, samples) == ()
    x = stack(list(samples))[graph.inputs[0]]
    large, = look(graph, data.load(x * 255, graph))
    assert "too large" in large.fact and "x / 255" in large.hint
    small, = look(graph, data.load(x / 255, graph))
    assert "too small" in small.fact and "x * 255" in small.hint


# --- what needs no model -----------------------------------------------------------------------------------------

GRAPH = run_passes(load(dense()).graph)
GOOD = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)


def facts(x: Any, graph: Graph = GRAPH) -> list[str]:
    found = look(graph, data.load(x, graph))
    assert all(p.hint.startswith("expected") for p in found)
    return [p.fact for p in found]


def test_data_without_content() -> None:
    assert facts(GOOD) == []
    assert any("all zero" in f for f in facts(np.zeros((40, 4))))
    assert any("every element is 3" in f for f in facts(np.full((40, 4), 3)))
    assert any("every sample is the same" in f for f in facts(np.tile(GOOD[:1], (40, 1))))
    assert any("21 of 40" in f for f in facts(np.where(np.arange(40)[:, None] < 21, 0, GOOD)))
    two = run_passes(load(small("a", "b")).graph)
    found, = facts({"a": np.zeros((40, 6)), "b": np.random.default_rng(0).normal(size=(40, 6))}, two)
    assert "'a'" in found and "all zero" in found


@pytest.mark.parametrize("count", [1, 2, 8, 31])
def test_too_few_samples(count: int) -> None:
    assert f"{count} sample" in facts(GOOD[:count])[0]


def test_enough_samples() -> None:
    assert facts(GOOD[:32]) == []


def test_a_network_of_unusual_weights_is_no_error() -> None:
    """Sums far from 1 alone prove nothing: the network switches and answers as it should."""
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 3.0, 10.0):
        net = dense(w=(size * rng.normal(size=(4, 3))).astype(np.float32), b=np.zeros(3, np.float32))
        assert facts(GOOD, run_passes(load(net).graph)) == []


def test_the_measures() -> None:
    """Of a layer whose sums are known: y = relu(x @ w + b)."""
    net = dense(w=np.eye(4, 3, dtype=np.float32) * 2, b=np.array([0, 100, -100], np.float32))
    graph = run_passes(load(net).graph)
    x = np.random.default_rng(0).normal(size=(64, 1, 4)).astype(np.float32)
    found = respond(Batch(graph), {"x": x})
    assert found.spread == pytest.approx(2, rel=0.2)
    assert found.stuck == pytest.approx(2 / 3)
    assert found.centre == pytest.approx(50, rel=0.2)


# --- on the road -------------------------------------------------------------------------------------------------

@pytest.fixture
def digits(tmp_path: Path) -> tuple[Path, Array]:
    """The dense example with its calibration data as floats."""
    path = EXAMPLES / "digits_dense" / "model.onnx"
    graph = run_passes(load(path).graph)
    return path, stack(list(data.load(EXAMPLES / "digits_dense" / "calib.npz", graph)))[graph.inputs[0]]


def test_the_command_line_warns_and_goes_on(digits: tuple[Path, Array], tmp_path: Path,
                                            command: Command) -> None:  # noqa: F811
    model, x = digits
    np.save(tmp_path / "x.npy", x * 255)
    done = command("compile", model, "--data", tmp_path / "x.npy", "-o", tmp_path / "out")
    assert done.status == 0
    assert done.err.startswith("warning: ")
    assert "too large" in done.err and "expected" in done.err
    assert "warning" not in done.out
    warning, = json.loads((tmp_path / "out" / "report.json").read_text())["warnings"]
    assert "too large" in warning["fact"]
    net = aot.compile(model, x[:3])
    assert "3 samples" in net.report.warnings[0].fact
    assert aot.compile(model, x).report.warnings == ()


def test_nan_is_refused_with_its_place(tmp_path: Path, command: Command) -> None:  # noqa: F811
    onnx.save(dense(), tmp_path / "m.onnx")
    for bad in (np.nan, np.inf):
        x = GOOD.copy()
        x[7, 2] = bad
        np.savez(tmp_path / "x.npz", x=x)
        command("compile", tmp_path / "m.onnx", "--data", tmp_path / "x.npz", "-o", tmp_path / "out").refused(
            "x.npz", "sample 7 at [2]", "finite")
    np.savez(tmp_path / "x.npz", x=GOOD.astype(np.float64) * np.where(np.arange(40) == 9, 1e300, 1)[:, None])
    command("compile", tmp_path / "m.onnx", "--data", tmp_path / "x.npz", "-o", tmp_path / "out").refused("sample 9")
    assert not (tmp_path / "out").exists()


def test_verify_counts_what_leaves_the_calibrated_range(tmp_path: Path, command: Command) -> None:  # noqa: F811
    onnx.save(dense(), tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", x=np.clip(GOOD, -1, 1))
    far = np.clip(GOOD, -1, 1)
    far[3] = [5, -5, 0, 1]
    np.savez(tmp_path / "e.npz", x=far)
    words = ["verify", tmp_path / "m.onnx", "--calib", tmp_path / "c.npz", "--data"]
    done = command(*words, tmp_path / "e.npz", "--json", "-")
    assert json.loads(done.out)["clipped"] == {"elements": 160, "outside": 2}
    assert "1.2 % of the evaluation data" in done.err
    done = command(*words, tmp_path / "c.npz")
    assert (done.status, done.err) == (0, "")
    assert "0 of 160 elements leave" in done.out


def test_verify_looks_at_the_evaluation_data(digits: tuple[Path, Array], tmp_path: Path,
                                             command: Command) -> None:  # noqa: F811
    """Calibrated right and evaluated in another scale: nothing is clipped, and yet it is wrong."""
    model, x = digits
    np.save(tmp_path / "c.npy", x)
    np.save(tmp_path / "e.npy", x[:8] / 255)
    done = command("verify", model, "--calib", tmp_path / "c.npy", "--data", tmp_path / "e.npy")
    assert done.status == 0
    assert "the evaluation data looks wrongly scaled, too small" in done.err
    done = command("verify", model, "--calib", tmp_path / "c.npy", "--data", tmp_path / "c.npy")
    assert (done.status, done.err) == (0, "")


# --- many samples at once ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["digits_dense", "digits_cnn"])
def test_many_samples_at_once_are_the_same(name: str) -> None:
    graph = run_passes(load(EXAMPLES / name / "model.onnx").graph)
    together_is_one_by_one(graph, stack(list(data.load(EXAMPLES / name / "calib.npz", graph).first(5))))


def together_is_one_by_one(graph: Graph, x: dict[str, Array]) -> None:
    found = Batch(graph).run(x)
    for i in range(5):
        for name, y in walk_float(graph, {n: a[i] for n, a in x.items()}):
            np.testing.assert_allclose(found[name][i], y, rtol=1e-3, atol=1e-4 * float(np.abs(y).max(initial=1e-6)))


def test_operators_on_many_samples() -> None:
    """Each operator's own cases, whatever their first axis is."""
    rng = np.random.default_rng(0)
    for kind in OPS:
        for case in kind.cases():
            b = Builder("case")
            names, shapes = [], iter(case.shapes)
            for i in range(len(case.shapes) + len(case.constants)):
                if i in case.constants:
                    names.append(b.constant(case.constants[i], f"c{i}"))
                else:
                    b.keep(Value(f"x{i}", TensorType("f32", next(shapes))))
                    names.append(f"x{i}")
            b.add(case.op, names, "y")
            inputs = tuple(n for n in names if n.startswith("x"))
            graph = Graph("case", inputs, (b.nodes[-1].output,), tuple(b.nodes), b.values)
            x = {n: (rng.normal(size=(5, *graph.values[n].type.shape)) ** 2 + 0.1).astype(np.float32) for n in inputs}
            together_is_one_by_one(graph, x)


def test_draws_give_no_warning() -> None:
    """Networks of random weights on random data look right enough."""
    for seed in range(5):
        net = small("x", seed=seed)
        graph = run_passes(load(net).graph)
        assert look(graph, data.load(draws(net, 40, seed), graph)) == ()
