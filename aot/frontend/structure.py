"""The shape of a model as a whole: opset, local functions, and names that are defined once and before use."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import onnx
from onnx import inliner, version_converter

from aot.errors import AotError, Problem

OLDEST_OPSET = 11
#: Older models are brought to :data:`OLDEST_OPSET` by onnx's converter, which knows these.
OLDEST_CONVERTED = 7
#: More than any network for a microcontroller; keeps hostile models from taking hours.
MOST_NODES = 20_000
#: Local functions that call each other, from first to last.
DEEPEST_CALLS = 64

_DEFAULT_DOMAINS = ("", "ai.onnx")
Function = tuple[str, str, str]


def label(node: onnx.NodeProto, index: int) -> str:
    """What a node is called in messages: its name and operator."""
    kind = operator(node)
    return f"{node.name} ({kind})" if node.name else f"{kind}_{index}"


def operator(node: onnx.NodeProto) -> str:
    """The operator's name, with its domain unless that is ONNX's own."""
    return node.op_type if node.domain in _DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}"


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that the model uses."""
    versions = [o.version for o in model.opset_import if o.domain in _DEFAULT_DOMAINS]
    if len(versions) != 1:
        raise AotError("the model names no version of the ONNX operators" if not versions else
                       f"the model names several versions of the ONNX operators: {versions}", "export the model again")
    return int(versions[0])


def modernize(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in an opset that the operators can read."""
    version, newest = opset(model), onnx.defs.onnx_opset_version()
    if not 0 < model.ir_version <= onnx.IR_VERSION:
        raise AotError(f"the model's file format is version {model.ir_version}, the installed onnx knows 1 to "
                       f"{onnx.IR_VERSION}", "export the model again, or install a newer onnx")
    if version > newest:
        raise AotError(f"the model uses opset {version}, the installed onnx knows up to {newest}",
                       f"export it with opset {newest}, or install a newer onnx")
    if version >= OLDEST_OPSET:
        return model
    hint = f"export the model with opset {OLDEST_OPSET} or newer"
    if version < OLDEST_CONVERTED:
        raise AotError(f"the model uses opset {version}", hint)
    try:
        return version_converter.convert_version(model, OLDEST_OPSET)
    except (version_converter.ConvertError, RuntimeError, ValueError) as error:
        raise AotError(f"the model uses opset {version} and cannot be converted to {OLDEST_OPSET}: {error}",
                       hint) from error


def inline(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its local functions replaced by their bodies."""
    _check_calls(model)
    if not model.functions:
        return model
    try:
        return inliner.inline_local_functions(model, convert_version=True)
    except (RuntimeError, ValueError) as error:
        raise AotError(f"the model's local functions cannot be replaced by their bodies: {error}",
                       "export the model without local functions") from error


def _check_calls(model: onnx.ModelProto) -> None:
    """Refuse functions that call themselves, and those that unfold to absurd numbers of nodes."""
    bodies = {(f.domain, f.name, f.overload): _calls(f.node) for f in model.functions}
    if len(bodies) < len(model.functions):
        raise AotError("two local functions have the same name", "export the model again")
    try:
        order = tuple(TopologicalSorter({f: set(calls) & set(bodies) for f, calls in bodies.items()}).static_order())
    except CycleError as error:
        names = " -> ".join(name for _, name, _ in error.args[1])
        raise AotError(f"local functions call themselves: {names}", "ONNX functions must not be recursive") from error
    nodes: dict[Function, int] = {}
    depth: dict[Function, int] = {}
    for function in order:
        calls = bodies[function]
        nodes[function] = sum(nodes.get(c, 1) for c in calls)
        depth[function] = 1 + max((depth.get(c, 0) for c in calls), default=0)
    total = sum(nodes.get(c, 1) for c in _calls(model.graph.node))
    if total > MOST_NODES:
        raise AotError(f"the model has {total} nodes", f"at most {MOST_NODES} are supported")
    if max(depth.values(), default=0) > DEEPEST_CALLS:
        raise AotError(f"local functions call each other {max(depth.values())} deep",
                       f"at most {DEEPEST_CALLS} are supported")


def _calls(nodes: object) -> list[Function]:
    """Every operator that these nodes and their subgraphs use, once a node."""
    found: list[Function] = []
    for node in nodes:  # type: ignore[attr-defined]
        found.append((node.domain, node.op_type, node.overload))
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                found += _calls(graph.node)
    return found


def name_problems(graph: onnx.GraphProto) -> list[Problem]:
    """Names that are defined twice, or used before or without a definition."""
    problems: list[Problem] = []
    initializers = {t.name for t in graph.initializer}
    known: set[str] = set()

    def define(name: str, where: str) -> None:
        if name in known:
            problems.append(Problem(f"the name {name!r} is defined twice", "every tensor needs its own name", where))
        known.add(name)

    for tensor in graph.initializer:
        if not tensor.name:
            problems.append(Problem("an initializer has no name", "export the model again"))
        define(tensor.name, tensor.name)
    for value in graph.input:
        if value.name not in initializers:  # models of old list their initializers as inputs too
            define(value.name, value.name)
    for sparse in graph.sparse_initializer:
        problems.append(Problem("sparse tensors are not supported", "store the weights as a dense tensor",
                                sparse.values.name))
        known.add(sparse.values.name)
    later = {name for node in graph.node for name in node.output if name}
    for index, node in enumerate(graph.node):
        for name in dict.fromkeys(node.input):
            if not name or name in known:
                continue
            if name in later:
                problems.append(Problem(f"its input {name!r} is computed after it, or from its own output (a cycle)",
                                        "nodes must be sorted; export the model again", label(node, index)))
            else:
                problems.append(Problem(f"its input {name!r} is missing: no initializer, input or node defines it",
                                        "export the model again with its weights", label(node, index)))
        for name in node.output:
            if name:
                define(name, label(node, index))
    for output in graph.output:
        if output.name not in known:
            problems.append(Problem("nothing computes this output of the model", "export the model again", output.name))
    repeated = {o.name for o in graph.output if sum(o.name == p.name for p in graph.output) > 1}
    problems += [Problem("the model lists this output twice", "export the model again", n) for n in sorted(repeated)]
    return problems
