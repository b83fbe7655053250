"""What the tests of passes share: graphs as text, and the proof that a rewrite keeps the meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import dedent

import numpy as np

from aot.builder import Builder
from aot.interpret import run_float
from aot.ir import Array, Graph, check
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.transpose import Transpose
from aot.ops.window import Window

Pass = Callable[[Graph], Graph]
NHWC, NCHW = Transpose((0, 2, 3, 1)), Transpose((0, 3, 1, 2))


def random(*shape: int, seed: int = 1) -> Array:
    """Random numbers, away from zero so that one may divide by them."""
    x = np.random.default_rng(seed + sum(shape)).normal(size=shape)
    return (x + np.sign(x) * 0.1).astype(np.float32)


def same_meaning(before: Graph, after: Graph) -> None:
    """Both graphs are sound, have the same inputs and outputs, and compute the same from random numbers."""
    check(before)
    check(after)
    assert (before.inputs, before.outputs) == (after.inputs, after.outputs)
    for name in (*before.inputs, *before.outputs):
        assert before.values[name].type == after.values[name].type
    for seed in range(3):
        x = {n: random(*before.values[n].type.shape, seed=seed) for n in before.inputs}
        old, new = run_float(before, x), run_float(after, x)
        for name, expected in old.items():
            np.testing.assert_allclose(new[name], expected, rtol=1e-4, atol=1e-4)


def becomes(before: Graph, step: Pass, text: str) -> Graph:
    """The pass turns the graph into this text, and into nothing that means something else."""
    after = step(before)
    assert str(after) == dedent(text).strip()
    same_meaning(before, after)
    assert str(step(after)) == str(after), "a second time there should be nothing left to do"
    return after


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
