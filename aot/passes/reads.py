"""Which parts of its inputs an operator needs for a part of its output, and the operator that computes just that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.base import Op, Shape
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
from aot.ops.unary import Unary
from aot.ops.window import Window
from aot.passes.parts import Part, Parts, Reach, whole

Windowed = Conv2d | DepthwiseConv2d | AveragePool2d | MaxPool2d


@dataclass(frozen=True)
class Reading:
    """What a node computes of its output, no less than what is needed, and the part of each input which that needs.

    None: nothing of it.
    """

    made: Parts
    needs: tuple[Parts | None, ...]


def everything(inputs: tuple[Shape, ...], output: Shape) -> Reading:
    """A node that computes all of its output from all of its inputs."""
    return Reading(whole(output), tuple(map(whole, inputs)))


def reading(op: Op, inputs: tuple[Shape, ...], output: Shape, need: Parts) -> Reading:
    """How an operator gets the part of its output that is needed; all of it where the operator is not known."""
    x, full = inputs[0], whole(output)
    if isinstance(op, Unary | Quantize):
        return Reading(need, (need,))
    if isinstance(op, Add | Mul):
        return Reading(need, tuple(_broadcast(shape, need) for shape in inputs))
    if isinstance(op, Softmax):
        made = (*need[:-1], full[-1])
        return Reading(made, (made,))
    if isinstance(op, Transpose) and op.rows is None:
        return Reading(need, (tuple(need[op.perm.index(i)] for i in range(len(x))),))
    if isinstance(op, Reshape):
        return _reshape(x, output, need)
    if isinstance(op, Pad):
        made = tuple(n if n.moved(-b).within(s) else f for n, b, s, f in zip(need, op.before, x, full, strict=True))
        return Reading(made, (_unpadded(op, x, made),))
    if isinstance(op, Slice):
        return Reading(need, (_sliced(op, x, need),))
    if isinstance(op, Concat):
        return Reading(need, tuple(_parts(op, inputs, need)))
    if isinstance(op, FullyConnected):
        return Reading(need, ((*need[:-1], Part(0, x[-1])), (need[-1], Part(0, x[-1])), (need[-1],)))
    if isinstance(op, Windowed):
        return _window(op, inputs, full, need)
    return everything(inputs, output)


def cropped(op: Op, shape: Shape, made: Parts, given: tuple[Parts | None, ...]) -> Op | None:
    """The operator that computes what :func:`reading` says from the given parts of its inputs.

    ``shape`` is that of the whole first input. None: its output is its input, as a padding of which nothing is needed.
    """
    if isinstance(op, Reshape):
        return Reshape(tuple(m.count for m in made))
    if isinstance(op, Concat):
        return None if sum(g is not None for g in given) == 1 else op
    first = given[0]
    assert first is not None
    if isinstance(op, Slice):
        return _slice(op, made, first)
    if isinstance(op, Pad):
        before = tuple((g.first - m.first + b) // m.step for m, b, g in zip(made, op.before, first, strict=True))
        after = tuple(m.count - n - g.count for m, n, g in zip(made, before, first, strict=True))
        return replace(op, before=before, after=after) if any(before) or any(after) else None
    if isinstance(op, Windowed):
        return _on(op, shape, made, first)
    return op


def candidates(op: Op, shape: Shape, reads: Reading, have: Parts) -> Iterator[Parts]:
    """Parts of the first input, of which ``have`` is there, from which a window can be computed, the best one first.

    Along rows and columns that is all of what is there, if the window can leave out what it does not need; else all of
    it from the first to the last index needed, which may lie in one piece. The last one is just what is needed.
    """
    assert isinstance(op, Windowed) and reads.needs[0] is not None
    need, made = list(reads.needs[0]), reads.made
    near = list(need)
    for i, reach in enumerate(_reaches(op.window), 1):
        near[i] = have[i] if reach.on(made[i], have[i]) else need[i].filled(have[i].step)
    yield tuple(near)
    yield tuple(need)


def _broadcast(shape: Shape, need: Parts) -> Parts:
    return tuple(Part(0, 1) if size == 1 else n for size, n in zip(shape, need[len(need) - len(shape):], strict=True))


def _reshape(x: Shape, output: Shape, need: Parts) -> Reading:
    """Axes that stay apart from others are needed as they are, of others all."""
    made, needs = list(whole(output)), list(whole(x))
    for before, after in _groups(x, output):
        if len(before) == len(after) == 1:
            made[after[0]] = needs[before[0]] = need[after[0]]
    return Reading(tuple(made), (tuple(needs),))


def _groups(x: Shape, y: Shape) -> Iterator[tuple[list[int], list[int]]]:
    """Axes of two shapes, without those of size 1, that hold the same elements; as few at a time as possible."""
    left, right = [i for i, s in enumerate(x) if s != 1], [i for i, s in enumerate(y) if s != 1]
    while left:
        before, after = [left.pop(0)], [right.pop(0)]
        a, b = x[before[0]], y[after[0]]
        while a != b:
            if a < b:
                before.append(left.pop(0))
                a *= x[before[-1]]
            else:
                after.append(right.pop(0))
                b *= y[after[-1]]
        yield before, after


def _unpadded(op: Pad, x: Shape, made: Parts) -> Parts:
    found = tuple(m.moved(-b).within(s) for m, b, s in zip(made, op.before, x, strict=True))
    return tuple(f if f is not None else Part(0, s) for f, s in zip(found, x, strict=True))


def _sliced(op: Slice, x: Shape, need: Parts) -> Parts:
    """Of the first axis all, if the slice cuts it."""
    found = []
    for start, step, n in zip(op.starts, op.steps, need, strict=True):
        ends = start + step * n.first, start + step * n.last
        found.append(Part(min(ends), n.count, max(1, abs(step) * n.step)))
    return (Part(0, x[0]), *found[1:]) if found and op.counts[0] != x[0] else tuple(found)


def _slice(op: Slice, made: Parts, given: Parts) -> Slice | None:
    """The slice that takes its elements out of a part of its input; None if they are all of it in their order."""
    starts, steps = [], []
    for start, step, m, g in zip(op.starts, op.steps, made, given, strict=True):
        starts.append((start + step * m.first - g.first) // g.step)
        steps.append(step * m.step // g.step if m.count > 1 else 1)
    counts = tuple(m.count for m in made)
    same = counts == tuple(g.count for g in given) and all(s == 1 for s in steps)
    return None if same else Slice(tuple(starts), counts, tuple(steps))


def _parts(op: Concat, inputs: tuple[Shape, ...], need: Parts) -> Iterator[Parts | None]:
    start = 0
    for shape in inputs:
        part = need[op.axis].moved(-start).within(shape[op.axis])
        yield None if part is None else (*need[:op.axis], part, *need[op.axis + 1:])
        start += shape[op.axis]


def _reaches(window: Window) -> tuple[Reach, Reach]:
    top, left = window.pads[:2]
    return (Reach(window.kernel[0], window.stride[0], window.dilation[0], top),
            Reach(window.kernel[1], window.stride[1], window.dilation[1], left))


def _window(op: Windowed, inputs: tuple[Shape, ...], full: Parts, need: Parts) -> Reading:
    """Of rows and columns what the windows reach; where that is nothing but padding, those of the whole output."""
    made, spatial = list(need), []
    for i, reach in enumerate(_reaches(op.window), 1):
        part = reach.taps(need[i]).within(inputs[0][i])
        if part is None:
            made[i] = full[i]
            part = reach.taps(full[i]).within(inputs[0][i]) or Part(0, inputs[0][i])
        spatial.append(part)
    channels = Part(0, inputs[0][3])
    if isinstance(op, AveragePool2d | MaxPool2d):
        return Reading(tuple(made), ((need[0], *spatial, need[3]),))
    weights = list(whole(inputs[1]))
    if isinstance(op, Conv2d) and op.groups == 1:
        weights[0] = need[3]
    elif isinstance(op, DepthwiseConv2d) and full[3].count == inputs[0][3]:
        weights[2] = channels = need[3]
    else:
        made[3] = full[3]
    return Reading(tuple(made), ((need[0], *spatial, channels), tuple(weights), (made[3],)))


def _on(op: Windowed, shape: Shape, made: Parts, given: Parts) -> Windowed:
    """The window operator on a part of its input, which :func:`candidates` named."""
    window, (height, width) = op.window, op.window.output(shape[1], shape[2])
    reaches, ends = [], []
    for i, (reach, size) in enumerate(zip(_reaches(window), (height, width), strict=True), 1):
        same = made[i] == Part(0, size) and given[i] == Part(0, shape[i])
        found = (reach, window.pads[i + 1]) if same else reach.on(made[i], given[i])
        assert found is not None
        reaches.append(found[0])
        ends.append(found[1])
    (top, left), (below, right) = reaches, ends
    return replace(op, window=Window(window.kernel, (top.stride, left.stride), (top.dilation, left.dilation),
                                     (top.before, left.before, below, right)))
