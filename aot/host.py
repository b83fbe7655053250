"""The generated C on this machine: built once into a shared library, called through cffi."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from aot import build
from aot.emit import emit_steps
from aot.errors import AotError
from aot.ir import FORMATS, Array, Graph, TensorType
from aot.plan import Plan
from aot.program import Program


class Runner:
    """A loaded library of one generated project."""

    def __init__(self, name: str, files: Mapping[str, str], graph: Graph, steps: str = "") -> None:
        self.name, self.graph = name, graph
        self._folder = tempfile.TemporaryDirectory(prefix="aot-host-")
        parameters = ", ".join(["void *arena", *["const void *"] * len(graph.inputs),
                                *["void *"] * len(graph.outputs)])
        cdef = f"int {name}_run({parameters});"
        if steps:  # a file that includes the project's own source, so that it can call single layers
            files = {p: t for p, t in files.items() if p != f"src/{name}.c"} | {
                f"src/{name}_steps.c": steps, f"src/{name}.c.inc": files[f"src/{name}.c"]}
            files[f"src/{name}_steps.c"] = steps.replace(f'#include "{name}.c"', f'#include "{name}.c.inc"')
            cdef += f" const void *{name}_step(int index, {parameters});"
        library = build.host_library(files, Path(self._folder.name))
        self._ffi, self._lib = build.load(library, cdef)
        self._arena = self._aligned(_arena_bytes(files, name))

    def _aligned(self, nbytes: int) -> Any:
        memory = np.zeros(nbytes + 64, np.uint8)
        start = -memory.ctypes.data % 64
        return memory[start:start + nbytes]

    def _pointers(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> list[Any]:
        cast = self._ffi.cast
        return [cast("void *", self._arena.ctypes.data),
                *(cast("void *", inputs[n].ctypes.data) for n in self.graph.inputs),
                *(cast("void *", outputs[n].ctypes.data) for n in self.graph.outputs)]

    def _outputs(self) -> dict[str, Array]:
        return {n: np.zeros((t := self.graph.values[n].type).shape, FORMATS[t.format]) for n in self.graph.outputs}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One inference: arrays in the inputs' formats by name, to arrays in the outputs'."""
        packed, outputs = {n: np.ascontiguousarray(a) for n, a in inputs.items()}, self._outputs()
        status = getattr(self._lib, f"{self.name}_run")(*self._pointers(packed, outputs))
        if status != 0:
            raise AotError(f"{self.name}_run answered {status}", "this is an error in the compiler; please report it")
        return outputs

    def run_steps(self, inputs: Mapping[str, Array], types: Sequence[TensorType]) -> list[Array]:
        """The elements of every layer's output, flat, for one inference; ``types`` are those outputs'."""
        packed, outputs = {n: np.ascontiguousarray(a) for n, a in inputs.items()}, self._outputs()
        pointers = self._pointers(packed, outputs)
        step = getattr(self._lib, f"{self.name}_step")
        results = []
        for i, kind in enumerate(types):
            result = step(i, *pointers)
            results.append(np.frombuffer(self._ffi.buffer(result, kind.nbytes), FORMATS[kind.format]).copy())
        return results


def runner(name: str, files: Mapping[str, str], graph: Graph) -> Runner:
    """A runner for a generated project; the last few are kept."""
    return _cached(_Key(name, files, graph))


def step_runner(name: str, files: Mapping[str, str], graph: Graph, program: Program, plan: Plan) -> Runner:
    """A runner that can also run single layers."""
    return Runner(name, files, graph, emit_steps(graph, program, plan, name))


class _Key:
    """Generated sources, compared by their text, and by the names and shapes under which they are called."""

    def __init__(self, name: str, files: Mapping[str, str], graph: Graph) -> None:
        self.name, self.files, self.graph = name, files, graph
        ports = [(n, graph.values[n].type.shape) for n in (*graph.inputs, *graph.outputs)]
        self._digest = hashlib.sha256(repr((sorted(files.items()), len(graph.inputs), ports)).encode()).digest()

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other._digest == self._digest


@lru_cache(maxsize=8)
def _cached(key: _Key) -> Runner:
    return Runner(key.name, key.files, key.graph)


def _arena_bytes(files: Mapping[str, str], name: str) -> int:
    """The arena's size as the generated header says."""
    for line in files[f"include/{name}.h"].splitlines():
        if line.startswith(f"#define {name}_ARENA_BYTES "):
            return int(line.split()[-1].rstrip("u"))
    raise AssertionError("the generated header does not give the arena's size")
