"""What a trial found: inputs that are constant once rounded, memory budgets, 16-bit models with calibration data."""

from __future__ import annotations

import re
import warnings

import numpy as np
import onnx
import pytest
from frontend.models import model
from onnx import TensorProto, helper
from road import draws

import aot
from aot.errors import AotError


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("seed", range(6))
def test_a_channel_that_rounding_makes_constant(seed: int, precision: str) -> None:
    """Most weights of a kernel that is larger than its map see padding only, and they set the scale of the others."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(8, 2, 3, 3)).astype(np.float32)
    weights[:, :, 1, 1] *= 0.01
    constants = {"w": weights, "b": rng.normal(size=8).astype(np.float32) * 0.3,
                 "v": rng.normal(size=(8, 1, 1, 1)).astype(np.float32)}
    proto = model([helper.make_node("Conv", ["x", "w", "b"], ["h"], pads=[1] * 4),
                   helper.make_node("Conv", ["h", "v"], ["y"], group=8)],
                  {"x": [1, 2, 1, 1]}, {"y": [1, 8, 1, 1]}, constants)
    net = aot.compile(proto, data=draws(proto, 100), precision=precision)
    for given, expected in net.golden:
        np.testing.assert_array_equal(net.run_quantized(given), next(iter(expected.values())))


def wide_in_the_middle() -> onnx.ModelProto:
    """Wide maps between narrow ones, twice."""
    rng = np.random.default_rng(0)
    nodes, constants, last = [], {}, "x"
    for i, (inputs, outputs, side) in enumerate(((4, 24, 3), (24, 4, 1), (4, 20, 3), (20, 3, 1))):
        constants[f"w{i}"] = (rng.normal(size=(outputs, inputs, side, side)) / side).astype(np.float32)
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], pads=[side // 2] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        last = f"r{i}"
    return model(nodes, {"x": [1, 4, 12, 10]}, {last: [1, 3, 12, 10]}, constants)


@pytest.mark.parametrize("optimize", ["balanced", "size"])
def test_a_budget_that_fits_is_met_and_the_need_that_is_told_is_the_least(optimize: str) -> None:
    proto = wide_in_the_middle()
    data = draws(proto, 20)

    def arena(ram: int | None) -> int:
        return aot.compile(proto, data=data, target="rv32imc", optimize=optimize, ram=ram).report.arena

    with pytest.raises(AotError, match=r"needs \d+ bytes of RAM, the budget is 1") as refused:
        arena(1)
    need = int(re.findall(r"needs (\d+) bytes", str(refused.value))[0])
    assert need <= arena(None)
    assert arena(need) == need
    for ram in (need + 1, need + 7, need + 200, 2 * need):
        assert need <= arena(ram) <= ram


def test_what_overflows_is_told_by_name_alone() -> None:
    """numpy's own warning stood before it, with a line of the compiler."""
    proto = wide_in_the_middle()
    data = {name: np.clip(x, -3, 3) * np.float32(1e38) for name, x in draws(proto, 20).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AotError, match=r"not finite|infinite"):
            aot.compile(proto, data=data)


def test_what_16_bits_leave_open_is_calibrated_in_16_bits() -> None:
    constants = {"s": np.float32(1e-4), "z": np.int16(0), "w": np.random.default_rng(0).normal(size=(6, 4))
                 .astype(np.float32)}
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("QuantizeLinear", ["h", "s", "z"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
             helper.make_node("MatMul", ["d", "w"], ["y"])]
    proto = model(nodes, {"x": [1, 6]}, {"y": [1, 4]}, constants, opset=21, ir_version=10, dtype=TensorProto.FLOAT)
    net = aot.compile(proto, data=draws(proto, 40))
    assert {net.graph.values[n].type.format for n in (*net.graph.inputs, *net.graph.outputs)} == {"s16"}
