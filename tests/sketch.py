"""Small float graphs, drawn by hand or at random."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from hypothesis import strategies as st

from aot.builder import Builder
from aot.ir import Array, Graph
from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.concat import Concat
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.max_pool2d import MaxPool2d
from aot.ops.mul import Mul
from aot.ops.pad import Pad
from aot.ops.reshape import Reshape
from aot.ops.slice import Slice
from aot.ops.softmax import Softmax
from aot.ops.transpose import Transpose
from aot.ops.unary import Unary
from aot.ops.window import Window

NHWC, NCHW = Transpose((0, 2, 3, 1)), Transpose((0, 3, 1, 2))


def random(*shape: int, seed: int = 1) -> Array:
    """Random numbers, away from zero so that one may divide by them."""
    x = np.random.default_rng(seed + sum(shape)).normal(size=shape)
    return (x + np.sign(x) * 0.1).astype(np.float32)


class Sketch(Builder):
    """A builder with the layers that tests use most; weights are random."""

    def __init__(self) -> None:
        super().__init__("sketch")

    def conv(self, x: str, name: str, channels: int, window: Window | None = None) -> str:
        """A convolution over NHWC data."""
        window = window or Window((3, 3), pads=(1, 1, 1, 1))
        w = random(channels, *window.kernel, self.shape(x)[3])
        inputs = [x, self.constant(w, f"{name}.w"), self.constant(random(channels), f"{name}.b")]
        return self.add(Conv2d(window), inputs, name, [name])

    def depthwise(self, x: str, name: str) -> str:
        """A depthwise 3x3 convolution over NHWC data."""
        channels = self.shape(x)[3]
        inputs = [x, self.constant(random(3, 3, channels), f"{name}.w"), self.constant(random(channels), f"{name}.b")]
        return self.add(DepthwiseConv2d(Window((3, 3), pads=(1, 1, 1, 1))), inputs, name, [name])

    def dense(self, x: str, name: str, outputs: int) -> str:
        """A fully connected layer."""
        inputs = [x, self.constant(random(outputs, self.shape(x)[-1]), f"{name}.w"),
                  self.constant(random(outputs), f"{name}.b")]
        return self.add(FullyConnected(), inputs, name, [name])

    def then(self, op: object, inputs: str | Sequence[str], name: str) -> str:
        """Any operator, as from an ONNX node of that name."""
        return self.add(op, [inputs] if isinstance(inputs, str) else inputs, name, [name])  # type: ignore[arg-type]


#: What :func:`graphs` puts together.
KINDS = ("transpose", "nhwc", "nchw", "tanh", "relu", "add", "mul", "sum", "concat", "pad", "conv", "depthwise",
         "pool", "mean", "softmax", "slice", "reshape", "dense")


@st.composite
def graphs(draw: st.DrawFn, kinds: Sequence[str] = KINDS) -> Graph:
    """Up to a dozen operators on feature maps of four axes, some of whose values are outputs."""
    b = Sketch()
    b.input("x", draw(st.sampled_from(((1, 4, 4, 4), (1, 3, 5, 2), (1, 1, 4, 3), (2, 2, 3, 4)))))
    live = ["x"]
    for i in range(draw(st.integers(1, 12))):
        small = [v for v in live if prod(b.shape(v)) <= 500]
        live.append(_another(draw, b, draw(st.sampled_from(kinds)), draw(st.sampled_from(small)), i))
    return b.graph(["x"], draw(st.lists(st.sampled_from(live[1:]), min_size=1, max_size=3, unique=True)))


def _another(draw: st.DrawFn, b: Sketch, kind: str, x: str, i: int) -> str:
    """An operator of that kind on a value; its output's name."""
    shape, name = b.shape(x), f"v{i}"
    alike = [v for v in (x, "x", *(n.output for n in b.nodes)) if b.shape(v) == shape]
    match kind:
        case "add" | "mul":
            sizes = draw(st.sampled_from((shape[-1:], (1,), (shape[1], 1, 1), shape)))
            op = Mul() if kind == "mul" else Add(draw(st.sampled_from((1, -1))))
            return b.then(op, draw(st.permutations([x, b.constant(random(*sizes, seed=i), f"k{i}")])), name)
        case "sum":
            return b.then(Add(), [x, draw(st.sampled_from(alike))], name)
        case "concat":
            return b.then(Concat(draw(st.integers(0, 3))), [x, draw(st.sampled_from(alike))], name)
        case "conv":
            return b.conv(x, name, draw(st.integers(1, 4)))
        case "depthwise":
            return b.depthwise(x, name)
        case "dense":
            rest = prod(shape[1:])
            return b.then(Reshape(shape), b.dense(b.then(Reshape((shape[0], rest)), x, f"f{i}"), f"d{i}", rest), name)
    ops = {"transpose": Transpose(tuple(draw(st.permutations(range(4))))), "nhwc": NHWC, "nchw": NCHW,
           "tanh": Unary("tanh"), "relu": Unary("clip", (0.0, np.inf)), "softmax": Softmax(),
           "pad": Pad((0, 1, 0, 0), (0, 0, 1, 0)), "pool": MaxPool2d(Window((1, 1), (2, 2))),
           "mean": AveragePool2d(Window((3, 3), pads=(1, 1, 1, 1))),
           "slice": Slice.along(shape, 1, 0, max(1, shape[1] - 1)),
           "reshape": Reshape(tuple(draw(st.permutations(shape))))}
    return b.then(ops[kind], x, name)
