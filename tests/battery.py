"""Many generated projects in one host program: what they compute, in memory of exactly the stated sizes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from kernels import Project

from aot import build
from aot.ir import FORMATS, Array

#: The kernels for one instruction set run anywhere: each instruction has an equivalent in C.
ISAS = {"c99": "c99", "host": "host", "dsp": "cortex-m4", "mve": "cortex-m55", "rv32": "rv32imc",
        "thumb1": "cortex-m0"}
COMPILERS = ("gcc", "clang")
#: Every vector is run once for each: what the arena holds before must not matter, nor how inputs are aligned.
FILLS = ((0x55, 0), (0xAA, 1), (0x00, 3))
#: For many drawn cases: every access as it is written is checked, and no time is spent on optimizing it.
UNOPTIMIZED = ("-std=c99", "-O0", "-w", *build.SANITIZE)

_MAIN = """\
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

%(includes)s

enum { MOST_PORTS = 8 };

struct project {
    int (*run)(void *arena, int8_t *const *inputs, int8_t *const *outputs);
    size_t arena, inputs, outputs, vectors, length[MOST_PORTS], unit[MOST_PORTS]; /* in bytes */
};

%(wrappers)s

static const struct project projects[] = {
%(rows)s
};

/* A block whose end is the end of what was allocated; the address is that of malloc plus `shift`. */
static unsigned char *block(size_t bytes, size_t shift, int fill)
{
    unsigned char *const memory = malloc(bytes + shift);
    if (memory == NULL) {
        exit(3);
    }
    memset(memory, fill, bytes + shift);
    return memory + shift;
}

static void run(const struct project *p, int fill, size_t shift, int8_t *const *given, FILE *to)
{
    int8_t *ports[MOST_PORTS];
    unsigned char *const arena = block(p->arena, 0, fill);
    for (size_t i = 0; i < p->inputs + p->outputs; ++i) {
        ports[i] = (int8_t *)block(p->length[i], shift * p->unit[i], fill);
        if (i < p->inputs) {
            memcpy(ports[i], given[i], p->length[i]);
        }
    }
    if (p->run(arena, ports, ports + p->inputs) != 0) {
        exit(4);
    }
    for (size_t i = 0; i < p->inputs + p->outputs; ++i) {
        if (i < p->inputs && memcmp(ports[i], given[i], p->length[i]) != 0) {
            exit(5); /* an input was written to */
        }
        if (i >= p->inputs && fwrite(ports[i], 1, p->length[i], to) != p->length[i]) {
            exit(6);
        }
        free((unsigned char *)ports[i] - shift * p->unit[i]);
    }
    free(arena);
}

int main(void)
{
    static const struct { int fill; size_t shift; } ways[] = { %(ways)s };
    FILE *const from = fopen("inputs", "rb");
    FILE *const to = fopen("outputs", "wb");
    if (from == NULL || to == NULL) {
        return 6;
    }
    for (size_t k = 0; k < sizeof projects / sizeof projects[0]; ++k) {
        const struct project *const p = &projects[k];
        for (size_t v = 0; v < p->vectors; ++v) {
            int8_t *given[MOST_PORTS];
            for (size_t i = 0; i < p->inputs; ++i) {
                given[i] = (int8_t *)block(p->length[i], 0, 0);
                if (fread(given[i], 1, p->length[i], from) != p->length[i]) {
                    return 6;
                }
            }
            for (size_t w = 0; w < sizeof ways / sizeof ways[0]; ++w) {
                run(p, ways[w].fill, ways[w].shift, given, to);
            }
            for (size_t i = 0; i < p->inputs; ++i) {
                free(given[i]);
            }
        }
    }
    return fclose(to) == 0 ? 0 : 6;
}
"""
_ENDS = {3: "no memory", 4: "a run function did not answer 0", 5: "an input was written to", 6: "a file failed"}


def compute(projects: Mapping[str, Project], folder: Path, compiler: str,
            flags: Sequence[str] = (*build.STRICT, "-O1", *build.SANITIZE)) -> dict[str, list[dict[str, Array]]]:
    """What the C of each project computes: by name, for every vector in each of the ways, the outputs by name.

    The projects (keys are the names they were generated under) must be for one instruction set.
    """
    files: dict[str, str] = {"main.c": _main(projects)}
    for made in projects.values():
        files |= {p: t for p, t in made.files.items() if p.startswith(("src/", "include/"))}
    program = build.host_program(files, folder, "main.c", compiler, flags)
    (folder / "inputs").write_bytes(b"".join(
        np.ascontiguousarray(x[n]).tobytes()
        for made in projects.values() for x in made.inputs for n in made.graph.inputs))
    done = build.run([str(program)], folder)
    assert done.status == 0, f"{_ENDS.get(done.status, done.status)}\n{done.out}\n{done.err[:4000]}"
    data = (folder / "outputs").read_bytes()
    found: dict[str, list[dict[str, Array]]] = {}
    at = 0
    for name, made in projects.items():
        found[name] = []
        for _ in range(len(made.inputs) * len(FILLS)):
            outputs = {}
            for n in made.graph.outputs:
                kind = made.graph.values[n].type
                outputs[n] = np.frombuffer(data, FORMATS[kind.format], kind.size, at).reshape(kind.shape)
                at += kind.nbytes
            found[name].append(outputs)
    assert at == len(data)
    return found


def check(projects: Mapping[str, Project], folder: Path, compiler: str, **more: Sequence[str]) -> None:
    """The C of every project computes what its twin does, bit for bit. What is the same C is compiled once."""
    projects = distinct(projects)
    for name, found in compute(projects, folder, compiler, **more).items():
        made = projects[name]
        assert len(found) == len(made.outputs) * len(FILLS) > 0
        for i, outputs in enumerate(found):
            for n, y in outputs.items():
                np.testing.assert_array_equal(y, made.outputs[i // len(FILLS)][n], f"{name}, vector {i}: {made.graph}")


def distinct(projects: Mapping[str, Project]) -> dict[str, Project]:
    """Those whose C, but for its name, or whose inputs or expected outputs differ from those of all before."""
    first: dict[object, str] = {}
    for name, made in projects.items():
        data = tuple((n, str(a.dtype), a.shape, a.tobytes()) for vectors in (made.inputs, made.outputs)
                     for vector in vectors for n, a in sorted(vector.items()))
        first.setdefault((data, *_code(name, made)), name)
    return {name: projects[name] for name in first.values()}


def _code(name: str, made: Project) -> Iterator[str]:
    """The project's own files without its name, and the headers of the runtime that they need.

    Every project includes the primitives of its instruction set, but not every operator has a use for them.
    """
    own = {p: t for p, t in made.files.items() if p.startswith(("src/", "include/")) and f"/{name}" in p}
    words = {w for text in own.values() for w in _words(text)}
    idle = [p for p, text in made.files.items() if p.startswith("src/aot_simd_")
            and not words & (_words(text) - _words(made.files["src/aot_fixed.h"]))]
    for path, text in sorted(own.items()):
        for header in idle:
            text = text.replace(f'#include "{Path(header).name}"\n', "")
        yield re.sub(re.escape(name), "", f"{path}\n{text}", flags=re.IGNORECASE)
    yield from (text for path, text in sorted(made.files.items())
                if path.startswith("src/") and path not in own and path not in idle)


@cache
def _words(text: str) -> frozenset[str]:
    """Names of the runtime in C without its comments, and not those of files."""
    return frozenset(re.findall(r"\b(?:aot|AOT)_\w+\b(?!\.h)", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)))


def need(tool: str) -> None:
    """Skip where a tool is missing; where all tools have to be there, fail."""
    import os

    if shutil.which(tool) is None:
        message = f"{tool} is not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def _main(projects: Mapping[str, Project]) -> str:
    includes, wrappers, rows = [], [], []
    for name, made in projects.items():
        graph = made.graph
        args = [f"(void *){kind}[{i}]" for kind, names in (("inputs", graph.inputs), ("outputs", graph.outputs))
                for i in range(len(names))]
        includes.append(f'#include "{name}.h"')
        wrappers.append(f"static int run_{name}(void *arena, int8_t *const *inputs, int8_t *const *outputs)\n{{\n"
                        f"    return {name}_run(arena, {', '.join(args)});\n}}")
        types = [graph.values[n].type for n in (*graph.inputs, *graph.outputs)]
        lengths, units = (", ".join(map(str, x)) for x in ([t.nbytes for t in types], [t.itemsize for t in types]))
        rows.append(f"    {{ run_{name}, {name}_ARENA_BYTES, {len(graph.inputs)}, {len(graph.outputs)}, "
                    f"{len(made.inputs)}, {{ {lengths} }}, {{ {units} }} }},")
    return _MAIN % {"includes": "\n".join(includes), "wrappers": "\n\n".join(wrappers), "rows": "\n".join(rows),
                    "ways": ", ".join(f"{{ {f}, {s} }}" for f, s in FILLS)}
