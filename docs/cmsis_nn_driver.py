"""C that runs a compiled network's layers through CMSIS-NN: what ``docs/host_bench.py`` measures for comparison.

The layers, their shapes, weights and scales are those of the quantized graph. Multipliers are given as CMSIS-NN takes
them: a number of 31 bits and an exponent. Its average pool cannot change the scale, so that what follows one computes
other numbers than our C; the time is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import floor, frexp

import numpy as np

import aot
from aot.errors import AotError
from aot.ir import Node, Value
from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.base import clamp_limits
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.reshape import Reshape
from aot.ops.softmax import Softmax

SCRATCH_BYTES = 1 << 20
_HEAD = """\
#include <stdint.h>

#include "arm_nnfunctions.h"

static int8_t scratch[%d];

"""


def driver(net: aot.Net, per_channel: bool = False) -> str:
    """C source with ``int cmsis_nn_run(const int8_t *input, int8_t *output)``; 0: every layer was computed.

    The first input and output only. Fully connected layers are given one multiplier for all outputs, which is quicker
    there but not what the network means, unless ``per_channel`` is set. An AotError names an operator for which there
    is no call here.
    """
    graph = net.graph
    place = _places(net)
    arrays: list[str] = []
    calls: list[str] = []
    for i, node in enumerate(graph.nodes):
        if isinstance(node.op, Reshape):
            continue
        values = [graph.values[n] for n in node.inputs]
        result = _layer(i, node, values, graph.values[node.output], place, per_channel)
        arrays += result[0]
        calls.append(result[1])
    sizes: dict[str, int] = {}
    for name, buffer in place.items():
        sizes[buffer] = max(sizes.get(buffer, 0), graph.values[name].type.nbytes)
    memory = [f"static int8_t {b}[{n}];" for b, n in sizes.items() if b.startswith("buffer")]
    return (_HEAD % SCRATCH_BYTES + "\n".join([*memory, *arrays]) + "\n\n"
            "int cmsis_nn_run(const int8_t *input, int8_t *output)\n{\n    int wrong = 0;\n"
            "    cmsis_nn_context context = { scratch, sizeof scratch };\n"
            + "".join(calls) + "    return wrong;\n}\n")


def _places(net: aot.Net) -> dict[str, str]:
    """Value -> C name of the memory it is in; memory is used again after a value's last use."""
    graph = net.graph
    root: dict[str, str] = {}
    last: dict[str, int] = {}
    for i, node in enumerate(graph.nodes):
        owner = root.get(node.inputs[0], node.inputs[0])
        root[node.output] = owner if isinstance(node.op, Reshape) else node.output
        for name in (*node.inputs, node.output):
            last[root.get(name, name)] = i
    last[root.get(graph.outputs[0], graph.outputs[0])] = len(graph.nodes)
    place = {graph.inputs[0]: "input"}
    busy: dict[str, str] = {}  # buffer -> the value in it
    for i, node in enumerate(graph.nodes):
        owner = root[node.output]
        if owner not in place:
            used = {b for b, v in busy.items() if last[v] >= i}
            free = next(b for b in (f"buffer{k}" for k in range(len(graph.nodes))) if b not in used)
            place[owner] = free
            busy[free] = owner
        place[node.output] = place[owner]
    final = root.get(graph.outputs[0], graph.outputs[0])
    return {n: "output" if root.get(n, n) == final else p for n, p in place.items()}


def _layer(i: int, node: Node, values: list[Value], y: Value, place: Mapping[str, str],
           per_channel: bool) -> tuple[list[str], str]:
    """Constant arrays and the call for one node."""
    op, x = node.op, values[0]
    a, b = place[x.name], place[y.name]
    low, high = clamp_limits(getattr(op, "clamp", (None, None)), y)
    limits, offsets = f"{{ {low}, {high} }}", f"{-x.zero}, {y.zero}"
    if isinstance(op, Conv2d | DepthwiseConv2d):
        w, out_c, weights = op.window, y.type.shape[3], values[1].type.shape
        if isinstance(op, DepthwiseConv2d):
            kind, call, more = "dw_conv", "arm_depthwise_conv_wrapper_s8", f"{out_c // x.type.shape[3]}, "
            filters = f"{{ 1, {w.kernel[0]}, {w.kernel[1]}, {out_c} }}"
        else:
            kind, call, more = "conv", "arm_convolve_wrapper_s8", ""
            filters = f"{{ {out_c}, {w.kernel[0]}, {w.kernel[1]}, {weights[3]} }}"
        return _constants(i, x, values, y), f"""    {{
        const cmsis_nn_{kind}_params params = {{
            {offsets}, {more}{_tile(w.stride)}, {_tile(w.pads)}, {_tile(w.dilation)}, {limits}
        }};
        const cmsis_nn_per_channel_quant_params quant = {{ multiplier{i}, shift{i} }};
        const cmsis_nn_dims in = {_dims(x)}, filter = {filters};
        const cmsis_nn_dims bias = {{ 1, 1, 1, {out_c} }}, out = {_dims(y)};
        wrong |= {call}(&context, &params, &quant, &in, {a}, &filter, weights{i}, &bias,
                        bias{i}, &out, {b});
    }}
"""
    if isinstance(op, FullyConnected):
        out_c, length = values[1].type.shape
        rows = y.type.size // out_c
        return _constants(i, x, values, y), f"""    {{
        const cmsis_nn_fc_params params = {{ {-x.zero}, 0, {y.zero}, {limits} }};
        const cmsis_nn_quant_params quant = {{ multiplier{i}, shift{i}, {int(per_channel)} }};
        const cmsis_nn_dims in = {{ {rows}, 1, 1, {length} }}, filter = {{ {length}, 1, 1, {out_c} }};
        const cmsis_nn_dims bias = {{ 1, 1, 1, {out_c} }}, out = {{ {rows}, 1, 1, {out_c} }};
        wrong |= arm_fully_connected_wrapper_s8(&context, &params, &quant, &in, {a}, &filter, weights{i}, &bias,
                                                bias{i}, &out, {b});
    }}
"""
    if isinstance(op, AveragePool2d):
        w = op.window
        return [], f"""    {{
        const cmsis_nn_pool_params params = {{ {_tile(w.stride)}, {_tile(w.pads)}, {limits} }};
        const cmsis_nn_dims in = {_dims(x)}, filter = {{ 1, {w.kernel[0]}, {w.kernel[1]}, 1 }};
        const cmsis_nn_dims out = {_dims(y)};
        wrong |= arm_avgpool_s8(&context, &params, &in, {a}, &filter, &out, {b});
    }}
"""
    if isinstance(op, Add) and op.sign == 1 and values[1].data is None and x.type.shape == values[1].type.shape:
        z = values[1]
        twice = 2 * max(x.scale, z.scale)
        ratios = (x.scale / twice, z.scale / twice, twice / (2**20 * y.scale))
        first, second, result = (", ".join(map(str, _fixed(r))) for r in ratios)
        return [], f"""    wrong |= arm_elementwise_add_s8({a}, {place[z.name]}, {-x.zero}, {first}, {-z.zero},
                                    {second}, 20, {b}, {y.zero}, {result}, {low}, {high}, {y.type.size});
"""
    if isinstance(op, Softmax):
        m, shift = _fixed(min(x.scale * 2**26, 2**31 - 1))
        length = y.type.shape[-1]
        return [], (f"    arm_softmax_s8({a}, {y.type.size // length}, {length}, {m}, {shift}, "
                    f"{-floor(31 * 2**26 / 2**shift)}, {b});\n")
    raise AotError(f"there is no call of CMSIS-NN for {op.name} here", "measure without it", node.name)


def _constants(i: int, x: Value, values: list[Value], y: Value) -> list[str]:
    """Weights, bias, multipliers and shifts of a layer."""
    w, b = values[1], values[2]
    assert w.data is not None and b.data is not None
    pairs = [_fixed(x.scale * s / y.scale) for s in w.quant.scale]
    return [_array("const int8_t", f"weights{i}", w.data.reshape(-1).tolist()),
            _array("const int32_t", f"bias{i}", b.data.reshape(-1).tolist()),
            _array("int32_t", f"multiplier{i}", [m for m, _ in pairs]),
            _array("int32_t", f"shift{i}", [s for _, s in pairs])]


def _fixed(ratio: float) -> tuple[int, int]:
    """A ratio as multiplier * 2**(shift - 31), the multiplier having 31 bits."""
    fraction, exponent = frexp(ratio)
    multiplier = int(np.floor(fraction * 2**31 + 0.5))
    return (multiplier, exponent) if multiplier < 2**31 else (multiplier // 2, exponent + 1)


def _array(kind: str, name: str, numbers: Iterable[int]) -> str:
    return f"static {kind} {name}[] = {{ {', '.join(map(str, numbers))} }};"


def _dims(value: Value) -> str:
    n, h, w, c = value.type.shape
    return f"{{ {n}, {h}, {w}, {c} }}"


def _tile(pair: tuple[int, ...]) -> str:
    """Width and height from height and width (or top and left)."""
    return f"{{ {pair[1]}, {pair[0]} }}"
