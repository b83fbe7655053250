"""Operators on quantized tensors (QOperator models) become float operators between DequantizeLinear and QuantizeLinear.

So that there is one way for models that are quantized already, and ONNX Runtime judges it by their meaning rather than
by kernels which saturate on some machines. Sources: ONNX operator specification, QLinearConv and QLinearMatMul; ONNX
Runtime's contrib operators (QGemm, QLinearAdd, ...).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import helper

from aot.errors import AotError, Problem
from aot.frontend.structure import label

#: Domains under which exporters write these operators.
_DOMAINS = ("", "ai.onnx", "com.microsoft")
#: Element-wise and pooling operators with one input, by the float operator which they are.
_SINGLE = {"QLinearSigmoid": "Sigmoid", "QLinearLeakyRelu": "LeakyRelu", "QLinearAveragePool": "AveragePool",
           "QLinearGlobalAveragePool": "GlobalAveragePool", "QLinearSoftmax": "Softmax",
           "QLinearReduceMean": "ReduceMean"}
_PAIRS = {"QLinearAdd": "Add", "QLinearMul": "Mul"}


@dataclass
class _Rewriting:
    """One node on its way to several: the nodes so far, and names for what lies between them."""

    node: onnx.NodeProto
    taken: set[str]
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def input(self, index: int) -> str:
        """An input's name, "" if it is absent."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def attributes(self) -> dict[str, Any]:
        """The node's attributes as Python values."""
        return {a.name: helper.get_attribute_value(a) for a in self.node.attribute}

    def add(self, kind: str, inputs: list[str], what: str, output: str = "", domain: str = "",
            **attributes: Any) -> str:
        """Append a node; answers the name of its output."""
        if not output:
            stem = output = f"{self.node.output[0]}.{what}"
            while output in self.taken:
                stem += "'"
                output = stem
            self.taken.add(output)
        name = f"{self.node.name}.{what}" if self.node.name and what else self.node.name
        self.nodes.append(helper.make_node(kind, inputs, [output], name, domain=domain, **attributes))
        return output

    def real(self, index: int, what: str, axis: int | None = None) -> str:
        """The numbers which a quantized input stands for: it is followed by its scale and zero point."""
        parts = [n for n in (self.input(index), self.input(index + 1), self.input(index + 2)) if n]
        along: dict[str, Any] = {} if axis is None else {"axis": axis}
        return self.add("DequantizeLinear", parts, what, domain=self.domain(axis), **along)

    def domain(self, axis: int | None = None) -> str:
        """Where the operators of ONNX know no axis yet, ONNX Runtime's do."""
        return "com.microsoft" if self.opset < 13 and axis is not None else ""

    def bias(self, name: str, first: str, second: str) -> str:
        """An int32 bias, whose scale is the product of those of the factors."""
        scale = self.add("Mul", [first, second], "bias_scale")
        return self.add("DequantizeLinear", [name, scale], "bias", domain=self.domain(0), axis=0)

    def whole(self, real: str, index: int) -> None:
        """Quantize the result by the scale and zero point in inputs ``index`` and ``index + 1``."""
        if not self.input(index) or not self.input(index + 1):
            raise AotError("it has no scale and zero point of its output", "export the model again")
        self.add("QuantizeLinear", [real, self.input(index), self.input(index + 1)], "", self.node.output[0])


def _conv(r: _Rewriting) -> None:
    inputs = [r.real(0, "x"), r.real(3, "w", 0)]
    if r.input(8):
        inputs.append(r.bias(r.input(8), r.input(1), r.input(4)))
    r.whole(r.add("Conv", inputs, "conv", **r.attributes()), 6)


def _matmul(r: _Rewriting) -> None:
    r.whole(r.add("MatMul", [r.real(0, "a"), r.real(3, "b", 1)], "matmul"), 6)


def _gemm(r: _Rewriting) -> None:
    attributes = r.attributes()
    inputs = [r.real(0, "a"), r.real(3, "b", 0 if attributes.get("transB", 0) else 1)]
    alpha = float(attributes.get("alpha", 1.0))
    if r.input(6):
        if alpha != 1.0:
            raise AotError(f"a QGemm with alpha {alpha} and a bias is not supported", "fold alpha into the weights")
        inputs.append(r.bias(r.input(6), r.input(1), r.input(4)))
    if r.input(7):
        r.whole(r.add("Gemm", inputs, "gemm", **attributes), 7)
    else:
        r.add("Gemm", inputs, "", r.node.output[0], **attributes)


def _pair(r: _Rewriting) -> None:
    r.whole(r.add(_PAIRS[r.node.op_type], [r.real(0, "a"), r.real(3, "b")], "result"), 6)


def _concat(r: _Rewriting) -> None:
    parts = [r.real(i, f"part{i // 3}") for i in range(2, len(r.node.input), 3)]
    r.whole(r.add("Concat", parts, "concat", **r.attributes()), 0)


def _single(r: _Rewriting) -> None:
    attributes = r.attributes()
    last = bool(attributes.pop("channels_last", 0))
    if r.node.op_type == "QLinearSoftmax":
        meant = int(attributes.pop("opset", r.opset))
        if (meant < 13) != (r.opset < 13):
            raise AotError(f"a QLinearSoftmax of opset {meant} in a model of opset {r.opset}", "export the model again")
    x = r.real(0, "x")
    if last:  # of four dimensions, which is what ONNX Runtime makes of NHWC
        x = r.add("Transpose", [x], "nchw", perm=[0, 3, 1, 2])
    y = r.add(_SINGLE[r.node.op_type], [x], "result", **attributes)
    r.whole(r.add("Transpose", [y], "nhwc", perm=[0, 2, 3, 1]) if last else y, 3)


_REWRITES: Mapping[str, Callable[[_Rewriting], None]] = {
    "QLinearConv": _conv, "QLinearMatMul": _matmul, "QGemm": _gemm, "QLinearConcat": _concat,
    **dict.fromkeys(_PAIRS, _pair), **dict.fromkeys(_SINGLE, _single)}


def expand(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model without operators on quantized tensors; the same object where it has none.

    Raises AotError naming every node that cannot be understood.
    """
    if not any(_known(n) for n in model.graph.node):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    taken = {t.name for t in model.graph.initializer}
    taken |= {name for n in model.graph.node for name in (*n.input, *n.output)}
    problems: list[Problem] = []
    nodes: list[onnx.NodeProto] = []
    for index, node in enumerate(model.graph.node):
        try:
            nodes += _rewritten(node, taken, opset) if _known(node) else [node]
        except AotError as error:
            problems += error.at(label(node, index)).problems
    if problems:
        raise AotError(problems=tuple(problems))
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    if "com.microsoft" not in {o.domain for o in result.opset_import}:
        result.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return result


def _known(node: onnx.NodeProto) -> bool:
    return node.op_type in _REWRITES and node.domain in _DOMAINS


def _rewritten(node: onnx.NodeProto, taken: set[str], opset: int) -> Iterator[onnx.NodeProto]:
    if len(node.output) != 1 or not node.output[0] or not all(node.input[:2]):
        raise AotError("its inputs and outputs are not those of its definition", "export the model again")
    rewriting = _Rewriting(node, taken, opset)
    _REWRITES[node.op_type](rewriting)
    yield from rewriting.nodes
