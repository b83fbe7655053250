"""Kernels for two instruction sets, of which a processor has both, once gave a type and a function the same names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import aot
from aot import build
from aot.bench import bench

RUNTIME = Path(__file__).parents[2] / "runtime_c"
TARGET = "cortex-m55"


def test_all_headers_go_together(tmp_path: Path) -> None:
    names = sorted(header.name for header in RUNTIME.glob("*.h"))
    for name in names:
        (tmp_path / name).write_bytes((RUNTIME / name).read_bytes())
    (tmp_path / "all.c").write_text("".join(f'#include "{n}"\n' for n in names) + "int there;\n", encoding="utf-8")
    build.compile_c(build.host_compiler(), (*build.STRICT, "-c"), ["all.c"], "all.o", tmp_path)


@pytest.fixture(scope="module")
def net() -> aot.Net:
    """Two depthwise layers of one window, each with another kernel."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Conv", [x, w], [y], group=6, pads=[2, 2, 2, 2])
             for x, w, y in (("x", "v", "a"), ("a", "w", "y"))]
    weights = [numpy_helper.from_array(rng.normal(size=(6, 1, 5, 5)).astype(np.float32), n) for n in "vw"]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 6, 9, 11]) for n in "xy"]
    model = helper.make_model(helper.make_graph(nodes, "beside", values[:1], values[1:], weights),
                              opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data = rng.normal(size=(20, 6, 9, 11)).astype(np.float32)
    first, last = [n.output for n in aot.compile(model, data).float_graph.nodes if n.op.name == "depthwise_conv2d"]
    kernels = {first: "depthwise_conv2d.dsp_any", last: "depthwise_conv2d.mve_any"}
    made = aot.compile(model, data, target=TARGET, optimize="speed",
                       config={"layers": {n: {"kernel": k} for n, k in kernels.items()}})
    taken = [s.kernel.name for s in made.program.steps if s.site.node.op.name == "depthwise_conv2d"]
    assert taken == list(kernels.values())
    return made


def test_on_the_host(net: aot.Net) -> None:
    (given, expected), *_ = net.golden
    np.testing.assert_array_equal(net.run_quantized(given), next(iter(expected.values())))


@pytest.mark.emulator(TARGET)
def test_on_a_board(net: aot.Net) -> None:
    bench(net)
