"""What work costs: instructions for each kind of work of each kernel, and bytes of its code.

``make costs`` measures layers on the emulated boards, fits the tables below to what they took, and writes them here and
into docs/costs.md, with the errors that are left.
"""

from __future__ import annotations

from collections.abc import Mapping

#: How often a kernel does what, for one inference: kind of work -> count.
Work = Mapping[str, float]

# --- fitted ------------------------------------------------------------------------------------------------------
#: Kernel, or kernel@instruction set -> kind of work -> instructions.
INSTRUCTIONS: dict[str, dict[str, float]] = {
    "add.dsp": {"layer": 30, "outputs": 6},
    "add.mve": {"layer": 40, "vector": 27, "rest": 8},
    "average_pool2d.dsp": {"layer": 30, "inputs": 1, "outputs": 10},
    "average_pool2d.mve": {"layer": 30, "inputs": 0.5, "outputs": 8},
    "conv2d.dsp": {"layer": 30, "tile": 30, "pair": 44, "block": 17.5, "pixel": 60, "row": 10, "widened": 7},
    "conv2d.dsp_pointwise": {"layer": 30, "tile": 30, "pair": 44, "block": 17.5, "widened": 7},
    "conv2d.dsp_small": {"layer": 50, "tile": 60, "pair": 44, "block": 17.5, "widened": 20, "place": 40},
    "conv2d.dsp_winograd": {"layer": 50, "windows": 800, "inputs": 460, "outputs": 1664, "four": 10},
    "conv2d.mul32": {"layer": 50, "block": 31.5, "extra": 40, "channel": 100, "pixel": 60, "row": 20, "widened": 16},
    "conv2d.mve": {"layer": 50, "pair": 16, "block": 14, "strip": 11, "gathered_0": 1, "gathered_1": 1,
                   "gathered_2": 1},
    "depthwise_conv2d.dsp": {"layer": 50, "channel": 80, "copied": 2.5, "row": 12, "pair": 24, "single_stride1": 14,
                             "single_stride2": 14},
    "depthwise_conv2d.dsp_small": {"layer": 50, "channel": 100, "copied": 6, "outputs": 30},
    "depthwise_conv2d.mve": {"layer": 50, "pass": 110, "block": 13, "channel": 15, "eight_stride1": 29,
                             "eight_stride2": 36, "four_stride1": 15, "four_stride2": 19},
    "depthwise_conv2d.thumb1": {"layer": 50, "channel": 150, "word": 9, "two": 95, "line": 60, "second": 39},
    "fully_connected.dsp": {"row": 60, "widened": 7, "four": 30, "short": 4, "wide_block": 14.5, "byte_block": 17.5},
    "fully_connected.mul32": {"row": 100, "widened": 20, "four": 100, "part": 30, "block": 38, "extra": 22},
    "fully_connected.mve": {"row": 50, "eight": 16, "eight_block": 17.3, "four": 20, "four_block": 9.3},
}

#: Goal -> kernel -> bytes of code: what all its layers share, a layer's function, one for each shape.
#: "": what every program has, and each call.
CODE: dict[str, dict[str, tuple[int, int, int]]] = {
    "size": {"conv2d.dsp_small": (400, 60, 0), "depthwise_conv2d.dsp_small": (400, 60, 0)},
}
# --- fitted ------------------------------------------------------------------------------------------------------

#: What an operator's own kernel costs on instruction sets where it has not been measured.
PLAIN: Work = {"layer": 30, "macs": 8, "outputs": 12, "places": 8}
PLAIN_CODE = (0, 250, 0)


def estimate(kernel: str, isa: str, work: Work) -> float:
    """Instructions which the work takes on an instruction set."""
    prices = INSTRUCTIONS.get(f"{kernel}@{isa}") or INSTRUCTIONS.get(kernel) or PLAIN
    return sum(prices[kind] * count for kind, count in work.items() if count)


def code(kernel: str, goal: str) -> tuple[int, int, int]:
    """Bytes of code, compiled for a goal: what all layers of a kernel share, a layer's function, one for each shape."""
    return CODE.get(goal, {}).get(kernel, PLAIN_CODE)
