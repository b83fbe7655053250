"""Models that are quantized already: every layer is the float layer of the model, rounded as the model says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import qdq
from exactness import off
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import helper
from road import MODELS, draws

import aot
from aot.bench import bench
from aot.interpret import run_quantized
from aot.numerics import stored
from aot.oracle import Oracle

#: Types of activations and weights; the largest distance from a tie at which integers may differ, in steps.
KINDS = (("int8", "int8", 0.02), ("uint8", "int8", 0.02), ("uint8", "uint8", 0.02), ("int8", "int4", 0.02),
         ("int8", "uint4", 0.02), ("int4", "int8", 0.02), ("int16", "int8", 0.5), ("uint16", "int8", 0.5),
         ("int16", "int16", 0.5))


def judge(model: onnx.ModelProto, tie: float, seed: int = 0, **options: object) -> aot.Net:
    """Compile without data, and look at every layer on random inputs; answers the network."""
    net = aot.compile(model, name="net", **options)  # type: ignore[arg-type]
    for i in range(2):
        x = {n: a[0] for n, a in draws(model, 1, 2 * seed + i).items()}
        for found in off(net, x):
            assert found.steps <= 1 and found.tie <= tie, f"{found}\n{net.graph}"
    return net


def same_bytes(net: aot.Net, seed: int = 0) -> None:
    """The compiled C gives what the twin gives."""
    rng = np.random.default_rng(seed)
    x = {n: rng.normal(size=net.graph.values[n].type.shape).astype(np.float32) for n in net.graph.inputs}
    q = {n: stored(a, net.graph.values[n].type) for n, a in x.items()}
    twin, c = run_quantized(net.graph, q), net.run_quantized(q)
    np.testing.assert_array_equal(np.asarray(c).reshape(-1), next(iter(twin.values())).reshape(-1))


@pytest.mark.parametrize(("kind", "weights", "tie"), KINDS, ids=[f"{k}-{w}" for k, w, _ in KINDS])
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**20))
@example(seed=157)  # a tie of four bits, which ONNX Runtime does not show
def test_layers_differ_on_ties_only(kind: str, weights: str, tie: float, seed: int) -> None:
    net = judge(qdq.network(seed, kind, weights), tie, seed)
    if kind != "int16" and kind != "uint16":
        assert not net.report.kept, net.report.kept


@pytest.mark.parametrize(("kind", "weights", "tie"), KINDS, ids=[f"{k}-{w}" for k, w, _ in KINDS])
@pytest.mark.parametrize("target", ["c99", "cortex-m0", "cortex-m4"])
def test_c_equals_twin(kind: str, weights: str, tie: float, target: str) -> None:
    for seed in (1, 2):
        same_bytes(aot.compile(qdq.network(seed, kind, weights), name="net", target=target))


def test_weights_of_minus_128_and_beyond() -> None:
    """int8 as it is; what a zero point takes out of 8 bits by inputs that are read twice, or by 16-bit weights."""
    for zero, expected in ((0, {"s8"}), (100, {"s8", "s16"})):
        q = qdq.Qdq(np.random.default_rng(3))
        x = q.rounded("x")
        w = q.const(np.full((4, 3, 3, 3), -128, np.int8), "w", onnx.TensorProto.INT8)
        names = [w, q.const(np.float32(0.01), "ws"), q.const(np.asarray(zero), "wz", onnx.TensorProto.INT8)]
        q.nodes.append(helper.make_node("DequantizeLinear", names, ["wf"]))
        c = q.rounded(q.add("Conv", [x, "wf"]))
        many = q.const(q.rng.integers(-128, 127, (5, 36)), "v", onnx.TensorProto.INT8)
        offset = q.const(np.asarray(zero // 50), "vz", onnx.TensorProto.INT8)
        q.nodes.append(helper.make_node("DequantizeLinear", [many, q.const(np.float32(0.02), "vs"), offset], ["vf"]))
        y = q.rounded(q.add("Gemm", [q.add("Flatten", [c]), "vf"], transB=1))
        net = judge(q.finish((1, 3, 5, 5), [y]), 0.02)
        formats = {net.graph.values[n.inputs[1]].type.format for n in net.graph.nodes if n.op.linear}
        assert formats == expected or (zero == 100 and "s16" in formats)
        for target in ("c99", "cortex-m0", "cortex-m4", "rv32imc"):
            same_bytes(aot.compile(net.model, name="net", target=target))


def few_beyond() -> onnx.ModelProto:
    """A convolution and a dense layer of uint8 weights, a few of which leave 8 bits without their zero point."""
    q = qdq.Qdq(np.random.default_rng(4), kind="uint8")
    x = q.rounded("x")
    whole = q.rng.integers(60, 200, (6, 2, 5, 5))
    whole[1, 0, 2, 2], whole[3, 1, 4, 4], whole[4, 1, 0, 3] = 255, 0, 1
    rows = q.rng.integers(60, 200, (7, 6 * 36))
    rows[2, 17] = 255
    for name, data in (("w", whole), ("v", rows)):
        parts = [q.const(data, name, onnx.TensorProto.UINT8), q.const(np.float32(0.01), f"{name}s"),
                 q.const(np.asarray(125), f"{name}z", onnx.TensorProto.UINT8)]
        q.nodes.append(helper.make_node("DequantizeLinear", parts, [f"{name}f"]))
    c = q.rounded(q.add("Conv", [x, "wf", q.bias(6)], pads=[1, 1, 1, 1]))
    y = q.rounded(q.add("Gemm", [q.add("Flatten", [c]), "vf"], transB=1))
    return q.finish((1, 2, 8, 8), [y])


def test_a_few_weights_beyond_8_bits_are_read_twice() -> None:
    net = judge(few_beyond(), 0.02, target="cortex-m4")
    assert [r.kernel for r in net.report.rows if r.op == "conv2d"] == ["conv2d.dsp_wide"]
    dense = next(n for n in net.graph.nodes if n.op.name == "fully_connected")
    assert net.graph.values[dense.inputs[1]].type.format == "s8"
    same_bytes(net)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**20))
def test_absurd_scales_are_compiled_or_refused(seed: int) -> None:
    """Scales of any size, zero points at the ends: integers where they can be, else float32, else a refusal."""
    rng = np.random.default_rng(seed)
    model = qdq.network(seed, str(rng.choice(["int8", "uint8", "int16"])))
    for tensor in model.graph.initializer:
        data = onnx.numpy_helper.to_array(tensor)
        if tensor.name.endswith("_s") and rng.random() < 0.3:
            factor = np.float32(10.0 ** rng.choice([-38, -20, -6, -3, -1, 1, 3, 6, 20, 37]))
            with np.errstate(all="ignore"):
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(data * factor, np.float32), tensor.name))
        if tensor.name.endswith("_z") and data.dtype.itemsize == 1 and rng.random() < 0.2:
            ends = np.iinfo(data.dtype)
            tensor.CopyFrom(onnx.numpy_helper.from_array(
                np.asarray(rng.choice([ends.min, ends.max, 0], data.shape), data.dtype), tensor.name))
    try:
        same_or_float(aot.compile(model, name="net"))
    except aot.AotError as refused:
        assert "report" not in str(refused)


def many_kernels(seed: int) -> onnx.ModelProto:
    """Convolutions of every kind and a dense layer, some of their weights -128."""
    q = qdq.Qdq(np.random.default_rng(seed))

    def weights(name: str, *shape: int) -> str:
        whole = np.where(q.rng.random(shape) < 0.02, -128, q.rng.integers(-127, 128, shape))
        names = [q.const(whole, name, onnx.TensorProto.INT8), q.const(np.float32(0.01), f"{name}s"),
                 q.const(np.asarray(0), f"{name}z", onnx.TensorProto.INT8)]
        q.nodes.append(helper.make_node("DequantizeLinear", names, [f"{name}f"]))
        return f"{name}f"

    x = q.rounded("x")
    x = q.rounded(q.add("Relu", [q.add("Conv", [x, weights("a", 8, 3, 3, 3), q.bias(8)], pads=[1, 1, 1, 1])]))
    x = q.rounded(q.add("Conv", [x, weights("b", 8, 1, 3, 3), q.bias(8)], pads=[1, 1, 1, 1], group=8))
    x = q.rounded(q.add("Conv", [x, weights("c", 32, 8, 1, 1), q.bias(32)]))
    x = q.rounded(q.add("Conv", [x, weights("d", 32, 1, 3, 3), q.bias(32)], strides=[2, 2], group=32))
    x = q.add("Flatten", [q.rounded(q.add("GlobalAveragePool", [x]))])
    return q.finish((1, 3, 12, 12), [q.rounded(q.add("Gemm", [x, weights("e", 10, 32)], transB=1))])


def test_weights_of_minus_128_do_not_cost_the_fast_kernels() -> None:
    for seed in (1, 2, 3):
        net = judge(many_kernels(seed), 0.02, target="cortex-m4")
        assert all(".dsp" in r.kernel for r in net.report.rows if r.macs), net.report
        same_bytes(net)


@pytest.mark.emulator
@pytest.mark.parametrize("target", ["cortex-m0", "cortex-m4", "cortex-m55", "rv32imc"])
def test_boards(target: str) -> None:
    """Weights of -128 and beyond, 16-bit weights, values of 16 bits between roundings: the same bytes everywhere."""
    for model in (many_kernels(2), few_beyond(), qdq.network(3, "uint8", "uint8"), qdq.network(2, "int16", "int8")):
        bench(aot.compile(model, name="net", target=target))


def test_blocks_of_int4_weights() -> None:
    q = qdq.Qdq(np.random.default_rng(5), opset=21)
    x = q.rounded("x")
    y = q.rounded(q.add("MatMul", [x, q.weights((64, 12), "int4", 0, block=16)]))
    net = judge(q.finish((1, 64), [y]), 0.02)
    assert net.graph.values[net.graph.nodes[0].inputs[1]].type.format == "s16"
    same_bytes(net)


def test_int4_weights_stay_int4() -> None:
    q = qdq.Qdq(np.random.default_rng(6), opset=21)
    x = q.rounded("x")
    y = q.rounded(q.add("MatMul", [x, q.weights((64, 12), "int4", 1)]))
    net = judge(q.finish((1, 64), [y]), 0.02)
    assert net.graph.values[net.graph.nodes[0].inputs[1]].type.format == "s4"
    same_bytes(net)


# --- the forms of exporters --------------------------------------------------------------------------------------

def test_weights_behind_both_nodes_and_a_transpose() -> None:
    """PyTorch: weights are float constants through QuantizeLinear and DequantizeLinear, and then a Transpose."""
    q = qdq.Qdq(np.random.default_rng(7))
    x = q.rounded("x")
    w = (q.rng.normal(size=(5, 8)) * 0.1).astype(np.float32)
    scale = (np.abs(w).max(axis=1) / 127).astype(np.float32)
    names = [q.const(scale, "ws"), q.const(np.zeros(5), "wz", onnx.TensorProto.INT8)]
    q.nodes += [helper.make_node("QuantizeLinear", [q.const(w, "w"), *names], ["wq"], axis=0),
                helper.make_node("DequantizeLinear", ["wq", *names], ["wd"], axis=0),
                helper.make_node("Transpose", ["wd"], ["wt"], perm=[1, 0])]
    y = q.rounded(q.add("Relu", [q.add("Add", [q.add("MatMul", [x, "wt"]), q.bias(5)])]))
    net = judge(q.finish((1, 8), [y]), 0.02)
    (node,) = (n for n in net.graph.nodes if n.op.linear)
    exact = np.clip(np.rint(w / scale[:, None]), -128, 127)
    np.testing.assert_array_equal(net.graph.values[node.inputs[1]].data, exact)
    assert net.graph.values[node.inputs[1]].quant.scale == tuple(float(s) for s in scale)


def test_relu_behind_the_rounding() -> None:
    """Quantization-aware training without fusing: Conv, rounding, Relu, rounding by the same scale."""
    q = qdq.Qdq(np.random.default_rng(8))
    x = q.rounded("x")
    c = q.rounded(q.add("Conv", [x, q.weights((4, 3, 3, 3), axis=0), q.bias(4)]))
    y = q.rounded(q.add("Relu", [c]), like=c)
    net = judge(q.finish((1, 3, 6, 6), [y]), 0.02)
    assert {n.op.name for n in net.graph.nodes} <= {"conv2d", "transpose"}


def test_reduced_ranges() -> None:
    """PyTorch clips the integers between QuantizeLinear and DequantizeLinear: fewer than the type holds."""
    q = qdq.Qdq(np.random.default_rng(9), kind="uint8")
    x = q.rounded("x")
    y = q.rounded(q.add("Conv", [x, q.weights((4, 3, 1, 1))]))
    model = q.finish((1, 3, 4, 4), [y])
    nodes = []
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0].endswith("_q"):
            clipped = f"{node.input[0]}_clipped"
            nodes.append(helper.make_node("Clip", [node.input[0], "least", "most"], [clipped]))
            node.input[0] = clipped
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([helper.make_tensor("least", onnx.TensorProto.UINT8, [], [3]),
                                    helper.make_tensor("most", onnx.TensorProto.UINT8, [], [127])])
    net = judge(model, 0.02)
    assert {net.graph.values[n].type.limits for n in (*net.graph.inputs, *net.graph.outputs)} == {(-125, -1)}
    same_bytes(net)


def test_a_value_with_several_roundings() -> None:
    """TensorRT rounds before each layer, and leaves one term of a residual sum as it is."""
    q = qdq.Qdq(np.random.default_rng(10))
    x = q.rounded("x")
    stem = q.add("Relu", [q.add("Conv", [x, q.weights((4, 4, 3, 3), axis=0), q.bias(4)], pads=[1, 1, 1, 1])])
    a, b = q.rounded(stem), q.rounded(stem, kind="uint8")
    branch = q.add("Conv", [a, q.weights((4, 4, 1, 1), axis=0), q.bias(4)])
    y = q.rounded(q.add("Relu", [q.add("Add", [branch, b])]))
    net = judge(q.finish((1, 4, 5, 5), [y]), 0.05)
    assert not net.report.kept
    assert {v.type.format for v in net.graph.values.values()} == {"s8", "s16", "s32"}
    same_bytes(net)


def test_padding_before_the_rounding() -> None:
    """A Pad of zeros in float goes into the convolution behind the rounding."""
    q = qdq.Qdq(np.random.default_rng(11), kind="uint8")
    pads = q.const(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads")
    x = q.rounded(q.add("Pad", ["x", pads]))
    y = q.rounded(q.add("Conv", [x, q.weights((4, 3, 3, 3), axis=0), q.bias(4)]))
    net = judge(q.finish((1, 3, 6, 6), [y]), 0.02)
    assert "pad" not in {n.op.name for n in net.graph.nodes}


def test_only_what_is_read_is_computed() -> None:
    """Slices move through roundings; what is left out is the same as in the float network."""
    q = qdq.Qdq(np.random.default_rng(19), kind="uint8")
    pads, bounds = q.const(np.array([0, 0, 4, 0, 0, 0]), "pads"), [q.const(np.array([n]), f"n{n}") for n in (-1, 99, 2)]
    x = q.rounded(q.add("Conv", [q.rounded("x"), q.weights((4, 3, 1)), q.bias(4)]))
    h = x
    for _ in range(2):
        padded = q.rounded(q.add("Pad", [h, pads]), like=h)
        h = q.rounded(q.add("Relu", [q.add("Conv", [padded, q.weights((4, 4, 3), axis=0), q.bias(4)], dilations=[2])]))
    last = q.rounded(q.add("Slice", [q.add("Add", [h, x]), *bounds]))
    y = q.rounded(q.add("Conv", [last, q.weights((2, 4, 1)), q.bias(2)]))
    net = judge(q.finish((1, 3, 20), [y]), 0.05)
    assert not net.report.kept
    steps = [net.graph.values[n.output].type.shape[2] for n in net.graph.nodes if n.op.name == "conv2d"]
    assert steps == [5, 3, 1, 1]
    same_bytes(net)


def test_integers_move_between_the_nodes() -> None:
    """Data movement, bounds and padding of integers, which mean what they do on the numbers behind them."""
    q = qdq.Qdq(np.random.default_rng(12), kind="uint8", opset=18)
    y = q.rounded("x")
    model = q.finish((1, 3, 6, 6), [y])
    first, second = model.graph.node
    last = second.output[0]
    second.input[0] = "m"
    del model.graph.node[1:]
    z = second.input[2]
    model.graph.node.extend([
        helper.make_node("MaxPool", [first.output[0]], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Pad", ["a", "pads"], ["b"]), helper.make_node("Pad", ["b", "pads", z], ["c"]),
        helper.make_node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1]),
        helper.make_node("Slice", ["d", "starts", "ends"], ["e"]),
        helper.make_node("Concat", ["d", "e"], ["f"], axis=1),
        helper.make_node("Max", ["f", z], ["m"]), second])
    model.graph.initializer.extend([onnx.numpy_helper.from_array(np.array(d), n) for n, d in (
        ("pads", [0, 0, 1, 0, 0, 0, 0, 2]), ("starts", [0, 1]), ("ends", [1, 3]))])
    net = judge(model, 0.02)
    assert last in net.graph.outputs and not net.report.kept
    same_bytes(net)
    x = {n: a[0] for n, a in draws(model, 1).items()}
    found = np.asarray(net.run(x))
    np.testing.assert_allclose(found, Oracle(net.model, exact=True).run(x)[last].reshape(found.shape), atol=1e-6)


def test_opsets() -> None:
    for opset in (10, 11, 13, 19, 21, 23):
        q = qdq.Qdq(np.random.default_rng(13), opset=opset)
        y = q.rounded(q.add("Conv", [q.rounded("x"), q.weights((4, 3, 3, 3)), q.bias(4)]))
        judge(q.finish((1, 3, 6, 6), [y]), 0.02)


def test_onnx_runtimes_own_nodes() -> None:
    """Before opset 21, ONNX Runtime writes small integers and 16 bits in its own domain."""
    for kind, weights in (("int16", "int8"), ("uint16", "int8"), ("uint8", "int4")):
        q = qdq.Qdq(np.random.default_rng(17), kind=kind, domain="com.microsoft")
        y = q.rounded(q.add("Conv", [q.rounded("x"), q.weights((4, 3, 3, 3), weights), q.bias(4)]))
        judge(q.finish((1, 3, 6, 6), [y]), 0.05)


def test_what_has_no_scale_stays_float_and_is_named() -> None:
    """A dense layer behind the last DequantizeLinear; with data it is calibrated instead."""
    q = qdq.Qdq(np.random.default_rng(14))
    h = q.rounded(q.add("Relu", [q.add("Gemm", ["x", q.weights((6, 6)), q.bias(6)])]))
    y = q.add("Gemm", [h, q.weights((6, 3), axis=1), q.bias(3)])
    model = q.finish((1, 6), [y])
    net = aot.compile(model, name="net")
    assert [k.op for k in net.report.kept] == ["fully_connected", "fully_connected"]
    assert "nothing in the model quantizes the input 'x'" in net.report.kept[0].why
    assert "no QuantizeLinear follows" in net.report.kept[1].why and "float32: " in str(net.report)
    data = net.report.as_json()["kept"]
    assert data[1]["why"] == net.report.kept[1].why
    calibrated = aot.compile(model, draws(model, 20), name="net")
    assert not calibrated.report.kept
    assert {v.type.format for v in calibrated.graph.values.values()} <= {"s8", "s32"}
    for each in (net, calibrated):
        same_or_float(each)


def same_or_float(net: aot.Net) -> None:
    """The compiled C gives what the twin gives, also in float."""
    for vector, expected in net.golden:
        found = net.run_quantized(dict(vector))
        np.testing.assert_array_equal(np.asarray(found).reshape(-1), next(iter(expected.values())).reshape(-1))


def test_weights_only() -> None:
    """Activations are calibrated, given weights stay; without data everything is float."""
    q = qdq.Qdq(np.random.default_rng(15))
    w = q.weights((6, 5), axis=1)
    model = q.finish((1, 6), [q.add("Relu", [q.add("Gemm", ["x", w, q.bias(5)])])])
    net = aot.compile(model, draws(model, 20), name="net")
    (node,) = net.graph.nodes
    stored_weights = onnx.numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == "w0"))
    np.testing.assert_array_equal(net.graph.values[node.inputs[1]].data, stored_weights.astype(np.int8).T)
    assert [k.op for k in aot.compile(model, name="net").report.kept] == ["fully_connected"]
    for precision in ("int16", "int16x8", "float32"):
        same_or_float(aot.compile(model, draws(model, 20), name="net", precision=precision))


# --- operators on quantized tensors ------------------------------------------------------------------------------

def qoperator() -> onnx.ModelProto:
    """Every operator on quantized tensors that is read, with odd zero points."""
    rng = np.random.default_rng(16)
    tensors, nodes = [], []

    def const(name: str, data: object, kind: int = onnx.TensorProto.FLOAT) -> str:
        array = np.asarray(data)
        tensors.append(helper.make_tensor(name, kind, array.shape, array.reshape(-1).tolist()))
        return name

    def grid(name: str, scale: object, zero: object = 7) -> list[str]:
        return [const(f"{name}_s", scale), const(f"{name}_z", zero, onnx.TensorProto.INT8)]

    def ms(kind: str, inputs: list[str], output: str, **attributes: object) -> None:
        nodes.append(helper.make_node(kind, inputs, [output], f"{kind}_node", domain="com.microsoft", **attributes))

    x, c, s, g = grid("x", 0.03, -3), grid("c", 0.05, 11), grid("s", 1 / 256, -128), grid("g", 0.04, 5)
    w = [const("w", rng.integers(-127, 128, (4, 4, 3, 3)), onnx.TensorProto.INT8),
         *grid("w", [0.01, 0.004, 0.006, 0.008], [0, 0, 0, 0])]
    b = const("b", rng.integers(-9000, 9000, 4), onnx.TensorProto.INT32)
    nodes.append(helper.make_node("QuantizeLinear", ["x", *x], ["x_q"]))
    nodes.append(helper.make_node("QLinearConv", ["x_q", *x, *w, *c, b], ["c_q"], "conv", pads=[1, 1, 1, 1]))
    ms("QLinearLeakyRelu", ["c_q", *c, *g], "l_q", alpha=0.2)
    ms("QLinearSigmoid", ["l_q", *g, *s], "s_q")
    ms("QLinearMul", ["l_q", *g, "s_q", *s, *g], "m_q")
    ms("QLinearAdd", ["m_q", *g, "c_q", *c, *c], "a_q")
    ms("QLinearConcat", [*g, "a_q", *c, "m_q", *g], "k_q", axis=1)
    ms("QLinearAveragePool", ["k_q", *g, *g], "p_q", kernel_shape=[2, 2], strides=[2, 2])
    ms("QLinearGlobalAveragePool", ["p_q", *g, *c], "h_q", channels_last=0)
    nodes.append(helper.make_node("Flatten", ["h_q"], ["f_q"]))
    v = [const("v", rng.integers(-127, 128, (6, 8)), onnx.TensorProto.INT8), *grid("v", [0.01] * 6, [0] * 6)]
    ms("QGemm", ["f_q", *c, *v, const("d", rng.integers(-900, 900, 6), onnx.TensorProto.INT32), *g], "y_q", transB=1)
    u = [const("u", rng.integers(-127, 128, (6, 5)), onnx.TensorProto.INT8), *grid("u", 0.01, 0)]
    nodes.append(helper.make_node("QLinearMatMul", ["y_q", *g, *u, *c], ["z_q"], "matmul"))
    ms("QLinearSoftmax", ["z_q", *c, *s], "o_q", axis=1, opset=17)
    nodes.append(helper.make_node("DequantizeLinear", ["o_q", *s], ["y"]))
    graph = helper.make_graph(nodes, "qop", [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4, 6, 6])],
                              [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 5])], tensors)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17),
                                                                 helper.make_opsetid("com.microsoft", 1)])


def test_operators_on_quantized_tensors() -> None:
    net = judge(qoperator(), 0.02)
    assert not net.report.kept
    same_bytes(net)


# --- the shared models -------------------------------------------------------------------------------------------

@pytest.mark.shared
@pytest.mark.parametrize(("name", "data", "top1"), [
    ("fashion_lenet_qdq", "fashion_nchw", 0.8760), ("fashion_lenet_qop", "fashion_nchw", 0.8760),
    ("fashion_lenet_qop_u8", "fashion_nchw", 0.8750), ("cifar_mbv2_qdq", "cifar_nchw", 0.7920),
    ("cifar_mbv2_qop", "cifar_nchw", 0.7920), ("cifar_mbv2_qdq_u8", "cifar_nchw", 0.5860),
    ("kws01_dscnn_qdq", "kws01", 0.9091), ("kws01_dscnn_weightonly", "kws01", 0.8855)])
def test_shared_models(name: str, data: str, top1: float) -> None:
    folder = MODELS / "qdq"
    if not folder.is_dir():
        pytest.skip(f"no folder of shared models at {folder}; set AOT_MODELS")
    samples = dict(np.load(MODELS.parent / "data" / f"{data}_eval.npz"))
    calib = MODELS.parent / "data" / f"{data}_calib.npz" if "weightonly" in name else None
    net = aot.compile(folder / f"{name}.onnx", calib, target="host")
    assert not net.report.kept
    x = samples["x"].astype(np.float32) * samples["scale"] + samples["offset"]
    answers = np.asarray(net.run(x.astype(np.float32))).reshape(len(x), -1).argmax(axis=1)
    right = float((answers == samples["y"]).mean())
    assert right >= top1 - 0.002 - 1e-6
    assert calib is not None or right <= top1 + 0.002 + 1e-6  # calibrated activations may happen to answer better
    if calib is None:
        for found in off(net, {net.graph.inputs[0]: x[0].reshape(net.graph.values[net.graph.inputs[0]].type.shape)}):
            assert found.steps <= 1 and found.tie <= 0.02, found


@pytest.mark.shared
@pytest.mark.emulator
@pytest.mark.parametrize(("native", "data", "quantized"), [
    ("fashion_lenet", "fashion_nchw", ("fashion_lenet_qdq", "fashion_lenet_qop", "fashion_lenet_qop_u8")),
    ("cifar_mbv2", "cifar_nchw", ("cifar_mbv2_qdq", "cifar_mbv2_qop", "cifar_mbv2_qdq_u8")),
    ("kws01_dscnn", "kws01", ("kws01_dscnn_qdq", "kws01_dscnn_weightonly"))])
def test_shared_models_cost_what_the_float_model_does(native: str, data: str, quantized: tuple[str, ...]) -> None:
    """Instructions, flash and memory within 5 % of those of the float model, quantized here."""
    if not MODELS.is_dir():
        pytest.skip(f"no folder of shared models at {MODELS}; set AOT_MODELS")
    calib = MODELS.parent / "data" / f"{data}_calib.npz"

    def costs(path: Path) -> tuple[int, int, int]:
        found = bench(aot.compile(path, None if "_q" in path.stem else calib, target="cortex-m4"))
        return found.instructions, found.code + found.weights, found.arena + found.static + found.stack

    expected = costs(MODELS / f"{native}.onnx")
    for name in quantized:
        for own, theirs in zip(costs(MODELS / "qdq" / f"{name}.onnx"), expected, strict=True):
            assert own <= 1.05 * theirs, name
