"""Between a 1-D convolution and its activation or normalization stood a reshape: they stayed layers of their own."""

from frontend.models import model
from onnx import helper
from road import draws
from test_networks import RNG, w

import aot
from aot import data
from aot.verify import verify


def test_activations_and_scales_are_fused() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"]),
        helper.make_node("BatchNormalization", ["c1", "var", "mean", "mean", "var"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]), helper.make_node("Conv", ["r", "w2"], ["c2"], group=6),
        helper.make_node("Add", ["c2", "bias"], ["a"]), helper.make_node("Clip", ["a", "", "one"], ["k"]),
        helper.make_node("GlobalAveragePool", ["k"], ["y"])]
    constants = {"w1": w(6, 4, 3), "w2": w(6, 1, 3), "var": abs(w(6)) + 1, "mean": w(6), "bias": w(6, 1),
                 "one": RNG.random((), "f4")}
    made = model(nodes, {"x": [1, 4, 30]}, {"y": [1, 6, 1]}, constants)
    net = aot.compile(made, draws(made, 20), calibration="minmax")
    assert [n.op.name for n in net.graph.nodes if n.op.name != "reshape"] == [
        "transpose", "conv2d", "depthwise_conv2d", "average_pool2d"]
    result = verify(net, data.load(draws(made, 20), net.float_graph))
    assert result.mismatches == 0
    assert result.sqnr_db > 25
