"""`make hostbench`: ours and a generator's C are timed for what they are; what is not there is said, not measured."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from road import ROOT

import aot
from aot import build
from aot.errors import AotError
from aot.interpret import walk_quantized

#: A program that prints C for any model: half of the first input.
GENERATOR = """#!/bin/sh
test -f "$1" || exit 1
echo 'void entry(const float x[784], float y[10]) { y[0] = x[0] / 2; }'
"""
#: What the driver needs of the library's headers, and a convolution and sum that say with which sizes they were called.
HEADER = """
#include <stdint.h>
typedef struct { void *buf; int32_t size; } cmsis_nn_context;
typedef struct { int32_t w, h; } cmsis_nn_tile;
typedef struct { int32_t n, h, w, c; } cmsis_nn_dims;
typedef struct { int32_t min, max; } cmsis_nn_activation;
typedef struct { int32_t *multiplier, *shift; } cmsis_nn_per_channel_quant_params;
typedef struct { int32_t *multiplier, *shift; int32_t is_per_channel; } cmsis_nn_quant_params;
typedef struct { int32_t input_offset, filter_offset, output_offset; cmsis_nn_activation a; } cmsis_nn_fc_params;
int arm_fully_connected_wrapper_s8(const cmsis_nn_context *, const cmsis_nn_fc_params *, const cmsis_nn_quant_params *,
    const cmsis_nn_dims *, const int8_t *, const cmsis_nn_dims *, const int8_t *, const cmsis_nn_dims *,
    const int32_t *, const cmsis_nn_dims *, int8_t *);
void arm_softmax_s8(const int8_t *, int32_t, int32_t, int32_t, int32_t, int32_t, int8_t *);
"""
LIBRARY = """
#include "arm_nnfunctions.h"
int arm_fully_connected_wrapper_s8(const cmsis_nn_context *c, const cmsis_nn_fc_params *p,
    const cmsis_nn_quant_params *q, const cmsis_nn_dims *in, const int8_t *x, const cmsis_nn_dims *f, const int8_t *w,
    const cmsis_nn_dims *bd, const int32_t *bias, const cmsis_nn_dims *out, int8_t *y)
{
    for (int32_t o = 0; o < f->c; ++o) {
        double sum = bias[o];
        for (int32_t k = 0; k < f->n; ++k) {
            sum += (x[k] + p->input_offset) * w[o * f->n + k];
        }
        const int32_t i = q->is_per_channel ? o : 0;
        double scaled = sum * q->multiplier[i] / 2147483648.0;
        for (int32_t s = q->shift[i]; s != 0; s += s < 0 ? 1 : -1) {
            scaled = s < 0 ? scaled / 2 : scaled * 2;
        }
        scaled += p->output_offset;
        scaled = scaled < p->a.min ? p->a.min : scaled > p->a.max ? p->a.max : scaled;
        y[o] = (int8_t)(scaled + 128.5) - 128;
    }
    return c->size <= 0 || in->c != f->n || bd->c != f->c || out->c != f->c;
}
void arm_softmax_s8(const int8_t *x, int32_t rows, int32_t length, int32_t m, int32_t s, int32_t least, int8_t *y)
{
    for (int32_t i = 0; i < rows * length; ++i) {
        y[i] = x[i];
    }
}
"""


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """docs/host_bench.py, which finds others beside it."""
    sys.path.insert(0, str(ROOT / "docs"))
    yield importlib.import_module("host_bench")
    sys.path.remove(str(ROOT / "docs"))
    for name in ("host_bench", "cmsis_nn_driver", "tables"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def net() -> aot.Net:
    folder = ROOT / "examples" / "digits_dense"
    return aot.compile(str(folder / "model.onnx"), data=str(folder / "calib.npz"), target="host", optimize="speed",
                       name="digits")


def options(bench: ModuleType, *words: str) -> object:
    return bench._options(["--compiler", build.host_compiler(), "--flags=-O1", "--rounds", "2", *words])


def test_ours_and_a_generator_are_timed(bench: ModuleType, net: aot.Net, tmp_path: Path) -> None:
    program = tmp_path / "generator"
    program.write_text(GENERATOR)
    program.chmod(0o755)
    model = ROOT / "examples" / "digits_dense" / "model.onnx"
    chosen = options(bench, "--onnx2c", str(program), "--emx-onnx-cgen", str(tmp_path / "absent"))
    found = list(bench.contenders(net, model, chosen))
    assert [c.name for c in found] == ["aot", "onnx2c"]
    times = bench.measure({c.name: c.load(tmp_path / c.name, chosen) for c in found}, 2)
    assert times["aot"] > times["onnx2c"] > 0
    text = bench.table({"a model": {"aot": 2.0, "other": 500.0}})
    assert "| a model | 2 | 500 (250.0×) |" in text


def test_a_generator_that_fails_is_named(bench: ModuleType, net: aot.Net, tmp_path: Path) -> None:
    with pytest.raises(AotError, match="false could not translate"):
        bench.generated("x", ["false"], tmp_path / "model.onnx", net, "entry")


def test_the_driver_gives_the_library_our_network(bench: ModuleType, net: aot.Net, tmp_path: Path) -> None:
    """The library's part played by a few lines that compute in double: the outputs are those of the twin."""
    files = {"include/arm_nnfunctions.h": HEADER, "library.c": LIBRARY, "driver.c": bench.driver(net, per_channel=True)}
    build.put(files, tmp_path)
    build.compile_c(build.host_compiler(), ["-fPIC", "-shared"], ["library.c", "driver.c"], "driver.so", tmp_path)
    ffi, library = build.load(tmp_path / "driver.so", "int cmsis_nn_run(const int8_t *input, int8_t *output);")
    last = next(n for n in reversed(net.graph.nodes) if n.op.name == "fully_connected").output
    for given, _ in net.golden:
        x = np.ascontiguousarray(given[net.graph.inputs[0]])
        y = np.zeros(net.graph.values[last].type.size, np.int8)
        assert library.cmsis_nn_run(ffi.cast("int8_t *", x.ctypes.data), ffi.cast("int8_t *", y.ctypes.data)) == 0
        expected = dict(walk_quantized(net.graph, given))[last].reshape(-1)
        assert np.abs(y.astype(int) - expected).max() <= 2
