"""The Graph: what is computed. Frozen data; shapes, number formats and scales live on Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aot.errors import AotError

if TYPE_CHECKING:
    from aot.ops.base import Op

Array = NDArray[Any]

#: Number formats: name -> numpy type. ``f32`` before quantization and where a recipe keeps it; ``i64`` only for
#: constants such as shapes. ``s4`` is for weights: one a byte here, two a byte in C.
FORMATS: dict[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "s4": np.dtype(np.int8),
    "s8": np.dtype(np.int8),
    "s16": np.dtype(np.int16),
    "s32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
}


@dataclass(frozen=True)
class Quant:
    """Affine quantization, ``real = scale * (q - zero)``: one scale, or one per index along ``axis``."""

    scale: tuple[float, ...]
    zero: int = 0
    axis: int | None = None

    def __str__(self) -> str:
        if self.axis is not None:
            return f"[{len(self.scale)} scales, axis {self.axis}]"
        return f"{self.scale[0]:.6g} {self.zero}"


@dataclass(frozen=True)
class TensorType:
    """Number format (a key of :data:`FORMATS`), shape in elements, and quantization for integer formats.

    ``limits``: the smallest and largest integer that occurs, where it is known to be less than the format holds.
    """

    format: str
    shape: tuple[int, ...]
    quant: Quant | None = None
    limits: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes, without padding."""
        return self.size * self.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return FORMATS[self.format].itemsize

    def __str__(self) -> str:
        quant = f" {self.quant}" if self.quant else ""
        limits = f" in {self.limits[0]} .. {self.limits[1]}" if self.limits else ""
        return f"{self.format}[{','.join(map(str, self.shape))}]{quant}{limits}"


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor. ``data`` is set for constants only.

    ``steps``: of a float constant whose integers the model gives, the size of a step, for each element: ``data`` is
    ``steps`` times those integers, as float32 rounds it.
    """

    name: str
    type: TensorType
    data: Array | None = None
    steps: Array | None = None

    @property
    def quant(self) -> Quant:
        """The quantization; an internal error for float values."""
        if self.type.quant is None:
            raise AotError(f"value {self.name!r} has no quantization")
        return self.type.quant

    @property
    def scale(self) -> float:
        """The scale of a per-tensor quantized value."""
        return self.quant.scale[0]

    @property
    def zero(self) -> int:
        """The zero point of a quantized value."""
        return self.quant.zero


@dataclass(frozen=True, eq=False)
class Node:
    """One operator applied to named values.

    ``origin``: names of the ONNX nodes it came from. ``goal``: what is favoured here, if not what is elsewhere;
    ``kernel``: the name of the one to take wherever it fits, if not the best for the goal.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    output: str
    origin: tuple[str, ...] = ()
    goal: str = ""
    kernel: str = ""


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in an order in which they can run; ``values`` holds every value by name."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    values: Mapping[str, Value]

    def __str__(self) -> str:
        return "\n".join([f"input %{i} : {self.values[i].type}" for i in self.inputs]
                         + [self.line(n) for n in self.nodes]
                         + ["output " + ", ".join(f"%{o}" for o in self.outputs)])

    def line(self, node: Node) -> str:
        """One node as text: ``%out = op(%in, ...) attributes : type  # where it came from``."""
        args = ", ".join(f"%{i}" for i in node.inputs)
        attributes = node.op.describe()
        origin = f"  # {' + '.join(node.origin)}" if node.origin else ""
        return (f"%{node.output} = {node.op.name}({args}){' ' + attributes if attributes else ''}"
                f" : {self.values[node.output].type}{origin}")

    def producer(self) -> dict[str, Node]:
        """Value name -> the node that computes it."""
        return {n.output: n for n in self.nodes}

    def consumers(self) -> dict[str, list[Node]]:
        """Value name -> the nodes that read it, in order, once per node."""
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                users.setdefault(name, []).append(node)
        return users

    def const(self, name: str) -> Array | None:
        """The data of a constant, or None for a value known only at run time."""
        return self.values[name].data


def check(graph: Graph) -> None:
    """Verify the graph: every name defined once and before use, types as the operators infer them.

    Raises AotError naming the first node at fault. Runs after every pass.
    """
    known = set(graph.inputs) | {name for name, v in graph.values.items() if v.data is not None}
    for name, value in graph.values.items():
        if name != value.name:
            raise AotError(f"value {name!r} is filed under another name than its own, {value.name!r}")
        if value.data is not None and value.data.shape != value.type.shape:
            raise AotError(f"constant {name!r} has shape {value.data.shape}, its type says {value.type.shape}")
    for node in graph.nodes:
        for name in node.inputs:
            if name not in known:
                raise AotError(f"input {name!r} is used before it is computed", node=node.name)
        if node.output in known:
            raise AotError(f"output {node.output!r} is defined twice", node=node.name)
        inferred = node.op.infer(tuple(graph.values[i].type for i in node.inputs))
        if inferred != graph.values[node.output].type.shape:
            raise AotError(f"{node.op.name} computes shape {inferred}, the graph says "
                           f"{graph.values[node.output].type.shape}", node=node.name)
        known.add(node.output)
    for name in graph.outputs:
        if name not in known:
            raise AotError(f"graph output {name!r} is never computed")


def prune(graph: Graph) -> Graph:
    """The graph without nodes and constants that no output needs."""
    needed = set(graph.outputs)
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            nodes.append(node)
            needed.update(node.inputs)
    kept = needed | set(graph.inputs)
    return Graph(graph.name, graph.inputs, graph.outputs, tuple(reversed(nodes)),
                 {k: v for k, v in graph.values.items() if k in kept})
