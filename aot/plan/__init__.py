"""Where each buffer lies in the arena: the smallest arena that can be found, and whether it is proven smallest.

``plan`` makes a plan and ``check`` judges it; the two share no code. In the order of thought: ``puzzle`` (what
collides), ``first_fit`` (good plans quickly), ``exact`` (the best plan, with proof), ``checker``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aot.plan.checker import check
from aot.plan.exact import fit
from aot.plan.first_fit import climb, quick
from aot.plan.puzzle import Puzzle, pose
from aot.program import Buffer, Sharing

__all__ = ["Plan", "check", "plan", "usable"]

#: How many rules the exact search may look at: for the whole program, for each part of it, and for all parts of one
#: width together. Counted, not timed, so that the plan does not depend on the machine.
WORK = 350_000
WORK_ON_A_PART = 25_000
WORK_ON_PARTS = 1_000_000
#: How many boxes the hill climbing places, all its orders together.
PLACEMENTS = 50_000


@dataclass(frozen=True)
class Plan:
    """Byte offsets by buffer name, the arena's ``size`` in bytes, and a proven ``lower_bound`` of that size."""

    offsets: Mapping[str, int]
    size: int
    lower_bound: int

    @property
    def optimal(self) -> bool:
        """Whether no smaller arena exists, by proof."""
        return self.size == self.lower_bound

    def reserved(self, align: int) -> int:
        """Bytes to reserve at an address that is a multiple of ``align``: a multiple of it, too, and not nothing."""
        return -(-max(self.size, 1) // align) * align


def usable(budget: int | None, align: int) -> int | None:
    """How large a plan may be for what is reserved to stay within a budget."""
    return None if budget is None else budget - budget % align


def plan(buffers: Sequence[Buffer], sharings: Sequence[Sharing] = (), align: int = 4, exact: bool = True) -> Plan:
    """Offsets in bytes for all buffers, each a multiple of its own alignment and of ``align``; checked before return.

    Not ``exact``: the first good answer, for comparisons.

    The same buffers in the same order always get the same offsets. Raises AotError if the buffers contradict
    themselves (see :func:`check`).
    """
    # What is empty lies anywhere; what makes no sense is left to the checker.
    solid = [b for b in buffers if b.nbytes > 0 and b.align > 0 and b.first <= b.last]
    offsets, lower = _solve(pose(solid, sharings, align), exact)
    named = {b.name: 0 for b in buffers} | {b.name: offset for b, offset in zip(solid, offsets, strict=True)}
    size = max((named[b.name] + b.nbytes for b in solid), default=0)
    check(buffers, sharings, named, size)
    return Plan(named, size, lower)


def _solve(whole: Puzzle, exact: bool) -> tuple[list[int], int]:
    """The best offsets found and the best lower bound proven: the cheapest means first, until the two meet."""
    lower = whole.stacked()
    offsets = quick(whole, lower)
    if not exact:
        return offsets, lower
    lower = _parts(whole, 0, offsets, lower)
    offsets, lower = _squeeze(whole, offsets, lower, WORK // 20)
    if whole.top(offsets) > lower:
        offsets = min(offsets, climb(whole, lower, PLACEMENTS // len(whole.sizes)), key=whole.top)
    for width in (1, 2, 3):
        lower = _parts(whole, width, offsets, lower)
    return _squeeze(whole, offsets, lower, WORK)


def _parts(whole: Puzzle, width: int, offsets: list[int], lower: int) -> int:
    """A lower bound from each step and its ``width`` followers alone: what is alive there has to fit by itself."""
    size = whole.top(offsets)
    steps = sorted({born for born, _ in whole.lifetimes})
    work = min(WORK_ON_A_PART, WORK_ON_PARTS // max(len(steps), 1))
    for step in steps:
        if lower == size:
            break
        part = whole.alive(step, step + width)
        found = quick(part, lower)
        if part.top(found) > lower:
            _, lower = _squeeze(part, found, lower, work)
    return lower


def _squeeze(part: Puzzle, offsets: list[int], lower: int, work: int) -> tuple[list[int], int]:
    """Close the gap between a plan and a lower bound by exact searches, as far as ``work`` goes.

    A search is quick unless the capacity is just below the smallest size, so each is cut short at first, and what was
    given up counts as a failure for the time being. A round tries the lower bound itself, which is where the smallest
    size mostly lies, and then halves the gap; the next round has more patience.
    """
    size = part.top(offsets)
    patience = 1000
    while lower < size and work > 0:
        capacity = hope = lower
        while hope < size and work > 0:
            answer = fit(part, capacity, min(work, patience))
            work -= answer.work
            if answer.offsets is not None:
                offsets, size = answer.offsets, part.top(answer.offsets)
            else:
                hope = capacity + 1
                lower = hope if answer.known else lower
            capacity = (hope + size - 1) // 2
        patience *= 5
    return offsets, lower
