"""Typical blocks of small networks, as exporters write them, through the whole road.

Each must mean what ONNX Runtime computes (every compilation checks that), run in C with the twin's bytes, layer by
layer, and stay near the float model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from frontend.models import model
from onnx import helper
from road import draws

import aot
from aot import data
from aot.ir import Array
from aot.verify import verify

RNG = np.random.default_rng(3)
MAP = (1, 4, 9, 7)


def w(*shape: int) -> Array:
    return (RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def f(*numbers: float) -> Array:
    return np.array(numbers, np.float32)


def i(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def chain(*layers: tuple[Any, ...], shape: Sequence[int] = MAP, opset: int = 17) -> onnx.ModelProto:
    """Layers one after the other: operator, constant inputs, attributes as a dict at the end. ``None`` as a constant
    leaves an input out; a text stands for an earlier tensor: t0 is the input, t1 the first layer's output."""
    nodes, constants = [], {}
    for k, (operator, *rest) in enumerate(layers):
        attributes = rest.pop() if rest and isinstance(rest[-1], dict) else {}
        inputs = [f"t{k}"]
        for j, constant in enumerate(rest):
            name = constant if isinstance(constant, str) else f"c{k}_{j}"
            if not isinstance(constant, str | None):
                constants[name] = np.asarray(constant)
            inputs.append("" if constant is None else name)
        if "first" in attributes:
            inputs = [attributes.pop("first"), *inputs[1:]]
        nodes.append(helper.make_node(operator, inputs, [f"t{k + 1}"], name=f"{operator}{k}", **attributes))
    made = model(nodes, {"t0": list(shape)}, {}, constants, opset=opset, ir_version=10 if opset > 20 else 8)
    made.graph.output.append(helper.make_tensor_value_info(f"t{len(layers)}", 1, None))
    return made


CONV = ("Conv", w(6, 4, 3, 3), w(6), {"pads": [1, 1, 1, 1]})
NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "batch norm and relu6": lambda: chain(
        ("Conv", w(6, 4, 3, 3)), ("BatchNormalization", abs(w(6)) + 1, w(6), w(6), abs(w(6)) + 1),
        ("Clip", f(0)[0], f(6)[0])),
    "relu6 of opset 6 in attributes": lambda: chain(CONV, ("Clip", {"min": 0.0, "max": 6.0}), opset=10),
    "inverted residual": lambda: chain(
        ("Conv", w(12, 4, 1, 1), w(12)), ("Clip", f(0)[0], f(6)[0]),
        ("Conv", w(12, 1, 3, 3), {"group": 12, "pads": [1] * 4}),
        ("Clip", f(0)[0], f(6)[0]), ("Conv", w(4, 12, 1, 1), w(4)), ("Add", "t0")),
    "normalized before": lambda: chain(
        ("BatchNormalization", abs(w(4)) + 1, w(4), w(4), abs(w(4)) + 1), ("Relu",), CONV),
    "squeeze and excite": lambda: chain(
        CONV, ("GlobalAveragePool",), ("Conv", w(3, 6, 1, 1), w(3)), ("Relu",), ("Conv", w(6, 3, 1, 1), w(6)),
        ("Sigmoid",), ("Mul", "t1")),
    "gate from dense layers": lambda: chain(
        CONV, ("ReduceMean", {"axes": [2, 3], "keepdims": 0}), ("Gemm", w(6, 6)), ("HardSigmoid", {"alpha": 1 / 6}),
        ("Unsqueeze", i(2, 3)), ("Mul", "t1")),
    "hard swish from parts": lambda: chain(
        CONV, ("Add", f(3)), ("Clip", f(0)[0], f(6)[0]), ("Mul", "t1"), ("Div", f(6))),
    "silu": lambda: chain(CONV, ("Sigmoid",), ("Mul", "t1")),
    "gelu": lambda: chain(CONV, ("Gelu",), opset=20),
    "one dimension": lambda: chain(
        ("Conv", w(6, 4, 5), w(6), {"strides": [2], "pads": [2, 2]}), ("Relu",),
        ("MaxPool", {"kernel_shape": [2], "strides": [2]}),
        ("Conv", w(6, 1, 3), {"group": 6, "dilations": [2]}), ("GlobalAveragePool",), ("Flatten",), ("Gemm", w(6, 3)),
        shape=(1, 4, 40)),
    "causal": lambda: chain(
        ("Pad", i(0, 0, 4, 0, 0, 0)), ("Conv", w(6, 4, 3), {"dilations": [2]}), ("Relu",),
        ("Gather", i(-1)[0], {"axis": 2}), ("Gemm", w(6, 3)), shape=(1, 4, 20)),
    "causal, residual": lambda: chain(
        ("Pad", i(0, 0, 4, 0, 0, 0)), ("Conv", w(4, 4, 3), {"dilations": [2]}), ("Relu",),
        ("Pad", i(0, 0, 4, 0, 0, 0)), ("Conv", w(4, 4, 3), {"dilations": [2]}), ("Add", "t0"), ("Relu",),
        ("Pad", i(0, 0, 8, 0, 0, 0)), ("Conv", w(4, 1, 3), {"dilations": [4], "group": 4}), ("Add", "t7"),
        ("Slice", i(-1), i(100), i(2)), ("Conv", w(3, 4, 1)), ("Flatten",), shape=(1, 4, 20)),
    "a corner of a map": lambda: chain(
        CONV, ("MaxPool", {"kernel_shape": [3, 3], "pads": [1] * 4}),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2]}), ("Conv", w(3, 6, 1, 1), w(3)),
        ("Slice", i(0, 0), i(2, 3), i(2, 3))),
    "same upper": lambda: chain(("Conv", w(6, 4, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
                                ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"})),
    "same lower": lambda: chain(("Conv", w(6, 4, 2, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 1]})),
    "groups": lambda: chain(("Conv", w(6, 2, 3, 3), {"group": 2}), ("Conv", w(12, 1, 3, 3), {"group": 6})),
    "dilated": lambda: chain(("Conv", w(6, 4, 3, 3), {"dilations": [3, 2], "pads": [3, 2, 3, 2]})),
    "kernels of a line": lambda: chain(("Conv", w(4, 4, 7, 1), {"pads": [3, 0, 3, 0]}), ("Conv", w(4, 4, 1, 7))),
    "larger than the map": lambda: chain(("Conv", w(3, 4, 9, 7)), ("Flatten",), ("Softmax",)),
    "mean by ceil": lambda: chain(CONV, ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
                                  ("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1})),
    "maximum by ceil": lambda: chain(CONV, ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1})),
    "inception": lambda: chain(
        ("Conv", w(3, 4, 1, 1)), ("Relu",), ("Conv", w(3, 4, 3, 3), {"first": "t0", "pads": [1] * 4}), ("Tanh",),
        ("MaxPool", {"first": "t0", "kernel_shape": [3, 3], "pads": [1] * 4}), ("Concat", "t2", "t4", {"axis": 1})),
    "halves that swap": lambda: chain(
        ("Slice", i(0), i(2), i(1)), ("Slice", i(2), i(4), i(1), {"first": "t0"}),
        ("Conv", w(2, 2, 3, 3), {"pads": [1] * 4}),
        ("Concat", "t1", {"axis": 1}), ("Reshape", i(1, 2, 2, 9, 7)), ("Transpose", {"perm": [0, 2, 1, 3, 4]}),
        ("Reshape", i(0, 4, 9, 7)), ("Conv", w(2, 4, 1, 1))),
    "channels last": lambda: chain(
        ("Transpose", {"perm": [0, 3, 1, 2]}), ("Conv", w(6, 4, 3, 3)), ("Relu",),
        ("Transpose", {"perm": [0, 2, 3, 1]}),
        ("Reshape", i(1, -1)), ("MatMul", w(210, 3)), ("Add", w(3)), shape=(1, 9, 7, 4)),
    "flattened and dense": lambda: chain(
        CONV, ("Flatten",), ("Gemm", w(5, 378), w(5), {"transB": 1, "alpha": 0.5, "beta": 2.0}), ("Softmax",)),
    "rows of features": lambda: chain(("MatMul", w(7, 5)), ("Add", w(5)), ("Relu",),
    ("MatMul", w(5, 3)), shape=(1, 6, 7)),
    "normalized input": lambda: chain(
        ("Sub", w(4, 1, 1)), ("Div", abs(w(4, 1, 1)) + f(0.5)), CONV),
    "constant padding": lambda: chain(("Pad", i(0, 0, 1, 2, 0, 0, 0, 1), f(0.5)[0]), CONV),
    "slope of a channel": lambda: chain(CONV, ("PRelu", abs(w(6, 1, 1))), ("Conv", w(2, 6, 1, 1))),
    "one slope": lambda: chain(CONV, ("PRelu", f(0.2)), ("LeakyRelu", {"alpha": 0.3})),
    "bounds by Max and Min": lambda: chain(CONV, ("Max", f(0)[0]), ("Min", f(1)[0])),
    "largest and smallest": lambda: chain(CONV, ("Tanh",), ("Max", "t1", f(0.2)), ("Min", "t2", w(6, 1, 1))),
    "sums": lambda: chain(CONV, ("ReduceSum", i(2, 3), {"keepdims": 0})),
    "sum of everything": lambda: chain(CONV, ("ReduceSum",)),
    "largest of a map": lambda: chain(CONV, ("ReduceMax", {"axes": [2, 3], "keepdims": 0})),
    "pixels from depth": lambda: chain(CONV, ("Conv", w(8, 6, 1, 1)),
    ("DepthToSpace", {"blocksize": 2, "mode": "CRD"})),
    "pixels from depth first": lambda: chain(("Conv", w(12, 4, 1, 1)), ("DepthToSpace", {"blocksize": 2}),
                                             ("Conv", w(2, 3, 3, 3))),
    "depth from pixels": lambda: chain(("SpaceToDepth", {"blocksize": 2}),
    ("Conv", w(6, 16, 3, 3)), shape=(1, 4, 8, 6)),
    "one minus": lambda: chain(CONV, ("Sigmoid",), ("Sub", "t2", {"first": "t1"}), ("Neg",)),
    "squares": lambda: chain(CONV, ("Mul", "t1"), ("ReduceMean", {"axes": [2, 3]}), ("Sqrt",)),
    "two rows at once": lambda: chain(("Gemm", w(7, 4)), ("Relu",), shape=(2, 7)),
}


@pytest.mark.parametrize("target", ["c99", "cortex-m4"])
@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str, target: str) -> None:
    RNG.bit_generator.state = np.random.default_rng(len(name)).bit_generator.state
    made = NETWORKS[name]()
    samples = draws(made, 24)
    net = aot.compile(made, samples, target=target, name="net", calibration="minmax")
    result = verify(net, data.load(samples, net.float_graph).first(8))
    assert (result.mismatches, result.first_mismatch) == (0, None)
    assert result.sqnr_db > 25, str(net.graph)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 15, 18, 20, 21, 22, 23, onnx.defs.onnx_opset_version()])
def test_opsets(opset: int) -> None:
    """The same network in every opset: what moved from attributes to inputs is written where it then was."""
    softmax = ("Softmax", {"axis": 1})
    mean = ("ReduceMean", {"axes": [2, 3], "keepdims": 0}) if opset < 18 else ("ReduceMean", i(2, 3), {"keepdims": 0})
    clip = ("Clip", {"min": 0.0, "max": 6.0}) if opset < 11 else ("Clip", f(0)[0], f(6)[0])
    pad = ("Pad", {"pads": [0, 0, 1, 1, 0, 0, 1, 1]}) if opset < 11 else ("Pad", i(0, 0, 1, 1, 0, 0, 1, 1))
    made = chain(pad, ("Conv", w(6, 4, 3, 3), w(6)), clip, mean, ("Gemm", w(6, 3), w(3)), softmax, opset=opset)
    net = aot.compile(made, draws(made, 24), name="net")
    kinds = [n.op.name for n in net.graph.nodes if n.op.name != "reshape"]
    assert kinds == ["transpose", "conv2d", "average_pool2d", "fully_connected", "softmax"]
    assert verify(net, data.load(draws(made, 8, seed=1), net.float_graph)).mismatches == 0


@pytest.mark.parametrize("layers", [
    [("ConvTranspose", w(4, 2, 2, 2))], [("LogSoftmax",)], [("ArgMax",)],
    [("Pad", i(0, 0, 1, 1, 0, 0, 1, 1), {"mode": "reflect"})],
    [("Resize", None, f(1, 1, 2, 2), {"mode": "nearest"})], [("Tile", i(1, 2, 1, 1))], [("Expand", i(3, 4, 9, 7))],
    [("Div", "t0")], [("MatMul", "t0")], [("Greater", f(0)[0])], [("InstanceNormalization", w(4), w(4))],
    [("LayerNormalization", w(7))], [("Gather", i(*[0, 3, 1, 2] * 50), {"axis": 1})], [("PRelu", "t0")],
], ids=lambda layers: layers[0][0])
def test_what_is_not_supported_is_refused(layers: list[tuple[Any, ...]]) -> None:
    """With the node's name, never a crash."""
    shape = (1, 4, 7, 7) if layers[0][0] == "MatMul" else MAP
    made = chain(*layers, shape=shape)
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("t1", 7 if layers[0][0] == "ArgMax" else 1, None))
    with pytest.raises(aot.AotError) as caught:
        aot.compile(made, draws(made))
    assert f"{layers[0][0]}0" in caught.value.problems[0].node
