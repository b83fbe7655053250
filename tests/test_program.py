"""Graph to Program: what shares memory, what needs code, and random graphs whose C equals their twin."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import battery
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kernels import Project, project
from sketch import KINDS, Sketch, graphs, random

from aot import build
from aot.calibrate import calibrate
from aot.ir import Graph
from aot.ops.add import Add
from aot.ops.concat import Concat
from aot.ops.reshape import Reshape
from aot.ops.transpose import Transpose
from aot.ops.unary import Unary
from aot.passes import run_passes
from aot.plan import plan
from aot.program import Place, Program, lower
from aot.quantize import quantize
from aot.targets import C99, TARGETS

TANH = Unary("tanh")


def image(*shape: int) -> Sketch:
    b = Sketch()
    b.input("x", shape)
    return b


def program(graph: Graph) -> Program:
    """The program of a float graph, quantized on random samples."""
    samples = [{n: random(*graph.values[n].type.shape, seed=s) for n in graph.inputs} for s in range(3)]
    return lower(quantize(graph, calibrate(graph, samples, "minmax")), C99)


def functions(made: Program) -> list[str]:
    return [s.function for s in made.steps]


# --- memory that is the same --------------------------------------------------------------------------------------

def test_reshapes_are_the_same_memory() -> None:
    b = image(2, 6)
    flat = b.then(Reshape((12,)), b.then(TANH, "x", "a"), "flat")
    b.then(TANH, b.then(Reshape((3, 4)), flat, "again"), "y")
    made = program(b.graph(["x"], ["y"]))
    assert functions(made) == ["unary_0", "unary_1"]
    assert made.steps[0].output == made.steps[1].operands[0] == Place("arena", "tensor_0")


def test_an_output_that_is_a_reshape_is_written_straight() -> None:
    b = image(2, 6)
    b.then(Reshape((12,)), b.then(TANH, "x", "a"), "y")
    made = program(b.graph(["x"], ["y"]))
    assert functions(made) == ["unary_0"] and not made.buffers
    assert made.steps[0].output == Place("output", "y")


@pytest.mark.parametrize("outputs", [["y"], ["y", "z"]])
def test_an_output_that_is_the_input_is_copied(outputs: list[str]) -> None:
    b = image(2, 6)
    b.then(Reshape((12,)), "x", "y")
    b.then(Reshape((3, 4)), "x", "z")
    made = program(b.graph(["x"], outputs))
    assert [(s.operands[0].space, s.output.name) for s in made.steps] == [("input", o) for o in outputs]


def test_two_outputs_of_the_same_bytes() -> None:
    """Both are written; neither is the other's memory."""
    b = image(2, 6)
    a = b.then(TANH, "x", "a")
    b.then(Reshape((12,)), a, "y")
    made = program(b.graph(["x"], ["a", "y"]))
    assert functions(made) == ["unary_0", "reshape_1"]
    assert [s.output for s in made.steps] == [Place("output", "a"), Place("output", "y")]


def test_dead_code_is_no_step() -> None:
    b = image(2, 6)
    b.then(Unary("sigmoid"), "x", "unused")
    b.then(TANH, "x", "y")
    assert functions(program(b.graph(["x"], ["y"]))) == ["unary_0"]


# --- concatenation -----------------------------------------------------------------------------------------------

def two(axis: int, *shape: int) -> Sketch:
    """Two sums of the same range, concatenated into ``both``, and a function of that."""
    b = image(*shape)
    n = b.then(Unary("neg"), "x", "n")
    b.then(Concat(axis), [b.then(Add(), ["x", "x"], "a"), b.then(Add(-1), ["x", n], "b")], "both")
    b.then(Unary("sigmoid"), "both", "y")
    return b


def test_parts_are_written_where_they_belong() -> None:
    made = program(two(1, 1, 6).graph(["x"], ["y"]))
    assert functions(made) == ["unary_0", "add_1", "add_2", "unary_3"]
    (both,) = {s.output.name for s in made.steps[1:3]}
    assert [s.output.offset for s in made.steps[1:3]] == [0, 6]
    assert next(b for b in made.buffers if b.name == both).nbytes == 12


def test_parts_in_the_output_itself() -> None:
    made = program(two(1, 1, 6).graph(["x"], ["both"]))
    assert [s.output for s in made.steps[1:]] == [Place("output", "both"), Place("output", "both", 6)]


def test_rows_that_alternate_are_copied() -> None:
    made = program(two(1, 2, 6).graph(["x"], ["y"]))
    assert functions(made) == ["unary_0", "add_1", "add_2", "concat_3", "unary_4"]


def test_a_part_that_others_read_is_copied() -> None:
    b = two(1, 1, 6)
    b.then(Unary("exp"), "a", "z")
    assert "concat" in " ".join(functions(program(b.graph(["x"], ["y", "z"]))))


def test_a_part_twice_is_copied() -> None:
    b = image(1, 6)
    a = b.then(TANH, "x", "a")
    b.then(Concat(1), [a, a], "y")
    assert functions(program(b.graph(["x"], ["y"]))) == ["unary_0", "concat_1"]


# --- in place ----------------------------------------------------------------------------------------------------

def arena(graph: Graph) -> int:
    made = program(graph)
    return plan(made.buffers, made.sharings).size


def test_functions_overwrite_their_input() -> None:
    b = image(1, 64)
    y = b.then(TANH, "x", "a")
    for i in range(4):
        y = b.then(TANH, y, f"t{i}")
    b.then(TANH, y, "y")
    assert arena(b.graph(["x"], ["y"])) == 64


def test_what_is_read_later_is_not_overwritten() -> None:
    b = image(1, 64)
    a = b.then(TANH, "x", "a")
    b.then(Add(), [b.then(TANH, b.then(TANH, a, "c"), "d"), a], "y")
    assert arena(b.graph(["x"], ["y"])) == 128


def test_a_transpose_does_not_overwrite_its_input() -> None:
    b = image(8, 8)
    b.then(TANH, b.then(Transpose((1, 0)), b.then(TANH, "x", "a"), "t"), "y")
    made = program(b.graph(["x"], ["y"]))
    assert not made.sharings or {s.output for s in made.sharings} == set()
    assert plan(made.buffers, made.sharings).size == 128


def test_a_broadcast_operand_is_not_overwritten() -> None:
    b = image(1, 8)
    wide = b.then(Add(), [b.then(TANH, "x", "a"), b.constant(random(4, 8), "k")], "wide")
    b.then(TANH, wide, "y")
    made = program(b.graph(["x"], ["y"]))
    assert made.steps[0].output.name not in {s.input for s in made.sharings if s.output == made.steps[1].output.name}


# --- random graphs -----------------------------------------------------------------------------------------------

@settings(deadline=None, max_examples=12, derandomize="CI" in os.environ,
          phases=[Phase.explicit, Phase.reuse, Phase.generate],
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(graphs((*KINDS, "concat", "reshape", "tanh")), min_size=5, max_size=5))
def test_random_graphs_c_equals_twin(drawn: list[Graph]) -> None:
    """As they are and after all passes, for both instruction sets."""
    projects: dict[str, Project] = {}
    for i, graph in enumerate(drawn):
        for isa, target in battery.ISAS.items():
            name = f"{isa}_{i}"
            projects[name] = project(run_passes(graph) if i % 2 else graph, TARGETS[target], name)
    with tempfile.TemporaryDirectory() as folder:
        battery.check(projects, Path(folder), build.host_compiler())


@settings(deadline=None, max_examples=100, derandomize="CI" in os.environ)
@given(graphs())
def test_buffers_hold_what_steps_touch(graph: Graph) -> None:
    made = program(graph)
    sizes = {b.name: b for b in made.buffers}
    for i, step in enumerate(made.steps):
        touched = [(p, step.site.inputs[k].type.nbytes)
                   for k, p in zip(step.site.node.op.operands(step.site), step.operands, strict=True)]
        for place, nbytes in [*touched, (step.output, step.site.output.type.nbytes)]:
            if place.space == "arena":
                assert sizes[place.name].nbytes >= place.offset + nbytes
                assert sizes[place.name].first <= i <= sizes[place.name].last
        assert step.output.space in ("arena", "output")
    written = {s.output.name for s in made.steps if s.output.space == "output"}
    assert written == set(graph.outputs)
    assert all(np.asarray(c).dtype != np.int64 for c in made.constants.values())
