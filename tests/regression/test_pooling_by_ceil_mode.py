"""Windows that ceil_mode adds: their padding was counted in means, and such as start in the padding had a shape."""

import numpy as np
import pytest
from frontend.models import model
from onnx import helper

import aot
from aot.frontend import load
from aot.interpret import run_float
from aot.oracle import Oracle


@pytest.mark.parametrize("opset", [11, 17, 19, 22])
@pytest.mark.parametrize("operator", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize(("kernel", "stride", "pads"), [(2, 2, (0, 0)), (3, 2, (1, 1)), (2, 3, (0, 1)), (2, 2, (1, 1)),
                                                        (3, 2, (1, 0)), (3, 3, (0, 2))])
def test_pools_mean_what_onnx_runtime_computes(operator: str, kernel: int, stride: int, pads: tuple[int, int],
                                               opset: int) -> None:
    for size in (5, 6, 7, 8):
        for counted in ({}, {"count_include_pad": 1})[:1 + (operator == "AveragePool")]:
            node = helper.make_node(operator, ["x"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2,
                                    pads=[pads[0]] * 2 + [pads[1]] * 2, ceil_mode=1, **counted)
            loaded = load(model([node], {"x": [1, 2, size, size]}, {"y": ["a", "b", "c", "d"]}, opset=opset))
            x = {"x": np.random.default_rng(size).normal(size=(1, 2, size, size)).astype(np.float32)}
            np.testing.assert_allclose(run_float(loaded.graph, x)["y"], Oracle(loaded.model).run(x)["y"], atol=1e-6)


def test_a_counted_pad_under_ceil_mode_compiles() -> None:
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
                            ceil_mode=1, count_include_pad=1)
    x = np.random.default_rng(0).normal(size=(9, 1, 2, 6, 6)).astype(np.float32)
    net = aot.compile(model([node], {"x": [1, 2, 6, 6]}, {"y": [1, 2, 4, 4]}), x)
    expected = np.stack([Oracle(net.model).run({"x": a})["y"] for a in x])[:, 0]
    np.testing.assert_allclose(net.run(x), expected, atol=2 * net.graph.values["y"].scale)
