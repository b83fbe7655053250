"""What work costs: instructions for each kind of work of each kernel, and bytes of its code.

``make costs`` measures layers on the emulated boards, fits the tables below to what they took, and writes them here and
into docs/costs.md, with the errors that are left.
"""

from __future__ import annotations

from collections.abc import Mapping

#: How often a kernel does what, for one inference: kind of work -> count.
Work = Mapping[str, float]

# --- fitted ---------------------------------------------------------------------------------------------------------
#: Kernel (plain ones: @ instruction set, goal) -> kind of work -> instructions.
INSTRUCTIONS: dict[str, dict[str, float]] = {
    "add.dsp": {"layer": 30, "outputs": 6.66},
    "add.mve": {"layer": 37.4, "vector": 24.9, "rest": 8},
    "add@c99, balanced": {"layer": 29.4, "outputs": 15.3},
    "add@c99, size": {"layer": 29.4, "outputs": 15.3},
    "add@c99, speed": {"layer": 29.4, "outputs": 15.3},
    "add@rv32, balanced": {"layer": 30.2, "outputs": 15.5},
    "add@rv32, size": {"layer": 30.2, "outputs": 15.5},
    "add@rv32, speed": {"layer": 30.2, "outputs": 15.5},
    "add@thumb1, balanced": {"layer": 29.7, "outputs": 20},
    "add@thumb1, size": {"layer": 30, "outputs": 23.5},
    "add@thumb1, speed": {"layer": 29.7, "outputs": 20},
    "average_pool2d.dsp": {"layer": 53.6, "inputs": 1.29, "outputs": 11.5},
    "average_pool2d.mve": {"layer": 22.2, "inputs": 0.497, "outputs": 12},
    "average_pool2d@c99, balanced": {"layer": 26.5, "places": 4.29, "outputs": 47.2},
    "average_pool2d@c99, size": {"layer": 28.3, "places": 6.78, "outputs": 29.3},
    "average_pool2d@c99, speed": {"layer": 15.3, "places": 2.21, "outputs": 10.4},
    "average_pool2d@rv32, balanced": {"layer": 28.9, "places": 4.44, "outputs": 23.7},
    "average_pool2d@rv32, size": {"layer": 27.6, "places": 5.78, "outputs": 27.3},
    "average_pool2d@rv32, speed": {"layer": 18.5, "places": 2.17, "outputs": 10},
    "average_pool2d@thumb1, balanced": {"layer": 28.5, "places": 6.84, "outputs": 68.1},
    "average_pool2d@thumb1, size": {"layer": 31.9, "places": 8.19, "outputs": 53.4},
    "average_pool2d@thumb1, speed": {"layer": 43.2, "places": 3.67, "outputs": 25.3},
    "conv2d.dsp": {"layer": 29.7, "tile": 16.5, "pair": 33.1, "block": 17.3, "pixel": 4.91, "row": 20.7,
        "widened": 7.79},
    "conv2d.dsp_pointwise": {"layer": 30.5, "tile": 36.6, "pair": 35.2, "block": 17.2, "widened": 8.6},
    "conv2d.dsp_small": {"layer": 50, "tile": 252, "pair": 102, "block": 18, "widened": 14.5, "place": 46.6},
    "conv2d.dsp_winograd": {"layer": 50, "windows": 774, "inputs": 436, "outputs": 1510, "four": 10.1},
    "conv2d.mul32": {"layer": 48.8, "block": 34, "extra": 56.9, "channel": 99.2, "pixel": 1.97, "row": 45.2,
        "widened": 25},
    "conv2d.mve": {"layer": 58.9, "pair": 15.8, "block": 15.2, "strip": 4, "gathered_0": 0.2, "gathered_1": 1.47,
        "gathered_2": 1},
    "conv2d@c99, balanced": {"layer": 29.7, "macs": 2.59, "outputs": 21.3},
    "conv2d@c99, size": {"layer": 30.6, "macs": 4.54, "outputs": 34.5},
    "conv2d@c99, speed": {"layer": 30.6, "macs": 2.68, "outputs": 11},
    "depthwise_conv2d.dsp": {"layer": 30.7, "channel": 63.6, "copied": 2.68, "row": 0.599, "pair": 25.3,
        "single_stride1": 17, "single_stride2": 14.5},
    "depthwise_conv2d.dsp_small": {"layer": 56.6, "channel": 17.9, "copied": 9.84, "outputs": 42.5},
    "depthwise_conv2d.mve": {"layer": 64.1, "pass": 127, "block": 15.4, "channel": 2.68, "eight_stride1": 29.6,
        "eight_stride2": 30.6, "four_stride1": 18.5, "four_stride2": 17.8},
    "depthwise_conv2d.thumb1": {"layer": 46.8, "channel": 0.987, "word": 14.4, "two": 91.7, "line": 79.6,
        "second": 34.6},
    "depthwise_conv2d@c99, balanced": {"layer": 31.7, "macs": 9.36, "outputs": 12.3},
    "depthwise_conv2d@c99, size": {"layer": 30.6, "macs": 19.6, "outputs": 14.9},
    "depthwise_conv2d@c99, speed": {"layer": 33, "macs": 3.69, "outputs": 10.9},
    "depthwise_conv2d@rv32, balanced": {"layer": 31.3, "macs": 10.3, "outputs": 12.6},
    "depthwise_conv2d@rv32, size": {"layer": 31.9, "macs": 11.9, "outputs": 13},
    "depthwise_conv2d@rv32, speed": {"layer": 32.2, "macs": 4.54, "outputs": 11.1},
    "fully_connected.dsp": {"row": 97.4, "widened": 7.48, "four": 20.4, "short": 6.92, "wide_block": 14.5,
        "byte_block": 17.9},
    "fully_connected.mul32": {"row": 0.981, "widened": 24.4, "four": 170, "part": 32.2, "block": 40.4, "extra": 25.6},
    "fully_connected.mve": {"row": 24.3, "eight": 15.8, "eight_block": 17.3, "four": 34.6, "four_block": 8.46},
    "fully_connected@c99, balanced": {"layer": 18.6, "macs": 3.49, "outputs": 20},
    "fully_connected@c99, size": {"layer": 0.846, "macs": 4.77, "outputs": 20.5},
    "fully_connected@c99, speed": {"layer": 43.7, "macs": 3.58, "outputs": 8.06},
    "max_pool2d@c99, balanced": {"layer": 29.8, "places": 5.28, "outputs": 10.5},
    "max_pool2d@c99, size": {"layer": 30.2, "places": 5.52, "outputs": 10.6},
    "max_pool2d@c99, speed": {"layer": 31.4, "places": 1.74, "outputs": 8.49},
    "max_pool2d@dsp, balanced": {"layer": 29.8, "places": 5.28, "outputs": 10.5},
    "max_pool2d@dsp, size": {"layer": 30.2, "places": 5.52, "outputs": 10.6},
    "max_pool2d@dsp, speed": {"layer": 31.4, "places": 1.74, "outputs": 8.49},
    "max_pool2d@mve, balanced": {"layer": 29.8, "places": 5.28, "outputs": 10.5},
    "max_pool2d@mve, size": {"layer": 30.2, "places": 5.52, "outputs": 10.6},
    "max_pool2d@mve, speed": {"layer": 30.8, "places": 1.65, "outputs": 8.42},
    "max_pool2d@rv32, balanced": {"layer": 29.8, "places": 3.38, "outputs": 9.4},
    "max_pool2d@rv32, size": {"layer": 29.8, "places": 4.29, "outputs": 9.91},
    "max_pool2d@rv32, speed": {"layer": 38.4, "places": 0.957, "outputs": 7.26},
    "max_pool2d@thumb1, balanced": {"layer": 30.2, "places": 5.94, "outputs": 10.8},
    "max_pool2d@thumb1, size": {"layer": 30.2, "places": 8.11, "outputs": 12.1},
    "max_pool2d@thumb1, speed": {"layer": 29.2, "places": 1.89, "outputs": 8.55},
    "softmax@c99, balanced": {"layer": 0.2, "outputs": 21.6},
    "softmax@c99, size": {"layer": 0.2, "outputs": 21.6},
    "softmax@c99, speed": {"layer": 0.2, "outputs": 17.6},
    "softmax@dsp, balanced": {"layer": 0.2, "outputs": 21.6},
    "softmax@dsp, size": {"layer": 0.2, "outputs": 21.6},
    "softmax@dsp, speed": {"layer": 0.2, "outputs": 17.5},
    "softmax@mve, balanced": {"layer": 0.2, "outputs": 21.4},
    "softmax@mve, size": {"layer": 0.2, "outputs": 20.4},
    "softmax@mve, speed": {"layer": 0.2, "outputs": 17.6},
    "softmax@rv32, balanced": {"layer": 0.2, "outputs": 23.6},
    "softmax@rv32, size": {"layer": 0.2, "outputs": 25.4},
    "softmax@rv32, speed": {"layer": 0.2, "outputs": 18.9},
    "softmax@thumb1, balanced": {"layer": 62.4, "outputs": 44.3},
    "softmax@thumb1, size": {"layer": 53.8, "outputs": 46.6},
    "softmax@thumb1, speed": {"layer": 88.4, "outputs": 31.7},
}

#: Instruction set, goal -> kernel -> bytes of code: what all its layers share, a layer's function, and
#: one for each shape. "": what every program has, and each call.
CODE: dict[str, dict[str, tuple[int, int, int]]] = {
    "thumb1, speed": {"": (60, 14, 0), "add": (645, 97, 0), "average_pool2d": (903, 716, 0),
        "conv2d.mul32": (903, 238, 0), "depthwise_conv2d.thumb1": (309, 375, 0),
        "fully_connected.mul32": (1779, 117, 0), "max_pool2d": (2042, 226, 0), "softmax": (332, 486, 0)},
    "thumb1, balanced": {"": (60, 14, 0), "add": (0, 97, 0), "average_pool2d": (471, 169, 0),
        "conv2d.mul32": (471, 233, 0), "depthwise_conv2d.thumb1": (687, 376, 0),
        "fully_connected.mul32": (741, 122, 0), "max_pool2d": (0, 151, 0), "softmax": (346, 122, 0)},
    "thumb1, size": {"": (60, 14, 0), "add": (0, 80, 0), "average_pool2d": (455, 138, 0),
        "conv2d.mul32": (455, 201, 0), "depthwise_conv2d.thumb1": (715, 287, 0),
        "fully_connected.mul32": (675, 92, 0), "max_pool2d": (0, 115, 0), "softmax": (343, 114, 0)},
    "c99, speed": {"": (60, 14, 0), "add": (0, 71, 0), "average_pool2d": (0, 268, 0), "conv2d": (0, 486, 0),
        "depthwise_conv2d": (69, 809, 0), "fully_connected": (0, 185, 0), "max_pool2d": (44, 239, 0),
        "softmax": (0, 439, 0)},
    "c99, balanced": {"": (60, 14, 0), "add": (0, 71, 0), "average_pool2d": (0, 115, 0), "conv2d": (0, 404, 0),
        "depthwise_conv2d": (69, 323, 0), "fully_connected": (0, 177, 0), "max_pool2d": (42, 119, 0),
        "softmax": (0, 99, 0)},
    "c99, size": {"": (60, 14, 0), "add": (0, 71, 0), "average_pool2d": (0, 106, 0), "conv2d": (0, 413, 0),
        "depthwise_conv2d": (68, 284, 0), "fully_connected": (0, 172, 0), "max_pool2d": (37, 114, 0),
        "softmax": (0, 95, 0)},
    "dsp, speed": {"": (60, 14, 0), "add.dsp": (389, 140, 0), "average_pool2d.dsp": (261, 203, 0),
        "conv2d.dsp": (261, 484, 0), "conv2d.dsp_pointwise": (0, 660, 0), "conv2d.dsp_winograd": (389, 4099, 0),
        "depthwise_conv2d.dsp": (0, 573, 478), "fully_connected.dsp": (1459, 53, 0), "max_pool2d": (0, 242, 0),
        "softmax": (8, 436, 0)},
    "dsp, balanced": {"": (60, 14, 0), "add.dsp": (152, 140, 0), "average_pool2d.dsp": (191, 129, 0),
        "conv2d.dsp": (191, 475, 0), "conv2d.dsp_pointwise": (89, 661, 0), "depthwise_conv2d.dsp": (89, 235, 478),
        "fully_connected.dsp": (1414, 54, 0), "max_pool2d": (0, 120, 0), "softmax": (29, 99, 0)},
    "dsp, size": {"": (60, 14, 0), "add.dsp": (116, 124, 0), "average_pool2d.dsp": (735, 133, 0),
        "conv2d.dsp_small": (735, 32, 0), "depthwise_conv2d.dsp_small": (669, 54, 0),
        "fully_connected.dsp": (593, 50, 0), "max_pool2d": (0, 114, 0), "softmax": (7, 95, 0)},
    "mve, speed": {"": (60, 14, 0), "add.mve": (64, 148, 0), "average_pool2d.mve": (85, 325, 0),
        "conv2d.mve": (85, 263, 324), "depthwise_conv2d.mve": (71, 360, 298), "fully_connected.mve": (0, 51, 499),
        "max_pool2d": (33, 250, 0), "softmax": (0, 437, 0)},
    "mve, balanced": {"": (60, 14, 0), "add.mve": (141, 148, 0), "average_pool2d.mve": (91, 122, 0),
        "conv2d.mve": (91, 313, 324), "depthwise_conv2d.dsp": (0, 214, 225), "depthwise_conv2d.mve": (1, 324, 316),
        "fully_connected.dsp": (1230, 54, 0), "fully_connected.mve": (174, 45, 360), "max_pool2d": (175, 119, 0),
        "softmax": (0, 119, 0)},
    "mve, size": {"": (60, 14, 0), "add.mve": (129, 148, 0), "average_pool2d.mve": (733, 120, 0),
        "conv2d.dsp_small": (733, 32, 0), "depthwise_conv2d.dsp_small": (655, 54, 0),
        "fully_connected.dsp": (597, 50, 0), "max_pool2d": (0, 114, 0), "softmax": (8, 114, 0)},
    "rv32, speed": {"": (60, 14, 0), "add": (1362, 93, 0), "average_pool2d": (1026, 294, 0),
        "conv2d.mul32": (1026, 287, 0), "depthwise_conv2d": (0, 984, 0), "fully_connected.mul32": (1538, 135, 0),
        "max_pool2d": (2046, 246, 0), "softmax": (19, 596, 0)},
    "rv32, balanced": {"": (60, 14, 0), "add": (251, 93, 0), "average_pool2d": (374, 132, 0),
        "conv2d.mul32": (374, 270, 0), "depthwise_conv2d": (173, 343, 0), "fully_connected.mul32": (603, 137, 0),
        "max_pool2d": (27, 115, 0), "softmax": (108, 123, 0)},
    "rv32, size": {"": (60, 14, 0), "add": (245, 93, 0), "average_pool2d": (354, 144, 0),
        "conv2d.mul32": (354, 250, 0), "depthwise_conv2d": (159, 349, 0), "fully_connected.mul32": (540, 124, 0),
        "max_pool2d": (34, 130, 0), "softmax": (101, 136, 0)},
}

#: Goal -> the largest share by which the code of a measured network exceeds its estimate.
MARGIN = {"speed": 0.41, "balanced": 0.22, "size": 0.22}
# --- fitted ---------------------------------------------------------------------------------------------------------

#: What an operator's own kernel costs where it has not been measured.
PLAIN: Work = {"layer": 30, "macs": 8, "outputs": 12, "places": 8}
PLAIN_CODE = (0, 250, 0)


#: Goals whose code is most alike, that of a goal itself first.
_ALIKE = {"speed": ("speed", "balanced", "size"), "balanced": ("balanced", "size", "speed"),
          "size": ("size", "balanced", "speed")}


def estimate(kernel: str, isa: str, goal: str, work: Work) -> float:
    """Instructions which the work takes on an instruction set, where the kernel favours a goal."""
    prices = INSTRUCTIONS.get(kernel) or INSTRUCTIONS.get(f"{kernel}@{isa}, {goal}") or PLAIN
    return sum(prices[kind] * count for kind, count in work.items() if count)


def code(kernel: str, isa: str, goal: str) -> tuple[int, int, int]:
    """Bytes of code, compiled for a goal: what all layers of a kernel share, a layer's function, one for each shape."""
    for like in _ALIKE[goal]:
        found = CODE.get(f"{isa}, {like}", {}).get(kernel)
        if found is not None:
            return found
    others = [row[kernel] for name, row in CODE.items() if kernel in row and name.endswith(goal)]
    return max(others, default=PLAIN_CODE)
