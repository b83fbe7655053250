"""The whole road, read aloud: ONNX model in, proven C sources out. The public Python API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aot import data as sample_data
from aot import frontend, host
from aot.agree import agree, drawn
from aot.calibrate import DEFAULT_METHOD, Calibration, check_method
from aot.config import as_toml
from aot.config import read as read_config
from aot.emit import emit
from aot.errors import AotError, Problem
from aot.front import Front
from aot.given import Kept, has_grids, has_steps
from aot.interpret import run_quantized
from aot.ir import FORMATS, Array, Graph
from aot.layerwise import check_layers, passed_over
from aot.names import title
from aot.numerics import LIMITS, real, stored
from aot.pareto import Bounds
from aot.pareto import search as search_front
from aot.passes import run_passes
from aot.plan import Plan, usable
from aot.prepare import CORRECTIONS, Prepared, prepare
from aot.prequantized import quantize_given
from aot.program import Program
from aot.quantize import WEIGHTS
from aot.quantize import quantize as quantize_graph
from aot.recipe import PRECISIONS, Recipe, for_graph
from aot.report import Report, build_report
from aot.sanity import look
from aot.strips import within
from aot.sums import favoured
from aot.targets import OPTIMIZE_FLAGS, Target, target
from aot.workers import workers
from aot.write import write

if TYPE_CHECKING:
    import onnx

#: Called with a stage's name, steps done, and steps in all.
Progress = Callable[[str, int, int], None]

GOLDEN_VECTORS = 3
#: Elements of the largest tensor that is computed at run time.
MOST_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class Options:
    """What a compilation may choose.

    ``ram`` and ``flash`` are budgets in bytes, ``instructions`` one of an inference. ``max_loss``: the points that
    precision ``auto`` may lose.
    """

    target: str = "c99"
    optimize: str = "balanced"
    precision: str = "int8"
    calibration: str = DEFAULT_METHOD
    weights: str = WEIGHTS[0]
    corrections: str = CORRECTIONS[0]
    ram: int | None = None
    flash: int | None = None
    instructions: int | None = None
    max_loss: float = 0.5


@dataclass(frozen=True, eq=False)
class Net:
    """A compiled network: its generated C, the stages it went through, and the C running on this machine.

    ``golden`` holds quantized inputs by name, with the outputs which the numpy twin computes for them. ``front`` is
    what precision ``auto`` found.
    """

    name: str
    target: Target
    options: Options
    model: bytes
    float_graph: Graph
    graph: Graph
    calibration: Calibration
    program: Program
    plan: Plan
    files: Mapping[str, str]
    report: Report
    golden: tuple[tuple[Mapping[str, Array], Mapping[str, Array]], ...]
    recipe: Recipe
    front: Front | None = None

    def __repr__(self) -> str:
        return f"<Net {self.name} for {self.target.name}: {len(self.program.steps)} layers, arena {self.report.arena}>"

    def run(self, x: Array | Mapping[str, Array]) -> Any:
        """The generated C on this machine: float in, float out.

        x is one sample in the model's input shape (with or without a leading 1), or many stacked on the first axis;
        several inputs as a dict by name. Answers likewise: an array, or a dict if there are several outputs.
        """
        inputs, stacked = self._stack(x)
        out = self._run_many({n: stored(a, self.graph.values[n].type) for n, a in inputs.items()})
        return self._unstack({n: real(a, self.graph.values[n].type) for n, a in out.items()}, stacked)

    def run_quantized(self, q: Array | Mapping[str, Array]) -> Any:
        """The same as the C sees it: integers of the inputs' quantization in, integers out."""
        inputs, stacked = self._stack(q)
        for name, array in inputs.items():
            if (format := self.graph.values[name].type.format) == "f32":
                continue
            low, high = LIMITS[format]
            if array.dtype.kind not in "iu" or (array.size and (array.min() < low or array.max() > high)):
                raise AotError(f"input {name!r} must be integers in {low} .. {high}",
                               "use run() for real numbers", name)
        types = {n: FORMATS[self.graph.values[n].type.format] for n in inputs}
        return self._unstack(self._run_many({n: a.astype(types[n]) for n, a in inputs.items()}), stacked)

    def write(self, folder: str | Path) -> None:
        """Write the generated project; the folder holds all of it, or is left as it was."""
        write(self.files, Path(folder), mark="report.json")

    def _stack(self, x: Array | Mapping[str, Array]) -> tuple[dict[str, Array], bool]:
        """Inputs as [samples, *shape], and whether the caller stacked them."""
        named = dict(x) if isinstance(x, Mapping) else {self.graph.inputs[0]: x}
        if set(named) != set(self.graph.inputs):
            raise AotError(f"inputs {sorted(named)} were given, the model takes {sorted(self.graph.inputs)}")
        result, stacked = {}, False
        for name, value in named.items():
            array, shape = sample_data.as_array(value, f"input {name!r}"), self.graph.values[name].type.shape
            single = array.shape == shape or (shape[:1] == (1,) and array.shape == shape[1:])
            many = array.shape[1:] == shape or (shape[:1] == (1,) and array.shape[1:] == shape[1:])
            if not single and not many:
                raise AotError(f"input {name!r} has shape {list(array.shape)}",
                               f"expected {list(shape)}, or samples stacked on the first axis", name)
            stacked = stacked or not single
            result[name] = array.reshape((-1, *shape))
        if len({len(a) for a in result.values()}) > 1:
            raise AotError("the inputs hold different numbers of samples")
        return result, stacked

    def _run_many(self, q: Mapping[str, Array]) -> dict[str, Array]:
        runner = host.runner(self.name, self.files, self.graph)
        results = [runner.run({n: a[i] for n, a in q.items()}) for i in range(len(next(iter(q.values()))))]
        return {n: np.stack([r[n] for r in results]) if results else
                np.empty((0, *(t := self.graph.values[n].type).shape), FORMATS[t.format]) for n in self.graph.outputs}

    def _unstack(self, out: dict[str, Array], stacked: bool) -> Any:
        """One output as an array, several as a dict; a leading axis of samples if the caller had one."""
        if stacked:
            out = {n: a.reshape(len(a), *a.shape[2:]) if a.shape[1:2] == (1,) and a.ndim > 2 else a
                   for n, a in out.items()}
        else:
            out = {n: a[0] for n, a in out.items()}
        return next(iter(out.values())) if len(out) == 1 else out


def compile(model: str | Path | bytes | onnx.ModelProto, data: sample_data.DataLike | None = None, *,
            name: str | None = None, data_config: sample_data.Config | None = None, progress: Progress | None = None,
            recipe: Recipe | None = None, config: str | Path | Mapping[str, Any] | None = None,
            judge: sample_data.DataLike | None = None, processes: int = 1, cluster: str | None = None,
            **options: Any) -> Net:
    """Compile an ONNX model to C, in int8 unless ``precision`` says otherwise.

    ``data`` holds calibration samples, ``data_config`` their preprocessing (see :func:`aot.data.load`);
    ``options`` are the fields of :class:`Options`. A ``recipe``, or the TOML file ``config``, gives formats layer by
    layer, instead of ``precision``. ``progress`` is called with a stage's name, steps done and steps in all.
    ``judge``, ``processes`` and ``cluster``: as for :func:`search`. Raises AotError with every problem found.
    """
    chosen = _options(options)
    where = "the recipe"
    ways = [way for way, value in (("the recipe", recipe), ("the configuration", config)) if value is not None]
    ways += [f"precision {chosen.precision}"] * (chosen.precision != Options.precision)
    if len(ways) > 1:
        raise AotError(f"{' and '.join(ways)} all give the formats of layers" if len(ways) > 2 else
                       f"{ways[0]} gives the formats of layers, and so does {ways[1]}", "leave all but one of them out")
    if config is not None:
        found = read_config(config)
        recipe, where = found.recipe, str(config) if isinstance(config, str | Path) else "the configuration"
        data_config = data_config if data_config is not None else found.data
    auto = recipe is None and chosen.precision == "auto"
    given = recipe
    recipe = recipe or PRECISIONS["int8" if auto else chosen.precision]
    processor = target(chosen.target)
    start = _start(model, data, data_config, chosen, None if auto else recipe, progress)
    check_layers(recipe, start.graph, where)
    front: Front | None = None
    if auto:
        front = _search(start, chosen, processor, judge, data_config, processes, cluster, progress)
        given = recipe = front.chosen.recipe
    if given is None and start.prepared is not None:
        recipe = for_graph(recipe, start.prepared.graph)
    ident = title(name if name is not None else start.title)
    float_graph, graph, calibration, kept = _quantized(start, chosen, recipe, progress)
    room = usable(chosen.ram, processor.align)
    arrangement = within(graph, processor.isa, chosen.optimize, room, chosen.flash)
    chosen = replace(chosen, optimize=arrangement.goal)
    program, arena = arrangement.program, arrangement.plan
    golden = [_golden(graph, start.samples.sample(i)) for i in range(min(GOLDEN_VECTORS, len(start.samples)))]
    warnings = (*start.warnings, *(() if auto else passed_over(recipe, program, start.graph)))
    report = build_report(ident, start.title, chosen, float_graph, graph, program, arena, calibration,
                          arrangement.described(), warnings, kept)
    _budgets(report, chosen)
    files = emit(graph, program, arena, processor, ident, chosen.optimize, golden, report.as_json(),
                 {} if given is None else {"config.toml": as_toml(given, front)})
    return Net(ident, processor, chosen, start.model, float_graph, graph, calibration, program, arena, files, report,
               tuple(golden), recipe, front)


def search(model: str | Path | bytes | onnx.ModelProto, data: sample_data.DataLike, *, name: str | None = None,
           data_config: sample_data.Config | None = None, progress: Progress | None = None,
           judge: sample_data.DataLike | None = None, processes: int = 1, cluster: str | None = None,
           **options: Any) -> Front:
    """What precision ``auto`` has to choose from: formats and goals of layers, none of which beats another.

    ``options`` are those of :func:`compile`. ``judge``: samples to judge losses by, with labels ``y`` if there are any;
    by default those for calibration. Work is done by so many ``processes`` of this machine, or by the workers of the
    Dask scheduler at the address ``cluster``; the answer is the same. A script that asks for more than one process
    must be importable without running (``if __name__ == "__main__"``). Raises AotError if no choice meets the bounds.
    """
    chosen = _options(options)
    start = _start(model, data, data_config, chosen, None, progress)
    front = _search(start, chosen, target(chosen.target), judge, data_config, processes, cluster, progress)
    return replace(front, name=title(name if name is not None else start.title), warnings=start.warnings)


@dataclass(frozen=True, eq=False)
class _Start:
    """What every compilation starts from.

    ``calibrated``: whether the samples are the user's; ``gives``: whether the model, or its weights, are quantized
    already; ``prepared`` is None then, and if nothing is to be quantized.
    """

    title: str
    model: bytes
    graph: Graph
    samples: sample_data.Samples
    calibrated: bool
    gives: bool
    warnings: tuple[Problem, ...]
    prepared: Prepared | None


def _start(model: str | Path | bytes | onnx.ModelProto, data: sample_data.DataLike | None,
           data_config: sample_data.Config | None, chosen: Options, recipe: Recipe | None,
           progress: Progress | None) -> _Start:
    """The model read, checked against ONNX Runtime, and calibrated. Without a recipe, one will be searched."""
    loaded = frontend.load(model)
    graph = run_passes(loaded.graph)
    _sizes(graph)
    floating = recipe is not None and _all_float(recipe)
    gives = has_grids(graph) or has_steps(graph)
    if gives and (recipe not in PRECISIONS.values() or (has_grids(graph) and recipe != PRECISIONS["int8"])):
        raise AotError("the model is quantized already, to the formats that its QuantizeLinear and DequantizeLinear "
                       "nodes say", "leave out --precision, --config and recipes, or pass the float model")
    if data is None and not (floating or gives):
        raise AotError(f"{chosen.precision} needs calibration data to know the range of every layer, "
                       "and none was given",
                       "pass samples of the model's input: --data CALIB.npz, or data=array in Python")
    samples = sample_data.load(drawn(graph, GOLDEN_VECTORS) if data is None else data, graph, "the calibration data",
                               data_config)
    agree(loaded.graph, graph, loaded.model, samples)
    warnings = () if data is None else look(graph, samples)
    prepared = None if floating or gives else prepare(graph, samples, chosen.calibration, chosen.weights,
                                                      chosen.corrections, _ticking(progress, len(samples)))
    return _Start(loaded.name, loaded.model, graph, samples, data is not None, gives, warnings, prepared)


def _ticking(progress: Progress | None, total: int) -> Callable[[], None]:
    """What is called for every sample."""
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress("calibrating", done, total)

    return tick


def _quantized(start: _Start, chosen: Options, recipe: Recipe, progress: Progress | None,
               ) -> tuple[Graph, Graph, Calibration, tuple[Kept, ...]]:
    """The float graph, what became of it, the ranges, and the layers of a quantized model that stay float32."""
    if start.prepared is not None:
        return start.prepared.graph, start.prepared.quantize(recipe), start.prepared.ranges(recipe), ()
    if start.gives and not _all_float(recipe):
        graph, calibration, kept = quantize_given(start.graph, start.samples if start.calibrated else None,
                                                  chosen.calibration, chosen.weights, recipe,
                                                  _ticking(progress, len(start.samples)))
        return start.graph, graph, calibration, kept
    calibration = Calibration({}, 0, "none")
    graph = quantize_graph(start.graph, calibration, chosen.weights, (), recipe)
    return start.graph, favoured(graph, recipe, start.graph), calibration, ()


def _search(start: _Start, chosen: Options, processor: Target, judge: sample_data.DataLike | None,
            data_config: sample_data.Config | None, processes: int, cluster: str | None,
            progress: Progress | None) -> Front:
    assert start.prepared is not None
    samples = start.samples
    if judge is not None:
        samples = sample_data.load(judge, start.graph, "the data to judge by", data_config)
    bounds = Bounds(chosen.max_loss, chosen.flash, chosen.ram, chosen.instructions)
    with workers(processes, cluster) as apply:
        return search_front(start.prepared, samples, title(start.title), processor, chosen.optimize, bounds, apply,
                            judge is None, progress or (lambda stage, done, total: None))


def _budgets(report: Report, chosen: Options) -> None:
    """Refuse what needs more than the user has."""
    if chosen.ram is not None and report.arena > chosen.ram:
        raise AotError(f"the network needs {report.arena} bytes of RAM, the budget is {chosen.ram}",
                       f"raise --ram{'' if chosen.flash is None else ' or --flash'}, or use a smaller network; "
                       "no split into strips was found that needs less")
    if chosen.instructions is not None and report.instructions > chosen.instructions:
        raise AotError(f"the network takes an estimated {report.instructions} instructions, the budget is "
                       f"{chosen.instructions}", "raise --instructions, try --optimize speed or --precision auto, or "
                       "use a smaller network")


def _options(given: Mapping[str, Any]) -> Options:
    """Checked options."""
    unknown = sorted(set(given) - set(Options.__dataclass_fields__))
    if unknown:
        raise AotError(f"unknown option {', '.join(unknown)}", f"options: {', '.join(Options.__dataclass_fields__)}")
    for key, value in given.items():
        kinds, takes = {"ram": ((int,), "a number of bytes"), "flash": ((int,), "a number of bytes"),
                        "instructions": ((int,), "a number of instructions"),
                        "max_loss": ((int, float), "a number of points")}.get(key, ((str,), "a name"))
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise AotError(f"option {key} is {value!r}", f"it takes {takes}")
    chosen = Options(**{k: v for k, v in given.items() if v is not None})
    if chosen.optimize not in OPTIMIZE_FLAGS:
        raise AotError(f"unknown optimization goal {chosen.optimize!r}", f"choose from {', '.join(OPTIMIZE_FLAGS)}")
    check_method(chosen.calibration)
    if chosen.weights not in WEIGHTS:
        raise AotError(f"unknown form of weights {chosen.weights!r}", f"choose from {', '.join(WEIGHTS)}")
    if chosen.corrections not in CORRECTIONS:
        raise AotError(f"unknown corrections {chosen.corrections!r}", f"choose from {', '.join(CORRECTIONS)}")
    if chosen.precision not in (*PRECISIONS, "auto"):
        raise AotError(f"precision {chosen.precision!r} is not supported",
                       f"choose from {', '.join(PRECISIONS)} or auto")
    if not 0 < chosen.max_loss < 100:
        raise AotError(f"a loss of at most {chosen.max_loss:g} points cannot be asked for",
                       "--max-loss takes points above 0 and below 100; 0.5 is usual")
    return chosen


def _all_float(recipe: Recipe) -> bool:
    """Whether nothing is quantized, so that no range has to be known."""
    return {f.activations for f in (recipe.default, *recipe.layers.values())} == {"f32"}


def _sizes(graph: Graph) -> None:
    """Refuse tensors that no device of the kind could hold, before anything computes them."""
    problems = tuple(
        Problem(f"{node.op.name} computes {size:,} elements, at most {MOST_ELEMENTS:,} are supported",
                "a microcontroller has no room for it; use smaller inputs or less padding", " + ".join(node.origin))
        for node in graph.nodes if (size := graph.values[node.output].type.size) > MOST_ELEMENTS)
    if problems:
        raise AotError(problems=problems)


def _golden(graph: Graph, sample: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """A quantized input and the output the twin computes for it."""
    q = {n: stored(x, graph.values[n].type) for n, x in sample.items()}
    return q, run_quantized(graph, q)
