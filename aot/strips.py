"""Which stretches of layers to run in strips: programs are lowered, planned, priced, and the best one is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from aot.cut import closed, cut
from aot.errors import AotError
from aot.flash import Flash, fitted, program_code, program_flash, refusal, safe, settled
from aot.ir import Graph
from aot.kernels import PRICE, PRICE_OF_MEMORY
from aot.kernels.base import Kernel
from aot.plan import Plan, plan
from aot.program import Program, Step, Using, lower, sameness
from aot.recipe import GOALS
from aot.targets import Isa

#: Strips that are tried, and the longest stretch of layers around the one that needs most.
COUNTS = (2, 3, 4, 6, 8, 12)
LONGEST = 8
#: How far a stretch may reach beyond the maps that are larger than the budget.
AROUND = 4
#: So many stretches are cut at most.
ROUNDS = 3
#: So many smaller budgets are tried where one is not met.
STEPS = 6
#: So many of the best by a rough plan are planned exactly; so many others are cut further elsewhere, if a budget asks.
FINALISTS, BESIDE = 8, 2


@dataclass(frozen=True)
class Cut:
    """A stretch of nodes, by the outputs of its first and last, in so many strips."""

    first: str
    last: str
    strips: int


@dataclass(frozen=True, eq=False)
class Arrangement:
    """A program for a goal, with its plan.

    ``cost`` is in instructions, memory and ``code`` (bytes, estimated) priced by the goal.
    """

    program: Program
    plan: Plan
    goal: str
    instructions: float
    code: int
    cost: float
    cuts: tuple[Cut, ...] = ()
    whole: Arrangement | None = None

    def described(self) -> tuple[str, ...]:
        """A line for each stretch in strips, and one for what they cost."""
        if self.whole is None:
            return ()
        lines = [f"in {c.strips} strips: {c.first} .. {c.last}" for c in self.cuts]
        more = 100 * (self.instructions / max(self.whole.instructions, 1.0) - 1)
        return (*lines, f"strips: {self.whole.plan.size:,} bytes of arena become {self.plan.size:,}, "
                        f"for an estimated {abs(more):.1f} % {'more' if more >= 0 else 'fewer'} instructions")


class _Judge:
    """Lowers and prices graphs that share constants; remembers what it knows of single layers."""

    def __init__(self, isa: Isa, goal: str, ram: int | None, flash: int | None) -> None:
        self.isa, self.goal, self.ram, self.flash = isa, goal, ram, flash
        self.constants = 0  # bytes; strips share those of the whole
        self._kernels: dict[object, Kernel] = {}
        self._costs: dict[object, float] = {}

    def settle(self, program: Program) -> None:
        """Take for its functions the kernels that go best together.

        Where size alone counts, constants decide, whose bytes are known, rather than code whose bytes are estimated.
        """
        if self.goal != "size":
            self._kernels |= settled(program, self.goal)

    def arrange(self, graph: Graph, using: tuple[Using, ...], cuts: tuple[Cut, ...], exact: bool) -> Arrangement:
        """The graph's program, planned and priced."""
        program = lower(graph, self.isa, self.goal, using, self._kernels)
        arena = plan(program.buffers, program.sharings, exact=exact)
        instructions = sum(map(self._instructions, program.steps))
        code = program_code(program, self.goal)
        cost = instructions + PRICE_OF_MEMORY[self.goal] * arena.size + PRICE[self.goal] * self.isa.pace * code
        return Arrangement(program, arena, self.goal, instructions, code, cost, cuts)

    def _instructions(self, step: Step) -> float:
        key = (sameness(step.site), step.kernel.name)
        if key not in self._costs:
            self._costs[key] = step.kernel.instructions(step.site)
        return self._costs[key]

    def rank(self, a: Arrangement) -> tuple[float, float]:
        """What is smaller is better: bytes over the budget first, then cost."""
        over = 0 if self.ram is None else max(a.plan.size - self.ram, 0)
        if self.flash is not None:
            over += max(safe(a.code, self.goal) + self.constants - self.flash, 0)
        return (over, a.cost)


@dataclass(frozen=True, eq=False)
class _State:
    """An arrangement, the graph that it is of, and the outputs of the nodes that the last cut made."""

    made: Arrangement
    graph: Graph
    using: tuple[Using, ...] = ()
    inside: frozenset[str] = frozenset()


def arrange(graph: Graph, isa: Isa, goal: str, ram: int | None, flash: int | None = None) -> Arrangement:
    """The cheapest program found for a quantized graph that needs at most ``ram`` bytes of arena.

    And, where that can be had as well, ``flash`` bytes of constants and code, by estimate. If none is found that small,
    the smallest: what is far out of reach is a bad guide, so that the search goes there from above, step by step.
    """
    best = _arrange(graph, isa, goal, ram, flash)
    if ram is None or best.plan.size <= ram:
        return best
    best = min(best, _arrange(graph, isa, goal, None, flash), key=lambda a: a.plan.size)
    for _ in range(STEPS):
        if best.plan.size <= ram:
            break
        other = _arrange(graph, isa, goal, best.plan.size - 1, flash)
        if other.plan.size >= best.plan.size:
            break
        best = other
    return best


def _arrange(graph: Graph, isa: Isa, goal: str, ram: int | None, flash: int | None) -> Arrangement:
    judge = _Judge(isa, goal, ram, flash)
    judge.settle(lower(graph, isa, goal))
    whole = judge.arrange(graph, (), (), exact=True)
    judge.constants = program_flash(whole.program, goal).constants
    best = _State(whole, graph)
    states = [best]
    for _ in range(ROUNDS):
        if not (PRICE_OF_MEMORY[goal] or (ram is not None and best.made.plan.size > ram)):
            break
        rough = sorted((found for state in states for found in _tries(state, judge)), key=lambda s: judge.rank(s.made))
        exact = [replace(s, made=judge.arrange(s.graph, s.using, s.made.cuts, exact=True)) for s in rough[:FINALISTS]]
        better = min(exact, key=lambda s: judge.rank(s.made), default=best)
        states = [] if ram is None else _elsewhere(rough, ram)
        if judge.rank(better.made) < judge.rank(best.made):
            best = better
            states.insert(0, best)
        if not states:
            break
    if not best.made.cuts:
        return best.made
    judge.settle(best.made.program)
    again = judge.arrange(best.graph, best.using, best.made.cuts, exact=True)
    return replace(min(again, best.made, key=judge.rank), whole=whole)


def within(graph: Graph, isa: Isa, goal: str, ram: int | None, flash: int | None) -> Arrangement:
    """The arrangement for budgets in bytes, if need be with smaller kernels or for a smaller goal.

    What needs no more than ``flash`` and ``ram`` stays as it is. Otherwise, layers get goals of their own until
    ``flash`` bytes do, or all of them a smaller one: what takes fewer instructions. An AotError says what is needed
    if ``flash`` is too small.
    """
    made = arrange(graph, isa, goal, ram, flash)
    if flash is None:
        return made
    fits = program_flash(made.program, goal).total <= flash
    if fits and (ram is None or made.plan.size <= ram):
        return made
    found, refused = _fitted(graph, isa, goal, ram, flash)
    found += [made] if fits else []
    for whole in GOALS[GOALS.index(goal) + 1:]:
        made = arrange(graph, isa, whole, ram, flash)
        if program_flash(made.program, whole).total <= flash:
            found.append(made)
    if not found:
        raise refused
    return min(found, key=lambda a: (0 if ram is None else max(a.plan.size - ram, 0), a.instructions))


def _fitted(graph: Graph, isa: Isa, goal: str, ram: int | None, flash: int) -> tuple[list[Arrangement], AotError]:
    """The arrangement in which layers have goals of their own, if it fits, or what is said if nothing does.

    What strips need besides is taken from the kernels.
    """
    room = flash
    need = Flash(0, 0)
    for _ in range(ROUNDS):
        try:
            chosen, smaller = fitted(graph, isa, goal, room)
        except AotError as error:
            return [], error if need.total == 0 else refusal(need, flash)
        made = arrange(chosen, isa, smaller, ram, flash)
        need = program_flash(made.program, smaller)
        if need.total <= flash:
            return [made], refusal(need, flash)
        room -= need.total - flash
    return [], refusal(need, flash)


def _tries(state: _State, judge: _Judge) -> Iterator[_State]:
    """States in which one more stretch, around the layer that needs most, is cut."""
    graph, known = state.graph, {n.output for n in state.graph.nodes}
    for first, last in _stretches(graph, state.made, judge.ram):
        for strips in COUNTS:
            made = cut(graph, first, last, strips)
            if made is None:
                break
            using = (*state.using, *made[1])
            cuts = (*state.made.cuts, Cut(graph.nodes[first].output, graph.nodes[last].output, strips))
            inside = frozenset(n.output for n in made[0].nodes if n.output not in known)
            yield _State(judge.arrange(made[0], using, cuts, exact=False), made[0], using,
                         inside | {graph.nodes[last].output})


def _elsewhere(states: list[_State], ram: int) -> list[_State]:
    """The cheapest of those in which another part of the network than the one cut last is now what is too large."""
    found = [s for s in states if s.made.plan.size > ram
             and s.made.program.steps[_peak(s.made)].site.output.name not in s.inside]
    return sorted(found, key=lambda s: s.made.cost)[:BESIDE]


def _stretches(graph: Graph, best: Arrangement, ram: int | None) -> list[tuple[int, int]]:
    """First and last nodes of the stretches to try.

    If some maps alone are larger than the budget, all of them must be inside; else the layer that needs most memory.
    """
    index = {n.output: i for i, n in enumerate(graph.nodes)}
    steps, sizes = best.program.steps, {b.name: b.nbytes for b in best.program.buffers}
    large = [index[s.site.output.name] for s in steps
             if ram is not None and s.output.space == "arena" and sizes[s.output.name] > ram]
    found = [(first, last) for first in range(max(min(large) - AROUND, 0), min(large) + 1)
             for last in range(max(large) + 1, min(max(large) + 2 + AROUND, len(graph.nodes)))] if large else []
    around = [f for f in found if closed(graph, *f)]
    if around:
        return around
    middle = index[steps[_peak(best)].site.output.name]
    return [(first, last) for first in range(max(middle - LONGEST + 1, 0), middle + 1)
            for last in range(max(first + 1, middle), min(first + LONGEST, len(graph.nodes)))
            if closed(graph, first, last)]


def _peak(made: Arrangement) -> int:
    """The step with the most bytes in use; those of buffers that share memory count once."""
    spans = [(b.first, b.last, at, at + b.nbytes) for b in made.program.buffers
             for at in (made.plan.offsets[b.name],)]

    def used(step: int) -> int:
        total = end = 0
        for start, stop in sorted((a, z) for first, last, a, z in spans if first <= step <= last):
            total += max(stop - max(start, end), 0)
            end = max(end, stop)
        return total

    return max(range(len(made.program.steps)), key=used)
