"""Reading ONNX pooling and reduction nodes; the two pooling operators share it."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from aot.builder import Builder
from aot.errors import AotError
from aot.ops.base import OnnxNode
from aot.ops.pad import Pad
from aot.ops.reshape import Reshape
from aot.ops.transpose import Transpose
from aot.ops.window import Window, from_nhwc, read_window, to_nhwc

if TYPE_CHECKING:
    from collections.abc import Callable

    from aot.ops.base import Op


def read_pool(node: OnnxNode, b: Builder, make: Callable[[Window], Op], pad_first: bool = False) -> tuple[str, ...]:
    """MaxPool, AveragePool and their Global forms, over one or two spatial dimensions.

    ``pad_first``: the node's own pads become elements of the input.
    """
    if len(node.outputs) > 1 and node.outputs[1]:
        raise AotError("the indices output of MaxPool is not supported", "leave the second output unused")
    if node.attr("storage_order", 0):
        raise AotError("storage_order 1 is not supported")
    shape, hint = b.shape(node.inputs[0]), node.outputs[0]
    x = to_nhwc(b, node.inputs[0], hint + ".in")
    if node.op_type.startswith("Global"):
        window = Window((b.shape(x)[1], b.shape(x)[2]))
    else:
        window = read_window(node, tuple(node.attr("kernel_shape")), shape[2:])
        if pad_first:
            plain = replace(node, attributes={**node.attributes, "ceil_mode": 0})
            top, left, bottom, right = read_window(plain, tuple(node.attr("kernel_shape")), shape[2:]).pads
            if top or left or bottom or right:
                x = b.add(Pad((0, top, left, 0), (0, bottom, right, 0)), [x], hint + ".padded")
            window = replace(window, pads=(0, 0, window.pads[2] - bottom, window.pads[3] - right))
    return (from_nhwc(b, b.add(make(window), [x], hint + ".pool"), len(shape), hint),)


def read_reduction(node: OnnxNode, b: Builder, make: Callable[[Window], Op]) -> tuple[str, ...]:
    """ReduceMean and ReduceMax over any axes, as pooling over a feature map that has those axes as its height."""
    x, hint = node.inputs[0], node.outputs[0]
    shape = b.shape(x)
    rank = len(shape)
    axes = node.ints(b, 1, "axes")
    if not axes:
        if node.attr("noop_with_empty_axes", 0):
            return (x,)
        axes = tuple(range(rank))
    reduced = sorted({a % rank for a in axes})
    if any(not -rank <= a < rank for a in axes):
        raise AotError(f"axes {list(axes)} lie outside a tensor of rank {rank}")
    keep = node.attr("keepdims", 1)
    kept = [i for i in range(rank) if i not in reduced]
    final = tuple(1 if i in reduced else s for i, s in enumerate(shape)) if keep else tuple(shape[i] for i in kept)
    if rank in (3, 4) and reduced == list(range(2, rank)):  # global pooling of a feature map
        x = to_nhwc(b, x, hint + ".in")
        x = b.add(make(Window((b.shape(x)[1], b.shape(x)[2]))), [x], hint + ".pool")
        return (b.add(Reshape(final), [x], hint),)
    # axes before the first reduced one stay outside, the others move behind: [outer, reduced, 1, inner]
    outer = [i for i in kept if i < reduced[0]]
    inner = [i for i in kept if i > reduced[0]]
    perm = (*outer, *reduced, *inner)
    if perm != tuple(range(rank)):
        x = b.add(Transpose(perm), [x], hint + ".sorted")
    sizes = [prod(shape[i] for i in group) for group in (outer, reduced, inner)]
    x = b.add(Reshape((sizes[0], sizes[1], 1, sizes[2])), [x], hint + ".map")
    x = b.add(make(Window((sizes[1], 1))), [x], hint + ".pool")
    return (b.add(Reshape(final), [x], hint),)
