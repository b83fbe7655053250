"""The inspection counts what the published descriptions of the models say, and works for refused models too."""

from __future__ import annotations

import numpy as np
import pytest
from models import convolution, dense, model
from onnx import helper
from road import MODELS

from aot.errors import AotError
from aot.inspect import inspect


def test_a_dense_layer() -> None:
    found = inspect(dense())
    assert [(r.layer, r.operator, r.output, r.macs, r.parameters, r.supported) for r in found.rows] == [
        ("fc", "Gemm", (1, 3), 12, 15, True), ("act", "Relu", (1, 3), 0, 0, True)]
    assert (found.macs, found.parameters, found.problems) == (12, 15, ())
    assert "12 MACs" in found.table()


def test_a_convolution() -> None:
    """36 positions, 3 filters of 2 x 3 x 3; arithmetic on shapes is no layer."""
    found = inspect(convolution())
    assert [(r.layer, r.macs, r.parameters) for r in found.rows] == [
        ("conv", 36 * 3 * 18, 54), ("pool", 0, 0), ("flat", 0, 0)]


def test_refused_nodes_are_shown_with_their_shapes() -> None:
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["t"], name="up"),
             helper.make_node("Foo", ["t"], ["f"], name="odd"),
             helper.make_node("Relu", ["f"], ["y"], name="act")]
    found = inspect(model(nodes, {"x": [1, 2, 3, 3]}, {"y": [1]}, {"w": np.ones((2, 4, 2, 2), np.float32)}))
    assert [(r.layer, r.output, r.macs) for r in found.rows] == [
        ("up", (1, 4, 4, 4), 18 * 16), ("odd", None, 0), ("act", None, 0)]
    assert not found.rows[1].supported
    assert found.rows[2].supported
    assert "odd (Foo): Foo is not an operator" in found.table()


def test_shared_weights_count_once() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    found = inspect(model(nodes, {"x": [1, 4]}, {"y": [1, 4]}, {"w": np.ones((4, 4), np.float32)}))
    assert (found.macs, found.parameters) == (32, 16)


def test_names_fit_a_terminal() -> None:
    found = inspect(model([helper.make_node("Relu", ["x"], ["y"], name="\x1b[31m\n[bold]")], {"x": [1]}, {"y": [1]}))
    assert "\x1b" not in found.table()
    assert len(found.table().splitlines()) == 6


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(AotError):
        inspect(b"text")


@pytest.mark.shared
@pytest.mark.parametrize(("name", "macs", "parameters"), [
    ("ic01_resnet8", 12_501_632, 77_706), ("kws01_dscnn", 2_656_768, 22_604),
    ("vww96_mobilenetv1_025", 7_489_664, 210_850), ("ad01_autoencoder", 264_192, 267_928)])
def test_shared_models(name: str, macs: int, parameters: int) -> None:
    found = inspect(MODELS / f"{name}.onnx")
    assert (found.macs, found.parameters) == (macs, parameters)
