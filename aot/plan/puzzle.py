"""The planner's view of a program: boxes of bytes and the distances at which two of them would collide.

Lifetimes and permissions to share are folded into one kind of fact: for two boxes ``i`` and ``j`` that are ever alive
together, ``offset[i] - offset[j]`` must not lie strictly inside some intervals. Two ordinary buffers give one interval,
``(-size[i], size[j])``; an output that may slide under its dying input gives a shorter one; a pair that may only
coincide gives two intervals which touch at 0. Reading sharing as a minimal distance between the starts of two buffers
is the idea of "diagonal memory optimisation" (Blacker, Bridges, Hadfield: Diagonal Memory Optimisation for Machine
Learning on Micro-controllers, 2020).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import lcm

from aot.program import Buffer, Sharing

#: Open intervals in bytes, sorted, without overlap; two may touch, which leaves the common end allowed.
Intervals = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Rule:
    """``offset[one] - offset[other]`` must lie in none of the open intervals ``forbidden``."""

    one: int
    other: int
    forbidden: Intervals


@dataclass(frozen=True)
class Puzzle:
    """Boxes with sizes and alignments in bytes, the lifetimes in steps, and the rules between the boxes."""

    sizes: tuple[int, ...]
    aligns: tuple[int, ...]
    lifetimes: tuple[tuple[int, int], ...]
    rules: tuple[Rule, ...]

    def top(self, offsets: Sequence[int]) -> int:
        """The first byte above all boxes: the arena's size."""
        return max((offset + size for offset, size in zip(offsets, self.sizes, strict=True)), default=0)

    def alive(self, first: int, last: int) -> Puzzle:
        """The smaller puzzle of the boxes alive in any step from ``first`` to ``last``; it never needs more bytes."""
        kept = [i for i, (born, dead) in enumerate(self.lifetimes) if born <= last and first <= dead]
        new = {old: i for i, old in enumerate(kept)}
        return Puzzle(tuple(self.sizes[i] for i in kept), tuple(self.aligns[i] for i in kept),
                      tuple(self.lifetimes[i] for i in kept),
                      tuple(Rule(new[r.one], new[r.other], r.forbidden) for r in self.rules
                            if r.one in new and r.other in new))

    def stacked(self) -> int:
        """A lower bound in bytes: boxes that may in no way overlap each other have to be stacked.

        In every step it takes the live boxes without the outputs, or without the inputs, of the pairs that share.
        """
        bound = max(self.sizes, default=0)
        for step in sorted({born for born, _ in self.lifetimes}):
            live = [i for i, (born, dead) in enumerate(self.lifetimes) if born <= step <= dead]
            plain = {(r.one, r.other) for r in self.rules
                     if r.forbidden == ((-self.sizes[r.one], self.sizes[r.other]),)}
            sharing = [(i, j) for i, j in combinations(live, 2) if (i, j) not in plain]
            # Of a pair that shares, the output is the younger one; equally old boxes leave the side to chance.
            older = {i if self.lifetimes[i] < self.lifetimes[j] else j for i, j in sharing}
            younger = {j if self.lifetimes[i] < self.lifetimes[j] else i for i, j in sharing}
            bound = max(bound, self._stack([i for i in live if i not in older]),
                        self._stack([i for i in live if i not in younger]))
        return bound

    def _stack(self, boxes: list[int]) -> int:
        """The least height of a stack: every box but the topmost is padded to the smallest alignment."""
        if not boxes:
            return 0
        align = min(self.aligns[i] for i in boxes)
        padding = [-self.sizes[i] % align for i in boxes]
        return sum(self.sizes[i] for i in boxes) + sum(padding) - max(padding)


def pose(buffers: Sequence[Buffer], sharings: Sequence[Sharing], align: int) -> Puzzle:
    """The puzzle which the buffers pose, in their order; every box is aligned to its own alignment and to ``align``.

    A sharing is used only where the input's last step is the output's first; several for one pair must all hold.
    """
    index = {b.name: i for i, b in enumerate(buffers)}
    permitted: dict[tuple[int, int], list[Sharing]] = {}
    for s in sharings:
        i, j = index.get(s.input), index.get(s.output)
        if i is not None and j is not None and i != j and (
                buffers[i].last == buffers[j].first or (s.progressive and buffers[i].last > buffers[j].first)):
            permitted.setdefault((min(i, j), max(i, j)), []).append(s)
    rules = []
    for i, j in combinations(range(len(buffers)), 2):
        a, b = buffers[i], buffers[j]
        if a.first <= b.last and b.first <= a.last:
            forbidden = (_union(interval for s in permitted[i, j] for interval in _shared(s, a, b))
                         if (i, j) in permitted else ((-a.nbytes, b.nbytes),))
            if forbidden:
                rules.append(Rule(i, j, forbidden))
    return Puzzle(tuple(b.nbytes for b in buffers), tuple(lcm(b.align, align) for b in buffers),
                  tuple((b.first, b.last) for b in buffers), tuple(rules))


def _shared(sharing: Sharing, a: Buffer, b: Buffer) -> Intervals:
    """Where ``offset(a) - offset(b)`` must not be, by one permission between the two."""
    before, after = (a, b) if sharing.input == a.name else (b, a)
    if sharing.exact:
        # Symmetric around 0, but for the sizes, so both directions read alike.
        return (-a.nbytes, 0), (0, b.nbytes)
    low, high = -before.nbytes, min(sharing.distance, after.nbytes)
    return ((low, high),) if before is a else ((-high, -low),)


def _union(intervals: Iterable[tuple[int, int]]) -> Intervals:
    """The union of open intervals as disjoint ones; the empty ones vanish."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted((low, high) for low, high in intervals if low < high):
        if merged and low < merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], high)
        else:
            merged.append((low, high))
    return tuple(merged)
