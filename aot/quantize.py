"""Float Graph, ranges and recipe to integer Graph: every operator says what its output and its constants become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count

from aot.calibrate import DEFAULT_METHOD, Calibration, Range
from aot.errors import AotError
from aot.interpret import site
from aot.ir import Array, Graph, Node, Quant, TensorType, Value
from aot.numerics import LIMITS, span
from aot.observe import Comparison
from aot.ops.base import Moments, Op, WeightForm, affine, quantize_activation
from aot.ops.concat import Concat
from aot.ops.quantize import Quantize
from aot.reach import narrowed, reaches, widened
from aot.recipe import Recipe
from aot.scores import scores, scores_range
from aot.sums import fused

#: Called with a linear node, its inputs as they are quantized, its output, and the moments its weights are rounded by.
Trial = Callable[[Node, tuple[Value, ...], Value, Moments | None], None]
#: How many scales weights have: one for each output channel, or one in all.
WEIGHTS = ("per-channel", "per-tensor")


def quantize(graph: Graph, calibration: Calibration, weights: str = WEIGHTS[0],
             samples: Sequence[Mapping[str, Array]] = (), recipe: Recipe | None = None,
             given: Mapping[str, TensorType] | None = None, trial: Trial | None = None) -> Graph:
    """The graph in the recipe's formats (default: int8), with int32 biases. Proves that no accumulator can overflow.

    ``weights`` is one of :data:`WEIGHTS`. ``samples`` (inputs by name) go through both graphs, layer by layer: they
    tell how to round weights, and what the layers before have shifted. Weights are fitted to the errors of their
    inputs if the outputs for these samples come nearer to the float graph's by it. ``given``: types that values have
    already. ``trial`` sees each linear node before its weights are rounded, to try something else. Sums behind
    convolutions are computed with these where the formats allow it.
    """
    recipe, given = recipe or Recipe(), given or {}
    if unknown := sorted(set(recipe.layers) - {n.output for n in graph.nodes} - set(graph.inputs)):
        raise AotError(f"the recipe names {', '.join(map(repr, unknown))}, which the network does not have",
                       "layers go by the names of their outputs, as `aot verify` lists them")
    graph, recipe = fused(graph, recipe, given)
    fitted, error = _quantized(graph, calibration, weights, samples, recipe, given, True, trial)
    if error is None:
        return fitted
    plain, other = _quantized(graph, calibration, weights, samples, recipe, given, False, None)
    return plain if other is not None and other < error else fitted


def _quantized(graph: Graph, calibration: Calibration, weights: str, samples: Sequence[Mapping[str, Array]],
               recipe: Recipe, given: Mapping[str, TensorType], fit: bool, trial: Trial | None,
               ) -> tuple[Graph, float | None]:
    """The quantized graph, and the error of its outputs for the samples: None if there was nothing to fit."""
    reach = reaches(graph, calibration, recipe)
    comparison = Comparison(graph, samples)
    values = {n: v for n, v in graph.values.items() if v.data is not None}
    for name in graph.inputs:
        format, quant = recipe.of(name).activations, None
        if format != "f32" and name not in given:
            quant = affine(calibration.ranges[name].low, calibration.ranges[name].high, format)
        values[name] = Value(name, given.get(name) or TensorType(format, graph.values[name].type.shape, quant))
        comparison.begin(values[name])
    shared = _concatenations(graph, calibration, recipe, reach, given)
    decided = scores(graph) if samples and calibration.method == DEFAULT_METHOD else None
    nodes: list[Node] = []
    changed = False

    def converted(name: str, format: str) -> str:
        """The value in a format, with the reach that its readers want; made once."""
        value = values[name]
        narrow = name in graph.inputs and format == "s16" and name in reach and name not in given
        if value.data is not None or (value.type.format == format and not narrow):
            return name
        other = f"{name}.{format}"
        if other not in values:
            kind = TensorType("f32", value.type.shape)
            if format == "s16" and name in given:
                kind = _widened(value)
            elif format != "f32":
                found = calibration.ranges[name]
                kind = TensorType(format, value.type.shape, affine(found.low, found.high, format))
            values[other] = Value(other, kind if name in given else narrowed(kind, reach.get(name)))
            nodes.append(Node(other, Quantize(format), (name,), other))
            comparison.convert(graph, nodes[-1], values)
        return other

    for node in graph.nodes:
        formats = recipe.of(node.output)
        format = formats.activations
        if isinstance(node.op, Quantize) and node.output in given:  # it changes the format itself
            values[node.output] = Value(node.output, given[node.output])
            nodes.append(node)
            comparison.advance(graph, node, node, values)
            continue
        try:
            if not node.op.computes(format, formats.weights):
                raise AotError(f"no kernel computes it with activations of {format} and weights of {formats.weights}")
            read = tuple(converted(i, format) for i in node.inputs)
            inputs = tuple(values[i] for i in read)
            out_type = graph.values[node.output].type
            if format == "f32":
                values[node.output] = Value(node.output, TensorType("f32", out_type.shape))
                nodes.append(replace(node, inputs=read))
                comparison.advance(graph, node, nodes[-1], values)
                continue
            if node.output in given:
                quant = given[node.output].quant
            elif node.op.same_quant:
                like = inputs[0] if inputs[0].type.quant else quantize_activation(inputs[0], format)
                quant = like.quant
            elif node.output in shared:
                quant = shared[node.output]
            else:
                found = calibration.ranges.get(node.output) or Range(0.0, 0.0)  # a fixed scale needs none
                quant = node.op.output_quant(*widened(found, format), format)
            limits = inputs[0].type.limits if node.op.same_quant else None
            kind = given.get(node.output) or TensorType(format, out_type.shape, quant, limits)
            if format == "s16" and node.output not in given:
                kind = kind if node.op.same_quant else narrowed(kind, reach.get(node.output))
                limits = node.op.output_limits(inputs, Value(node.output, kind))
                kind = replace(kind, limits=None if limits == LIMITS[format] else limits)
            out = Value(node.output, kind)
            learns = node.op.linear and formats.weights != "s16" and graph.values[node.inputs[1]].steps is None
            moments = comparison.moments(graph, node, inputs, fit) if learns else None
            changed = changed or (moments is not None and len(moments.folds) > 0)
            if trial is not None and node.op.linear:
                trial(node, inputs, out, moments)
            form = WeightForm(weights == WEIGHTS[0], moments, formats.weights, node.output in given)
            constants = node.op.quantize_constants(inputs, out, form)
            if node.output == decided and format == "s8" and node.output not in given and quant is not None:
                exact, rough = comparison.unrounded(graph, node, constants)
                found = scores_range(exact, rough, calibration.ranges[node.output])
                out = replace(out, type=replace(kind, quant=node.op.output_quant(found.low, found.high, format)))
                constants = node.op.quantize_constants(inputs, out, form)
        except AotError as error:
            raise LayerError(node, error) from error
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
    return quantized, comparison.error(graph, values) if changed or not fit else None


class LayerError(AotError):
    """One layer cannot be computed in integers; ``output`` is its output's name."""

    def __init__(self, node: Node, error: AotError) -> None:
        super().__init__(problems=error.at(f"{node.op.name} from {' + '.join(node.origin)}").problems)
        self.output = node.output


def _widened(value: Value) -> TensorType:
    """The type of the same numbers in 16 bits."""
    low, high = span(value.type)
    return TensorType("s16", value.type.shape, Quant(value.quant.scale), (low - value.zero, high - value.zero))


def prove(graph: Graph) -> dict[str, int]:
    """Headroom in bits of every node's accumulators, by output name; an AotError where one could overflow."""
    bits = {}
    for node in graph.nodes:
        try:
            where = site(graph, node)
            headroom = node.op.prove(where)
            node.op.dims(where)  # multipliers too
        except AotError as error:
            raise LayerError(node, error) from error
        if headroom is not None:
            bits[node.output] = headroom
    return bits


def _concatenations(graph: Graph, calibration: Calibration, recipe: Recipe, reach: dict[str, int],
                    given: Mapping[str, TensorType]) -> dict[str, Quant]:
    """One quantization for each concatenation and those of its inputs whose range is much like its own.

    Such inputs can then be written straight into their part of the output. Their reach becomes that of the output.
    """
    shared: dict[str, Quant] = {}
    producer = graph.producer()
    for node in graph.nodes:
        if not isinstance(node.op, Concat) or node.output in given:
            continue
        format = recipe.of(node.output).activations
        if format == "f32":
            continue
        ranges = [calibration.ranges[i] for i in node.inputs if i in calibration.ranges]
        if not ranges:
            continue
        low, high = min(r.low for r in ranges), max(r.high for r in ranges)
        quant = shared.get(node.output) or affine(*widened(Range(low, high), format), format)
        shared[node.output] = quant
        for name in node.inputs:
            found = calibration.ranges.get(name)
            if name not in producer or found is None or name in shared or name in given:
                continue
            if found.high - found.low < 0.5 * (high - low):
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
