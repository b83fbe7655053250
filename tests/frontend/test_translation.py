"""What is read means what ONNX Runtime computes, under the original names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import convolution, dense, model
from onnx import TensorProto, helper, numpy_helper
from road import MODELS

from aot.errors import AotError
from aot.frontend import Loaded, load
from aot.interpret import run_float
from aot.ir import check
from aot.oracle import Oracle

COMPLETE = ("ad01_autoencoder", "cifar_mbv2", "digits_mlp", "fashion_lenet", "fashion_lenet_dynamo", "fsdd_tcn",
            "ic01_resnet8", "kws01_dscnn", "mnist_mlp", "vww96_mobilenetv1_025", "qdq/kws01_dscnn_weightonly")


def agree(what: Any) -> Loaded:
    """Load, verify the graph, and compare its meaning with ONNX Runtime's on random data."""
    loaded = load(what)
    check(loaded.graph)
    rng = np.random.default_rng(1)
    x = {n: rng.normal(size=loaded.graph.values[n].type.shape).astype(np.float32) for n in loaded.graph.inputs}
    ours, theirs = run_float(loaded.graph, x), Oracle(loaded.model).run(x)
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape
        np.testing.assert_allclose(ours[name], expected, rtol=1e-4, atol=1e-5)
    return loaded


def test_a_dense_layer() -> None:
    loaded = agree(dense())
    assert loaded.graph.inputs == ("x",)
    assert loaded.graph.outputs == ("y",)
    assert [n.origin for n in loaded.graph.nodes] == [("fc",), ("act",)]


def test_path_bytes_and_object_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "my net-2.onnx"
    onnx.save(dense(), path)
    texts = {str(load(m).graph) for m in (path, str(path), path.read_bytes(), dense())}
    assert len(texts) == 1
    assert load(path).name == "my_net_2"
    assert load(path, "other").name == "other"
    assert load(path.read_bytes()).name == "graph"


def test_the_given_model_is_left_alone() -> None:
    given = convolution()
    before = given.SerializeToString(deterministic=True)
    load(given)
    assert given.SerializeToString(deterministic=True) == before


def test_arithmetic_on_shapes_and_a_symbolic_batch_vanish() -> None:
    loaded = agree(convolution())
    assert loaded.graph.values["x"].type.shape == (1, 2, 6, 6)
    assert loaded.graph.values["y"].type.shape == (1, 27)
    origins = {o for n in loaded.graph.nodes for o in n.origin}
    assert origins == {"conv", "pool", "flat"}


def test_an_absent_batch_dimension_becomes_1() -> None:
    given = model([helper.make_node("Relu", ["x"], ["y"])], {"x": [None, 4]}, {"y": [None, 4]})
    assert agree(given).graph.values["y"].type.shape == (1, 4)


def test_initializers_that_are_inputs_too_are_constants() -> None:
    given = dense()
    given.ir_version = 3
    given.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3]))
    assert agree(given).graph.inputs == ("x",)


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 12, 13, 17, onnx.defs.onnx_opset_version()])
def test_opsets(opset: int) -> None:
    """Forms that changed: Clip, Squeeze, ReduceMean, Softmax over axis 1, Dropout, Pad."""
    x = np.float32
    constants: dict[str, Any] = {"w": np.linspace(-1, 1, 54, dtype=x).reshape(3, 2, 3, 3)}

    def ints(name: str, values: list[int], since: int) -> tuple[list[str], dict[str, Any]]:
        if opset < since:
            return [], {name: values}
        constants[f"{name}_{len(constants)}"] = np.array(values)
        return [list(constants)[-1]], {}

    more, pads = ints("pads", [0, 0, 1, 1, 0, 0, 1, 1], 11)
    nodes = [helper.make_node("Pad", ["x", *more], ["p"], mode="constant", **pads),
             helper.make_node("Conv", ["p", "w"], ["c"])]
    if opset < 11:
        nodes.append(helper.make_node("Clip", ["c"], ["r"], min=0.0, max=6.0))
    else:
        constants |= {"low": x(0), "high": x(6)}
        nodes.append(helper.make_node("Clip", ["c", "low", "high"], ["r"]))
    more, axes = ints("axes", [2, 3], 18)
    nodes += [helper.make_node("Dropout", ["r"], ["d"]),
              helper.make_node("ReduceMean", ["d", *more], ["m"], keepdims=1, **axes)]
    more, axes = ints("axes", [3], 13)
    nodes += [helper.make_node("Squeeze", ["m", *more], ["q"], **axes),
              helper.make_node("Softmax", ["q"], ["y"], axis=1)]
    given = model(nodes, {"x": [1, 2, 5, 5]}, {"y": [1, 3, 1]}, constants, opset=opset, ir_version=8)
    given.ir_version = max(8, onnx.helper.find_min_ir_version_for(given.opset_import))
    loaded = load(given)
    check(loaded.graph)
    data = {"x": np.random.default_rng(0).normal(size=(1, 2, 5, 5)).astype(x)}
    expected = Oracle(loaded.model).run(data)["y"] if opset < 24 else None
    if expected is not None:  # ONNX Runtime may know fewer opsets than onnx
        np.testing.assert_allclose(run_float(loaded.graph, data)["y"], expected, rtol=1e-4, atol=1e-5)
    assert run_float(loaded.graph, data)["y"].shape == (1, 3, 1)


def test_local_functions_are_replaced_by_their_bodies() -> None:
    body = [helper.make_node("Relu", ["a"], ["t"]), helper.make_node("Neg", ["t"], ["b"])]
    function = helper.make_function("mine", "NegRelu", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    given = model([helper.make_node("NegRelu", ["x"], ["y"], domain="mine")], {"x": [1, 4]}, {"y": [1, 4]},
                  functions=[function], opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)])
    assert len(agree(given).graph.nodes) == 2


def test_outputs_that_share_a_value_or_are_constant_get_their_own_node() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Identity", ["y"], ["again"]),
             helper.make_node("Identity", ["x"], ["same"])]
    given = model(nodes, {"x": [1, 4]}, {"y": [1, 4], "again": [1, 4], "same": [1, 4], "c": [2]},
                  {"c": np.array([1, 2], np.float32)})
    graph = agree(given).graph
    assert graph.outputs == ("y", "again", "same", "c")
    assert len({n.output for n in graph.nodes}) == len(graph.nodes) == 4


def test_an_output_may_have_the_name_of_an_inner_value() -> None:
    """`y.conv` is what the reader of Conv calls the value before its last Transpose."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"]), helper.make_node("Relu", ["y"], ["y.conv"])]
    given = model(nodes, {"x": [1, 1, 2, 2]}, {"y": [1, 2, 2, 2], "y.conv": [1, 2, 2, 2]},
                  {"w": np.array([1, -1], np.float32).reshape(2, 1, 1, 1)})
    assert agree(given).graph.outputs == ("y", "y.conv")


@pytest.mark.parametrize("name", ['say "hi"', "two\nlines", "*/ int main", "//", "größe", "变量", "while", "\\", " "])
def test_any_name_loads(name: str) -> None:
    given = model([helper.make_node("Relu", [name], [name + "2"], name=name)], {name: [1, 4]}, {name + "2": [1, 4]})
    given.graph.name = name
    loaded = agree(given)
    assert loaded.graph.inputs == (name,)
    assert loaded.graph.outputs == (name + "2",)
    assert loaded.name.isidentifier()


def test_dead_nodes_are_left_out_even_if_unsupported() -> None:
    given = dense()
    given.graph.node.append(helper.make_node("NonZero", ["h"], ["unused"]))
    assert len(agree(given).graph.nodes) == 2


def test_double_initializers_become_float() -> None:
    nodes = [helper.make_node("Cast", ["d"], ["f"], to=TensorProto.FLOAT), helper.make_node("Add", ["x", "f"], ["y"])]
    graph = agree(model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, {"d": np.array([0.1, 2.5])})).graph
    assert {str(v.type.format) for v in graph.values.values()} == {"f32"}


def test_a_cast_to_the_same_type_vanishes() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Cast", ["r"], ["y"], to=TensorProto.FLOAT)]
    assert len(agree(model(nodes, {"x": [1, 2]}, {"y": [1, 2]})).graph.nodes) == 1


def test_weights_stored_as_integers_are_dequantized() -> None:
    nodes = [helper.make_node("DequantizeLinear", ["q", "scale"], ["w"], axis=1),
             helper.make_node("MatMul", ["x", "w"], ["y"])]
    constants = {"q": np.array([[1, -2], [3, 4]], np.int8), "scale": np.array([0.5, 0.25], np.float32)}
    agree(model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, constants))


def test_external_data_beside_the_model(tmp_path: Path) -> None:
    given = dense()
    onnx.save(given, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").stat().st_size > 0
    assert str(agree(tmp_path / "m.onnx").graph) == str(load(dense()).graph)


def test_loading_twice_gives_the_same() -> None:
    first, second = load(convolution()), load(convolution())
    assert str(first.graph) == str(second.graph)
    assert first.model == second.model


@pytest.mark.shared
@pytest.mark.parametrize("name", COMPLETE)
def test_shared_models(name: str) -> None:
    agree(MODELS / f"{name}.onnx")


@pytest.mark.shared
def test_every_shared_model_is_read_or_refused() -> None:
    files = sorted(MODELS.rglob("*.onnx"))
    assert len(files) >= 22
    for file in files:
        try:
            load(file)
        except AotError as error:
            assert all("supported" in p.fact or "is not an operator" in p.fact for p in error.problems), file


def test_numbers_of_every_storage_are_read() -> None:
    tensor = helper.make_tensor("c", TensorProto.FLOAT, [2], [1.5, 2.5])  # in float_data, not raw
    given = model([helper.make_node("Add", ["x", "c"], ["y"])], {"x": [1, 2]}, {"y": [1, 2]})
    given.graph.initializer.append(tensor)
    agree(given)
    del given.graph.initializer[:]
    given.graph.initializer.append(numpy_helper.from_array(np.array([1.5, 2.5], np.float32), "c"))
    agree(given)
