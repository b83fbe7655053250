"""What a compilation made: rows by layer and totals; as text, and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aot.calibrate import Calibration
from aot.errors import Problem
from aot.flash import program_code
from aot.given import Kept
from aot.ir import Graph
from aot.kernels import runner_up
from aot.names import comment
from aot.plan import Plan
from aot.program import Program
from aot.quantize import prove
from aot.targets import target

if TYPE_CHECKING:
    from aot.compiler import Options


@dataclass(frozen=True)
class RunnerUp:
    """The kernel that would have been taken next: instructions by estimate, bytes of its constants."""

    kernel: str
    instructions: int
    constants: int


@dataclass(frozen=True)
class Row:
    """One layer. ``weights`` and ``scratch`` in bytes, ``headroom`` in bits above the largest possible accumulator.

    ``kernel`` took the layer, favouring ``goal``, by an estimate of ``instructions`` and its bytes of ``constants``;
    layers that share a function have its ``weights`` in the first. ``runner_up`` is None where no other kernel fits.
    """

    name: str
    op: str
    origin: str
    output: tuple[int, ...]
    macs: int
    weights: int
    scratch: int
    headroom: int | None
    kernel: str
    goal: str
    instructions: int
    constants: int
    runner_up: RunnerUp | None

    @property
    def why(self) -> str:
        """What the runner-up would change."""
        if self.runner_up is None:
            return "no other fits"
        other, change = self.runner_up, ""
        if self.instructions:
            change = f"{100 * (other.instructions / self.instructions - 1):+.0f} % instructions, "
        return f"{other.kernel}: {change}{other.constants - self.constants:+,} bytes"


@dataclass(frozen=True)
class Report:
    """Rows by layer; ``weights`` and ``arena`` in bytes, ``macs`` those of the network.

    ``instructions`` of an inference and bytes of ``code`` are estimates (docs/costs.md says how good).
    ``strips`` says which stretches of layers run strip by strip, and what that changes;
    ``warnings`` what looks wrong with the calibration data, and kernels that were asked for and do not fit; ``kept``
    which layers of a quantized model stay float32.
    """

    name: str
    target: str
    optimize: str
    calibration: str
    samples: int
    rows: tuple[Row, ...]
    macs: int
    parameters: int
    weights: int
    arena: int
    arena_lower_bound: int
    instructions: int
    code: int
    strips: tuple[str, ...]
    warnings: tuple[Problem, ...] = ()
    kept: tuple[Kept, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        head = f"{'layer':<22}{'output':<18}{'MACs':>12}{'weights':>10}{'scratch':>9}{'headroom':>10}  from"
        lines = [head, "-" * len(head)]
        for r in self.rows:
            bits = "" if r.headroom is None else f"{r.headroom} bits"
            lines.append(f"{r.name:<22}{'x'.join(map(str, r.output)):<18}{r.macs:>12,}{r.weights:>10,}"
                         f"{r.scratch:>9,}{bits:>10}  {r.origin}")
        lines += ["", f"{'layer':<22}{'kernel':<28}{'instructions':>13}{'bytes':>10}  next best"]
        lines += [f"{r.name:<22}{r.kernel:<28}{r.instructions:>13,}{r.constants:>10,}  {r.why}"
                  + (f" ({r.goal})" if r.goal != self.optimize else "") for r in self.rows]
        lines.append("-" * len(head))
        lines += self.strips
        lines += [f"float32: {k.op} from {k.origin}: {k.why}" for k in self.kept]
        lines.append(f"estimates, optimized for {self.optimize}: {self.instructions:,} instructions an inference, "
                     f"{self.code:,} bytes of code")
        lines.append(f"{self.name} for {self.target}: {self.macs:,} MACs, {self.parameters:,} parameters, "
                     f"{self.weights:,} bytes of weights and tables, {self.arena:,} bytes of arena")
        return "\n".join(lines)


def build_report(name: str, title: str, options: Options, float_graph: Graph, graph: Graph, program: Program,
                 plan: Plan, calibration: Calibration, strips: tuple[str, ...] = (),
                 warnings: tuple[Problem, ...] = (), kept: tuple[Kept, ...] = ()) -> Report:
    """The report of a finished compilation."""
    headroom = prove(program.graph)
    rows = []
    own = set(program.functions)
    for step in program.steps:
        node, site = step.site.node, step.site
        packed = [d for n, d in program.constants.items() if step in own and n.startswith(f"{step.function}_")]
        scratch = step.kernel.scratch(site)
        second = runner_up(site, step.kernel)
        constants = sum(d.nbytes for d in step.kernel.constants(site).values())
        rows.append(Row(step.function, node.op.name, comment(" + ".join(node.origin), 70), site.output.type.shape,
                        node.op.macs(tuple(v.type for v in site.inputs), site.output.type),
                        sum(d.nbytes for d in packed), scratch, headroom.get(node.output),
                        step.kernel.name, site.goal, round(step.kernel.instructions(site)), constants,
                        None if second is None else RunnerUp(second.kernel.name, round(second.instructions),
                                                             second.constants)))
    values = graph.values
    macs = sum(n.op.macs(tuple(values[i].type for i in n.inputs), values[n.output].type) for n in graph.nodes)
    parameters = sum(v.type.size for v in float_graph.values.values() if v.data is not None)
    return Report(name, options.target, options.optimize, calibration.method, calibration.samples, tuple(rows),
                  macs, parameters, sum(d.nbytes for d in program.constants.values()),
                  plan.reserved(target(options.target).align), plan.lower_bound,
                  sum(r.instructions for r in rows), program_code(program, options.optimize), strips, warnings,
                  kept)
