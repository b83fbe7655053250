"""Bytes of flash by estimate, and the goal of each layer with which a network fits a budget.

Constants are exact; bytes of code are those of ``costs.CODE`` and what a measured network took more (docs/costs.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from aot import costs
from aot.errors import AotError
from aot.ir import Graph
from aot.kernels import Candidate, choose, judge
from aot.kernels.base import Kernel
from aot.ops.base import Site
from aot.program import Program, lower, sameness
from aot.targets import Isa

#: From fast to small.
GOALS = ("speed", "balanced", "size")


@dataclass(frozen=True)
class Flash:
    """Bytes of constants, and an estimate of those of code."""

    constants: int
    code: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.constants + self.code


def code_bytes(uses: Iterable[tuple[Kernel, Site]], calls: int, isa: str, goal: str) -> int:
    """Code of functions, each a kernel at a site, and of so many calls; compiled for a goal."""
    start, call, _ = costs.code("", isa, goal)
    total, kernels, shapes = start + call * calls, set(), set()
    for kernel, site in uses:
        common, own, shape = costs.code(kernel.name, isa, goal)
        total += own + (0 if kernel.name in kernels else common)
        kernels.add(kernel.name)
        shared = kernel.shared(site)
        if shared is not None and shared.name not in shapes:
            shapes.add(shared.name)
            total += shape
    return round(total * (1 + costs.MARGIN[goal]))


def program_flash(program: Program, goal: str) -> Flash:
    """What a program needs."""
    return Flash(sum(d.nbytes for d in program.constants.values()), program_code(program, goal))


def program_code(program: Program, goal: str) -> int:
    """Estimated bytes of a program's code."""
    isa = next((s.site.isa.name for s in program.steps), "")
    return code_bytes(((s.kernel, s.site) for s in program.functions), len(program.steps), isa, goal)


@dataclass(frozen=True, eq=False)
class _Layer:
    """Nodes that call one function: their outputs, and what its kernel would be for each goal, with instructions."""

    outputs: tuple[str, ...]
    options: tuple[tuple[str, Site, Candidate], ...]


@dataclass(frozen=True, eq=False)
class _Choice:
    """An option for each layer, what they need, and the instructions of all calls."""

    picks: tuple[int, ...]
    flash: Flash
    instructions: float


def fitted(graph: Graph, isa: Isa, goal: str, budget: int) -> tuple[Graph, str]:
    """The graph with goals of nodes that make it fit a budget in bytes, and the goal to compile it for.

    From the user's goal on, the step is taken again and again that saves most bytes for an instruction more: one
    layer, or all with one kernel, with the kernel of a smaller goal. If that is not enough, the same for a smaller goal
    of the whole network. An AotError says what is needed if nothing is.
    """
    least: Flash | None = None
    for whole in GOALS[GOALS.index(goal):]:
        layers = _layers(graph, isa, whole)
        made = _Chooser(layers, isa.name, whole).fit(budget)
        if made.flash.total <= budget:
            goals = {o: layer.options[k][0] for layer, k in zip(layers, made.picks, strict=True) for o in layer.outputs}
            nodes = tuple(replace(n, goal=g) if (g := goals.get(n.output, whole)) != whole else n for n in graph.nodes)
            return replace(graph, nodes=nodes), whole
        least = made.flash if least is None or made.flash.total < least.total else least
    assert least is not None
    raise refusal(least, budget)


def refusal(need: Flash, budget: int) -> AotError:
    """What is said when the budget is too small."""
    return AotError(f"the network needs {need.total} bytes of flash, {need.constants} for weights and tables and an "
                    f"estimated {need.code} for code, the budget is {budget}",
                    "raise --flash, or use a smaller network")


def _layers(graph: Graph, isa: Isa, goal: str) -> list[_Layer]:
    """The layers of the program, with their kernels for the goal and for smaller ones; the same only once."""
    program = lower(graph, isa, goal)
    outputs: dict[object, list[str]] = {}
    for step in program.steps:
        outputs.setdefault(sameness(step.site), []).append(step.site.output.name)
    layers = []
    for step in program.functions:
        options: dict[object, tuple[str, Site, Candidate]] = {}
        for smaller in GOALS[GOALS.index(goal):]:
            site = replace(step.site, goal=smaller)
            made = judge(choose(site), site)
            options.setdefault((made.kernel.name, made.constants, made.instructions), (smaller, site, made))
        layers.append(_Layer(tuple(outputs[sameness(step.site)]), tuple(options.values())))
    return layers


class _Chooser:
    """Searches an option for each layer."""

    def __init__(self, layers: list[_Layer], isa: str, goal: str) -> None:
        self.layers, self.isa, self.goal = layers, isa, goal

    def fit(self, budget: int) -> _Choice:
        """The first choice that fits, or the last one tried."""
        now = self._choice((0,) * len(self.layers))
        while now.flash.total > budget:
            smaller = [c for c in self._steps(now) if c.flash.total < now.flash.total]
            if not smaller:
                break
            now = max(smaller, key=lambda c: (now.flash.total - c.flash.total)
                      / max(c.instructions - now.instructions, 1.0))
        return now

    def _steps(self, now: _Choice) -> list[_Choice]:
        """A step further: one layer, all with the same kernel, or all."""
        groups: dict[str, set[int]] = {}
        for i, (layer, k) in enumerate(zip(self.layers, now.picks, strict=True)):
            if k + 1 < len(layer.options):
                for group in (f"layer {i}", layer.options[k][2].kernel.name, "all"):
                    groups.setdefault(group, set()).add(i)
        return [self._choice(tuple(k + (i in group) for i, k in enumerate(now.picks))) for group in groups.values()]

    def _choice(self, picks: tuple[int, ...]) -> _Choice:
        chosen = [(layer, *layer.options[k]) for layer, k in zip(self.layers, picks, strict=True)]
        calls = sum(len(layer.outputs) for layer in self.layers)
        constants = sum(made.constants for _, _, _, made in chosen)
        code = code_bytes(((made.kernel, site) for _, _, site, made in chosen), calls, self.isa, self.goal)
        return _Choice(picks, Flash(constants, code),
                       sum(len(layer.outputs) * made.instructions for layer, _, _, made in chosen))
