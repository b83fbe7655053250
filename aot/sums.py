"""Sums of a convolution and something else, as in residual blocks, become one layer.

The other term joins the products before they are brought to the output's scale, so that the sum is rounded once, and
an intermediate tensor need not be stored and passed over. Which sums can be written so is a matter of formats; so it is
done when these are known.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from aot.ir import Graph, Node, prune
from aot.ops.add import Add
from aot.ops.base import NO_CLAMP, Clamp
from aot.ops.conv2d import Conv2d
from aot.recipe import Recipe

#: What may happen to products before the sum: nothing, or ReLU.
RELU: Clamp = (0.0, None)


@dataclass(frozen=True)
class Sum:
    """A convolution and the addition behind it, by the names of their outputs, and the name of the other term."""

    products: str
    total: str
    other: str


def sums(graph: Graph) -> dict[str, Sum]:
    """Every sum that can be one layer with a convolution, by the name of the addition's output."""
    producer, consumers, order = graph.producer(), graph.consumers(), {n.output: i for i, n in enumerate(graph.nodes)}
    found: dict[str, Sum] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Add) or node.op.sign < 0 or node.op.fine or len(set(node.inputs)) < 2:
            continue
        if any(graph.const(i) is not None or graph.values[i].type.shape != graph.values[node.output].type.shape
               for i in node.inputs):
            continue
        fitting = []
        for name, other in (node.inputs, node.inputs[::-1]):
            first = producer.get(name)
            if first is not None and isinstance(first.op, Conv2d) and first.op.clamp in (NO_CLAMP, RELU) \
                    and not first.op.residual and len(consumers[name]) == 1 and name not in graph.outputs \
                    and graph.values[first.inputs[1]].steps is None:
                fitting.append(Sum(name, node.output, other))
        if fitting:
            found[node.output] = max(fitting, key=lambda s: order[s.products])
    return found


def fuse(graph: Graph, totals: Collection[str]) -> Graph:
    """The graph with those of its :func:`sums` as one layer that are named."""
    found = {name: s for name, s in sums(graph).items() if name in totals}
    inner = {s.products: s for s in found.values()}
    producer = graph.producer()
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.output in inner:
            continue
        if node.output in found:
            add, products = node.op, producer[found[node.output].products]
            assert isinstance(add, Add) and isinstance(products.op, Conv2d)
            op = replace(products.op, residual=True, rectify=products.op.clamp == RELU, clamp=add.clamp)
            origin = (*products.origin, *(o for o in node.origin if o not in products.origin))
            node = replace(node, op=op, inputs=(*products.inputs, found[node.output].other), origin=origin)
        nodes.append(node)
    return prune(replace(graph, nodes=tuple(nodes)))


def fused(graph: Graph, recipe: Recipe, given: Collection[str] = ()) -> tuple[Graph, Recipe]:
    """The graph with those sums as one layer whose formats allow it, and the recipe in which these layers have the
    formats of their convolutions; not where the products have a given scale."""
    found = {s.total: recipe.of(s.products) for s in sums(graph).values()
             if s.products not in given and recipe.of(s.products).activations == recipe.of(s.total).activations}
    after = fuse(graph, found)
    joined = {n.output: found[n.output] for n in after.nodes if n.output in found
              and n.op.computes(found[n.output].activations, found[n.output].weights)}
    return fuse(graph, joined), replace(recipe, layers={**recipe.layers, **joined})


def fused_as(graph: Graph, quantized: Graph) -> Graph:
    """The float graph with the same sums as one layer as in what became of it."""
    return fuse(graph, {n.output for n in quantized.nodes if isinstance(n.op, Conv2d) and n.op.residual})


def spread(recipe: Recipe, graph: Graph) -> Recipe:
    """The recipe in which the formats of a sum, if those of its convolution are not given, hold for both."""
    given = recipe.layers
    return replace(recipe, layers={**given, **{s.products: given[s.total] for s in sums(graph).values()
                                               if s.total in given and s.products not in given}})


def favoured(graph: Graph, recipe: Recipe, before: Graph) -> Graph:
    """The integer graph with the recipe's goals and kernels; what became one layer has those of both, its own first.

    ``before``: the float graph that the recipe speaks of.
    """
    products = {s.total: s.products for s in sums(before).values()}

    def node(n: Node) -> Node:
        joined = isinstance(n.op, Conv2d) and n.op.residual and n.output in products
        names = (n.output, products[n.output]) if joined else (n.output,)
        kernels = [k for name in names if (k := recipe.kernels.get(name)) and k.split(".")[0] == n.op.name]
        goals = [recipe.goals[name] for name in names if name in recipe.goals]
        return replace(n, goal=next(iter(goals), ""), kernel=next(iter(kernels), ""))
    return replace(graph, nodes=tuple(node(n) for n in graph.nodes))
