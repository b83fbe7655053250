"""Permutation of axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import Array, TensorType
from aot.ops.base import Case, OnnxNode, Op, Rows, Shape, Site, Strip
from aot.ops.reshape import Reshape
from aot.ops.strided import Loops, collapse, row_major


@dataclass(frozen=True)
class Transpose(Op):
    """Axis i of the output is axis ``perm[i]`` of the input; of axis 1 there may be some ``rows`` only."""

    perm: tuple[int, ...]
    rows: Rows | None = None

    name: ClassVar[str] = "transpose"
    onnx: ClassVar[tuple[str, ...]] = ("Transpose", "DepthToSpace", "SpaceToDepth")
    same_quant: ClassVar[bool] = True

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        if node.op_type != "Transpose":
            return (_blocks(node, b),)
        rank = len(b.shape(node.inputs[0]))
        perm = tuple(node.attr("perm") or reversed(range(rank)))
        if sorted(perm) != list(range(rank)):
            raise AotError(f"perm {list(perm)} is not a permutation of {rank} axes")
        return (b.add(cls(perm), [node.inputs[0]], node.outputs[0]),)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        shape = [types[0].shape[p] for p in self.perm]
        if self.rows is not None:
            shape[1] = self.rows[1] - self.rows[0]
        return tuple(shape)

    def carries(self, inputs: tuple[TensorType, ...], output: TensorType) -> bool:
        return self.perm[-1:] == (len(self.perm) - 1,)

    def reference(self, *x: Array) -> Array:
        y = x[0].transpose(self.perm)
        return y if self.rows is None else y[:, slice(*self.rows)]

    def simulate(self, site: Site, *x: Array) -> Array:
        return self.reference(*x)

    def strip(self, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows) -> Strip | None:
        return Strip(replace(self, rows=rows), (None,))

    def _loops(self, site: Site) -> Loops:
        strides = row_major(site.inputs[0].type.shape)
        return collapse(site.output.type.shape, (tuple(strides[p] for p in self.perm),))

    def dims(self, site: Site) -> dict[str, int]:
        dims = self._loops(site).dims(("IN",))
        if self.rows is not None:
            dims["FIRST"] = self.rows[0] * row_major(site.inputs[0].type.shape)[self.perm[1]]
        return dims

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls((0, 2, 3, 1)), ((1, 3, 4, 5),), {})
        yield Case(cls((2, 0, 1)), ((3, 1, 5),), {})
        yield Case(cls((3, 1, 2, 0)), ((2, 3, 4, 5),), {})
        yield Case(cls((0, 2, 3, 1), (1, 4)), ((1, 3, 5, 2),), {})


def _blocks(node: OnnxNode, b: Builder) -> str:
    """DepthToSpace and SpaceToDepth: blocks of pixels to channels and back, as a transpose of six axes."""
    n, c, h, w = b.shape(node.inputs[0])
    size, hint = int(node.attr("blocksize")), node.outputs[0]
    if node.op_type == "SpaceToDepth":
        split, perm = (n, c, h // size, size, w // size, size), (0, 3, 5, 1, 2, 4)
        final = (n, c * size * size, h // size, w // size)
    else:
        depth, final = c // (size * size), (n, c // (size * size), h * size, w * size)
        if node.attr("mode", "DCR") == "CRD":
            split, perm = (n, depth, size, size, h, w), (0, 1, 4, 2, 5, 3)
        else:
            split, perm = (n, size, size, depth, h, w), (0, 3, 4, 1, 5, 2)
    x = b.add(Reshape(split), [node.inputs[0]], f"{hint}.split")
    return b.add(Reshape(final), [b.add(Transpose(perm), [x], f"{hint}.moved")], hint)


def inverse(perm: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes ``perm``."""
    return tuple(perm.index(i) for i in range(len(perm)))
