"""Many samples at once through a float Graph, with the errors of its quantized form put in where they are wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy

import numpy as np

from aot.ir import FORMATS, Array, Graph, Node, Quant, Value
from aot.numerics import LIMITS, dequantize
from aot.ops.base import Op, Shape
from aot.ops.quantize import Quantize
from aot.sums import fused_as

#: Samples by input name, or any values by name: [samples, *shape], float32.
Stack = Mapping[str, Array]


class Batch:
    """A float graph, and beside it what its quantized form would make of its constants and outputs.

    Operators are asked for their meaning on all samples together where that gives the same as one after the other,
    which is tried once for every node. Sums are those of float32: good for statistics, not for golden vectors.
    ``graph`` has the same sums as one layer with a convolution as the quantized form.
    """

    def __init__(self, graph: Graph, quantized: Graph | None = None) -> None:
        self.graph = graph if quantized is None else fused_as(graph, quantized)
        self._quants: dict[str, tuple[Quant, str]] = {}
        self._rough: dict[str, tuple[Array | None, ...]] = {}
        self._converted: dict[str, tuple[tuple[Quant, str] | None, ...]] = {}
        self._together: dict[str, bool] = {}
        self._index = {n.output: i for i, n in enumerate(self.graph.nodes)}
        if quantized is not None:
            self._learn(quantized)

    def _learn(self, quantized: Graph) -> None:
        """Quantizations of inputs and outputs, and constants as they are after rounding."""
        for name in quantized.inputs:
            self._note(quantized.values[name])
        mates = quantized.producer()
        for node in self.graph.nodes:
            mate = mates.get(node.output)
            if mate is None or len(mate.inputs) != len(node.inputs):
                continue
            if not node.op.same_quant:  # those move what is rounded already
                self._note(quantized.values[mate.output])
            self._converted[node.output] = tuple(_coarser(quantized, mates, i) for i in mate.inputs)
            self._rough[node.output] = tuple(_real(quantized.values[i], self.graph.values[j])
                                             for i, j in zip(mate.inputs, node.inputs, strict=True))

    def _note(self, value: Value) -> None:
        if value.type.quant is not None and value.type.format in LIMITS:
            self._quants[value.name] = (value.type.quant, value.type.format)

    def replaced(self, constants: Mapping[str, Sequence[Array | None]]) -> Batch:
        """The same with other constants of some nodes (by output), as their rounded ones; None for the exact one."""
        other = copy(self)
        other._rough = {**self._rough, **{n: tuple(c) for n, c in constants.items()}}
        return other

    def rounds(self, name: str) -> bool:
        """Whether the quantized graph rounds this value."""
        return name in self._quants

    def limits(self, name: str) -> tuple[float, float] | None:
        """Smallest and largest real number which the quantized value can hold."""
        if name not in self._quants:
            return None
        quant, format = self._quants[name]
        low, high = ((q - quant.zero) * quant.scale[0] for q in LIMITS[format])
        return low, high

    def constants(self, node: Node) -> tuple[tuple[Array, Array], ...]:
        """The node's constants, exact and as rounded, those only which differ."""
        rough = self._rough.get(node.output, ())
        pairs = ((self.graph.values[i].data, r) for i, r in zip(node.inputs, rough, strict=False))
        return tuple((exact, r) for exact, r in pairs if exact is not None and r is not None)

    def rounded(self, name: str, data: Array) -> Array:
        """The data as the quantized value holds it."""
        return _held(data, *self._quants[name]) if name in self._quants else data

    def run(self, inputs: Stack, rough_weights: bool | Collection[str] = False,
            rough_values: bool | Collection[str] = False, known: Stack | None = None, only: Collection[str] = (),
            until: str | None = None) -> dict[str, Array]:
        """Every value by name, for all samples.

        ``rough_weights``: nodes (by output) that compute with rounded constants, on inputs converted to their format;
        ``rough_values``: values that are rounded; True for all of them, False for none. ``known``: values of an
        earlier run, and ``only`` what has changed since: then only what depends on that is computed, and the answer
        holds only that.
        ``until``: nothing behind this value.
        """
        values: dict[str, Array] = dict(known or {})
        fresh: dict[str, Array] = {}
        for name in self.graph.inputs:
            if known is None or name in only:
                x = np.asarray(inputs[name], np.float32)
                fresh[name] = self.rounded(name, x) if _among(name, rough_values) else x
        values.update(fresh)
        count = len(values[self.graph.inputs[0]])
        last = {i: k for k, node in enumerate(self.graph.nodes) for i in node.inputs}
        for k, node in enumerate(self.graph.nodes):
            if until in fresh:
                break
            if known is not None and node.output not in only and not any(i in fresh for i in node.inputs):
                continue
            y = self._node(node, values, _among(node.output, rough_weights))
            if len(y) != count:  # of constants alone
                y = np.broadcast_to(y, (count, *y.shape[1:]))
            y = self.rounded(node.output, y) if _among(node.output, rough_values) else y
            values[node.output] = fresh[node.output] = y
            if known is not None:
                for name in node.inputs:
                    if last[name] == k and name not in self.graph.outputs:
                        values.pop(name, None)
        return fresh

    def _node(self, node: Node, values: Mapping[str, Array], rough: bool) -> Array:
        """One node on all samples."""
        replaced = self._rough.get(node.output, ()) if rough else ()
        operands: list[Array] = []
        fixed: list[bool] = []
        for i, name in enumerate(node.inputs):
            data = self.graph.values[name].data
            fixed.append(data is not None)
            if data is None:
                read = self._converted.get(node.output, ())
                coarser = read[i] if rough and i < len(read) else None
                operands.append(values[name] if coarser is None else _held(values[name], *coarser))
            else:
                other = replaced[i] if i < len(replaced) else None
                operands.append(np.asarray(data if other is None else other, np.float32))
        shape = self.graph.values[node.output].type.shape
        if self._together.get(node.output) is not False:
            found = _together(node.op, operands, fixed, shape)
            if node.output not in self._together:
                self._together[node.output] = found is not None and _same(node.op, operands, fixed, found)
            if found is not None and self._together[node.output]:
                return found
        return _one_by_one(node.op, operands, fixed, shape)


def stack(samples: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Samples by input name, one array each."""
    return {name: np.stack([s[name] for s in samples]) for name in samples[0]}


def _among(name: str, chosen: bool | Collection[str]) -> bool:
    return chosen if isinstance(chosen, bool) else name in chosen


def _held(data: Array, quant: Quant, format: str) -> Array:
    """The data as a value of that quantization holds it."""
    low, high = LIMITS[format]
    q = np.floor(data * np.float32(1 / quant.scale[0]) + np.float32(0.5)) + np.float32(quant.zero)
    return np.asarray((np.clip(q, low, high) - np.float32(quant.zero)) * np.float32(quant.scale[0]), np.float32)


def _coarser(quantized: Graph, producer: Mapping[str, Node], name: str) -> tuple[Quant, str] | None:
    """What a node's input is rounded to once more before it is read, if it is."""
    node, value = producer.get(name), quantized.values[name]
    if node is None or not isinstance(node.op, Quantize) or value.type.quant is None:
        return None
    return value.type.quant, value.type.format


def _real(rounded: Value, exact: Value) -> Array | None:
    """A quantized constant in real numbers; None where it is not one, or has another shape than the exact one."""
    if rounded.data is None or exact.data is None or rounded.data.shape != exact.data.shape:
        return None
    if rounded.type.quant is None or FORMATS[rounded.type.format].kind != "i":
        return np.asarray(rounded.data, np.float32)
    return dequantize(rounded.data, rounded.type.quant)


def _one_by_one(op: Op, operands: Sequence[Array], fixed: Sequence[bool], shape: Shape) -> Array:
    """One sample after the other. If all operands are constants, the result is the same for every sample."""
    count = max((len(x) for x, f in zip(operands, fixed, strict=True) if not f), default=1)
    results = [np.asarray(op.reference(*(x if f else x[k] for x, f in zip(operands, fixed, strict=True))), np.float32)
               for k in range(count)]
    return np.stack(results).reshape(count, *shape)


def _together(op: Op, operands: Sequence[Array], fixed: Sequence[bool], shape: Shape) -> Array | None:
    """All samples along the first axis, where every value has one of length 1 there; None if that does not work."""
    if all(fixed) or shape[:1] != (1,) or any(x.ndim < 2 or x.shape[1] != 1
                                              for x, f in zip(operands, fixed, strict=True) if not f):
        return None
    if any(f and x.ndim >= len(shape) and x.shape[0] != 1 and op.name in ("add", "mul", "concat")
           for x, f in zip(operands, fixed, strict=True)):
        return None
    count = next(len(x) for x, f in zip(operands, fixed, strict=True) if not f)
    try:
        with np.errstate(all="ignore"):
            y = np.asarray(op.reference(*(x if f else x.reshape(count, *x.shape[2:])
                                          for x, f in zip(operands, fixed, strict=True))), np.float32)
    except (ValueError, IndexError):
        return None
    return y.reshape(count, *shape) if y.shape == (count, *shape[1:]) else None


def _same(op: Op, operands: Sequence[Array], fixed: Sequence[bool], found: Array) -> bool:
    """Whether the first and the last sample alone give what they gave among the others."""
    for k in {0, len(found) - 1}:
        alone = np.asarray(op.reference(*(x if f else x[k] for x, f in zip(operands, fixed, strict=True))), np.float32)
        if alone.shape != found[k].shape or not np.allclose(alone, found[k], rtol=1e-3, atol=1e-4, equal_nan=True):
            return False
    return True
