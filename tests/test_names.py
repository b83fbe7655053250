"""Names from a model, whatever they are: the C compiles under the strict flags and computes the right bytes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from frontend.models import dense
from road import draws, golden, need, small

import aot
from aot import build
from aot.compiler import Net
from aot.names import comment, identifiers

HOSTILE = (
    'quote"', "apostrophe'", "new\nline", "carriage\rreturn", "tab\t", "nul\x01", "end */ int x;", "/* begin",
    "// line", "trigraph ??/", "??=define x", "back\\", "back\\\n", "%s%n%d", "{{ jinja }}", "%% for", "{# c #}",
    "#include <x>",
    "größe", "\N{SNOWMAN}", "入力", "\N{RIGHT-TO-LEFT OVERRIDE}abc", "\N{LATIN SMALL LIGATURE FI}",
    " ", ".", "/", "a.b", "a/b", "a:0", "a b",
    "int", "class", "restrict", "inline", "default", "operator", "and", "not_eq", "export", "_Bool", "_Complex", "asm",
    "0", "9lives", "-1", "x" * 300, "arena", "memory", "input", "output", "tensor_0", "fully_connected_0", "aot_clamp",
    "int8_t", "uint8_t", "memcpy", "NULL", "main", "errno", "INT32_MAX", "true", "EOF", "_", "__", "__x__", "E2", "L",
    "net_run", "net", "NET", "NET_H", "run", "LEN", "SCALE", "ZERO_POINT", "ARENA_BYTES", "SHIFT", "OUT_ZERO", "ROWS",
    "A", "a", "a_2", "A_2", "a__2", "0_1", "1", "golden_0", "float", "malloc", "stdio", "printf", "double", "new",
    "std", "linux", "unix",
)


def refuse_hidden_code(net: Net) -> None:
    """Comments hold printable ASCII only, and nothing that a compiler or preprocessor could stumble over."""
    for path, text in net.files.items():
        assert text.isascii(), path
        assert "\r" not in text
        assert "??" not in text, path
        assert not re.search(r"\\$", text, re.MULTILINE), path


def check(net: Net, folder: Path, compiler: str = "gcc") -> None:
    """The self-test, whose bytes are the twin's, compiles without warning and runs clean under sanitizers."""
    refuse_hidden_code(net)
    program = build.host_program(net.files, folder, f"test/{net.name}_selftest.c", compiler)
    done = build.run([str(program)], folder)
    assert (done.status, done.err) == (0, ""), done.out + done.err


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_hostile_names_everywhere(compiler: str, tmp_path: Path) -> None:
    """All of them at once, as inputs, as outputs, and on nodes."""
    need(compiler)
    model = small(*HOSTILE, outputs=[f"{n}'" for n in HOSTILE])
    for node, name in zip(model.graph.node, [*HOSTILE, *HOSTILE[::-1]], strict=False):
        node.name = name
    net = aot.compile(model, draws(model), name="net")
    check(net, tmp_path, compiler)
    inputs, expected = golden(net)[0]
    got = net.run_quantized(inputs)
    for name, y in expected.items():
        np.testing.assert_array_equal(got[name], y)
    header = net.files["include/net.h"]
    assert len(set(re.findall(r"define (net_INPUT_\w+_LEN) ", header))) == len(HOSTILE)
    assert len(set(re.findall(r"define (NET_OUTPUT_\w+_LEN) ", header))) == len(HOSTILE)
    for file in ("include/net.h", "include/net_float.h"):
        build.put({"use.cpp": f'#include "{Path(file).name}"\n'}, tmp_path)
        done = build.run([compiler, "-x", "c++", "-std=c++17", *build.STRICT[1:], "-fsyntax-only", "-Iinclude",
                          "use.cpp"], tmp_path)
        assert (done.status, done.err) == (0, "")


@pytest.mark.parametrize("name", HOSTILE)
def test_one_input_of_a_hostile_name(name: str) -> None:
    """Alone, so that no number is put behind it."""
    model = small(name, outputs=(f"{name}.",), nodes=(name, name))
    net = aot.compile(model, draws(model), name="net")
    refuse_hidden_code(net)
    assert (net.graph.inputs, net.graph.outputs) == ((name,), (f"{name}.",))


#: A network of any of these names makes files and CMake targets of that name.
TITLES = ("int", "class", "arena", "memory", "run", "test", "all", "help", "clean", "install", "package", "m", "c", "x",
          "string", "stdint", "stddef", "stdio", "math", "limits", "float", "assert", "time", "features", "case", "1",
          "A", "NET", "nEt", "aot", "aot_fixed", "aot_simd", "aot_simd_c99", "_", "", "größe", "入力", "a/../b",
          "x" * 200, "weights", "float_weights", "input", "output", "net_float", "arm_acle", "fully_connected_0",
          "linux", "net\n",
          "String", "con")


@pytest.mark.parametrize("name", TITLES)
def test_networks_of_any_name(name: str, tmp_path: Path) -> None:
    need("gcc")
    net = aot.compile(dense(), draws(dense()), name=name)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,60}", net.name)
    check(net, tmp_path)
    code = f'#include "{net.name}.h"\n#include <string.h>\n#include <time.h>\n#include "{net.name}_float.h"\n' \
           "#include <math.h>\n#include <cstdlib>\n#include <memory>\n"
    build.put({"use.cpp": code}, tmp_path)
    done = build.run(["g++", "-std=c++17", *build.STRICT[1:], "-fsyntax-only", "-Iinclude", "use.cpp"], tmp_path)
    assert (done.status, done.err) == (0, "")


@pytest.mark.parametrize("name", ["test", "all", "help", "clean", "install", "package", "m", "debug", "A"])
def test_cmake_targets_of_any_name(name: str, tmp_path: Path) -> None:
    need("cmake")
    net = aot.compile(dense(), draws(dense()), name=name)
    build.put(net.files, tmp_path)
    for command in (["cmake", "-S", ".", "-B", "build", f"-D{net.name.upper()}_SELFTEST=ON", "-Werror=dev"],
                    ["cmake", "--build", "build"]):
        done = build.run(command, tmp_path)
        assert done.status == 0, done.out + done.err
    assert build.run([f"build/{net.name}_selftest"], tmp_path).status == 0


def test_the_name_comes_from_the_file(tmp_path: Path) -> None:
    for file, name in (("my-model.v2.onnx", "my_model_v2"), ("9.onnx", "model_9"), ("größe.onnx", "groe"),
                       ("test.onnx", "test_model"), ("string.onnx", "string_model")):
        (tmp_path / file).write_bytes(dense().SerializeToString())
        assert aot.compile(tmp_path / file, draws(dense())).name == name


def test_identifiers_are_distinct() -> None:
    names = identifiers((*HOSTILE, *HOSTILE), "input")
    assert len({n.lower() for n in names}) == 2 * len(HOSTILE)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", n) and "__" not in n for n in names)


def test_comments_are_harmless() -> None:
    for name in HOSTILE:
        for text in (comment(name), comment(name * 40), comment("*" + name + "/"), comment("".join(HOSTILE))):
            assert not re.search(r"\*/|/\*|//|\?\?|\\|[^ -~]", text)
            assert len(text) <= 90
