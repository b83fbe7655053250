"""Whether sample data looks like what the model was trained on: too few, constant, or in another scale.

Nobody stores a model's preprocessing, but trained networks show what they expect: pre-activations of a first layer
vary by about 1 (batch normalization or a sane initialization sees to that), its channels switch on and off, and
answers differ from sample to sample. On the networks this was tried with, the standard deviation of a first layer's
pre-activations is between 0.28 and 2.5 (median over channels), and 255 times more or less when images are scaled
wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite, log10

import numpy as np

from aot.batch import Batch, stack
from aot.data import Samples
from aot.errors import Problem
from aot.ir import Array, Graph, Node
from aot.names import comment
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.softmax import Softmax
from aot.ops.unary import Unary

#: With n samples, one new sample in n + 1 is expected to leave a range's upper end, and as many the lower.
ENOUGH_SAMPLES = 32
ADVISED_SAMPLES = 100
#: At most this many samples are looked at, and elements of activations held at a time.
LOOKED_AT = 64
MOST_ELEMENTS = 1 << 25
#: Below this many samples nothing is said of scales and answers.
FEWEST = 8
#: Inputs named in a message.
MOST_NAMED = 3

SMALL_SPREAD, LARGE_SPREAD = 0.05, 16.0
#: Of spreads that are smaller, nothing is told apart.
LEAST_SPREAD = 1e-30
#: So many times what others reach at most is no sample of the same kind.
FAR_OUT = 1e4
#: More channels of a first layer than this share never change their sign.
MANY_STUCK = 0.5
#: Distance of the two largest logits, in the middle of all samples; e**-30 is nothing.
WIDE_MARGIN = 30.0
#: Share of a bounded activation's outputs that lie at its upper bound, averaged over the first ones.
MANY_SATURATED = 0.15
#: Means of a first layer's sums, in standard deviations, beyond which other scales are tried, and what they must reach.
OFF_CENTRE, WELL_CENTRED = 1.2, 0.8
#: Of bounded activations, where sums are larger than usual only.
MOST_SATURATED, LARGER_SPREAD = 0.5, 4.0


@dataclass(frozen=True)
class Response:
    """How the network answers to samples in some scale.

    ``spread``, ``centre``, ``stuck``: of first layers' pre-activations, the median over channels of the standard
    deviation, of the mean in standard deviations, and the share of channels whose sign never changes; None without
    such a layer. ``saturated``: see MANY_SATURATED. For outputs that look like classes: ``margin`` of logits,
    ``information`` about the sample in the answer (0 to 1), ``share`` of the commonest answer. ``variation``: standard
    deviation of outputs over samples, relative to their size.
    """

    spread: float | None
    centre: float | None
    stuck: float | None
    saturated: float
    margin: float | None
    information: float | None
    share: float | None
    variation: float
    sure: bool

    @property
    def too_small(self) -> bool:
        """Hardly anything depends on the input."""
        if self.spread is None or self.spread >= SMALL_SPREAD:
            return False
        return (self.stuck or 0.0) > MANY_STUCK or self.collapsed or self.variation < 0.02

    @property
    def too_large(self) -> bool:
        """Biases mean nothing, and what can saturate does."""
        if self.spread is None:
            return (self.margin or 0.0) > 2 * WIDE_MARGIN
        if self.spread <= LARGE_SPREAD:
            return self.spread > LARGER_SPREAD and self.saturated > MOST_SATURATED
        return ((self.margin or 0.0) > WIDE_MARGIN or self.saturated > MANY_SATURATED
                or (self.stuck or 0.0) > MANY_STUCK or self.spread > 4 * LARGE_SPREAD)

    @property
    def collapsed(self) -> bool:
        """The same answer to every sample."""
        return self.share == 1.0 and (self.sure or self.variation < 0.1)

    @property
    def plausible(self) -> bool:
        """Nothing speaks against this scale."""
        return not (self.too_small or self.too_large or self.collapsed) and (
            self.spread is None or SMALL_SPREAD < self.spread < LARGE_SPREAD)


def look(graph: Graph, samples: Samples, what: str = "the calibration data", few: bool = True) -> tuple[Problem, ...]:
    """What is wrong with the data, each with what was expected; nothing if it looks right.

    ``few``: whether too few samples are wrong.
    """
    found: list[Problem] = []
    if few and len(samples) < ENOUGH_SAMPLES:
        found.append(Problem(
            f"{what} holds {len(samples)} sample{'s' if len(samples) > 1 else ''}: about one new input in "
            f"{len(samples) + 1} goes beyond what they show of each layer",
            f"expected at least {ENOUGH_SAMPLES}; {ADVISED_SAMPLES} or more, of every kind that occurs, are better"))
    chosen = _chosen(graph, samples)
    dull = [p for name in graph.inputs if (p := _constant(name, chosen[name], what)) is not None]
    found += dull
    if dull or len(samples) < FEWEST:
        return tuple(found)
    far = _far_out(samples, what)
    if far is not None:
        return (*found, far)
    batch = Batch(graph)
    response = respond(batch, chosen)
    trouble = _trouble(batch, chosen, response, what)
    if trouble is not None:
        found.append(trouble)
    return tuple(found)


def _chosen(graph: Graph, samples: Samples) -> dict[str, Array]:
    """Some samples, spread over the set."""
    each = sum(v.type.size for v in graph.values.values() if v.data is None)
    count = max(1, min(LOOKED_AT, len(samples), MOST_ELEMENTS // max(each, 1)))
    indices = np.unique(np.linspace(0, len(samples) - 1, count).round().astype(int))
    return stack([samples.sample(int(i)) for i in indices])


def _constant(name: str, x: Array, what: str) -> Problem | None:
    """Data without content."""
    low, high = float(x.min()), float(x.max())
    name = comment(name, 40)  # it will stand in a file of the project
    expected = "expected different samples, of every kind that will occur"
    if low == high:
        words = "all zero" if low == 0 else f"constant: every element is {low:.6g}"
        return Problem(f"{what} for '{name}' is {words}", expected, name)
    if len(x) > 1 and bool((x == x[:1]).all()):
        return Problem(f"{what} for '{name}' is constant: every sample is the same", expected, name)
    flat = x.reshape(len(x), -1)
    empty = int((flat == flat[:, :1]).all(axis=1).sum()) if flat.shape[1] > 1 else 0
    if 2 * empty > len(x):
        return Problem(f"{what} for '{name}': {empty} of {len(x)} samples are of one value throughout", expected, name)
    return None


def _far_out(samples: Samples, what: str) -> Problem | None:
    """A few samples of another size than all others. Beside them, nothing can be said of the scale of the whole."""
    sizes = [{name: float(np.abs(x).max(initial=0)) for name, x in sample.items()} for sample in samples]
    for name in sizes[0]:
        each = np.array([s[name] for s in sizes])
        usual = float(np.median(each))
        far = np.flatnonzero(each > FAR_OUT * usual)
        if usual > 0 and len(far):
            shown = comment(name, 40)
            return Problem(f"{what} for '{shown}': sample {far[0]} holds {each[far[0]]:.4g}"
                           f"{f', and {len(far) - 1} more like it' if len(far) > 1 else ''}, where half of the "
                           f"samples stay below {usual:.4g}",
                           "expected samples of one kind; take out what is damaged, or the range of all inputs is for "
                           "it alone", shown)
    return None


def _trouble(batch: Batch, x: Mapping[str, Array], response: Response, what: str) -> Problem | None:
    """The first thing that is wrong with the scale."""
    shown = list(x.items())[:MOST_NAMED]
    seen = "; ".join(f"'{comment(n, 40)}' has {_range(a)}" for n, a in shown) + (" ..." if len(x) > len(shown) else "")
    node = comment(batch.graph.inputs[0], 40)
    better = _better(batch, x, response)
    if response.too_small or response.too_large:
        assert response.spread is not None or response.margin is not None
        way = "small" if response.too_small else "large"
        how = (f"a first layer's sums vary by {response.spread:.2g}, where about 1 is usual" if response.spread
               is not None else f"the two largest logits lie {response.margin:.0f} apart")
        if response.spread is not None:
            how += f" (the data is some {_factor(response.spread)} times too {way})"
        if response.too_large and response.saturated > MANY_SATURATED:
            how += f", and {100 * response.saturated:.0f} % of the first bounded activations are saturated"
        return Problem(f"{what} looks wrongly scaled, too {way}: {seen}; {how}", _expected(better), node)
    if response.collapsed:
        return Problem(f"the model gives the same answer to every sample of {what}: {seen}",
                       _expected(better) + ", and samples of every kind", node)
    if better is not None and response.plausible:
        return Problem(f"{what} looks wrongly scaled: {seen}; the model answers far more surely on the same data in "
                       "another scale", _expected(better), node)
    return None


def _expected(better: str | None) -> str:
    words = "check scale, offset, mean and standard deviation of the preprocessing"
    return f"expected: data as in training; {better} would fit this model better; {words}" if better else (
        f"expected: data as in training; {words}")


def _factor(spread: float) -> str:
    """A factor in words: its order of magnitude."""
    factor = spread if spread > 1 else 1 / max(spread, LEAST_SPREAD)
    words = f"{round(factor, 1 - int(log10(factor))):g}" if isfinite(factor) else "many"
    return f"{words} or more" if spread <= LEAST_SPREAD else words


def _range(x: Array) -> str:
    whole = bool((x == np.floor(x)).all())
    return f"{'whole numbers' if whole else 'values'} from {float(x.min()):.4g} to {float(x.max()):.4g}"


# --- other scales ------------------------------------------------------------------------------------------------

def _better(batch: Batch, x: Mapping[str, Array], response: Response) -> str | None:
    """Another usual scale in which the network answers much better, in words; None if there is none.

    Of several, the first that is nearly as good as the best.
    """
    odd = response.centre is not None and response.centre > OFF_CENTRE
    if response.plausible and not (odd and response.information is not None):
        return None
    scores: dict[str, float] = {}
    for words, other in _scales(x):
        r = respond(batch, other)
        if r.plausible and not (response.plausible and (r.centre or 0.0) > WELL_CENTRED):
            scores[words] = r.information if r.information is not None else 10 ** -abs(log10(r.spread or 1.0))
    best = max(scores.values(), default=0.0)
    if response.plausible and best <= 2 * (response.information or 0.0) + 0.15:
        return None
    return next((words for words, score in scores.items() if score >= 0.8 * best), None)


def _scales(x: Mapping[str, Array]) -> Iterator[tuple[str, dict[str, Array]]]:
    """The data of the first input mapped to usual scales, with words for them."""
    name = next(iter(x))
    data = x[name].astype(np.float64)
    low, high = float(data.min()), float(data.max())
    mean, deviation = float(data.mean()), float(data.std())
    slack = 0.005 * (high - low)

    def scaled(factor: float, offset: float) -> dict[str, Array]:
        with np.errstate(over="ignore"):  # no plausible scale then
            return {**x, name: np.asarray(factor * data + offset, np.float32)}

    if low >= -slack and high > 1 + slack and high <= 255 + slack:
        top = 255 if high > 64 else round(high)
        yield f"values in 0 .. 1 (x / {top})", scaled(1 / top, 0)
        yield f"values in -1 .. 1 (x / {top / 2:g} - 1)", scaled(2 / top, -1)
    elif low >= -slack and high <= 1 + slack:
        yield f"values in 0 .. {255 * high:.3g} (x * 255)", scaled(255, 0)
        yield "values in -1 .. 1 (2 * x - 1)", scaled(2, -1)
    elif low >= -1 - slack and high <= 1 + slack:
        yield "255 times larger values (x * 255)", scaled(255, 0)
        yield "values in 0 .. 1 ((x + 1) / 2)", scaled(0.5, 0.5)
        yield "values in 0 .. 255 ((x + 1) * 127.5)", scaled(127.5, 127.5)
    else:
        yield "255 times smaller values (x / 255)", scaled(1 / 255, 0)
        yield "255 times larger values (x * 255)", scaled(255, 0)
    yield (f"values of mean 0 and standard deviation 1, such as (x {'-' if mean >= 0 else '+'} {abs(mean):.3g}) / "
           f"{deviation:.3g}", scaled(1 / deviation, -mean / deviation))


# --- what the network does -----------------------------------------------------------------------------------------

def respond(batch: Batch, x: Mapping[str, Array]) -> Response:
    """Run the samples and measure."""
    with np.errstate(all="ignore"):
        values = {**x, **batch.run(x)}
        spreads, centres, stuck = [], [], []
        for node in _first_layers(batch.graph):
            if not np.any(batch.graph.values[node.inputs[1]].data):  # nothing of the data comes through it
                continue
            sums = _sums(batch.graph, node, values[node.inputs[0]])
            deviation = sums.std(axis=0)
            alive = deviation > 1e-12
            spreads.append(float(np.median(deviation)))
            centres.append(float(np.median(np.abs(sums.mean(axis=0)[alive]) / deviation[alive])) if alive.any() else 0)
            stuck.append(float(np.mean((sums <= 0).all(axis=0) | (sums > 0).all(axis=0))))
        margin, information, share, sure = _answers(batch.graph, values)
        out = values[batch.graph.outputs[0]]
        flat = np.asarray(out.reshape(len(out), -1), np.float64)
        variation = float(flat.std(axis=0).mean() / max(float(np.abs(flat).mean()), 1e-30))
        return Response(_middle(spreads), _middle(centres), _middle(stuck), _saturated(batch.graph, values), margin,
                        information, share, variation, sure)


def _middle(numbers: list[float]) -> float | None:
    return float(np.median(numbers)) if numbers else None


def _first_layers(graph: Graph) -> list[Node]:
    """Layers with weights that see an input before any other such layer does.

    A scale for each channel is none: models that normalize their input themselves begin with it.
    """
    behind: set[str] = set()
    found = []
    for node in graph.nodes:
        old = any(i in behind for i in node.inputs)
        weighted = isinstance(node.op, Conv2d | DepthwiseConv2d | FullyConnected)
        if isinstance(node.op, DepthwiseConv2d) and node.op.window.kernel == (1, 1):
            weighted = False
        if weighted and not old:
            found.append(node)
        if weighted or old:
            behind.add(node.output)
    return found


def _sums(graph: Graph, node: Node, x: Array) -> Array:
    """A layer's results before its activation, [positions, channels]."""
    assert isinstance(node.op, Conv2d | DepthwiseConv2d | FullyConnected)
    op = replace(node.op, clamp=(None, None))
    constants = [np.asarray(graph.values[i].data, np.float32) for i in node.inputs[1:]]
    rows = [op.reference(sample, *constants) for sample in x]
    sums = np.stack(rows).astype(np.float64)
    return sums.reshape(-1, sums.shape[-1])


def _answers(graph: Graph, values: Mapping[str, Array]) -> tuple[float | None, float | None, float | None, bool]:
    """Margin of logits, information, share of the commonest answer, and whether they are classes for certain."""
    name = graph.outputs[0]
    node = graph.producer().get(name)
    shape = graph.values[name].type.shape
    classes = shape[-1] if shape else 1
    largest_input = max(graph.values[i].type.size for i in graph.inputs)
    if len(graph.outputs) > 1 or node is None or graph.values[name].type.size != classes or classes < 2:
        return None, None, None, False
    sure = isinstance(node.op, Softmax)
    if not sure and (classes > 1000 or classes >= largest_input or isinstance(node.op, Unary)):
        return None, None, None, False
    z = values[node.inputs[0] if sure else name]
    z = z.reshape(len(z), -1).astype(np.float64)
    if not np.isfinite(z).all():
        return None, None, None, False
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    top = np.sort(z, axis=1)
    information = float((_entropy(p.mean(axis=0)) - _entropy(p).mean()) / np.log(classes))
    share = float(np.bincount(z.argmax(axis=1)).max() / len(z))
    return float(np.median(top[:, -1] - top[:, -2])), information, share, sure


def _entropy(p: Array) -> Array:
    return np.asarray(-(p * np.log(np.maximum(p, 1e-30))).sum(axis=-1))


def _saturated(graph: Graph, values: Mapping[str, Array]) -> float:
    """Mean share of saturated outputs of the first three activations which have an upper bound."""
    shares = []
    for node in graph.nodes:
        clamp = getattr(node.op, "clamp", (None, None))
        y = values[node.output]
        if isinstance(node.op, Unary):
            if node.op.function in ("sigmoid", "hardsigmoid", "tanh", "erf", "softsign"):
                shares.append(float((np.abs(y) > 0.99).mean()))
                continue
            clamp = node.op.as_clamp()
        if clamp[1] is not None:
            shares.append(float((y >= clamp[1]).mean()))
        if len(shares) == 3:
            break
    return float(np.mean(shares)) if shares else 0.0
