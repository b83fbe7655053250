"""Whole networks in every precision: accuracy, the generated interface, the self-test, and what boards compute."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from road import c_array, cnn, draws, need, run_c, small
from sketch import Sketch

import aot
from aot import build
from aot.bench import bench
from aot.compiler import Net
from aot.data import load
from aot.interpret import run_quantized
from aot.ir import FORMATS
from aot.numerics import LIMITS
from aot.ops.reshape import Reshape
from aot.recipe import PRECISIONS, Formats, Recipe, for_graph, from_data
from aot.verify import Verification, verify

OTHERS = [p for p in PRECISIONS if p != "int8"]
C_TYPES = {"s8": "int8_t", "s16": "int16_t", "f32": "float"}


@cache
def made(precision: str, target: str = "c99") -> Net:
    return aot.compile(cnn(), draws(cnn(), 24), name="cnn", precision=precision, target=target)


@cache
def verified(precision: str) -> Verification:
    net = made(precision)
    return verify(net, load(draws(cnn(), 16, seed=1), net.float_graph))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_c_equals_twin(precision: str) -> None:
    found = verified(precision)
    assert found.elements > 10_000 and found.mismatches == 0, found.first_mismatch


def test_errors_are_those_of_the_formats() -> None:
    error = {p: verified(p).mean_abs_error for p in PRECISIONS}
    assert error["float32"] < 1e-6
    assert error["int16"] < error["int8"] / 10
    assert error["int16x8"] < error["int8"] < error["int4"]


@pytest.mark.parametrize("precision", OTHERS)
def test_self_test(precision: str, tmp_path: Path) -> None:
    net = made(precision)
    main = f"test/{net.name}_selftest.c"
    for compiler in ("gcc", "clang"):
        need(compiler)
        program = build.host_program(net.files, tmp_path / compiler, main, compiler)
        done = build.run([str(program)], tmp_path)
        assert (done.status, done.err) == (0, "") and "3 golden vectors, 0 failures" in done.out, done.out + done.err


@pytest.mark.parametrize("precision", OTHERS)
def test_interface(precision: str, tmp_path: Path) -> None:
    """The header's types and helpers, in C and C++; run and run_quantized agree with them."""
    net = made(precision)
    kind = net.graph.values["x"].type
    c_type = C_TYPES[kind.format]
    assert f"int cnn_run(void *arena, const {c_type} *input, {c_type} *output);" in net.files["include/cnn.h"]
    x = draws(cnn(), 1, seed=2)["x"][0]
    given = aot.numerics.stored(x, kind)
    answer = net.run_quantized(given)
    assert answer.dtype == FORMATS[kind.format]
    np.testing.assert_array_equal(answer, run_quantized(net.graph, {"x": given})["y"])
    if precision == "float32":
        np.testing.assert_array_equal(net.run(x), answer)
    main = "\n".join([
        "#include <stdint.h>", "#include <string.h>", '#include "cnn_float.h"',
        c_array("wanted_in", given), c_array("wanted_out", answer), c_array("real", x), f"""
    int main(void) {{
        static union {{ uint64_t align[2]; unsigned char bytes[cnn_ARENA_BYTES]; }} arena;
        {c_type} in[cnn_INPUT_LEN], out[cnn_OUTPUT_LEN];
        float back[cnn_OUTPUT_LEN];
        cnn_quantize_input(real, in);
        int bad = memcmp(in, wanted_in, sizeof in) != 0;
        bad += cnn_run(&arena, in, out) != 0 || memcmp(out, wanted_out, sizeof out) != 0;
        cnn_dequantize_output(out, back);
        return bad + (back[0] > 1.01f);
    }}\n"""])
    done = run_c(net, tmp_path, main)
    assert (done.status, done.err) == (0, ""), done.err[:2000]
    need("g++")
    build.put({**net.files, "use.cpp": '#include "cnn_float.h"\n'}, tmp_path)
    done = build.run(["g++", "-std=c++17", *build.STRICT[1:], "-fsyntax-only", "-Iinclude", "use.cpp"], tmp_path)
    assert (done.status, done.err) == (0, ""), done.err[:2000]


def test_int16_inputs_are_checked() -> None:
    with pytest.raises(aot.AotError, match=r"-32768 \.\. 32767"):
        made("int16").run_quantized(np.full((1, 3, 9, 7), 40000))


def test_float_needs_no_data() -> None:
    net = aot.compile(small(), precision="float32")
    x = draws(small(), 5)["x"]
    assert net.calibration.samples == 0 and net.run(x).shape == (5, 5)
    for precision in ("int16", "int4"):
        with pytest.raises(aot.AotError, match=f"{precision} needs calibration data"):
            aot.compile(small(), precision=precision)


def test_flash_of_weights() -> None:
    weights = {p: made(p).report.weights for p in PRECISIONS}
    assert weights["int4"] < weights["int8"] < min(weights["int16"], weights["float32"])


@pytest.mark.emulator("cortex-m4")
def test_the_bench_shows_the_flash_that_is_saved() -> None:
    model = onnx.load_from_string(small().SerializeToString())
    costs = {p: bench(aot.compile(model, draws(model), name="net", precision=p, target="cortex-m4"))
             for p in ("int8", "int4", "int16", "float32")}
    assert all(c.elements > 0 for c in costs.values())
    assert costs["float32"].instructions > costs["int16"].instructions


@pytest.mark.emulator("cortex-m0", "cortex-m4", "cortex-m55", "rv32imc")
@pytest.mark.parametrize("target", ("cortex-m0", "cortex-m4", "cortex-m55", "rv32imc"))
def test_boards_equal_this_machine(target: str) -> None:
    for precision in OTHERS:
        assert bench(made(precision, target)).elements > 0


# --- recipes -----------------------------------------------------------------------------------------------------

def test_recipes_as_data() -> None:
    recipe = Recipe(Formats("s8", "s4"), {"y": Formats("s16", "s8"), "z": Formats("f32", "f32")})
    assert from_data(recipe.as_data()) == recipe
    assert from_data({}) == Recipe() and recipe.of("y").weights == "s8" and recipe.of("x") == recipe.default
    for wrong in ({"layer": {}}, {"default": "s8"}, {"layers": {"y": {"format": "s8"}}}, {"layers": []},
                  {"default": {"activations": "f32", "weights": "s16"}}, {"default": {"activations": "u8"}}):
        with pytest.raises(aot.AotError):
            from_data(wrong)


def test_a_layer_in_float_mends_what_it_can() -> None:
    """A recipe mixes formats; every layer is in its own, and the C equals the twin."""
    data = draws(cnn(), 24)
    names = [n.output for n in made("int8").graph.nodes]
    recipe = Recipe(Formats("s8", "s4"), {names[0]: Formats("f32", "f32"), names[3]: Formats("s16", "s8"),
                                          names[-1]: Formats("s16", "s16")})
    net = aot.compile(cnn(), data, recipe=recipe)
    found = verify(net, load(draws(cnn(), 4, seed=1), net.float_graph))
    assert found.mismatches == 0
    assert {n: net.graph.values[n].type.format for n in names} == {n: recipe.of(n).activations for n in names}
    with pytest.raises(aot.AotError, match="no layer 'nowhere'"):
        aot.compile(cnn(), data, recipe=Recipe(layers={"nowhere": Formats()}))


def test_limits_leave_32_bits_to_sums() -> None:
    """Nothing a 16-bit network can be given makes its twin's accumulators overflow, which it asserts."""
    for precision in ("int16", "int16x8"):
        graph = made(precision).graph
        for fill in LIMITS["s16"]:
            run_quantized(graph, {"x": np.full((1, 3, 9, 7), fill, np.int16)})


def test_the_doctor_says_what_it_cannot_examine() -> None:
    with pytest.raises(aot.AotError, match="'int16' is not examined"):
        aot.doctor(cnn(), draws(cnn(), 4), precision="int16")


def test_few_weights_keep_8_bits_where_others_get_4() -> None:
    """Depthwise layers, and what has at most a hundredth of all weights; a recipe's own words come first."""
    s = Sketch()
    x = s.input("x", (1, 6, 6, 16))
    y = s.dense(s.add(Reshape((1, 576)), [s.depthwise(x, "depthwise")], "flat"), "large", 32)
    graph = s.graph([x], [s.dense(y, "few", 4)])
    int4 = PRECISIONS["int4"]
    assert for_graph(int4, graph).layers == {"depthwise": Formats(), "few": Formats()}
    told = Recipe(int4.default, {"few": Formats("s8", "s16")})
    assert for_graph(told, graph).layers == {"depthwise": Formats(), "few": Formats("s8", "s16")}
    for precision in set(PRECISIONS) - {"int4"}:
        assert for_graph(PRECISIONS[precision], graph) is PRECISIONS[precision]
