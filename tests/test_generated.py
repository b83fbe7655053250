"""Generated projects: strict compilers, sanitizers, what they use from outside, and how firmware may use them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from road import EXAMPLES, SHARED, c_array, cnn, compile_shared, draws, golden, need, run_c, small

import aot
from aot import build
from aot.compiler import Net
from aot.numerics import quantize

TARGETS = ("c99", "cortex-m4")  # portable primitives, and those with DSP instructions (here their equivalents in C)
TWO = small("left", "right", outputs=("sum", "tanh"))
MAKERS: dict[str, Callable[[str], Net]] = {
    "digits_dense": lambda target: example("digits_dense", target),
    "digits_cnn": lambda target: example("digits_cnn", target),
    "cnn": lambda target: aot.compile(cnn(), draws(cnn()), target=target, name="cnn"),
    "two_ports": lambda target: aot.compile(TWO, draws(TWO), target=target, name="two_ports"),
}
SHARED_NAMES = {item.name: item for item in SHARED}
ALL = [*MAKERS, *(pytest.param(name, marks=pytest.mark.shared) for name in SHARED_NAMES)]


def example(name: str, target: str) -> Net:
    return aot.compile(EXAMPLES / name / "model.onnx", EXAMPLES / name / "calib.npz", target=target, name=name)


@cache
def made(name: str, target: str = "c99") -> Net:
    """A compiled network: an example, one made here, or a shared one."""
    return MAKERS[name](target) if name in MAKERS else compile_shared(SHARED_NAMES[name], target)


def refuse_warnings(done: build.Finished) -> None:
    assert (done.status, done.err) == (0, ""), done.err[:2000]


# --- compilers ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ALL)
def test_self_test_under_strict_flags_and_sanitizers(name: str, target: str, compiler: str, tmp_path: Path) -> None:
    need(compiler)
    net = made(name, target)
    main = f"test/{net.name}_selftest.c"
    program = build.host_program(net.files, tmp_path, main, compiler)
    done = build.run([str(program)], tmp_path)
    assert (done.status, done.err) == (0, ""), done.out + done.err
    assert re.search(rf"^{net.name}: [1-9]\d* golden vectors, 0 failures$", done.out, re.MULTILINE)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", ALL)
def test_headers_are_cpp(name: str, compiler: str, tmp_path: Path) -> None:
    """Both headers, each alone and both twice, as C++17 with warnings as errors."""
    need(compiler)
    net = made(name)
    for i, headers in enumerate(([net.name], [f"{net.name}_float"], [net.name, f"{net.name}_float"] * 2)):
        includes = "".join(f'#include "{h}.h"\n' for h in headers)
        build.put({**net.files, f"use{i}.cpp": includes}, tmp_path)
        refuse_warnings(build.run([compiler, "-x", "c++", "-std=c++17", *build.STRICT[1:], "-fsyntax-only",
                                   "-Iinclude", f"use{i}.cpp"], tmp_path))


def test_a_wrong_byte_fails_the_self_test(tmp_path: Path) -> None:
    """The self-test sees what it should: with one golden byte changed it fails."""
    net = made("cnn")
    main = f"test/{net.name}_selftest.c"
    text = net.files[main]
    start = text.index("golden_0_output[] = {") + len("golden_0_output[] = {")
    number = re.search(r"-?\d+", text[start:])
    assert number is not None
    changed = text[:start] + text[start:].replace(number.group(), str(int(number.group()) ^ 1), 1)
    program = build.host_program({**net.files, main: changed}, tmp_path, main)
    done = build.run([str(program)], tmp_path)
    assert done.status == 1
    assert "output 0 of golden vector 0 differs" in done.out


# --- what it uses ------------------------------------------------------------------------------------------------

FORBIDDEN = re.compile(r"float|double|malloc|calloc|realloc|free|alloca|stdio|stdlib|printf|math\.h|goto|setjmp")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ALL)
def test_no_float_heap_or_stdio(name: str, target: str) -> None:
    """Nothing of it in the sources, comments included, nor in the main header."""
    net = made(name, target)
    paths = [p for p in net.files if p.startswith("src/")] + [f"include/{net.name}.h"]
    assert len(paths) >= 6
    for path in paths:
        found = [line for line in net.files[path].splitlines() if FORBIDDEN.search(line)]
        assert not found, f"{path}: {found[:3]}"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", ALL)
def test_objects_need_nothing_and_have_no_state(name: str, compiler: str, tmp_path: Path) -> None:
    """No symbols from outside but memcpy and its like; one symbol of ours but for data; no writable data."""
    need(compiler, "nm", "size")
    net = made(name)
    build.put(net.files, tmp_path)
    code, weights = f"src/{net.name}.c", f"src/{net.name}_weights.c"
    for source in (code, weights):
        refuse_warnings(build.run([compiler, "-std=c99", "-O2", "-ffreestanding", "-fno-pic", "-fno-stack-protector",
                                   "-Iinclude", "-Isrc", "-c", source, "-o", f"{Path(source).stem}.o"], tmp_path))
    symbols: dict[str, set[str]] = {}
    for line in build.run(["nm", f"{net.name}.o", f"{net.name}_weights.o"], tmp_path).out.splitlines():
        if len(words := line.split()) >= 2 and len(words[-2]) == 1:
            symbols.setdefault(words[-2], set()).add(words[-1])
    outside = symbols.pop("U", set()) - symbols.get("R", set())
    assert outside <= {"memcpy", "memset", "memmove"}
    assert symbols.pop("T") == {f"{net.name}_run"}
    assert all(s.startswith(f"{net.name}_") for s in symbols.get("R", set()))
    assert set(symbols) <= {"R", "r", "t"}, "writable data"
    rows = build.run(["size", f"{net.name}.o", f"{net.name}_weights.o"], tmp_path).out.splitlines()[1:]
    assert [row.split()[1:3] for row in rows] == [["0", "0"], ["0", "0"]]


# --- as firmware uses it -----------------------------------------------------------------------------------------

def test_cmake(tmp_path: Path) -> None:
    """The project alone with its self-test, and as a part of a firmware project as the README shows it."""
    need("cmake")
    net = made("cnn")
    build.put(net.files, tmp_path / "model")
    (tmp_path / "main.c").write_text(
        '#include "cnn.h"\nint main(void) { return cnn_run((void *)0, (void *)0, (void *)0) == 1 ? 0 : 2; }\n')
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(firmware C)\nadd_subdirectory(model)\n"
        "add_executable(firmware main.c)\ntarget_link_libraries(firmware PRIVATE cnn)\n")
    for source, options, program in ((".", [], "firmware"), ("model", ["-DCNN_SELFTEST=ON"], "cnn_selftest")):
        folder = tmp_path / f"build {program}"
        for command in (["cmake", "-S", source, "-B", str(folder), *options, "-Werror=dev"],
                        ["cmake", "--build", str(folder)]):
            done = build.run(command, tmp_path)
            assert done.status == 0, done.out + done.err
        assert build.run([str(folder / program)], tmp_path).status == 0


def frame(net: Net, body: str, before: str = "") -> str:
    """A program: golden data of the network, then ``body``, which returns the number of failures."""
    head = ["#include <stdint.h>", "#include <stdlib.h>", "#include <string.h>", f'#include "{net.name}.h"', before]
    for v, (inputs, outputs) in enumerate(golden(net)):
        head += [c_array(f"in{v}_{i}", inputs[n]) for i, n in enumerate(net.graph.inputs)]
        head += [c_array(f"out{v}_{i}", outputs[n]) for i, n in enumerate(net.graph.outputs)]
    return "\n".join([*head, "int main(void) {", body, "}\n"])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ALL)
def test_memory_of_exact_size(name: str, target: str, tmp_path: Path) -> None:
    """Arena, inputs and outputs from the heap, not a byte too many, filled with anything; inputs are left alone."""
    net = made(name, target)
    inputs, outputs = range(len(net.graph.inputs)), range(len(net.graph.outputs))
    sizes = {**{f"i{k}": net.graph.values[n].type.size for k, n in enumerate(net.graph.inputs)},
             **{f"o{k}": net.graph.values[n].type.size for k, n in enumerate(net.graph.outputs)}}
    lines = ["void *arena = NULL;",
             f"int bad = posix_memalign(&arena, {net.name}_ARENA_ALIGN, {net.name}_ARENA_BYTES);"]
    lines += [f"int8_t *{n} = malloc({s});" for n, s in sizes.items()]
    for v in range(len(golden(net))):
        arguments = ", ".join(["arena", *(f"i{k}" for k in inputs), *(f"o{k}" for k in outputs)])
        lines += [f"memset(arena, {0x80 + v}, {net.name}_ARENA_BYTES);"]
        lines += [f"memcpy(i{k}, in{v}_{k}, sizeof in{v}_{k});" for k in inputs]
        lines += [f"memset(o{k}, 0x33, sizeof out{v}_{k});" for k in outputs]
        lines += [f"bad += {net.name}_run({arguments}) != 0;"] * 2
        lines += [f"bad += memcmp(i{k}, in{v}_{k}, sizeof in{v}_{k}) != 0;" for k in inputs]
        lines += [f"bad += memcmp(o{k}, out{v}_{k}, sizeof out{v}_{k}) != 0;" for k in outputs]
    lines += ["free(arena);", *(f"free({n});" for n in sizes), "return bad;"]
    done = run_c(net, tmp_path, frame(net, "\n".join(lines)),
                 flags=("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", *build.SANITIZE))
    assert (done.status, done.err) == (0, ""), done.err[:2000]


def test_bad_pointers_are_refused(tmp_path: Path) -> None:
    """A null or misaligned pointer: status 1, and nothing is touched."""
    net = made("two_ports")
    body = """
    static union { uint64_t align[2]; unsigned char bytes[two_ports_ARENA_BYTES + 64]; } room;
    unsigned char *arena = room.bytes;
    int8_t a[two_ports_OUTPUT_sum_LEN], b[two_ports_OUTPUT_tanh_LEN];
    memset(a, 7, sizeof a);
    arena += (two_ports_ARENA_ALIGN - (uintptr_t)arena % two_ports_ARENA_ALIGN) % two_ports_ARENA_ALIGN;
    int bad = two_ports_run(NULL, in0_0, in0_1, a, b) != 1;
    bad += two_ports_run(arena, NULL, in0_1, a, b) != 1;
    bad += two_ports_run(arena, in0_0, NULL, a, b) != 1;
    bad += two_ports_run(arena, in0_0, in0_1, NULL, b) != 1;
    bad += two_ports_run(arena, in0_0, in0_1, a, NULL) != 1;
    for (unsigned i = 1; i < two_ports_ARENA_ALIGN; ++i) {
        bad += two_ports_run(arena + i, in0_0, in0_1, a, b) != 1;
    }
    for (unsigned i = 0; i < sizeof a; ++i) {
        bad += a[i] != 7;
    }
    bad += two_ports_run(arena, in0_0, in0_1, a, b) != 0;
    (void)in1_0, (void)in1_1, (void)in2_0, (void)in2_1, (void)in3_0, (void)in3_1;
    (void)out1_0, (void)out1_1, (void)out2_0, (void)out2_1, (void)out3_0, (void)out3_1;
    return bad + (memcmp(a, out0_0, sizeof a) != 0) + (memcmp(b, out0_1, sizeof b) != 0);"""
    done = run_c(net, tmp_path, frame(net, body))
    assert (done.status, done.err) == (0, ""), done.err[:2000]


def test_two_threads_with_two_arenas(tmp_path: Path) -> None:
    """Each thread runs another input many times; thread sanitizer watches."""
    net = made("digits_cnn")
    before = """
#include <pthread.h>
typedef struct { const int8_t *input, *output; int bad; } Job;
static void *work(void *given) {
    Job *job = given;
    static _Thread_local _Alignas(digits_cnn_ARENA_ALIGN) unsigned char arena[digits_cnn_ARENA_BYTES];
    int8_t out[digits_cnn_OUTPUT_LEN];
    for (int i = 0; i < 50; ++i) {
        job->bad += digits_cnn_run(arena, job->input, out) != 0 || memcmp(out, job->output, sizeof out) != 0;
    }
    return NULL;
}
"""
    body = """
    Job jobs[4] = {{in0_0, out0_0, 0}, {in1_0, out1_0, 0}, {in2_0, out2_0, 0}, {in3_0, out3_0, 0}};
    pthread_t threads[4];
    int bad = 0;
    for (int i = 0; i < 4; ++i) { bad += pthread_create(&threads[i], NULL, work, &jobs[i]) != 0; }
    for (int i = 0; i < 4; ++i) { bad += pthread_join(threads[i], NULL) != 0 || jobs[i].bad != 0; }
    return bad;"""
    flags = ("-std=c11", "-O2", "-g", "-pthread", "-fsanitize=thread")
    done = run_c(net, tmp_path, frame(net, body, before), flags=flags)
    assert (done.status, done.err) == (0, ""), done.err[:2000]


def test_two_networks_in_one_program(tmp_path: Path) -> None:
    """Also when they were made for different primitives, in one arena, one after the other."""
    need("gcc")
    nets = (made("digits_cnn"), made("cnn", "cortex-m4"))
    main, body = ["#include <stdint.h>", "#include <string.h>"], ["int bad = 0;", "int8_t out[64];"]
    flags = (*build.STRICT, "-O1", *build.SANITIZE)
    objects = []
    size = " + ".join(f"{net.name}_ARENA_BYTES" for net in nets)
    for net in nets:
        folder = tmp_path / net.name
        build.put(net.files, folder)
        main.append(f'#include "{net.name}/include/{net.name}.h"')
        for source in build.sources(net.files):
            objects.append(str(folder / f"{Path(source).stem}.o"))
            refuse_warnings(build.run(["gcc", *flags, "-Iinclude", "-Isrc", "-c", source, "-o", objects[-1]], folder))
    main.append(f"static union {{ uint64_t align[2]; unsigned char bytes[{size}]; }} arena;")
    for v in range(2):
        for net in nets:
            (inputs, outputs) = golden(net)[v]
            main += [c_array(f"{net.name}_in{v}", inputs[net.graph.inputs[0]]),
                     c_array(f"{net.name}_out{v}", outputs[net.graph.outputs[0]])]
            body += [f"bad += {net.name}_run(&arena, {net.name}_in{v}, out) != 0;",
                     f"bad += memcmp(out, {net.name}_out{v}, sizeof {net.name}_out{v}) != 0;"]
    (tmp_path / "main.c").write_text("\n".join([*main, "int main(void) {", *body, "return bad;", "}\n"]))
    refuse_warnings(build.run(["gcc", *flags, "main.c", *objects, "-o", "both"], tmp_path))
    done = build.run([str(tmp_path / "both")], tmp_path)
    assert (done.status, done.err) == (0, ""), done.err[:2000]


def test_float_helpers_agree_with_python(tmp_path: Path) -> None:
    """The header's conversions on ties, extremes and NaN; and the network between them."""
    net = made("cnn")
    quant = net.graph.values["x"].quant
    size = net.graph.values["x"].type.size
    rng = np.random.default_rng(0)
    x = (rng.normal(size=size) * 40 * quant.scale[0]).astype(np.float32)
    steps = np.arange(-140, 140, dtype=np.float32) + np.float32(0.5)
    x[:100] = steps[90:190] * np.float32(quant.scale[0])
    x[100:106] = [3e38, -3e38, 1e-40, -1e-40, 0.0, -0.0]
    reals = ", ".join(f"{float(v).hex()}f" for v in x)
    with np.errstate(over="ignore"):
        exact = x / np.float32(quant.scale[0])  # the header divides in float32
    expected = quantize(exact.astype(np.float64), type(quant)((1.0,), quant.zero), -128, 127).astype(np.int8)
    q = net.run_quantized(expected.reshape(net.graph.values["x"].type.shape))
    body = f"""
    static const float real[] = {{{reals}}};
    static union {{ uint64_t align[2]; unsigned char bytes[cnn_ARENA_BYTES]; }} arena;
    int8_t in[cnn_INPUT_LEN], out[cnn_OUTPUT_LEN];
    float back[cnn_OUTPUT_LEN];
    cnn_quantize_input(real, in);
    int bad = memcmp(in, wanted_in, sizeof in) != 0;
    bad += cnn_run(&arena, in, out) != 0 || memcmp(out, wanted_out, sizeof out) != 0;
    cnn_dequantize_output(out, back);
    for (unsigned i = 0; i < cnn_OUTPUT_LEN; ++i) {{
        bad += !(back[i] == cnn_OUTPUT_SCALE * (float)(out[i] - cnn_OUTPUT_ZERO_POINT));
    }}
    bad += cnn_quantize_one(nanf(""), cnn_INPUT_SCALE, 3) != 3 || cnn_quantize_one(INFINITY, 1.0f, 0) != 127;
    return bad + (cnn_quantize_one(-INFINITY, 1.0f, 0) != -128);"""
    main = "\n".join(["#include <math.h>", "#include <stdint.h>", "#include <string.h>", '#include "cnn_float.h"',
                      c_array("wanted_in", expected), c_array("wanted_out", q), "int main(void) {", body, "}\n"])
    done = run_c(net, tmp_path, main)
    assert (done.status, done.err) == (0, ""), done.err[:2000]
    np.testing.assert_array_equal(net.run(x.reshape(1, 3, 9, 7)).shape, (1, 4))
