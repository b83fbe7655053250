"""What a model holds: layers, shapes, work and weights, and what is not supported and why."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from aot.errors import Problem, printable
from aot.frontend import Layer, survey

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One ONNX node that runs on the device.

    ``output``: the first output's shape in elements, None if it cannot be known. ``macs``: multiply-accumulates of one
    inference. ``parameters``: elements of its float constants. ``problems``: why it is not supported.
    """

    layer: str
    operator: str
    output: Shape | None
    macs: int
    parameters: int
    problems: tuple[Problem, ...]

    @property
    def supported(self) -> bool:
        """Whether the node can be compiled."""
        return not self.problems


@dataclass(frozen=True)
class Inspection:
    """Rows by layer, totals, and every problem: those of layers and those of the model as a whole."""

    name: str
    opset: int
    inputs: tuple[tuple[str, Shape], ...]
    rows: tuple[Row, ...]
    macs: int
    parameters: int
    problems: tuple[Problem, ...]

    def table(self) -> str:
        """The inspection as text, fit for a terminal."""
        head = f"{'layer':<40}{'operator':<24}{'output':<18}{'MACs':>14}{'parameters':>12}  supported"
        lines = [f"input {printable(name, 60)}: {_text(shape)}" for name, shape in self.inputs]
        lines += [head, "-" * len(head)]
        for r in self.rows:
            lines.append(f"{printable(r.layer, 38):<40}{printable(r.operator, 22):<24}{_text(r.output):<18}"
                         f"{r.macs:>14,}{r.parameters:>12,}  {'yes' if r.supported else 'no'}")
        lines += ["-" * len(head), f"{self.name}, opset {self.opset}: {len(self.rows)} layers, {self.macs:,} MACs, "
                                   f"{self.parameters:,} parameters"]
        if self.problems:
            lines += ["", "This model cannot be compiled:"]
            lines += [f"  {line}" for p in self.problems for line in str(p).splitlines()]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


def inspect(model: str | Path | bytes | onnx.ModelProto) -> Inspection:
    """Look at a model, supported or not. Raises AotError for what is no model at all."""
    found = survey(model)
    counted: set[int] = set()
    rows = tuple(Row(layer.name, layer.operator, layer.outputs[0].shape if layer.outputs[0] else None, _macs(layer),
                     _parameters(layer, counted), layer.problems) for layer in found.layers)
    return Inspection(found.name, found.opset, found.inputs, rows, sum(r.macs for r in rows),
                      sum(r.parameters for r in rows), found.problems)


def _parameters(layer: Layer, counted: set[int]) -> int:
    """Elements of the layer's float constants, without single numbers; shared ones count where they come first."""
    total = 0
    for fact in layer.inputs:
        data = fact.data if fact is not None else None
        if data is not None and data.ndim and data.dtype.kind in "fV" and id(data) not in counted:
            counted.add(id(data))
            total += data.size
    return total


def _macs(layer: Layer) -> int:
    """Multiply-accumulates, by the ONNX definition of the operator; 0 where shapes are not known."""
    shapes = [f.shape if f is not None else None for f in (*layer.inputs[:2], *layer.outputs[:1])]
    if len(shapes) < 3 or None in shapes:
        return 0
    first, second, output = (s or () for s in shapes)
    match layer.operator:
        case "Conv":  # every output element sees one filter
            return prod(output) * prod(second[1:])
        case "ConvTranspose":  # every input element is spread by one filter
            return prod(first) * prod(second[1:])
        case "Gemm":
            return prod(output) * first[0 if layer.attributes.get("transA") else -1]
        case "MatMul":
            return prod(output) * first[-1]
        case "LSTM":  # weights [directions, 4 * hidden, inputs]; input [steps, batch, inputs]; four gates
            return prod(first[:2]) * prod(second[:2]) * (second[2] + second[1] // 4)
        case "GRU":
            return prod(first[:2]) * prod(second[:2]) * (second[2] + second[1] // 3)
    return 0


def _text(shape: Shape | None) -> str:
    return "?" if shape is None else "x".join(map(str, shape)) or "scalar"
