"""Random uses of every operator, and quantizations for them: what the property tests draw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from hypothesis import strategies as st

from aot.calibrate import Calibration, Range
from aot.interpret import run_float
from aot.ir import Array, Graph
from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.base import NO_CLAMP, Case, Clamp, Op, Shape
from aot.ops.concat import Concat
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.max_pool2d import MaxPool2d
from aot.ops.mul import Mul
from aot.ops.pad import Pad
from aot.ops.quantize import Quantize
from aot.ops.reshape import Reshape
from aot.ops.slice import Slice
from aot.ops.softmax import Softmax
from aot.ops.transpose import Transpose
from aot.ops.unary import FUNCTIONS, Unary
from aot.ops.window import Window
from aot.recipe import Formats

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
seeds = st.integers(0, 2**32 - 1)


INT8 = Formats()
#: What else networks compute in.
OTHERS = (Formats("s16", "s16"), Formats("s16", "s8"), Formats("s8", "s4"), Formats("s16", "s4"), Formats("s8", "s16"),
          Formats("f32", "f32"))


@dataclass(frozen=True, eq=False)
class Scaled:
    """A case and what decides its quantization: the inputs' ranges, and how the output's differs from what occurs."""

    case: Case
    ranges: tuple[Range, ...]
    stretch: tuple[float, float]
    seed: int
    formats: Formats = INT8

    def calibration(self, graph: Graph) -> Calibration:
        """Ranges of the graph with just this operator."""
        rng = np.random.default_rng(self.seed)
        ranges = dict(zip(graph.inputs, self.ranges, strict=True))
        outputs: list[Array] = []
        for _ in range(3):
            x = {n: rng.uniform(r.low, r.high, graph.values[n].type.shape).astype(np.float32)
                 for n, r in ranges.items()}
            outputs.append(run_float(graph, x)[graph.outputs[0]])
        seen = np.nan_to_num(np.concatenate([y.reshape(-1) for y in outputs]).astype(np.float64),
                             posinf=1e6, neginf=-1e6)
        ranges[graph.outputs[0]] = Range(float(seen.min()) * self.stretch[0], float(seen.max()) * self.stretch[1])
        return Calibration(ranges, 3, "minmax")


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    """From far too fine to far too coarse; the zero point anywhere, ends included."""
    size = 10.0 ** draw(st.integers(-7, 7))
    below = draw(st.sampled_from((0.0, 0.001, 0.3, 0.5, 0.9, 1.0)))
    return Range(-size * below, size * (1 - below))


@st.composite
def scaled(draw: st.DrawFn, cases: st.SearchStrategy[Case], formats: tuple[Formats, ...] = (INT8,)) -> Scaled:
    case, chosen = draw(cases), draw(st.sampled_from(formats))
    if isinstance(case.op, Conv2d) and not case.op.computes(chosen.activations, chosen.weights):
        case = replace(case, op=replace(case.op, residual=False, rectify=False), shapes=case.shapes[:1])
    stretches = st.sampled_from((1.0, 1.0, 1.0, 0.5, 0.05, 4.0))
    return Scaled(case, tuple(draw(ranges()) for _ in case.shapes), (draw(stretches), draw(stretches)), draw(seeds),
                  chosen)


# --- the parts of a case -----------------------------------------------------------------------------------------

clamps: st.SearchStrategy[Clamp] = st.sampled_from((NO_CLAMP, NO_CLAMP, (0.0, None), (0.0, 6.0), (-1.0, 1.0)))
shapes: st.SearchStrategy[Shape] = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)


@st.composite
def windows(draw: st.DrawFn, padding: int) -> tuple[Window, Shape]:
    """A window of up to 7x7, and a height and width which it fits; ``padding`` is the most there may be."""
    pairs = st.tuples(st.integers(1, 7), st.integers(1, 7))
    kernel = draw(pairs)
    small = st.tuples(st.integers(1, 3), st.integers(1, 3))
    pads = draw(st.tuples(*[st.integers(0, padding)] * 4))
    window = Window(kernel, draw(small), draw(small), pads)
    least = [max(1, e - pads[i] - pads[i + 2]) for i, e in enumerate(window.extent())]
    return window, tuple(n + draw(st.integers(0, 5)) for n in least)


def weights(rng: np.random.Generator, shape: Shape, axis: int, style: str) -> Array:
    """Weights whose output channels lie along ``axis``."""
    w = rng.normal(size=shape)
    along = [-1 if i == axis else 1 for i in range(len(shape))]
    if style == "zero channels":
        w *= rng.integers(0, 2, shape[axis]).reshape(along)
    elif style == "zero":
        w *= 0
    elif style == "extreme":
        w = rng.choice(np.array([-1.0, 1.0]), shape)
    elif style == "all positive":
        w = np.ones(shape)
    elif style == "uneven channels":
        w *= (10.0 ** rng.integers(-4, 2, shape[axis])).reshape(along)
    return w.astype(np.float32)


@st.composite
def constants(draw: st.DrawFn, shape: Shape, axis: int) -> dict[int, Array]:
    rng = np.random.default_rng(draw(seeds))
    style = draw(st.sampled_from(("normal", "zero channels", "zero", "extreme", "all positive", "uneven channels")))
    bias = rng.normal(size=shape[axis]) * draw(st.sampled_from((0.0, 1.0, 1.0, 100.0)))
    return {1: weights(rng, shape, axis, style), 2: bias.astype(np.float32)}


# --- operators ---------------------------------------------------------------------------------------------------

@st.composite
def conv2d(draw: st.DrawFn) -> Case:
    window, size = draw(windows(3))
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    inner, outer = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from((1, 2, 3, 5, 8)))
    w = draw(constants((outer * groups, *window.kernel, inner), 0))
    shape = (draw(st.sampled_from((1, 1, 2))), *size, inner * groups)
    return with_residual(draw, window, groups, draw(clamps), shape, w)


def with_residual(draw: st.DrawFn, window: Window, groups: int, clamp: Clamp, shape: Shape,
                  w: dict[int, Array]) -> Case:
    """A convolution, of which every other one adds a residual to its sums, perhaps behind ReLU."""
    residual, rectify = draw(st.sampled_from(((False, False), (False, False), (True, False), (True, True))))
    result = (shape[0], *window.output(*shape[1:3]), len(w[2]))
    return Case(Conv2d(window, groups, clamp, residual, rectify), (shape, result) if residual else (shape,), w)


@st.composite
def depthwise_conv2d(draw: st.DrawFn) -> Case:
    window, size = draw(windows(3))
    channels, filters = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from((1, 1, 1, 2, 3)))
    w = draw(constants((*window.kernel, channels * filters), 2))
    return Case(DepthwiseConv2d(window, draw(clamps)), ((draw(st.sampled_from((1, 1, 2))), *size, channels),), w)


@st.composite
def pointwise(draw: st.DrawFn) -> Case:
    """Convolutions 1x1 over more channels, as they follow depthwise ones; half of the time over channels in fours."""
    side, outer, inner = st.integers(1, 5), draw(st.integers(1, 20)), draw(st.integers(1, 48))
    if draw(st.booleans()):
        outer, inner = 2 * -(-outer // 2), 4 * -(-inner // 4)
    shape = (draw(st.sampled_from((1, 1, 2))), draw(side), draw(side), inner)
    w = draw(constants((outer, 1, 1, inner), 0))
    return Case(Conv2d(Window((1, 1)), 1, draw(clamps)), (shape,), w)


@st.composite
def conv2d_3x3(draw: st.DrawFn) -> Case:
    """Of stride 1 over channels in fours, for which there is another algorithm."""
    window = Window((3, 3), pads=draw(st.tuples(*[st.integers(0, 2)] * 4)))
    size, inner, outer = st.integers(3, 14), draw(st.sampled_from((4, 8, 12, 20))), draw(st.sampled_from((1, 2, 4, 6)))
    w = draw(constants((outer, 3, 3, inner), 0))
    shape = (draw(st.sampled_from((1, 1, 2))), draw(size), draw(size), inner)
    return with_residual(draw, window, 1, draw(st.sampled_from((NO_CLAMP, NO_CLAMP, (0.0, None)))), shape, w)


@st.composite
def depthwise_3x3(draw: st.DrawFn) -> Case:
    """Of strides 1 and 2, over rows and columns both short and long."""
    stride = draw(st.sampled_from(((1, 1), (2, 2))))
    window = Window((3, 3), stride, pads=draw(st.tuples(*[st.integers(0, 2)] * 4)))
    size = st.one_of(st.integers(3, 12), st.integers(12, 40))
    channels, filters = draw(st.sampled_from((1, 2, 3, 8))), draw(st.sampled_from((1, 1, 1, 2)))
    w = draw(constants((3, 3, channels * filters), 2))
    shape = (draw(st.sampled_from((1, 1, 2))), draw(size), draw(size), channels)
    return Case(DepthwiseConv2d(window, draw(clamps)), (shape,), w)


@st.composite
def fully_connected(draw: st.DrawFn) -> Case:
    length, outputs = draw(st.one_of(st.integers(1, 40), st.integers(40, 300))), draw(st.integers(1, 12))
    lead = draw(st.sampled_from(((1,), (3,), (), (2, 2))))
    return Case(FullyConnected(draw(clamps)), ((*lead, length),), draw(constants((outputs, length), 0)))


@st.composite
def average_whole(draw: st.DrawFn) -> Case:
    """Averages over whole maps."""
    size = st.integers(1, 9)
    shape = (draw(st.sampled_from((1, 1, 2))), draw(size), draw(size), draw(st.sampled_from((1, 4, 5, 8, 12, 16, 24))))
    return Case(AveragePool2d(Window((shape[1], shape[2])), draw(clamps)), (shape,), {})


@st.composite
def average_pool2d(draw: st.DrawFn) -> Case:
    window, size = draw(windows(4))
    op = AveragePool2d(window, draw(st.booleans()), draw(clamps))
    return Case(op, ((draw(st.sampled_from((1, 1, 2))), *size, draw(st.sampled_from(CHANNELS))),), {})


@st.composite
def max_pool2d(draw: st.DrawFn) -> Case:
    window, size = draw(windows(4))
    return Case(MaxPool2d(window), ((draw(st.sampled_from((1, 1, 2))), *size, draw(st.sampled_from(CHANNELS))),), {})


@st.composite
def binary(draw: st.DrawFn, op: st.SearchStrategy[Op]) -> Case:
    """Two shapes that broadcast; the second operand, or the first, may be a constant."""
    shape = draw(shapes)
    pair = [tuple(1 if draw(st.booleans()) and draw(st.booleans()) else s for s in shape) for _ in range(2)]
    short = draw(st.integers(0, 1))
    pair[short] = pair[short][draw(st.sampled_from((0, 0, len(shape) - 1))):]
    constant = draw(st.sampled_from((None, None, 0, 1)))
    if constant is None:
        return Case(draw(op), (pair[0], pair[1]), {})
    data = np.random.default_rng(draw(seeds)).normal(size=pair[constant]) * 10.0 ** draw(st.integers(-3, 3))
    return Case(draw(op), (pair[1 - constant],), {constant: data.astype(np.float32)})


@st.composite
def concat(draw: st.DrawFn) -> Case:
    shape = draw(shapes)
    axis = draw(st.integers(0, len(shape) - 1))
    parts = [(*shape[:axis], draw(st.integers(1, 5)), *shape[axis + 1:]) for _ in range(draw(st.integers(1, 4)))]
    return Case(Concat(axis), tuple(parts), {})


@st.composite
def slice_(draw: st.DrawFn) -> Case:
    shape = draw(shapes)
    starts, counts, steps = [], [], []
    for size in shape:
        starts.append(draw(st.integers(0, size - 1)))
        steps.append(draw(st.sampled_from((1, 1, 2, 3, -1, -2))))
        room = (size - 1 - starts[-1]) // steps[-1] if steps[-1] > 0 else starts[-1] // -steps[-1]
        counts.append(draw(st.integers(1, room + 1)))
    return Case(Slice(tuple(starts), tuple(counts), tuple(steps)), (shape,), {})


@st.composite
def pad(draw: st.DrawFn) -> Case:
    shape = draw(shapes)
    ends = st.tuples(*[st.integers(0, 3)] * len(shape))
    return Case(Pad(draw(ends), draw(ends), draw(st.sampled_from((0.0, 1.0, -1e9, 1e-9)))), (shape,), {})


@st.composite
def transpose(draw: st.DrawFn) -> Case:
    shape = draw(shapes)
    return Case(Transpose(tuple(draw(st.permutations(range(len(shape)))))), (shape,), {})


@st.composite
def quantize(draw: st.DrawFn) -> Case:
    return Case(Quantize("s8"), (draw(shapes),), {})


@st.composite
def reshape(draw: st.DrawFn) -> Case:
    shape = draw(shapes)
    return Case(Reshape((prod(shape),)), (shape,), {})


@st.composite
def softmax(draw: st.DrawFn) -> Case:
    return Case(Softmax(), ((*draw(shapes)[:2], draw(st.integers(1, 40))),), {})


#: Parameters of the functions that have some.
PARAMETERS = {"clip": (-0.5, 2.0), "hardsigmoid": (0.2, 0.5), "leakyrelu": (0.1,), "elu": (1.5,), "celu": (0.7,),
              "selu": (1.67, 1.05), "thresholdedrelu": (1.0,), "pow": (2.0,)}


@st.composite
def unary(draw: st.DrawFn) -> Case:
    function = draw(st.sampled_from(sorted(FUNCTIONS)))
    return Case(Unary(function, PARAMETERS.get(function, ())), (draw(shapes),), {}, function)


CASES: dict[str, st.SearchStrategy[Case]] = {
    "add": binary(st.builds(Add, st.sampled_from((1, -1)), clamps, st.booleans())),
    "average_pool2d": st.one_of(average_pool2d(), average_whole()),
    "concat": concat(),
    "conv2d": st.one_of(conv2d(), pointwise(), conv2d_3x3()),
    "depthwise_conv2d": st.one_of(depthwise_conv2d(), depthwise_3x3()),
    "fully_connected": fully_connected(),
    "max_pool2d": max_pool2d(),
    "mul": binary(st.builds(Mul, clamps)),
    "pad": pad(),
    "quantize": quantize(),
    "reshape": reshape(),
    "slice": slice_(),
    "softmax": softmax(),
    "transpose": transpose(),
    "unary": unary(),
}
