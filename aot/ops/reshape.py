"""The same elements in the same order under another shape: costs nothing, the output is the input's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import Array, TensorType
from aot.ops.base import Case, OnnxNode, Op, Shape, Site


@dataclass(frozen=True)
class Reshape(Op):
    """Input of any shape; output of the same number of elements in ``shape``."""

    shape: Shape

    name: ClassVar[str] = "reshape"
    onnx: ClassVar[tuple[str, ...]] = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")
    same_quant: ClassVar[bool] = True

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        x = node.inputs[0]
        if node.op_type == "Dropout" and node.has(2):
            mode = node.const(b, 2, "training_mode")
            if mode is not None and bool(mode.reshape(-1)[0]):
                raise AotError("Dropout in training mode drops values at random",
                               "export the model in evaluation mode")
        if node.op_type in ("Identity", "Dropout"):
            return (x,)
        return (b.add(cls(_target(node, b, b.shape(x))), [x], node.outputs[0]),)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        if prod(self.shape) != types[0].size:
            raise AotError(f"{types[0].size} elements do not fit the shape {list(self.shape)}")
        return self.shape

    def carries(self, inputs: tuple[TensorType, ...], output: TensorType) -> bool:
        return bool(inputs[0].shape and output.shape) and output.shape[-1] % inputs[0].shape[-1] == 0

    def reference(self, *x: Array) -> Array:
        return x[0].reshape(self.shape)

    def simulate(self, site: Site, *x: Array) -> Array:
        return x[0].reshape(self.shape)

    def view(self, inputs: tuple[TensorType, ...]) -> int | None:
        return 0

    def dims(self, site: Site) -> dict[str, int]:
        return {"BYTES": site.output.type.nbytes}

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls((6, 2)), ((3, 4),), {})


def _target(node: OnnxNode, b: Builder, shape: Shape) -> Shape:
    """The output shape of an ONNX node that only changes the shape."""
    if node.op_type == "Flatten":
        axis = int(node.attr("axis", 1))
        axis += len(shape) if axis < 0 else 0
        return (prod(shape[:axis]), prod(shape[axis:]))
    if node.op_type == "Squeeze":
        axes = node.ints(b, 1, "axes")
        gone = {a % len(shape) for a in axes} if axes is not None else {i for i, s in enumerate(shape) if s == 1}
        if any(shape[a] != 1 for a in gone):
            raise AotError(f"cannot squeeze axes {sorted(gone)} of shape {list(shape)}: not all are 1")
        return tuple(s for i, s in enumerate(shape) if i not in gone)
    if node.op_type == "Unsqueeze":
        axes = node.ints(b, 1, "axes") or ()
        rank = len(shape) + len(axes)
        new = {a % rank for a in axes}
        rest = iter(shape)
        return tuple(1 if i in new else next(rest) for i in range(rank))
    wanted = node.ints(b, 1, "shape")
    if wanted is None:
        raise AotError("Reshape without a target shape")
    sizes = [shape[i] if s == 0 and not node.attr("allowzero", 0) and i < len(shape) else s
             for i, s in enumerate(wanted)]
    if sizes.count(-1) > 1 or any(s < -1 for s in sizes):
        raise AotError(f"Reshape to {list(wanted)} is not defined")
    if -1 in sizes:
        known = prod(s for s in sizes if s != -1)
        if known == 0 or prod(shape) % known:
            raise AotError(f"shape {list(shape)} cannot be reshaped to {list(wanted)}")
        sizes[sizes.index(-1)] = prod(shape) // known
    return tuple(sizes)
