"""Float Graph, ranges and recipe to integer Graph: every operator says what its output and its constants become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count

from aot.calibrate import Calibration, Range
from aot.errors import AotError
from aot.interpret import site
from aot.ir import Array, Graph, Node, Quant, TensorType, Value
from aot.numerics import LIMITS
from aot.observe import Comparison
from aot.ops.base import Moments, Op, WeightForm, affine, quantize_activation
from aot.ops.concat import Concat
from aot.ops.quantize import Quantize
from aot.reach import narrowed, reaches, widened
from aot.recipe import Recipe

#: Called with a linear node, its inputs as they are quantized, its output, and the moments its weights are rounded by.
Trial = Callable[[Node, tuple[Value, ...], Value, Moments | None], None]
#: How many scales weights have: one for each output channel, or one in all.
WEIGHTS = ("per-channel", "per-tensor")


def quantize(graph: Graph, calibration: Calibration, weights: str = WEIGHTS[0],
             samples: Sequence[Mapping[str, Array]] = (), recipe: Recipe | None = None,
             trial: Trial | None = None) -> Graph:
    """The graph in the recipe's formats (default: int8), with int32 biases. Proves that no accumulator can overflow.

    ``weights`` is one of :data:`WEIGHTS`. ``samples`` (inputs by name) go through both graphs, layer by layer: they
    tell how to round weights, and what the layers before have shifted. ``trial`` sees each linear node before its
    weights are rounded, to try something else.
    """
    recipe = recipe or Recipe()
    if unknown := sorted(set(recipe.layers) - {n.output for n in graph.nodes} - set(graph.inputs)):
        raise AotError(f"the recipe names {', '.join(map(repr, unknown))}, which the network does not have",
                       "layers go by the names of their outputs, as `aot verify` lists them")
    reach = reaches(graph, calibration, recipe)
    comparison = Comparison(graph, samples)
    values = {n: v for n, v in graph.values.items() if v.data is not None}
    for name in graph.inputs:
        format, quant = recipe.of(name).activations, None
        if format != "f32":
            quant = affine(calibration.ranges[name].low, calibration.ranges[name].high, format)
        values[name] = Value(name, TensorType(format, graph.values[name].type.shape, quant))
        comparison.begin(values[name])
    shared = _concatenations(graph, calibration, recipe, reach)
    nodes: list[Node] = []

    def converted(name: str, format: str) -> str:
        """The value in a format, with the reach that its readers want; made once."""
        value = values[name]
        narrow = name in graph.inputs and format == "s16" and name in reach
        if value.data is not None or (value.type.format == format and not narrow):
            return name
        other = f"{name}.{format}"
        if other not in values:
            found = calibration.ranges[name]
            kind = TensorType("f32", value.type.shape)
            if format != "f32":
                kind = TensorType(format, value.type.shape, affine(found.low, found.high, format))
            values[other] = Value(other, narrowed(kind, reach.get(name)))
            nodes.append(Node(other, Quantize(format), (name,), other))
            comparison.convert(graph, nodes[-1], values)
        return other

    for node in graph.nodes:
        formats = recipe.of(node.output)
        format = formats.activations
        try:
            read = tuple(converted(i, format) for i in node.inputs)
            inputs = tuple(values[i] for i in read)
            out_type = graph.values[node.output].type
            if format == "f32":
                values[node.output] = Value(node.output, TensorType("f32", out_type.shape))
                nodes.append(replace(node, inputs=read))
                comparison.advance(graph, node, nodes[-1], values)
                continue
            found = calibration.ranges[node.output]
            if node.op.same_quant:
                like = inputs[0] if inputs[0].type.quant else quantize_activation(inputs[0], format)
                quant = like.quant
            elif node.output in shared:
                quant = shared[node.output]
            else:
                quant = node.op.output_quant(*widened(found, format), format)
            kind = TensorType(format, out_type.shape, quant, inputs[0].type.limits if node.op.same_quant else None)
            if format == "s16":
                kind = kind if node.op.same_quant else narrowed(kind, reach.get(node.output))
                limits = node.op.output_limits(inputs, Value(node.output, kind))
                kind = replace(kind, limits=None if limits == LIMITS[format] else limits)
            out = Value(node.output, kind)
            moments = comparison.moments(graph, node, inputs[0]) if node.op.linear else None
            if trial is not None and node.op.linear:
                trial(node, inputs, out, moments)
            constants = node.op.quantize_constants(inputs, out,
                                                   WeightForm(weights == WEIGHTS[0], moments, formats.weights))
        except AotError as error:
            raise error.at(f"{node.op.name} from {' + '.join(node.origin)}") from error
        names = []
        for before, after in zip(inputs, constants, strict=True):
            if after is before:
                names.append(before.name)
                continue
            name = next(n for n in (f"{node.output}.{i}" for i in count(len(names)))
                        if n not in values and n not in graph.values)
            values[name] = replace(after, name=name)
            names.append(name)
        nodes.append(replace(node, inputs=tuple(names)))
        values[node.output] = out
        comparison.advance(graph, node, nodes[-1], values)
    used = {i for n in nodes for i in n.inputs} | set(graph.inputs) | {n.output for n in nodes}
    quantized = replace(graph, nodes=tuple(nodes), values={n: v for n, v in values.items() if n in used})
    prove(quantized)
    return quantized


def prove(graph: Graph) -> dict[str, int]:
    """Headroom in bits of every node's accumulators, by output name; an AotError where one could overflow."""
    bits = {}
    for node in graph.nodes:
        try:
            headroom = node.op.prove(site(graph, node))
        except AotError as error:
            raise error.at(f"{node.op.name} from {' + '.join(node.origin)}") from error
        if headroom is not None:
            bits[node.output] = headroom
    return bits


def _concatenations(graph: Graph, calibration: Calibration, recipe: Recipe, reach: dict[str, int]) -> dict[str, Quant]:
    """One quantization for each concatenation and those of its inputs whose range is much like its own.

    Such inputs can then be written straight into their part of the output. Their reach becomes that of the output.
    """
    shared: dict[str, Quant] = {}
    producer = graph.producer()
    for node in graph.nodes:
        if not isinstance(node.op, Concat):
            continue
        format = recipe.of(node.output).activations
        if format == "f32":
            continue
        ranges = [calibration.ranges[i] for i in node.inputs if i in calibration.ranges]
        low, high = min(r.low for r in ranges), max(r.high for r in ranges)
        quant = shared.get(node.output) or affine(*widened(Range(low, high), format), format)
        shared[node.output] = quant
        for name in node.inputs:
            found = calibration.ranges.get(name)
            if name not in producer or found is None or name in shared or found.high - found.low < 0.5 * (high - low):
                continue
            if recipe.of(name).activations != format:
                continue
            op = producer[name].op
            if not op.same_quant and type(op).output_quant is Op.output_quant:  # its output scale is free to choose
                shared[name] = quant
                if node.output in reach:
                    reach[name] = reach[node.output]
                else:
                    reach.pop(name, None)
    return shared
