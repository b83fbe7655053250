"""What work costs: instructions for each kind of work of each kernel, and bytes of its code.

``make costs`` measures layers on the emulated boards, fits the tables below to what they took, and writes them here and
into docs/costs.md, with the errors that are left.
"""

from __future__ import annotations

from collections.abc import Mapping

#: How often a kernel does what, for one inference: kind of work -> count.
Work = Mapping[str, float]

# --- fitted ---------------------------------------------------------------------------------------------------------
#: Kernel, or kernel@instruction set -> kind of work -> instructions.
INSTRUCTIONS: dict[str, dict[str, float]] = {
    "add.dsp": {"layer": 30, "outputs": 6.66},
    "add.mve": {"layer": 39.1, "vector": 24.9, "rest": 8},
    "add@rv32": {"layer": 30.3, "outputs": 15.5},
    "add@thumb1": {"layer": 29.6, "outputs": 20.9},
    "average_pool2d.dsp": {"layer": 35.8, "inputs": 1.29, "outputs": 11.5},
    "average_pool2d.mve": {"layer": 26.5, "inputs": 0.497, "outputs": 12},
    "average_pool2d@rv32": {"layer": 17.3, "places": 2.93, "outputs": 13.7},
    "average_pool2d@thumb1": {"layer": 39.1, "places": 4.92, "outputs": 34.1},
    "conv2d.dsp": {"layer": 29.9, "tile": 25.6, "pair": 32.8, "block": 17.3, "pixel": 7.09, "row": 18.9,
        "widened": 7.83},
    "conv2d.dsp_pointwise": {"layer": 30.1, "tile": 33.1, "pair": 35.8, "block": 17.2, "widened": 8.22},
    "conv2d.dsp_small": {"layer": 49.8, "tile": 165, "pair": 108, "block": 17.8, "widened": 15.3, "place": 48.2},
    "conv2d.dsp_winograd": {"layer": 50, "windows": 787, "inputs": 436, "outputs": 1510, "four": 10.1},
    "conv2d.mul32": {"layer": 49.6, "block": 34, "extra": 56.9, "channel": 99.4, "pixel": 2.25, "row": 44.4,
        "widened": 25.1},
    "conv2d.mve": {"layer": 52.4, "pair": 15.9, "block": 15.2, "strip": 6.06, "gathered_0": 0, "gathered_1": 1.46,
        "gathered_2": 1},
    "depthwise_conv2d.dsp": {"layer": 41.2, "channel": 65.6, "copied": 2.68, "row": 0, "pair": 25.4,
        "single_stride1": 16.8, "single_stride2": 14.5},
    "depthwise_conv2d.dsp_small": {"layer": 52, "channel": 19.6, "copied": 9.81, "outputs": 42.6},
    "depthwise_conv2d.mve": {"layer": 55.3, "pass": 123, "block": 14.5, "channel": 3.1, "eight_stride1": 29.8,
        "eight_stride2": 31.5, "four_stride1": 18.5, "four_stride2": 18.1},
    "depthwise_conv2d.thumb1": {"layer": 48.9, "channel": 0, "word": 14.4, "two": 91.7, "line": 79.9, "second": 34.6},
    "depthwise_conv2d@rv32": {"layer": 32, "macs": 6.49, "outputs": 11.6},
    "fully_connected.dsp": {"row": 95.7, "widened": 7.53, "four": 20.8, "short": 6.42, "wide_block": 14.5,
        "byte_block": 17.9},
    "fully_connected.mul32": {"row": 0, "widened": 24.4, "four": 168, "part": 33.5, "block": 40.4, "extra": 25.6},
    "fully_connected.mve": {"row": 25.7, "eight": 15.8, "eight_block": 17.2, "four": 32.8, "four_block": 8.5},
    "max_pool2d@dsp": {"layer": 31.2, "places": 2.9, "outputs": 9.13},
    "max_pool2d@mve": {"layer": 30.7, "places": 2.79, "outputs": 9.07},
    "max_pool2d@rv32": {"layer": 36.7, "places": 1.69, "outputs": 8.45},
    "max_pool2d@thumb1": {"layer": 29.4, "places": 3.15, "outputs": 9.27},
    "softmax@dsp": {"layer": 0, "outputs": 19.9},
    "softmax@mve": {"layer": 0, "outputs": 19.5},
    "softmax@rv32": {"layer": 0, "outputs": 21.9},
    "softmax@thumb1": {"layer": 70.9, "outputs": 39.3},
}

#: Goal -> kernel -> bytes of code: what all its layers share, a layer's function, one for each shape.
#: "": what every program has, and each call.
CODE: dict[str, dict[str, tuple[int, int, int]]] = {
    "speed": {"": (0, 21, 0), "add": (344, 97, 0), "add.dsp": (227, 140, 0), "add.mve": (143, 148, 0),
        "average_pool2d": (711, 716, 0), "average_pool2d.dsp": (266, 203, 0), "average_pool2d.mve": (0, 325, 0),
        "conv2d.dsp": (266, 538, 0), "conv2d.dsp_pointwise": (90, 646, 0), "conv2d.dsp_winograd": (227, 4099, 0),
        "conv2d.mul32": (711, 287, 0), "conv2d.mve": (0, 263, 324), "depthwise_conv2d": (80, 984, 0),
        "depthwise_conv2d.dsp": (90, 573, 478), "depthwise_conv2d.mve": (0, 360, 298),
        "depthwise_conv2d.thumb1": (387, 375, 0), "fully_connected.dsp": (1070, 53, 0),
        "fully_connected.mul32": (1450, 135, 0), "fully_connected.mve": (0, 51, 499), "max_pool2d": (232, 250, 0),
        "softmax": (44, 596, 0)},
    "balanced": {"": (588, 9, 0), "add": (122, 97, 0), "add.dsp": (110, 140, 0), "add.mve": (124, 148, 0),
        "average_pool2d": (448, 169, 0), "average_pool2d.dsp": (207, 129, 0), "average_pool2d.mve": (0, 122, 0),
        "conv2d.dsp": (207, 510, 0), "conv2d.dsp_pointwise": (146, 647, 0), "conv2d.mul32": (448, 270, 0),
        "conv2d.mve": (0, 313, 324), "depthwise_conv2d": (0, 343, 0), "depthwise_conv2d.dsp": (0, 235, 478),
        "depthwise_conv2d.mve": (0, 324, 316), "depthwise_conv2d.thumb1": (490, 376, 0),
        "fully_connected.dsp": (813, 54, 0), "fully_connected.mul32": (241, 137, 0),
        "fully_connected.mve": (0, 45, 360), "max_pool2d": (119, 151, 0), "softmax": (73, 123, 0)},
    "size": {"": (199, 56, 0), "add": (128, 93, 0), "add.dsp": (111, 124, 0), "add.mve": (116, 148, 0),
        "average_pool2d": (184, 144, 0), "average_pool2d.dsp": (298, 133, 0), "average_pool2d.mve": (295, 120, 0),
        "conv2d.dsp_small": (543, 32, 0), "conv2d.mul32": (184, 250, 0), "depthwise_conv2d": (0, 349, 0),
        "depthwise_conv2d.dsp_small": (416, 54, 0), "depthwise_conv2d.thumb1": (476, 287, 0),
        "fully_connected.dsp": (56, 50, 0), "fully_connected.mul32": (140, 124, 0), "max_pool2d": (249, 130, 0),
        "softmax": (273, 136, 0)},
}
# --- fitted ---------------------------------------------------------------------------------------------------------

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
