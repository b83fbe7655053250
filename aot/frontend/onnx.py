"""ONNX models become graphs. Whatever is refused is collected and told at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from aot.errors import AotError, Problem
from aot.frontend.evaluate import Evaluation, Fact, constant, first_line
from aot.frontend.inputs import bind
from aot.frontend.qoperator import expand
from aot.frontend.read import read
from aot.frontend.structure import MOST_NODES, inline, modernize, name_problems, opset
from aot.frontend.tensors import to_array
from aot.frontend.translate import Layer, translate
from aot.ir import Graph
from aot.names import title as title_of


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model that was understood.

    ``graph``: what it computes, in float32. ``model``: the same as a serialized ONNX model for ONNX Runtime: no data
    outside, batch bound to 1, the original names, and nothing folded, so that it can judge our reading. ``name``: a C
    identifier.
    """

    graph: Graph
    model: bytes
    name: str


@dataclass(frozen=True, eq=False)
class Survey:
    """What a model holds, whether or not it is supported: the layers that run on the device, and all problems.

    ``graph`` is None if there are problems.
    """

    name: str
    opset: int
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    layers: tuple[Layer, ...]
    problems: tuple[Problem, ...]
    graph: Graph | None
    model: bytes


def load(model: str | Path | bytes | onnx.ModelProto, name: str | None = None) -> Loaded:
    """Read a model; raises one AotError with every problem in it."""
    found = survey(model, name)
    if found.graph is None:
        raise AotError(problems=found.problems)
    return Loaded(found.graph, found.model, found.name)


def survey(model: str | Path | bytes | onnx.ModelProto, name: str | None = None) -> Survey:
    """Look at a model as far as possible; raises AotError only where nothing could be said of it."""
    proto, title = read(model)
    proto = inline(modernize(inline(proto)))
    proto = expand(proto, opset(proto))
    if len(proto.graph.node) > MOST_NODES:
        raise AotError(f"the model has {len(proto.graph.node)} nodes", f"at most {MOST_NODES} are supported")
    version, ident = opset(proto), title_of(name if name is not None else title)
    problems = [*name_problems(proto.graph), *bind(proto.graph)]
    facts = {v.name: Fact(v.type.tensor_type.elem_type, tuple(d.dim_value for d in v.type.tensor_type.shape.dim))
             for v in proto.graph.input if v.name not in {p.node for p in problems}}
    problems += _tensors(proto.graph, facts)
    evaluation = Evaluation(version, proto.ir_version, facts)
    evaluation.walk(proto.graph.node)
    translation = translate(proto.graph, evaluation, version, ident)
    problems += translation.problems
    oracle = b"" if problems else _oracle(proto, evaluation)
    if not problems:
        problems += _check(oracle)
    inputs = tuple((v.name, facts[v.name].shape) for v in proto.graph.input if v.name in facts)
    return Survey(ident, version, inputs, translation.layers, tuple(problems),
                  None if problems else translation.graph, oracle)


def _tensors(graph: onnx.GraphProto, facts: dict[str, Fact]) -> list[Problem]:
    """Add the initializers to the facts; answer those that cannot be read."""
    problems: list[Problem] = []
    for tensor in graph.initializer:
        try:
            facts[tensor.name] = constant(to_array(tensor))
        except AotError as error:
            problems += error.at(tensor.name).problems
    return problems


def _oracle(model: onnx.ModelProto, evaluation: Evaluation) -> bytes:
    """The model as ONNX Runtime shall run it: without what no output needs, and with the shapes that were found."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.ir_version = max(model.ir_version, 8)
    graph = result.graph
    needed = {o.name for o in graph.output}
    nodes = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(reversed(nodes))
    for node in graph.node:
        node.name = ""  # ONNX Runtime refuses names that occur twice, and needs none
    kept = [t for t in model.graph.initializer if t.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for output in graph.output:
        fact = evaluation.facts.get(output.name)
        output.type.Clear()
        if fact is not None:
            output.type.CopyFrom(onnx.helper.make_tensor_type_proto(fact.elem_type, fact.shape))
    return bytes(result.SerializeToString(deterministic=True))


def _check(model: bytes) -> list[Problem]:
    """What onnx's own checker has against the model."""
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        return [Problem(f"the model is not valid: {first_line(error)}", "export the model again")]
    return []


def showing(model: bytes, names: tuple[str, ...]) -> bytes:
    """The model with further values among its outputs, those of the names that nodes compute."""
    proto = onnx.ModelProto()
    proto.ParseFromString(model)
    known = {o.name for o in proto.graph.output}
    computed = {o for n in proto.graph.node for o in n.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n in computed - known)
    return bytes(proto.SerializeToString(deterministic=True))
