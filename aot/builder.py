"""Building and rewriting graphs: the one place where nodes and values are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from aot.errors import AotError
from aot.ir import FORMATS, Array, Graph, Node, TensorType, Value

if TYPE_CHECKING:
    from aot.ops.base import Op


class Builder:
    """Collects values and nodes in execution order. Everything the frontend and the passes make goes through here."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.origin: tuple[str, ...] = ()
        self._taken: dict[str, int] = {}

    def unique(self, hint: str) -> str:
        """A value name not in use: the hint itself, or with a number behind it."""
        if hint not in self.values:
            return hint
        count = self._taken.get(hint, 0) + 1
        while f"{hint}.{count}" in self.values:
            count += 1
        self._taken[hint] = count
        return f"{hint}.{count}"

    def input(self, name: str, shape: Sequence[int], format: str = "f32") -> str:
        """Declare a graph input."""
        return self.keep(Value(name, TensorType(format, tuple(shape))))

    def keep(self, value: Value) -> str:
        """Take over a value as it is."""
        self.values[value.name] = value
        return value.name

    def constant(self, data: Array, hint: str, steps: Array | None = None) -> str:
        """A constant. Floats become f32; int8 and int32 stay; other integers become i64. ``steps``: see Value."""
        array = np.asarray(data)
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        elif array.dtype not in (np.int8, np.int16, np.int32):
            array = array.astype(np.int64)
        name = self.unique(hint)
        format = next(k for k, v in FORMATS.items() if v == array.dtype)
        if steps is not None:
            steps = np.broadcast_to(np.asarray(steps, np.float64), array.shape)
        self.values[name] = Value(name, TensorType(format, array.shape), array, steps)
        return name

    def derived(self, source: str, move: Callable[[Array], Array], hint: str) -> str:
        """The constant that is a linear function of another one's elements, each by itself: moved, or times a number.

        Where the integers of that are given, so are those of the result.
        """
        value = self.values[source]
        assert value.data is not None
        steps = None if value.steps is None else np.abs(move(value.steps))
        return self.constant(np.asarray(move(value.data), order="C"), hint, steps)

    def add(self, op: Op, inputs: Sequence[str], hint: str, origin: Iterable[str] | None = None) -> str:
        """Append a node; the output's shape is the operator's own inference. Answers the output's name."""
        types = tuple(self.values[i].type for i in inputs)
        name = self.unique(hint)
        self.values[name] = Value(name, TensorType(types[0].format, op.infer(types)))
        self.nodes.append(Node(f"{op.name}_{len(self.nodes)}", op, tuple(inputs), name,
                               tuple(origin) if origin is not None else self.origin))
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a value."""
        return self.values[name].type.shape

    def const(self, name: str) -> Array | None:
        """Data of a constant, None for what is known only at run time."""
        return self.values[name].data

    def graph(self, inputs: Sequence[str], outputs: Sequence[str]) -> Graph:
        """The finished graph."""
        for name in outputs:
            if name not in self.values:
                raise AotError(f"graph output {name!r} is never computed")
        return Graph(self.name, tuple(inputs), tuple(outputs), tuple(self.nodes), dict(self.values))
