"""One walk through the nodes that finds every shape, and computes what depends on constants alone.

Exporters leave arithmetic on shapes behind. With all input shapes fixed it is constant. A tensor's shape is known here
before its data is computed, so that a small file cannot ask for a huge tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import ValueInfoProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from aot.errors import AotError, Problem
from aot.frontend import quantized
from aot.frontend.structure import label
from aot.frontend.tensors import check_shape, to_array
from aot.ir import Array

#: What is computed here when its inputs are constants: cheap, and the same every time.
FOLDABLE = frozenset({
    "Abs", "Add", "And", "BitShift", "Cast", "CastLike", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape",
    "Cos", "CumSum", "DequantizeLinear", "Div", "Dropout", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten",
    "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual", "HardSigmoid", "Identity",
    "LeakyRelu", "Less", "LessOrEqual", "Log", "MatMul", "Max", "Mean", "Min", "Mod", "Mul", "Neg", "Not", "OneHot",
    "Or", "Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Round", "ScatterElements",
    "ScatterND", "Shape", "Sigmoid", "Sign", "Sin", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Sum",
    "Tanh", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
})
#: Those of them that only move elements.
_MOVING = frozenset({"Concat", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose",
                     "Unsqueeze"})
#: Multiplications and elements that folding may cost in all.
BUDGET = 1 << 28
#: Constants of this many elements or fewer may say something about shapes.
_SMALL = 1024
#: The first opset for which onnx infers the shapes of pooling as ONNX Runtime and PyTorch compute them.
_POOLS_WHOLE = 22


@dataclass(frozen=True, eq=False)
class Fact:
    """What is known of a tensor before the model runs: element type, shape, and data if it is constant.

    ``steps``: of dequantized constants, the size of a step for each element, float32 in their shape.
    """

    elem_type: int
    shape: tuple[int, ...]
    data: Array | None = None
    steps: Array | None = None


def constant(data: Array, steps: Array | None = None) -> Fact:
    """The fact of a constant."""
    return Fact(helper.np_dtype_to_tensor_dtype(data.dtype), data.shape, data, steps)


class Evaluation:
    """Facts by tensor name, and problems by node index. Filled by one walk, read-only afterwards.

    ``lost`` holds the tensors that would be constant, had they or what they depend on not been refused.
    """

    def __init__(self, opset: int, ir_version: int, facts: Mapping[str, Fact]) -> None:
        self.facts = dict(facts)
        self.problems: dict[int, tuple[Problem, ...]] = {}
        self.lost: set[str] = set()
        self._opset = opset
        self._ir_version = ir_version
        self._left = BUDGET
        self._context = onnx.checker.C.CheckerContext()
        self._context.ir_version = ir_version
        self._context.opset_imports = {"": opset}

    def walk(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """Look at every node, in order."""
        for index, node in enumerate(nodes):
            before_run = node.op_type in FOLDABLE and all(
                n in self.lost or self._constant(n) for n in node.input if n)
            try:
                self._visit(node)
            except AotError as error:
                self.problems[index] = error.at(label(node, index)).problems
            if before_run:
                self.lost.update(o for o in node.output if not self._constant(o))

    def is_constant(self, node: onnx.NodeProto) -> bool:
        """Whether all of the node's outputs are known."""
        return all(self._constant(o) for o in node.output if o)

    def _constant(self, name: str) -> bool:
        fact = self.facts.get(name)
        return fact is not None and fact.data is not None

    def _visit(self, node: onnx.NodeProto) -> None:
        if quantized.is_linear(node):
            self._linear(node)
            return
        if not known(node, self._opset) or has_subgraph(node):
            return  # refused later, as an operator which nobody reads
        _check_node(node, self._context)
        inputs = [n for n in node.input if n]
        if any(n not in self.facts for n in inputs):
            return
        if node.op_type in ("Shape", "Size"):
            self.facts[node.output[0]] = constant(_measure(node, self.facts[inputs[0]].shape))
            return
        alone = self._alone(node)
        types = _infer(alone)
        at_run_time = any(self.facts[n].data is None for n in inputs) or node.op_type not in FOLDABLE
        for name, (elem_type, shape) in types.items():
            check_shape(shape)
            if at_run_time:
                if 0 in shape:
                    raise AotError(f"its output {name!r} has shape {list(shape)}, no elements",
                                   "export the model with the shapes it will run with")
                self.facts[name] = Fact(elem_type, shape)
        if not at_run_time:
            self._compute(node, alone, types)

    def _linear(self, node: onnx.NodeProto) -> None:
        """QuantizeLinear and DequantizeLinear, which have facts of their own."""
        if any(n not in self.facts for n in node.input if n):
            return
        found, x = quantized.parameters(node, self.facts), self.facts[node.input[0]]
        if x.data is not None:
            self.facts[node.output[0]] = constant(*quantized.fold(node, self.facts))
            return
        quantized.grid(node, self.facts)
        computed = found.elem_type if node.op_type == "QuantizeLinear" else self.facts[node.input[1]].elem_type
        self.facts[node.output[0]] = Fact(computed, x.shape)

    def _alone(self, node: onnx.NodeProto) -> onnx.ModelProto:
        """A model of this node only; its inputs have the types that are known, small constants are given."""
        names = list(dict.fromkeys(n for n in node.input if n))
        inputs = [helper.make_tensor_value_info(n, self.facts[n].elem_type, self.facts[n].shape) for n in names]
        small = [numpy_helper.from_array(d, n) for n in names
                 if (d := self.facts[n].data) is not None and d.size <= _SMALL and d.dtype.kind in "biuf"]
        outputs = [ValueInfoProto(name=o) for o in node.output if o]
        graph = helper.make_graph([node], "node", inputs, outputs, small)
        # before opset 22, onnx counts windows of ceil_mode that start in the padding, which nobody computes
        opset = max(self._opset, _POOLS_WHOLE) if node.op_type in ("AveragePool", "MaxPool") else self._opset
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=self._ir_version)

    def _compute(self, node: onnx.NodeProto, alone: onnx.ModelProto,
                 types: Mapping[str, tuple[int, tuple[int, ...]]]) -> None:
        """Fold the node, if its shapes are known and it costs no more than is left of the budget."""
        wanted = [o for o in node.output if o]
        if any(o not in types for o in wanted):
            return
        shapes = [types[o][1] for o in wanted]
        if node.op_type != "Constant":
            feeds = [self.facts[n].shape for n in node.input if n]
            cost = sum(map(prod, shapes)) + sum(map(prod, feeds))
            if node.op_type == "MatMul":
                cost += prod(shapes[0]) * (feeds[0] or (1,))[-1]
            if cost > self._left:
                raise AotError(f"it computes constants of shape {', '.join(str(list(s)) for s in shapes)}",
                               "this is more than is computed ahead of time; store the result as an initializer")
            self._left -= cost
        alone.opset_import[0].version = self._opset
        arrays = {n: d for n in node.input if n and (d := self.facts[n].data) is not None}
        given = {n: s for n in arrays if (s := self.facts[n].steps) is not None}
        steps: list[Array | None] = [None] * len(wanted)
        if node.op_type in _MOVING and given and all(n in given for n, d in arrays.items() if d.dtype.kind == "f"):
            steps = [*_run(alone, wanted, arrays | given)]
        for name, result, each in zip(wanted, _run(alone, wanted, arrays), steps, strict=True):
            self.facts[name] = constant(result, each)


def known(node: onnx.NodeProto, opset: int) -> bool:
    """Whether ONNX defines the operator in this opset."""
    if node.domain not in ("", "ai.onnx"):
        return False
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return False
    return not schema.deprecated


def has_subgraph(node: onnx.NodeProto) -> bool:
    """Whether the node holds graphs of its own: control flow."""
    return any(a.HasField("g") or a.graphs for a in node.attribute)


def _check_node(node: onnx.NodeProto, context: Any) -> None:
    """The checker's opinion of number and types of attributes, inputs and outputs."""
    if any(a.HasField("sparse_tensor") or a.sparse_tensors for a in node.attribute):
        raise AotError("sparse tensors are not supported", "store the weights as a dense tensor")
    for attribute in node.attribute:
        for tensor in [attribute.t] if attribute.HasField("t") else list(attribute.tensors):
            to_array(tensor)
    try:
        onnx.checker.check_node(node, context)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        raise AotError(f"the node is not valid: {first_line(error)}", "export the model again") from error


def _infer(alone: onnx.ModelProto) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Element types and shapes of the node's outputs, as far as they can be known."""
    try:
        inferred = onnx.shape_inference.infer_shapes(alone, check_type=True, strict_mode=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, TypeError) as error:
        raise AotError(f"its inputs and attributes do not fit: {first_line(error)}",
                       "export the model with consistent shapes") from error
    types = {}
    for value in inferred.graph.output:
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            types[value.name] = (tensor.elem_type, tuple(d.dim_value for d in tensor.shape.dim))
    return types


def _run(alone: onnx.ModelProto, outputs: list[str], inputs: Mapping[str, Array]) -> list[Array]:
    try:
        with np.errstate(all="ignore"):
            return [np.asarray(r) for r in ReferenceEvaluator(alone).run(outputs, dict(inputs))]
    except Exception as error:  # onnx's operators raise whatever numpy and Python raise on senseless input
        raise AotError(f"it cannot be computed: {first_line(error)}", "export the model again") from error


def _measure(node: onnx.NodeProto, shape: tuple[int, ...]) -> Array:
    """The outputs of Shape and Size, which need no data."""
    if node.op_type == "Size":
        return np.asarray(prod(shape), np.int64)
    bounds = {a.name: a.i for a in node.attribute}
    return np.asarray(shape[bounds.get("start", 0):bounds.get("end", len(shape))], np.int64)


def first_line(error: Exception) -> str:
    """The gist of one of onnx's messages: its first line, without tags and the context that the caller knows."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = lines[0]
    for tag in ("[ShapeInferenceError]", "[TypeInferenceError]"):
        text = text.split(tag)[-1]
    return text.strip().rstrip(".")[:200]
