"""The doctor finds the layer that was made ill on purpose, says why, and the recipe it gives cures it."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from frontend.models import dense, model
from onnx import helper
from road import EXAMPLES, SHARED, cnn, draws, need_package, shared_files, small
from test_cli import Command, command, process  # noqa: F401

import aot
from aot import data, doctor_page
from aot.batch import Batch, stack
from aot.calibrate import Range
from aot.compiler import Net
from aot.diagnosis import diagnose
from aot.errors import AotError
from aot.health import Diagnosis
from aot.interpret import walk_quantized
from aot.numerics import LIMITS, dequantize, quantize


def uneven() -> onnx.ModelProto:
    """Convolution, depthwise convolution, convolution, pool, dense; in the second, one channel's weights are 400 times
    larger than the others', whose results are brought to the same size afterwards."""
    rng = np.random.default_rng(3)
    w = {f"w{i}": (rng.normal(size=s) / np.sqrt(np.prod(s[1:]))).astype(np.float32)
         for i, s in enumerate([(8, 3, 3, 3), (8, 1, 3, 3), (8, 8, 1, 1), (5, 8)])}
    w["w1"][3] *= 400
    w["w2"][:, 3] /= 400
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w1"], ["c"], name="uneven", group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c", "low", "high"], ["d"], name="clip"),
        helper.make_node("Conv", ["d", "w2"], ["e"], name="pointwise"),
        helper.make_node("GlobalAveragePool", ["e"], ["f"], name="pool"),
        helper.make_node("Flatten", ["f"], ["g"], name="flat"),
        helper.make_node("Gemm", ["g", "w3"], ["y"], name="head", transB=1),
    ]
    return model(nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 5]},
                 {**w, "low": np.float32(-3), "high": np.float32(3)})


@pytest.fixture(scope="module")
def ill() -> Diagnosis:
    return aot.doctor(uneven(), draws(uneven(), 60), weights="per-tensor")


def test_the_layer_to_blame(ill: Diagnosis) -> None:
    assert ill.blamed == (ill.worst()[0].name,)
    worst = ill.worst()[0]
    assert (worst.op, worst.where) == ("depthwise_conv2d", "weights")
    assert "uneven" in worst.origin
    assert worst.weights.alone is not None and worst.weights.alone > 0.8
    assert worst.weights.mended is not None and worst.weights.mended > 0.8
    assert worst.output.alone is not None and worst.output.alone < 0.1
    assert worst.spread is not None and worst.spread > 100
    small_channels = [c for i, c in enumerate(worst.channels) if i != 3]
    assert max(c.weights_sqnr_db or 0 for c in small_channels) < 20 < (worst.channels[3].weights_sqnr_db or 0)
    assert any("uneven" in line for line in ill.verdict)


def test_the_recipe_cures(ill: Diagnosis) -> None:
    assert ill.recipe is not None
    assert ill.recipe.options["weights"] == "per-channel"
    assert ill.recipe.words.startswith("--weights per-channel")
    assert ill.recipe.answers.error < 0.2 * ill.answers.error
    cured = aot.doctor(uneven(), draws(uneven(), 60), **ill.recipe.options)
    promised = ill.recipe.answers
    assert cured.answers.agreement == promised.agreement, "what was promised"
    assert cured.answers.error == pytest.approx(promised.error, rel=1e-3)
    assert cured.worst()[0].harm < 0.8
    assert cured.recipe is None or "weights" not in cured.recipe.options


def test_layers_put_back_to_float_leave_no_error(ill: Diagnosis) -> None:
    assert ill.restored[-1].left == pytest.approx(0, abs=1e-9)
    assert ill.restored[-1].agreement == 1
    assert ill.restored[0].left < 0.2
    assert {r.name for r in ill.restored} == {layer.name for layer in ill.layers}


def test_a_range_that_is_too_narrow() -> None:
    """One layer's range is cut to a twentieth: its output is to blame, and how much is clipped is said."""
    net = aot.compile(cnn(), draws(cnn(), 40))
    name = next(n.output for n in net.float_graph.nodes if n.op.name == "conv2d")
    whole = net.calibration.ranges[name]
    net = with_ranges(net, {name: Range(whole.low / 20, whole.high / 20)})
    samples = data.load(draws(cnn(), 40), net.float_graph)
    found = diagnose(net, samples, samples)
    worst = found.worst()[0]
    assert (worst.name, worst.where) == (name, "output")
    assert worst.clipped > 0.3
    assert np.mean([c.clipped for c in worst.channels]) == pytest.approx(worst.clipped)
    assert all(c.clipped == 0 for layer in found.layers for c in layer.channels if layer.clipped == 0)
    assert "clipped" in worst.reason
    assert found.recipe is not None, "any calibration is better"


def test_a_range_that_is_too_wide() -> None:
    net = aot.compile(cnn(), draws(cnn(), 40))
    name = next(n.output for n in net.float_graph.nodes if n.op.name == "conv2d")
    whole = net.calibration.ranges[name]
    net = with_ranges(net, {name: Range(whole.low * 32, whole.high * 32)})
    samples = data.load(draws(cnn(), 40), net.float_graph)
    worst = diagnose(net, samples, samples).worst()[0]
    assert worst.name == name
    assert 4.5 < worst.unused_bits < 5.8
    assert worst.clipped == 0
    assert min(c.unused_bits for c in worst.channels) == worst.unused_bits


def with_ranges(net: Net, ranges: dict[str, Range]) -> Net:
    """The network quantized again with some other ranges."""
    from aot.quantize import quantize as quantize_graph
    calibration = replace(net.calibration, ranges={**net.calibration.ranges, **ranges})
    return replace(net, calibration=calibration, graph=quantize_graph(net.float_graph, calibration))


@pytest.mark.parametrize("make", [cnn, uneven, lambda: small("a", "b", outputs=("y", "z"))])
def test_the_walk_in_float_is_near_the_twin(make: Any) -> None:
    """Roundings put into the float graph give what integers give, but for steps of the last place."""
    net = aot.compile(make(), draws(make(), 40))
    x = stack([{n: a[i] for n, a in draws(make(), 40).items()} for i in range(4)])
    near = Batch(net.float_graph, net.graph).run(x, True, True)
    for i in range(4):
        q = {n: quantize(a[i], net.graph.values[n].quant, *LIMITS["s8"]).astype(np.int8) for n, a in x.items()}
        for name, y in walk_quantized(net.graph, q):
            off = np.abs(near[name][i] - dequantize(y, net.graph.values[name].quant)) / net.graph.values[name].scale
            assert off.mean() < 0.6, name
            assert off.max() < 4, name


def test_a_healthy_network() -> None:
    name = EXAMPLES / "digits_cnn"
    found = aot.doctor(name / "model.onnx", name / "eval.npz", calib=name / "calib.npz")
    assert found.healthy
    assert found.answers.top1 is not None and found.answers.float_top1 is not None
    assert abs(found.answers.top1 - found.answers.float_top1) < 0.02
    assert found.warnings == ()
    assert all(0 <= layer.clipped <= 1 and layer.low <= layer.high for layer in found.layers)


def test_progress_and_generators() -> None:
    told: list[tuple[str, int, int]] = []
    x = draws(dense(), 40)["x"]
    found = aot.doctor(dense(), iter(x), progress=lambda *step: told.append(step))
    assert found.answers.samples == 40
    assert {stage for stage, _, _ in told} == {"calibrating", "examining", "trying recipes"}
    assert all(done <= total for _, done, total in told)


# --- JSON, page and command line ---------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def html(ill: Diagnosis) -> str:
    need_package("matplotlib")
    return doctor_page.page(ill)


def test_the_page_stands_alone(html: str, ill: Diagnosis) -> None:
    assert html.startswith("<!DOCTYPE html>")
    assert html.count("<svg") == html.count("</svg>") >= 5
    assert not re.search(r"(?:src|href)=\"(?!#)", html), "nothing is fetched"
    assert "<script" not in html
    assert all(layer.origin in html for layer in ill.layers)
    assert html.count('class="blamed"') == len(ill.blamed)
    assert ill.recipe is not None and ill.recipe.words in html
    assert doctor_page.page(ill) == html, "the same bytes"


def test_names_are_no_markup(ill: Diagnosis) -> None:
    need_package("matplotlib")
    odd = replace(ill.layers[0], origin="<script>$x_{$&\"\x1b[31m")
    page = doctor_page.page(replace(ill, name="<b>", layers=(odd, *ill.layers[1:])))
    assert "<script>" not in page and "<b>" not in page
    assert "\x1b" not in page


def test_without_matplotlib(ill: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(AotError, match=r"aot\[html\]"):
        doctor_page.page(ill)


def test_the_command(tmp_path: Path, command: Command) -> None:  # noqa: F811
    onnx.save(uneven(), tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", **draws(uneven(), 60))
    words = ["doctor", tmp_path / "m.onnx", "--data", tmp_path / "c.npz", "--weights", "per-tensor"]
    done = command(*words)
    assert (done.status, done.err) == (0, "")
    assert "recipe: --weights per-channel" in done.out
    assert "uneven" in done.out
    assert max(map(len, done.out.split("\ndB: ")[0].splitlines())) <= 80
    done = command(*words, "--json", "-")
    result = json.loads(done.out)
    assert result["blamed"] == [max(result["layers"], key=lambda layer: layer["harm"])["name"]]
    assert result["recipe"]["options"]["weights"] == "per-channel"
    assert {"sqnr_db", "clipped", "unused_bits", "headroom", "channels", "reason"} <= set(result["layers"][1])
    assert len(result["layers"][1]["channels"]) == 8


def test_the_page_from_the_command(tmp_path: Path, command: Command) -> None:  # noqa: F811
    need_package("matplotlib")
    onnx.save(dense(), tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", **draws(dense(), 40))
    words = ["doctor", tmp_path / "m.onnx", "--data", tmp_path / "c.npz", "--html"]
    assert command(*words, tmp_path / "new" / "page.html").status == 0
    assert (tmp_path / "new" / "page.html").read_text().startswith("<!DOCTYPE html>")
    command(*words, tmp_path / "c.npz" / "page.html").refused("not a folder", "hint")


def test_what_is_refused(tmp_path: Path, command: Command) -> None:  # noqa: F811
    onnx.save(dense(), tmp_path / "m.onnx")
    assert command("doctor", tmp_path / "m.onnx").status == 2
    assert command("doctor", tmp_path / "m.onnx", "--data", "x.npz", "--weights", "some").status == 2
    process("doctor", tmp_path / "m.onnx", "--data", tmp_path / "none.npz").refused("none.npz", "hint")


# --- the shared models -------------------------------------------------------------------------------------------

@pytest.mark.shared
def test_one_scale_for_all_weights_of_mobilenet() -> None:
    """As others quantize it: the depthwise layers that cause the fall are found, and the recipe mends it."""
    item = next(s for s in SHARED if s.name == "cifar_mbv2")
    path, calib, evaluation = shared_files(item)
    found = aot.doctor(path, evaluation, calib=calib, weights="per-tensor", corrections="none", calibration="minmax")
    assert found.answers.float_top1 is not None and found.answers.top1 is not None
    assert found.answers.float_top1 - found.answers.top1 > 0.1
    layers = {layer.name: layer for layer in found.layers}
    assert found.blamed
    assert all(layers[n].op == "depthwise_conv2d" and layers[n].where == "weights" for n in found.blamed)
    assert found.recipe is not None
    assert found.recipe.options["weights"] == "per-channel"
    assert found.recipe.answers.top1 is not None
    assert found.recipe.answers.top1 > found.answers.float_top1 - 0.01
