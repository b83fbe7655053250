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
    "add.dsp": {"layer": 29.8, "outputs": 6.44},
    "add.mve": {"layer": 36, "vector": 24.9, "rest": 8},
    "add@c99, balanced": {"layer": 28.8, "outputs": 15.3},
    "add@c99, size": {"layer": 28.8, "outputs": 15.3},
    "add@c99, speed": {"layer": 28.8, "outputs": 15.3},
    "add@rv32, balanced": {"layer": 30.4, "outputs": 15.5},
    "add@rv32, size": {"layer": 30.4, "outputs": 15.5},
    "add@rv32, speed": {"layer": 30.4, "outputs": 15.5},
    "add@thumb1, balanced": {"layer": 29.3, "outputs": 20},
    "add@thumb1, size": {"layer": 30, "outputs": 23.5},
    "add@thumb1, speed": {"layer": 29.3, "outputs": 20},
    "average_pool2d.dsp": {"layer": 139, "inputs": 1.16, "outputs": 11.9},
    "average_pool2d.mve": {"layer": 19.7, "inputs": 0.498, "outputs": 12},
    "average_pool2d@c99, balanced": {"layer": 23.3, "places": 4.29, "outputs": 47.3},
    "average_pool2d@c99, size": {"layer": 26.6, "places": 6.78, "outputs": 29.3},
    "average_pool2d@c99, speed": {"layer": 10.8, "places": 2.21, "outputs": 10.4},
    "average_pool2d@rv32, balanced": {"layer": 27.7, "places": 4.44, "outputs": 23.8},
    "average_pool2d@rv32, size": {"layer": 25.5, "places": 5.78, "outputs": 27.3},
    "average_pool2d@rv32, speed": {"layer": 13.7, "places": 2.17, "outputs": 10},
    "average_pool2d@thumb1, balanced": {"layer": 26.5, "places": 6.84, "outputs": 68.2},
    "average_pool2d@thumb1, size": {"layer": 33.5, "places": 8.19, "outputs": 53.5},
    "average_pool2d@thumb1, speed": {"layer": 71.7, "places": 3.66, "outputs": 25.2},
    "conv2d.dsp": {"layer": 30.6, "tile": 2.47, "pair": 32.5, "block": 17.5, "pixel": 0.77, "row": 24,
        "widened": 8.07},
    "conv2d.dsp_pointwise": {"layer": 31.4, "tile": 44.3, "pair": 35.3, "block": 17.3, "widened": 7.99},
    "conv2d.dsp_pointwise_s4": {"layer": 31.4, "tile": 44.3, "pair": 35.3, "block": 17.3, "widened": 7.99, "part": 40,
        "unpacked": 16},
    "conv2d.dsp_s4": {"layer": 30.6, "tile": 2.47, "pair": 32.5, "block": 17.5, "pixel": 0.77, "row": 24,
        "widened": 8.07, "part": 40, "unpacked": 16},
    "conv2d.dsp_small": {"layer": 50.2, "tile": 253, "pair": 102, "block": 18, "widened": 14.5, "place": 46.6},
    "conv2d.dsp_winograd": {"layer": 50, "windows": 851, "inputs": 458, "outputs": 1640, "four": 9.91},
    "conv2d.mul32": {"layer": 48, "block": 34, "extra": 56.9, "channel": 99.3, "pixel": 1.75, "row": 45.2,
        "widened": 25},
    "conv2d.mve": {"layer": 64.6, "pair": 15.6, "block": 15.3, "strip": 2.84, "gathered_0": 0.2, "gathered_1": 1.47,
        "gathered_2": 1},
    "conv2d@c99, balanced": {"layer": 29.5, "macs": 2.59, "outputs": 21.3},
    "conv2d@c99, size": {"layer": 31.2, "macs": 4.54, "outputs": 34.5},
    "conv2d@c99, speed": {"layer": 31.4, "macs": 2.68, "outputs": 11},
    "depthwise_conv2d.dsp": {"layer": 12.2, "channel": 61.6, "copied": 2.71, "row": 0.2, "pair": 25.7,
        "single_stride1": 17.2, "single_stride2": 14.7},
    "depthwise_conv2d.dsp_small": {"layer": 62.1, "channel": 17.7, "copied": 9.84, "outputs": 42.5},
    "depthwise_conv2d.mve": {"layer": 72.2, "pass": 137, "block": 14, "channel": 2.65, "eight_stride1": 29.6,
        "eight_stride2": 31.8, "four_stride1": 18.5, "four_stride2": 18.3},
    "depthwise_conv2d.thumb1": {"layer": 44.9, "channel": 0.987, "word": 14.4, "two": 91.7, "line": 79.6,
        "second": 34.6},
    "depthwise_conv2d@c99, balanced": {"layer": 33.6, "macs": 9.36, "outputs": 12.3},
    "depthwise_conv2d@c99, size": {"layer": 31.2, "macs": 19.6, "outputs": 14.9},
    "depthwise_conv2d@c99, speed": {"layer": 36.6, "macs": 3.69, "outputs": 10.9},
    "depthwise_conv2d@rv32, balanced": {"layer": 32.7, "macs": 10.3, "outputs": 12.6},
    "depthwise_conv2d@rv32, size": {"layer": 34, "macs": 11.9, "outputs": 13},
    "depthwise_conv2d@rv32, speed": {"layer": 34.7, "macs": 4.54, "outputs": 11.1},
    "fully_connected.dsp": {"row": 99, "widened": 7.42, "four": 20.6, "short": 6.89, "wide_block": 14.4,
        "byte_block": 17.7},
    "fully_connected.mul32": {"row": 0.981, "widened": 24.4, "four": 170, "part": 32.1, "block": 40.4, "extra": 25.6},
    "fully_connected.mve": {"row": 24.8, "eight": 16, "eight_block": 17.2, "four": 33.9, "four_block": 8.49},
    "fully_connected@c99, balanced": {"layer": 15.1, "macs": 3.5, "outputs": 20.1},
    "fully_connected@c99, size": {"layer": 0.846, "macs": 4.77, "outputs": 20.5},
    "fully_connected@c99, speed": {"layer": 49.9, "macs": 3.57, "outputs": 8.01},
    "max_pool2d@c99, balanced": {"layer": 29.6, "places": 5.28, "outputs": 10.5},
    "max_pool2d@c99, size": {"layer": 30.4, "places": 5.52, "outputs": 10.6},
    "max_pool2d@c99, speed": {"layer": 33, "places": 1.74, "outputs": 8.49},
    "max_pool2d@dsp, balanced": {"layer": 29.6, "places": 5.28, "outputs": 10.5},
    "max_pool2d@dsp, size": {"layer": 30.6, "places": 5.52, "outputs": 10.6},
    "max_pool2d@dsp, speed": {"layer": 34.6, "places": 1.74, "outputs": 8.49},
    "max_pool2d@mve, balanced": {"layer": 29.6, "places": 5.28, "outputs": 10.5},
    "max_pool2d@mve, size": {"layer": 30.6, "places": 5.52, "outputs": 10.6},
    "max_pool2d@mve, speed": {"layer": 32.6, "places": 1.65, "outputs": 8.42},
    "max_pool2d@rv32, balanced": {"layer": 29.6, "places": 3.38, "outputs": 9.4},
    "max_pool2d@rv32, size": {"layer": 29.6, "places": 4.29, "outputs": 9.91},
    "max_pool2d@rv32, speed": {"layer": 52.8, "places": 0.997, "outputs": 7.09},
    "max_pool2d@thumb1, balanced": {"layer": 30.4, "places": 5.94, "outputs": 10.8},
    "max_pool2d@thumb1, size": {"layer": 30.4, "places": 8.11, "outputs": 12.1},
    "max_pool2d@thumb1, speed": {"layer": 28.6, "places": 1.89, "outputs": 8.55},
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
    "softmax@thumb1, balanced": {"layer": 62.5, "outputs": 44.3},
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
    "dsp, speed": {"": (60, 14, 0), "add.dsp": (144, 140, 0), "average_pool2d.dsp": (196, 203, 0),
        "conv2d.dsp": (196, 429, 0), "conv2d.dsp_pointwise": (0, 258, 0), "conv2d.dsp_winograd": (709, 4099, 0),
        "depthwise_conv2d.dsp": (102, 573, 478), "fully_connected.dsp": (1491, 53, 0), "max_pool2d": (0, 242, 0),
        "softmax": (0, 436, 0)},
    "dsp, balanced": {"": (60, 14, 0), "add.dsp": (154, 140, 0), "average_pool2d.dsp": (215, 129, 0),
        "conv2d.dsp": (215, 376, 0), "conv2d.dsp_pointwise": (5, 255, 0), "conv2d.dsp_winograd": (710, 3361, 0),
        "depthwise_conv2d.dsp": (111, 235, 478), "fully_connected.dsp": (1458, 54, 0), "max_pool2d": (0, 120, 0),
        "softmax": (0, 99, 0)},
    "dsp, size": {"": (60, 14, 0), "add.dsp": (124, 124, 0), "average_pool2d.dsp": (302, 133, 0),
        "conv2d.dsp": (0, 228, 0), "conv2d.dsp_small": (1140, 32, 0), "depthwise_conv2d.dsp": (0, 228, 478),
        "depthwise_conv2d.dsp_small": (712, 54, 0), "fully_connected.dsp": (583, 50, 0), "max_pool2d": (0, 114, 0),
        "softmax": (0, 95, 0)},
    "mve, speed": {"": (60, 14, 0), "add.dsp": (389, 128, 0), "add.mve": (60, 148, 0),
        "average_pool2d.dsp": (265, 195, 0), "average_pool2d.mve": (87, 325, 0), "conv2d.dsp": (265, 464, 0),
        "conv2d.dsp_pointwise": (0, 258, 0), "conv2d.dsp_winograd": (389, 4098, 0), "conv2d.mve": (87, 263, 324),
        "depthwise_conv2d.dsp": (0, 591, 478), "depthwise_conv2d.mve": (77, 360, 298),
        "fully_connected.dsp": (1463, 50, 0), "fully_connected.mve": (0, 51, 499), "max_pool2d": (0, 250, 0),
        "softmax": (1, 437, 0)},
    "mve, balanced": {"": (60, 14, 0), "add.dsp": (324, 128, 0), "add.mve": (49, 148, 0),
        "average_pool2d.dsp": (291, 166, 0), "average_pool2d.mve": (64, 122, 0), "conv2d.dsp": (291, 520, 0),
        "conv2d.dsp_pointwise": (17, 241, 0), "conv2d.dsp_winograd": (324, 3478, 0), "conv2d.mve": (64, 313, 324),
        "depthwise_conv2d.dsp": (17, 254, 478), "depthwise_conv2d.mve": (64, 316, 298),
        "fully_connected.dsp": (1337, 54, 0), "fully_connected.mve": (9, 51, 499), "max_pool2d": (5, 119, 0),
        "softmax": (50, 119, 0)},
    "mve, size": {"": (60, 14, 0), "add.dsp": (102, 132, 0), "add.mve": (173, 148, 0),
        "average_pool2d.dsp": (725, 158, 0), "average_pool2d.mve": (149, 120, 0), "conv2d.dsp": (149, 379, 0),
        "conv2d.dsp_pointwise": (26, 149, 0), "conv2d.dsp_small": (725, 32, 0), "conv2d.mve": (173, 410, 405),
        "depthwise_conv2d.dsp": (26, 251, 478), "depthwise_conv2d.dsp_small": (673, 54, 0),
        "fully_connected.dsp": (599, 50, 0), "fully_connected.mve": (0, 48, 499), "max_pool2d": (0, 114, 0),
        "softmax": (3, 114, 0)},
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
MARGIN = {"speed": 0.40, "balanced": 0.30, "size": 0.35}
# --- fitted ---------------------------------------------------------------------------------------------------------

#: What an operator's own kernel costs where it has not been measured.
PLAIN: Work = {"layer": 30, "macs": 8, "outputs": 12, "places": 8}
PLAIN_CODE = (0, 250, 0)


#: Goals whose code is most alike, that of a goal itself first.
_ALIKE = {"speed": ("speed", "balanced", "size"), "balanced": ("balanced", "size", "speed"),
          "size": ("size", "balanced", "speed")}


def estimate(kernel: str, isa: str, goal: str, work: Work) -> float:
    """Instructions which the work takes on an instruction set, where the kernel favours a goal."""
    prices = INSTRUCTIONS.get(kernel.removesuffix("_unrolled")) or INSTRUCTIONS.get(f"{kernel}@{isa}, {goal}") or PLAIN
    return sum(prices[kind] * count for kind, count in work.items() if count)


def code(kernel: str, isa: str, goal: str) -> tuple[int, int, int]:
    """Bytes of code, compiled for a goal: what all layers of a kernel share, a layer's function, one for each shape."""
    for like in _ALIKE[goal]:
        found = CODE.get(f"{isa}, {like}", {}).get(kernel)
        if found is not None:
            return found
    others = [row[kernel] for name, row in CODE.items() if kernel in row and name.endswith(goal)]
    return max(others, default=PLAIN_CODE)
