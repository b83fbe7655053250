"""Bytes of flash by estimate: kernels that share code well, and goals of layers with which a network fits a budget.

Constants are exact; bytes of code are those of ``costs.CODE``. Where a budget must hold, so much is added that hardly
any measured network takes more (docs/costs.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from aot import costs
from aot.errors import AotError
from aot.ir import Graph
from aot.kernels import PRICE, Candidate, candidates, choose, code_size, judge
from aot.kernels.base import Kernel
from aot.ops.base import Site
from aot.program import Program, lower, sameness
from aot.recipe import GOALS
from aot.targets import Isa

#: Kernels are settled in so many rounds at most.
ROUNDS = 8


@dataclass(frozen=True)
class Flash:
    """Bytes of constants, and those of code, more probably less than more."""

    constants: int
    code: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.constants + self.code


def code_bytes(uses: Iterable[tuple[Kernel, Site]], calls: int, isa: str, goal: str) -> int:
    """Code of functions, each a kernel at a site, and of so many calls; compiled for a goal."""
    start, call = costs.run_code(isa, goal)
    sizes = [code_size(kernel, site, goal) for kernel, site in uses]
    shared = {name: nbytes for size in sizes for name, nbytes in size.shared.items()}
    return start + call * calls + sum(size.own for size in sizes) + sum(shared.values())


def program_flash(program: Program, goal: str) -> Flash:
    """What a program needs."""
    return Flash(sum(d.nbytes for d in program.constants.values()), safe(program_code(program, goal), goal))


def safe(code: int, goal: str) -> int:
    """An estimate of code, raised to what it may be."""
    return round(costs.at_most(code, costs.MARGIN[goal]))


def program_code(program: Program, goal: str) -> int:
    """Estimated bytes of a program's code."""
    isa = next((s.site.isa.name for s in program.steps), "")
    return code_bytes(((s.kernel, s.site) for s in program.functions), len(program.steps), isa, goal)


def settled(program: Program, goal: str) -> dict[object, Kernel]:
    """The kernel of each function, by :func:`sameness`, that is cheapest beside those of the others.

    Code which others need anyway costs nothing, nor is code saved that others go on using. One function after the other
    is settled, until none changes any more.
    """
    calls = Counter(sameness(s.site) for s in program.steps)
    options = {sameness(s.site): [_Option.of(c, s.site, calls[sameness(s.site)], goal) for c in candidates(s.site)]
               for s in program.functions}
    names = {sameness(s.site): s.kernel.name for s in program.functions}
    picks = {key: next((o for o in found if o.kernel.name == names[key]), found[0]) for key, found in options.items()}
    used = Counter(part for pick in picks.values() for part in pick.parts)
    for _ in range(ROUNDS):
        before = dict(picks)
        for key, found in options.items():
            used.subtract(picks[key].parts.keys())
            picks[key] = min(found, key=lambda o: o.cost + sum(n for part, n in o.parts.items() if not used[part]))
            used.update(picks[key].parts.keys())
        if picks == before:
            break
    return {key: pick.kernel for key, pick in picks.items()}


@dataclass(frozen=True, eq=False)
class _Option:
    """A kernel for a function: its cost in all calls, and that of code which others may share, by what it is."""

    kernel: Kernel
    cost: float
    parts: dict[str, float]

    @staticmethod
    def of(candidate: Candidate, site: Site, calls: int, goal: str) -> _Option:
        """What a candidate costs, the program being compiled for a goal."""
        kernel = candidate.kernel
        size, price = code_size(kernel, site, goal), PRICE[site.goal] * site.isa.pace
        return _Option(kernel, calls * candidate.instructions + price * (candidate.constants + size.own),
                       {name: price * nbytes for name, nbytes in size.shared.items()})


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

    The step is taken again and again that saves most bytes for an instruction more: one layer, or all with one kernel,
    with the kernel of a smaller goal. That is done for the user's goal and for each smaller one of the whole network;
    the fastest of what fits is taken. An AotError says what is needed if nothing does.
    """
    found = []
    for whole in GOALS[GOALS.index(goal):]:
        layers = _layers(graph, isa, whole)
        found.append((_Chooser(layers, isa.name, whole).fit(budget), layers, whole))
    fitting = [f for f in found if f[0].flash.total <= budget]
    if not fitting:
        raise refusal(min((made.flash for made, _, _ in found), key=lambda f: f.total), budget)
    made, layers, whole = min(fitting, key=lambda f: f[0].instructions)
    goals = {o: layer.options[k][0] for layer, k in zip(layers, made.picks, strict=True) for o in layer.outputs}
    nodes = tuple(replace(n, goal=g) if (g := goals.get(n.output, whole)) != whole or n.goal else n
                  for n in graph.nodes)
    return replace(graph, nodes=nodes), whole


def refusal(need: Flash, budget: int) -> AotError:
    """What is said when the budget is too small."""
    return AotError(f"the network needs {need.total} bytes of flash, {need.constants} for weights and tables and an "
                    f"estimated {need.code} at most for code, the budget is {budget}",
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
        fixed = step.site.node.goal  # by a recipe
        for smaller in (fixed,) if fixed else GOALS[GOALS.index(goal):]:
            site = replace(step.site, goal=smaller)
            made = judge(choose(site), site)
            options.setdefault((made.kernel.name, made.constants), (smaller, site, made))
        layers.append(_Layer(tuple(outputs[sameness(step.site)]), tuple(options.values())))
    return layers


class _Chooser:
    """Searches an option for each layer."""

    def __init__(self, layers: list[_Layer], isa: str, goal: str) -> None:
        self.layers, self.isa, self.goal = layers, isa, goal

    def fit(self, budget: int) -> _Choice:
        """The first choice that fits, without steps that it does not need any more; or the smallest one tried."""
        now = self._choice((0,) * len(self.layers))
        while now.flash.total > budget:
            smaller = [c for c in self._steps(now) if c.flash.total < now.flash.total]
            if not smaller:
                break
            now = max(smaller, key=lambda c: (now.flash.total - c.flash.total)
                      / max(c.instructions - now.instructions, 1.0))
        return self._relaxed(now, budget)

    def _relaxed(self, now: _Choice, budget: int) -> _Choice:
        """With faster options of single layers, as long as they fit, those first that save most."""
        while now.flash.total <= budget:
            faster = [c for i, k in enumerate(now.picks) for other in range(k)
                      if (c := self._choice((*now.picks[:i], other, *now.picks[i + 1:]))).flash.total <= budget
                      and c.instructions < now.instructions]
            if not faster:
                break
            now = min(faster, key=lambda c: c.instructions)
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
        return _Choice(picks, Flash(constants, safe(code, self.goal)),
                       sum(len(layer.outputs) * made.instructions for layer, _, _, made in chosen))
