"""A regular part of a tensor: Slice, Split, and Gather of constant positions, which is one such part or a few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import Array, TensorType
from aot.ops.base import Case, OnnxNode, Op, Shape, Site
from aot.ops.concat import Concat
from aot.ops.reshape import Reshape
from aot.ops.strided import collapse, row_major

#: Evenly spaced runs of positions that Gather may have.
MOST_RUNS = 64


@dataclass(frozen=True)
class Slice(Op):
    """Per axis: first index, number of elements, and step (which may be negative)."""

    starts: tuple[int, ...]
    counts: tuple[int, ...]
    steps: tuple[int, ...]

    name: ClassVar[str] = "slice"
    onnx: ClassVar[tuple[str, ...]] = ("Slice", "Split", "Gather")
    same_quant: ClassVar[bool] = True

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        if node.op_type == "Split":
            return _split(node, b)
        return (_gather(node, b) if node.op_type == "Gather" else _slice(node, b),)

    @classmethod
    def along(cls, shape: Shape, axis: int, start: int, count: int, step: int = 1) -> Slice:
        """A slice of one axis, whole in the others."""
        return cls(tuple(start if i == axis else 0 for i in range(len(shape))),
                   tuple(count if i == axis else s for i, s in enumerate(shape)),
                   tuple(step if i == axis else 1 for i in range(len(shape))))

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        for start, count, step, size in zip(self.starts, self.counts, self.steps, types[0].shape, strict=True):
            last = start + (count - 1) * step
            if count < 1 or not 0 <= start < size or not 0 <= last < size:
                raise AotError(f"a slice of {count} elements from {start} in steps of {step} leaves an axis of {size}",
                               "empty tensors are not supported" if count < 1 else "it must lie within the axis")
        return self.counts

    def _take(self, x: Array) -> Array:
        for axis, (start, count, step) in enumerate(zip(self.starts, self.counts, self.steps, strict=True)):
            x = np.take(x, start + step * np.arange(count), axis=axis)
        return x

    def carries(self, inputs: tuple[TensorType, ...], output: TensorType) -> bool:
        return self.counts[-1:] == inputs[0].shape[-1:] and self.steps[-1:] == (1,)

    def reference(self, *x: Array) -> Array:
        return self._take(x[0])

    def simulate(self, site: Site, *x: Array) -> Array:
        return self._take(x[0])

    def view(self, inputs: tuple[TensorType, ...]) -> int | None:
        shape, strides = inputs[0].shape, row_major(inputs[0].shape)
        cut = next((i for i, c in enumerate(self.counts) if c > 1), len(shape))
        if any(s != 1 for s in self.steps) or self.counts[cut + 1:] != shape[cut + 1:]:
            return None
        start = sum(a * s for a, s in zip(self.starts, strides, strict=True))
        return start * (inputs[0].nbytes // max(inputs[0].size, 1))

    def dims(self, site: Site) -> dict[str, int]:
        strides = row_major(site.inputs[0].type.shape)
        loops = collapse(self.counts, (tuple(s * step for s, step in zip(strides, self.steps, strict=True)),))
        return {**loops.dims(("IN",)), "FIRST": sum(a * s for a, s in zip(self.starts, strides, strict=True))}

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls.along((2, 7, 3), 1, 1, 3, 2), ((2, 7, 3),), {})
        yield Case(cls.along((5, 4), 0, 4, 5, -1), ((5, 4),), {})
        yield Case(cls((1, 0, 2), (2, 2, 3), (1, 2, 1)), ((3, 4, 6),), {})


def _slice(node: OnnxNode, b: Builder) -> str:
    x = node.inputs[0]
    shape = b.shape(x)
    starts, ends = node.ints(b, 1, "starts"), node.ints(b, 2, "ends")
    if starts is None or ends is None:
        raise AotError("Slice without starts or ends")
    axes = node.ints(b, 3, "axes") or tuple(range(len(starts)))
    steps = node.ints(b, 4, "steps") or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise AotError("starts, ends, axes and steps of Slice do not fit together")
    result = [(0, s, 1) for s in shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if not -len(shape) <= axis < len(shape):
            raise AotError(f"axis {axis} lies outside a tensor of rank {len(shape)}")
        size = shape[axis]
        low, high, span = slice(start, end, step).indices(size)
        result[axis % len(shape)] = (low, len(range(low, high, span)), span)
    if all(r == (0, s, 1) for r, s in zip(result, shape, strict=True)):
        return x
    firsts, counts, strides = zip(*result, strict=True)
    return b.add(Slice(firsts, counts, strides), [x], node.outputs[0])


def _split(node: OnnxNode, b: Builder) -> tuple[str, ...]:
    x = node.inputs[0]
    shape = b.shape(x)
    axis = node.axis(len(shape), 0)
    parts = node.ints(b, 1, "split")
    if parts is None:
        number = int(node.attr("num_outputs", len(node.outputs)))
        each = -(-shape[axis] // number)
        parts = tuple(min(each, shape[axis] - i * each) for i in range(number))
    if sum(parts) != shape[axis] or len(parts) != len(node.outputs):
        raise AotError(f"cannot split {shape[axis]} elements into {list(parts)}")
    firsts = [sum(parts[:i]) for i in range(len(parts))]
    return tuple(b.add(Slice.along(shape, axis, first, count), [x], name)
                 for first, count, name in zip(firsts, parts, node.outputs, strict=True))


def _gather(node: OnnxNode, b: Builder) -> str:
    x = node.inputs[0]
    shape = b.shape(x)
    axis = node.axis(len(shape), 0)
    indices = node.const(b, 1, "indices")
    assert indices is not None
    outside = [int(i) for i in indices.reshape(-1) if not -shape[axis] <= i < shape[axis]]
    if outside:
        raise AotError(f"Gather takes index {outside[0]} of an axis of {shape[axis]}",
                       f"indices go from {-shape[axis]} to {shape[axis] - 1}")
    wanted = [int(i) + (shape[axis] if i < 0 else 0) for i in indices.reshape(-1)]
    runs = _runs(wanted)
    if len(runs) > MOST_RUNS:
        raise AotError(f"Gather of {len(wanted)} positions in no order: they are {len(runs)} evenly spaced runs",
                       f"at most {MOST_RUNS} runs are supported, each of which is a slice")
    parts = [b.add(Slice.along(shape, axis, *run), [x], f"{node.outputs[0]}.slice{i if len(runs) > 1 else ''}")
             for i, run in enumerate(runs)]
    out = parts[0] if len(parts) == 1 else b.add(Concat(axis), parts, f"{node.outputs[0]}.joined")
    return b.add(Reshape((*shape[:axis], *indices.shape, *shape[axis + 1:])), [out], node.outputs[0])


def _runs(positions: Sequence[int]) -> list[tuple[int, int, int]]:
    """The positions as runs: first, number, and step; each as long as it can be."""
    runs: list[tuple[int, int, int]] = []
    for at in positions:
        if runs:
            first, count, step = runs[-1]
            gap = at - (first + (count - 1) * step)
            if gap and (count == 1 or gap == step):
                runs[-1] = (first, count + 1, gap)
                continue
        runs.append((at, 1, 1))
    return runs
