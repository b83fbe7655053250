"""The search over formats of layers: bounds are kept, nothing depends on where work is done, and files say it all."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from frontend.models import model
from onnx import helper
from road import cnn, draws, need_package

import aot
from aot import front_picture
from aot.batch import Batch, stack
from aot.config import as_toml, read
from aot.data import load
from aot.descent import Descent, Stage, descend
from aot.front import Front, Point
from aot.interpret import walk_quantized
from aot.ir import Array
from aot.judge import Judge, Loss
from aot.numerics import real, stored
from aot.options import Space, Tally, space
from aot.passes import run_passes
from aot.prepare import Prepared, prepare
from aot.recipe import Formats, Recipe
from aot.scores import decisive
from aot.sensitivity import court, shifts
from aot.targets import DSP
from aot.verify import verify
from aot.workers import workers

DATA = draws(cnn(), 40)
OPTIONS: dict[str, Any] = {"target": "cortex-m4", "optimize": "size", "max_loss": 2.0}


@cache
def front() -> Front:
    return aot.search(cnn(), DATA, **OPTIONS)


@cache
def prepared() -> Prepared:
    net = aot.compile(cnn(), DATA)
    graph = run_passes(aot.frontend.load(net.model).graph)  # type: ignore[attr-defined]
    return prepare(graph, load(DATA, graph), "auto", "per-channel")


@cache
def options() -> Space:
    return space(prepared(), DSP, "balanced")


# --- what is found ----------------------------------------------------------------------------------------------------

def test_no_point_is_beaten_and_the_choice_meets_the_bound() -> None:
    found = front()
    assert len(found.points) >= 3
    assert not any(p.beats(q) for p in found.points for q in found.points if q is not found.chosen)
    plain = found.references[0]
    assert found.chosen in found.points and found.chosen.loss.points <= 2
    assert found.chosen.flash < plain.flash and found.chosen.instructions <= plain.instructions
    assert found.chosen.recipe.key != plain.recipe.key


def test_gains_below_the_errors_of_estimates_are_none() -> None:
    """Choices were taken for better that took 200,000 instructions more on the board than 8 bits."""
    def point(instructions: int, flash: int, **unsure: float) -> Point:
        return Point("", Recipe(), Loss(0.0, 0.0), instructions, flash, 0, unsure)
    plain = point(1000, 500, same=400, a=30)
    assert point(990, 500, same=400, a=30).surely_no_more(plain)  # the same kernels: the error is the same
    assert not point(990, 500, same=400, b=40).surely_no_more(plain)
    assert point(950, 500, same=400, b=40).surely_no_more(plain)  # 3, 4, 5
    assert not point(950, 501, same=400, b=40).surely_no_more(plain)
    int8, _, finer = front().references
    assert front().chosen.surely_no_more(int8) and not finer.surely_no_more(int8)


def test_what_is_estimated_is_what_is_compiled() -> None:
    """The choice compiled again costs the same, answers as it was judged to, and its C equals the twin."""
    found = front().chosen
    net = aot.compile(cnn(), DATA, recipe=found.recipe, target="cortex-m4", optimize="size")
    assert net.report.arena == found.arena and net.report.instructions == pytest.approx(found.instructions, rel=1e-3)
    judged = verify(net, load(DATA, net.float_graph))
    assert judged.mismatches == 0 and judged.agreement is not None and found.loss.changed is not None
    expected = judged.samples * found.loss.changed / 100
    assert judged.samples * (1 - judged.agreement) <= expected + 2 * np.sqrt(expected)


def test_auto_takes_the_choice() -> None:
    net = aot.compile(cnn(), DATA, precision="auto", **OPTIONS)
    assert net.recipe == front().chosen.recipe and net.front is not None
    again = aot.compile(cnn(), DATA, config=tomllib.loads(net.files["config.toml"]), target="cortex-m4",
                        optimize="size")
    assert {k: v for k, v in net.files.items() if k.startswith("src")} == {
        k: v for k, v in again.files.items() if k.startswith("src")}


@pytest.mark.parametrize("budget", ["flash", "instructions", "ram"])
def test_budgets_are_kept(budget: str) -> None:
    plain = front().references[0]
    most = {"flash": plain.flash - 500, "instructions": plain.instructions - 100, "ram": plain.arena}[budget]
    found = aot.search(cnn(), DATA, **OPTIONS, **{budget: most}).chosen
    assert {"flash": found.flash, "instructions": found.instructions, "ram": found.arena}[budget] <= most


@pytest.mark.parametrize("budget", ["flash", "instructions", "ram"])
def test_a_budget_of_nothing_is_refused(budget: str) -> None:
    with pytest.raises(aot.AotError, match="no choice of formats was found"):
        aot.search(cnn(), DATA, **OPTIONS, **{budget: 0})


def test_where_nothing_needs_less_8_bits_stay() -> None:
    """Flash for instructions is no gain, however cheap flash is."""
    rng = np.random.default_rng(0)
    dense = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [1, 16]}, {"y": [1, 4]},
                  {"w": rng.normal(size=(16, 4)).astype(np.float32)})
    found = aot.search(dense, rng.normal(size=(40, 16)).astype(np.float32), target="cortex-m4", max_loss=50.0)
    plain = found.references[0]
    assert found.chosen.flash <= plain.flash and found.chosen.instructions <= plain.instructions


def test_a_search_warns_of_data_as_a_compilation_does() -> None:
    one = {name: x[:1] for name, x in DATA.items()}
    warnings = aot.search(cnn(), one, **{**OPTIONS, "max_loss": 90.0}).warnings
    assert warnings and warnings == aot.compile(cnn(), one).report.warnings


def test_what_cannot_be_met_is_said() -> None:
    with pytest.raises(aot.AotError, match=r"within 99 bytes of flash: the best one loses .* needs [0-9,]+ bytes"):
        aot.search(cnn(), DATA, **OPTIONS, flash=99)


def test_a_stricter_bound_is_kept_with_finer_formats() -> None:
    found = aot.search(cnn(), DATA, **{**OPTIONS, "max_loss": 0.02}).chosen
    assert found.loss.points <= 0.02
    assert any(f.activations != "s8" for f in found.recipe.layers.values())


def test_other_samples_can_judge() -> None:
    other = aot.search(cnn(), DATA, judge=draws(cnn(), 64, seed=5), **OPTIONS)
    assert other.samples == 64 and other.chosen.loss != front().chosen.loss


def test_networks_that_do_not_classify_are_judged_by_their_error() -> None:
    weights = {"w": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32), "b": np.ones(4, np.float32)}
    found = aot.search(square(weights), draws(square(weights), 30), max_loss=2.0, optimize="size")
    assert not found.classes and found.chosen.loss.points <= 2 and "deviation of the outputs" in str(found)


def square(constants: dict[str, Array]) -> onnx.ModelProto:
    """As many outputs as inputs."""
    return model([helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="fc")], {"x": [1, 4]}, {"y": [1, 4]}, constants)


# --- where work is done -------------------------------------------------------------------------------------------

def test_the_number_of_processes_changes_nothing() -> None:
    assert aot.search(cnn(), DATA, processes=2, **OPTIONS) == front()


def test_a_cluster_changes_nothing() -> None:
    """A scheduler and two workers, in processes of this machine."""
    distributed = need_package("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert aot.search(cnn(), DATA, cluster=cluster.scheduler_address, **OPTIONS) == front()


def test_refusals_in_workers_are_told() -> None:
    with workers(2) as apply, pytest.raises(aot.AotError, match="speedy"):
        apply(_refuse, ["speedy"])
    with pytest.raises(aot.AotError, match="no Dask scheduler answers"), workers(1, "tcp://127.0.0.1:9"):
        pass


def _refuse(word: str) -> None:
    raise aot.AotError(word)


# --- parts --------------------------------------------------------------------------------------------------------

def test_costs_are_kept_up_to_date() -> None:
    """After any changes, the tally is that of a new one."""
    made, rng = options(), np.random.default_rng(0)
    tally = Tally(made, (0,) * len(made.layers))
    for _ in range(60):
        i = int(rng.integers(len(made.layers)))
        tally.set(i, int(rng.integers(len(made.options[i]))))
        fresh = Tally(made, tuple(tally.picks))
        assert tally.cost.instructions == pytest.approx(fresh.cost.instructions)
        assert tally.cost.flash == fresh.cost.flash


def test_single_shifts_add_up_to_the_whole() -> None:
    """4 bits in some layers: about as predicted from each alone, whatever that does to the rounding of the others."""
    graph = prepared().graph
    case = court(prepared(), load(draws(cnn(), 64, seed=7), graph), False)
    with workers() as apply:
        whole, alone = shifts(case, apply)
    linear = [n.output for n in graph.nodes if n.op.linear]
    for few in (linear[:1], linear[1:3]):
        recipe = Recipe(layers=dict.fromkeys(few, Formats("s8", "s4")))
        found = case.judge.changes(case.outputs(Batch(graph, prepared().quantize(recipe))))
        predicted = whole + sum(alone[n][Formats("s8", "s4")] for n in few)
        assert np.std(predicted) == pytest.approx(np.std(found), rel=0.4)


def test_batches_round_what_is_converted() -> None:
    """Values in 16 bits that an 8-bit layer reads are rounded on the way, for that layer alone."""
    graph = prepared().graph
    fine = [n.output for n in graph.nodes if n.op.name in ("add", "conv2d", "mul")]
    quantized = prepared().quantize(Recipe(layers=dict.fromkeys(fine, Formats("s16", "s8"))))
    x = {n: a[:8] for n, a in draws(cnn(), 8, seed=3).items()}
    batch = Batch(graph, quantized)
    samples = [{n: a[i] for n, a in x.items()} for i in range(8)]
    found = batch.run(stack(samples), True, True)
    assert any(n.op.name == "quantize" for n in quantized.nodes)
    value = decisive(graph)
    kind = quantized.values[value].type
    for i, one in enumerate(samples):
        inputs = {n: stored(a, quantized.values[n].type) for n, a in one.items()}
        twin = real(dict(walk_quantized(quantized, inputs))[value], kind)
        assert np.abs(twin - found[value][i]).max() <= 1.5 * quantized.values[value].scale


def toy(limit: float, *stages: Stage) -> tuple[tuple[int, ...], float, Space]:
    """A descent among 8-bit activations, where every layer's 4 bits change the outputs by the same little."""
    made = replace(options(), options=tuple(tuple(o for o in each if o.formats.activations == "s8")
                                            for each in options().options))
    exact = 4 * np.random.default_rng(0).normal(size=(200, 3))
    judge = Judge(exact, True)
    none: Array = np.zeros(200)
    step = 0.3 * np.random.default_rng(1).normal(size=200)
    alone = {n: {Formats("s8", "s4"): step} for n in made.layers}
    picks, loss = descend(Descent(made, judge, none, alone, stages, limit))
    return picks, loss, made


def test_a_descent_stays_within_its_limits() -> None:
    cost = {limit: Tally(toy(limit, Stage(1e4))[2], toy(limit, Stage(1e4))[0]).cost.flash for limit in (0.3, 1.0, 20.0)}
    assert cost[20.0] < cost[1.0] < cost[0.3]
    assert all(toy(limit, Stage(1e4))[1] <= limit for limit in cost)
    free = Tally(options(), (0,) * len(options().layers)).cost
    picks, _, made = toy(20.0, Stage(1e4), Stage(0.0, 0.97 * free.flash))
    assert Tally(made, picks).cost.flash <= 0.97 * free.flash


# --- files --------------------------------------------------------------------------------------------------------

def test_the_file_says_what_and_why_and_is_read_again() -> None:
    text = as_toml(front().chosen.recipe, front())
    assert read(tomllib.loads(text)).recipe == front().chosen.recipe
    assert "# conv2d from stem + relu6: " in text and "bytes" in text and "lose at most 2 points" in text
    odd = Recipe(Formats("s16", "s8"), {'a "b"\n.c\x7f': Formats("s8", "s4"), "é": Formats()}, {"é": "size"},
                 {"é": "conv2d"})
    assert read(tomllib.loads(as_toml(odd))).recipe == odd


def test_a_file_may_hold_preprocessing_besides() -> None:
    found = read({"data": {"mean": 0.5}, "default": {"activations": "s16"}})
    assert (found.recipe, found.data) == (Recipe(Formats("s16", "s8")), {"data": {"mean": 0.5}})


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(aot.AotError) as told:
        read({"default": {"weights": "s4"}, "layers": {
            "a": {"bits": 4}, "b": {"goal": "fast"}, "c": 3, "d": {"weights": "f32"}, "e": {"weights": 8}}})
    assert len(told.value.problems) == 5


def test_a_hand_made_goal_is_kept() -> None:
    """A layer's goal decides its kernel, also under a budget of flash."""
    names = [n.output for n in prepared().graph.nodes if n.op.name == "conv2d"]
    for flash in (None, 100_000):
        net = aot.compile(cnn(), DATA, config={"layers": {names[0]: {"goal": "size"}}}, target="cortex-m4",
                          optimize="speed", flash=flash)
        assert next(r.goal for r in net.report.rows if r.op == "conv2d") == "size"
        assert "speed" in {r.goal for r in net.report.rows}


def test_a_kernel_by_name_is_taken_where_it_fits() -> None:
    names = [n.output for n in prepared().graph.nodes if n.op.name == "conv2d"]
    config = {"layers": {names[0]: {"kernel": "conv2d.dsp_unrolled"}, names[1]: {"kernel": "conv2d.dsp_pointwise"}}}
    net = aot.compile(cnn(), DATA, config=config, target="cortex-m4", optimize="size")
    assert [r.kernel for r in net.report.rows if r.op == "conv2d"][:2] == ["conv2d.dsp_unrolled", "conv2d.dsp_small"]
    with pytest.raises(aot.AotError, match=r"no kernel 'conv2d\.fast'"):
        aot.compile(cnn(), DATA, config={"layers": {names[0]: {"kernel": "conv2d.fast"}}})


def test_the_picture_is_the_same_for_the_same_data() -> None:
    need_package("matplotlib")
    assert front_picture.draw(front(), ".svg") == front_picture.draw(front(), ".svg")
    with pytest.raises(aot.AotError, match="docx"):
        front_picture.draw(front(), ".docx")
