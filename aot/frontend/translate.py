"""Node by node, an ONNX graph whose shapes are known becomes a Graph: the operators read their own nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto

from aot.builder import Builder
from aot.errors import AotError, Problem
from aot.frontend.evaluate import Evaluation, Fact, has_subgraph, known
from aot.frontend.quantized import ON_INTEGERS, grid, is_linear, real_of
from aot.frontend.structure import label, operator
from aot.frontend.tensors import plain, to_array, type_name
from aot.ir import Array, Graph, prune
from aot.ops import REGISTRY
from aot.ops.base import OnnxNode
from aot.ops.quantize import Grid
from aot.ops.reshape import Reshape

#: Operators with inputs for which an infinite bound or fill is a usual way to say "none".
_MAY_BE_INFINITE = frozenset({"Clip", "Pad"})


@dataclass(frozen=True, eq=False)
class Layer:
    """One ONNX node that runs on the device. Facts are None where nothing is known; ``problems``: why it is refused."""

    name: str
    operator: str
    inputs: tuple[Fact | None, ...]
    outputs: tuple[Fact | None, ...]
    attributes: Mapping[str, object]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, eq=False)
class Translation:
    """The graph, or the problems because of which there is none; the layers in either case."""

    graph: Graph | None
    layers: tuple[Layer, ...]
    problems: tuple[Problem, ...]


def translate(graph: onnx.GraphProto, evaluation: Evaluation, opset: int, name: str) -> Translation:
    """Read every node that an output needs and that is not constant."""
    builder = Builder(name)
    constants = {t.name for t in graph.initializer}
    inputs = [v.name for v in graph.input if v.name not in constants]
    names = {n: builder.input(n, evaluation.facts[n].shape) for n in inputs if n in evaluation.facts}
    reader = _Reader(builder, evaluation, opset, names)
    layers = tuple(reader.layer(index, node) for index, node in _live(graph, evaluation))
    problems = [p for layer in layers for p in layer.problems]
    problems += [p for o in graph.output for p in _output_problems(o.name, inputs, evaluation)]
    if problems or any(o.name not in names and not reader.is_constant(o.name) for o in graph.output):
        return Translation(None, layers, tuple(problems))
    try:
        outputs = {o.name: reader.value(o.name, "Identity") for o in graph.output}
    except AotError as error:
        return Translation(None, layers, error.problems)
    return Translation(_finish(builder, inputs, outputs), layers, ())


def _live(graph: onnx.GraphProto, evaluation: Evaluation) -> list[tuple[int, onnx.NodeProto]]:
    """The nodes that have to run, with their indices."""
    needed = {o.name for o in graph.output}
    live = []
    for index, node in reversed(list(enumerate(graph.node))):
        if needed.intersection(node.output) and not evaluation.is_constant(node):
            live.append((index, node))
            needed.update(node.input)
    return live[::-1]


class _Reader:
    """Hands nodes to the operators that read them; keeps track of which value stands for which ONNX tensor."""

    def __init__(self, builder: Builder, evaluation: Evaluation, opset: int, names: dict[str, str]) -> None:
        self.builder = builder
        self.evaluation = evaluation
        self.opset = opset
        self.names = names
        self._explained: set[str] = set()
        self._grids: dict[str, Grid] = {}  # integer tensors that are computed, and what they stand for

    def layer(self, index: int, node: onnx.NodeProto) -> Layer:
        """Read one node; what it is refused for is in the layer."""
        where = label(node, index)
        problems: tuple[Problem, ...] = ()
        try:
            problems = self.evaluation.problems.get(index, ())
            if not self.evaluation.lost.issuperset(node.output):
                self._refuse_unknown(node)
            if not problems:
                self._read(index, node)
        except AotError as error:
            problems = error.at(where).problems
        facts = self.evaluation.facts
        attributes = {a.name: _attribute(a) for a in node.attribute if a.type != AttributeProto.TENSOR}
        return Layer(node.name or where, operator(node), tuple(facts.get(n) for n in node.input),
                     tuple(facts.get(n) for n in node.output), attributes, problems)

    def is_constant(self, name: str) -> bool:
        """Whether the tensor's data is known."""
        fact = self.evaluation.facts.get(name)
        return fact is not None and fact.data is not None

    def value(self, name: str, op_type: str) -> str:
        """The value that stands for an ONNX tensor; constants are taken over when first used."""
        if name not in self.names and self.is_constant(name):
            data = self.evaluation.facts[name].data
            assert data is not None
            self.names[name] = self.builder.constant(_finite(plain(data), name, op_type), name,
                                                     self.evaluation.facts[name].steps)
        return self.names[name]

    def _refuse_unknown(self, node: onnx.NodeProto) -> None:
        """Refuse operators that nobody reads; the hint is given once an operator."""
        kind = operator(node)
        first = kind not in self._explained
        self._explained.add(kind)
        if has_subgraph(node):
            raise AotError(f"control flow ({kind}) is not supported",
                           "export the model with fixed shapes, so that loops and branches vanish" if first else "")
        if is_linear(node):
            return
        if kind in ("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "com.microsoft.DynamicQuantizeMatMul",
                    "com.microsoft.MatMulIntegerToFloat"):
            raise AotError(f"{kind} belongs to dynamic quantization, whose scales are computed when the model runs",
                           "quantize the model statically, with calibration data, or pass the float model"
                           if first else "")
        if not known(node, self.opset):
            raise AotError(f"{kind} is not an operator of ONNX opset {self.opset}",
                           "export the model with operators of ONNX only" if first else "")
        if node.op_type not in REGISTRY and not self._is_copy(node):
            raise AotError(f"the operator {kind} is not supported",
                           "use other operators in the model, or add this one: see docs/adding-an-operator.md"
                           if first else "")

    def _is_copy(self, node: onnx.NodeProto) -> bool:
        """Whether the node casts to the type which its input has."""
        facts = [self.evaluation.facts.get(n) for n in (*node.input[:1], *node.output[:1])]
        types = [f.elem_type for f in facts if f is not None]
        return node.op_type in ("Cast", "CastLike") and len(types) == 2 and types[0] == types[1]

    def _read(self, index: int, node: onnx.NodeProto) -> None:
        if any(n and n not in self.names and not self.is_constant(n) for n in node.input):
            return  # what it depends on was refused
        neutral = self._quantized(node) if is_linear(node) else self._on_integers(node)
        for name in node.output:
            fact = self.evaluation.facts.get(name)
            if fact is not None and name and fact.elem_type != TensorProto.FLOAT and name not in self._grids \
                    and node.op_type != "Dropout":
                raise AotError(f"it computes {type_name(fact.elem_type)} when the model runs",
                               "only float32, and integers between QuantizeLinear and DequantizeLinear, can be "
                               "computed at run time")
        if neutral is None:
            neutral = OnnxNode("Identity" if self._is_copy(node) else node.op_type, node.name,
                               {a.name: _attribute(a) for a in node.attribute},
                               tuple(self.value(n, node.op_type) if n else "" for n in node.input),
                               tuple(node.output), self.opset)
        self.builder.origin = (node.name or f"{node.op_type}_{index}",)
        results = REGISTRY[neutral.op_type].read(neutral, self.builder)
        for name, value in zip(node.output, results, strict=False):
            fact = self.evaluation.facts.get(name)
            if fact is not None and self.builder.shape(value) != fact.shape:
                raise AotError(f"read as shape {list(self.builder.shape(value))}, ONNX says {list(fact.shape)}",
                               "this is an error in the compiler's reading of the model; please report it")
            self.names[name] = value


    def _quantized(self, node: onnx.NodeProto) -> OnnxNode:
        """QuantizeLinear and DequantizeLinear with the grid of their integers as an attribute."""
        found = grid(node, self.evaluation.facts)
        if node.op_type == "QuantizeLinear":
            self._grids[node.output[0]] = found
        elif self._grids.get(node.input[0]) != found:
            raise AotError("its scale and zero point are not those with which its input was quantized",
                           "give both the same scale, zero point and type")
        return OnnxNode(node.op_type, node.name, {"grid": found}, (self.names[node.input[0]],), tuple(node.output),
                        self.opset)

    def _on_integers(self, node: onnx.NodeProto) -> OnnxNode | None:
        """A node that computes on integers, in the numbers which they stand for; None for other nodes."""
        grids = {found for n in node.input if (found := self._grids.get(n)) is not None}
        if not grids:
            return None
        if node.op_type not in ON_INTEGERS or node.domain not in ("", "ai.onnx"):
            raise AotError(f"{node.op_type} of integers is not supported",
                           "only data movement is, between QuantizeLinear and DequantizeLinear")
        if len(grids) > 1:
            raise AotError("it puts together integers of different scales or zero points",
                           "dequantize them before, and quantize the result")
        found, facts = grids.pop(), self.evaluation.facts
        elem_type = next(facts[n].elem_type for n in node.input if n in self._grids)
        self._grids.update((n, found) for n in node.output if n and facts[n].elem_type == elem_type)
        inputs = []
        for name in node.input:
            data = facts[name].data if name and name not in self._grids else None
            if data is not None and facts[name].elem_type == elem_type:
                inputs.append(self.builder.constant(real_of(data, elem_type, found), name,
                                                    np.asarray(found.scale)))
            else:
                inputs.append(self.value(name, node.op_type) if name else "")
        kind, attributes = node.op_type, {a.name: _attribute(a) for a in node.attribute}
        nothing = real_of(np.zeros(()), elem_type, found)  # integer 0, which need not stand for 0
        if kind == "Relu":
            kind, inputs = "Clip", [inputs[0], self.builder.constant(nothing, f"{node.output[0]}.low")]
        elif kind == "Pad" and attributes.get("mode", "constant") == "constant" and (len(inputs) < 3 or not inputs[2]):
            inputs[2:3] = [self.builder.constant(nothing, f"{node.output[0]}.fill")]
        return OnnxNode(kind, node.name, attributes, tuple(inputs), tuple(node.output), self.opset)


def _finite(data: Array, name: str, op_type: str) -> Array:
    """The constant, if all of its numbers are finite."""
    if data.dtype.kind != "f" or bool(np.isfinite(data).all()):
        return data
    nan, infinite = int(np.isnan(data).sum()), int(np.isinf(data).sum())
    if not nan and data.size == 1 and op_type in _MAY_BE_INFINITE:
        return data
    found = " and ".join(f"{count} {what}" for count, what in ((nan, "NaN"), (infinite, "infinite")) if count)
    raise AotError(f"its input {name!r} holds {found} of {data.size} numbers",
                   "the training diverged, or a weight does not fit float32; check the weights")


def _attribute(attribute: AttributeProto) -> object:
    """An attribute as a Python value: numbers, texts, tuples of them, arrays; None for graphs and types."""
    match attribute.type:
        case AttributeProto.FLOAT:
            return attribute.f
        case AttributeProto.INT:
            return attribute.i
        case AttributeProto.STRING:
            return attribute.s.decode(errors="replace")
        case AttributeProto.TENSOR:
            return to_array(attribute.t)
        case AttributeProto.FLOATS:
            return tuple(attribute.floats)
        case AttributeProto.INTS:
            return tuple(attribute.ints)
        case AttributeProto.STRINGS:
            return tuple(s.decode(errors="replace") for s in attribute.strings)
    return None


def _output_problems(name: str, inputs: list[str], evaluation: Evaluation) -> list[Problem]:
    """What is wrong with an output of the model."""
    fact = evaluation.facts.get(name)
    if name in inputs:
        return [Problem("this output of the model is one of its inputs", "put an Identity between them", name)]
    if fact is not None and fact.elem_type != TensorProto.FLOAT:
        return [Problem(f"this output of the model is {type_name(fact.elem_type)}", "outputs must be float32", name)]
    return []


def _finish(builder: Builder, inputs: list[str], outputs: Mapping[str, str]) -> Graph:
    """The graph, its outputs under their ONNX names, each computed by a node of its own."""
    names: dict[str, str] = {}
    builder.origin = ()
    computed = {n.output for n in builder.nodes}
    for name, value in outputs.items():
        if value not in computed or value in names:
            value = builder.add(Reshape(builder.shape(value)), [value], name)
        names[value] = name
    graph = builder.graph(inputs, tuple(names))
    for taken in set(names.values()) & set(graph.values) - set(names):
        names[taken] = builder.unique(f"{taken}.inner")
    new = {v: names.get(v, v) for v in graph.values}
    nodes = tuple(replace(n, inputs=tuple(new[i] for i in n.inputs), output=new[n.output]) for n in graph.nodes)
    values = {new[k]: replace(v, name=new[k]) for k, v in graph.values.items()}
    return prune(Graph(graph.name, graph.inputs, tuple(new[o] for o in graph.outputs), nodes, values))
