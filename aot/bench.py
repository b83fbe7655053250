"""A compiled network on an emulated board: bytes equal to the twin's, instructions, flash, RAM and stack.

The generated code is built as its CMakeLists.txt builds it, without link-time optimization, each function and table in
a section of its own so that unused ones are dropped. Instructions are those that the processor executes in the run
function and all that it calls. For a Cortex-M3 or M4, cycles without wait states are estimated from them by the rule at
the head of ``runtime_c/bench/count.c``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aot import host
from aot.compiler import Net
from aot.emulate import TIMEOUT, Job, emulate
from aot.errors import AotError
from aot.interpret import run_quantized
from aot.ir import FORMATS, Array
from aot.numerics import LIMITS


@dataclass(frozen=True)
class Layer:
    """One layer's multiplications, and the instructions and estimated cycles of one inference."""

    name: str
    op: str
    macs: int
    instructions: int
    cycles: int | None


@dataclass(frozen=True)
class Bench:
    """What one inference costs on a target.

    ``instructions`` are those of the second inference on the first sample: of all ``layers`` and, as ``overhead``, of
    the run function between them. ``cycles`` is an estimate, or None on processors too complex for one. ``code`` (with
    the library functions that the network needs), ``weights`` and ``static`` (writable data) are bytes of the linked
    program, ``stack`` those of a painted stack, ``arena`` those which the caller provides. ``elements`` outputs of
    ``samples`` inputs were compared, all equal.
    """

    name: str
    target: str
    optimize: str
    instructions: int
    cycles: int | None
    macs: int
    code: int
    weights: int
    arena: int
    static: int
    stack: int
    layers: tuple[Layer, ...]
    overhead: int
    samples: int
    elements: int

    def as_json(self) -> dict[str, Any]:
        """Plain data under the documented names."""
        return {
            "name": self.name, "target": self.target, "optimize": self.optimize, "instructions": self.instructions,
            "instructions_per_mac": self.instructions / self.macs if self.macs else None, "macs": self.macs,
            "cycles": self.cycles,
            "flash": {"code": self.code, "weights": self.weights},
            "ram": {"arena": self.arena, "static": self.static, "stack": self.stack},
            "layers": [asdict(layer) for layer in self.layers], "overhead": self.overhead,
            "bit_exact": {"samples": self.samples, "elements": self.elements, "mismatches": 0},
        }

    def __str__(self) -> str:
        head = f"{'layer':<26}{'MACs':>12}{'instructions':>14}{'per MAC':>9}{'share':>8}"
        rule = "-" * len(head)
        lines = [head, rule]
        rows = [*((x.name, x.macs, x.instructions) for x in self.layers), ("between layers", 0, self.overhead),
                ("all", self.macs, self.instructions)]
        for name, macs, count in rows:
            work = f"{macs:>12,}{count:>14,}{count / macs:>9.2f}" if macs else f"{'':>12}{count:>14,}{'':>9}"
            lines.append(f"{name:<26}{work}{count / self.instructions:>8.1%}")
        lines.insert(-1, rule)
        cycles = [] if self.cycles is None else [
            f"cycles {self.cycles:,} without wait states, estimated from the instructions"]
        return "\n".join([
            *lines, "",
            f"{self.name} on an emulated {self.target}, optimized for {self.optimize}",
            *cycles,
            f"flash  {self.code:,} bytes of code, {self.weights:,} of weights and tables",
            f"RAM    {self.arena:,} bytes of arena, {self.static:,} static, {self.stack:,} of stack",
            f"bytes  {self.elements:,} outputs of {self.samples} samples equal those of this machine",
        ])


def bench(net: Net, timeout: float = TIMEOUT) -> Bench:
    """Run the network on its target's emulated board, on calibration samples and on one of extreme bytes.

    An AotError if there is no such board, a tool is missing, the program does not end within ``timeout`` seconds, or
    any output byte differs from the numpy twin's or from that of the C on this machine.
    """
    steps = net.program.steps
    inputs = (*(x for x, _ in net.golden), _extreme(net))
    emulation = emulate([Job(net.name, net.files, net.graph, tuple(s.function for s in steps), inputs)], net.target,
                        net.options.optimize, timeout=timeout)
    ran = emulation.samples[0]
    here = host.runner(net.name, net.files, net.graph)
    for i, (x, there) in enumerate(zip(inputs, ran, strict=True)):
        compare(run_quantized(net.graph, x), there.outputs, f"the numpy twin on sample {i}", net.target.name)
        compare(here.run(x), there.outputs, f"this machine on sample {i}", net.target.name)
    cycles = ran[0].layer_cycles or (None,) * len(steps)
    layers = tuple(Layer(row.name, row.op, row.macs, instructions, estimate)
                   for row, instructions, estimate in zip(net.report.rows, ran[0].layers, cycles, strict=True))
    return Bench(net.name, net.target.name, net.options.optimize, ran[0].instructions, ran[0].cycles, net.report.macs,
                 emulation.code, emulation.weights, net.report.arena, emulation.static, max(r.stack for r in ran),
                 layers, ran[0].overhead, len(inputs), sum(y.size for r in ran for y in r.outputs.values()))


def compare(expected: Mapping[str, Array], found: Mapping[str, Array], whose: str, where: str) -> None:
    """An AotError with the first difference, unless all bytes are equal."""
    for name, values in expected.items():
        wrong = np.flatnonzero(values.reshape(-1) != found[name].reshape(-1))
        if wrong.size:
            k = int(wrong[0])
            raise AotError(f"{where} differs from {whose} in {wrong.size} of {values.size} bytes: element {k} is "
                           f"{found[name].reshape(-1)[k]} instead of {values.reshape(-1)[k]}",
                           "this is an error in the compiler; please report it", name)


def _extreme(net: Net) -> dict[str, Array]:
    """Inputs of nothing but the smallest and the largest number."""
    rng = np.random.default_rng(0)
    kinds = {n: net.graph.values[n].type for n in net.graph.inputs}
    ends = {n: LIMITS.get(t.format, (-1e3, 1e3)) for n, t in kinds.items()}
    return {n: rng.choice(np.array(ends[n], FORMATS[t.format]), size=t.shape) for n, t in kinds.items()}
