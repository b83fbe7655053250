"""Whether the boxes fit into an arena of a given size: a complete search, given enough time.

Every rule leaves two boxes a few ways to lie: one below the other, the other below the one, or sharing. A way is a
pair of difference constraints, so each box has a lowest and a highest offset that the ways chosen so far allow, and a
way that no longer fits between those is struck out, which narrows other boxes' range in turn. If all boxes at their
lowest offsets break no rule, that is a plan; otherwise one broken rule's ways are tried in turn. This is branch and
bound on a disjunctive graph, as in job-shop scheduling (Carlier and Pinson: An Algorithm for Solving the Job-Shop
Problem, 1989).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aot.plan.puzzle import Intervals, Puzzle

#: Beyond every arena: a way bounded on one side only.
FAR = 1 << 62

#: Closed intervals in which ``offset[one] - offset[other]`` may lie.
Ways = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Answer:
    """Offsets if the boxes fit; ``known`` says whether their absence is proven. ``work`` counts rules looked at."""

    offsets: list[int] | None
    known: bool
    work: int


@dataclass
class _State:
    """How far one branch has come: the range of each box's offset and the ways left to each rule."""

    low: list[int]
    high: list[int]
    ways: list[Ways]

    def choose(self, rule: int, way: tuple[int, int]) -> _State:
        """The branch that goes on with one way of a rule."""
        child = _State(self.low.copy(), self.high.copy(), self.ways.copy())
        child.ways[rule] = (way,)
        return child


class _Search:
    """The puzzle, prepared for narrowing; ``work`` grows with every rule looked at."""

    def __init__(self, puzzle: Puzzle) -> None:
        self.aligns = puzzle.aligns
        self.pairs = [(r.one, r.other) for r in puzzle.rules]
        self.touching: list[list[int]] = [[] for _ in puzzle.sizes]
        for index, (one, other) in enumerate(self.pairs):
            self.touching[one].append(index)
            self.touching[other].append(index)
        self.work = 0

    def narrow(self, state: _State, start: Iterable[int], limit: int) -> bool:
        """Strike out what the ranges exclude until nothing changes; False if some rule has no way left."""
        low, high, ways = state.low, state.high, state.ways
        queue = list(start)
        queued = set(queue)
        while queue and self.work <= limit:
            index = queue.pop()
            queued.discard(index)
            self.work += 1
            i, j = self.pairs[index]
            left = ways[index]
            if len(left) > 1 or low[j] + left[0][0] > high[i] or low[i] - left[0][1] > high[j]:
                left = tuple(w for w in left if low[j] + w[0] <= high[i] and low[i] - w[1] <= high[j])
                ways[index] = left
            if not left:
                return False
            if len(left) > 1:
                continue
            least, most = left[0]
            for box, below, gap in ((i, j, least), (j, i, -most)):
                if gap == -FAR:
                    continue
                moved = False
                if low[box] < low[below] + gap:
                    low[box] = -(-(low[below] + gap) // self.aligns[box]) * self.aligns[box]
                    moved = True
                    self._wake(box, queue, queued)
                if high[below] > high[box] - gap:
                    high[below] = (high[box] - gap) // self.aligns[below] * self.aligns[below]
                    moved = True
                    self._wake(below, queue, queued)
                if moved and (low[box] > high[box] or low[below] > high[below]):
                    return False
        return True

    def _wake(self, box: int, queue: list[int], queued: set[int]) -> None:
        for index in self.touching[box]:
            if index not in queued:
                queued.add(index)
                queue.append(index)

    def broken(self, state: _State) -> int | None:
        """The rule to decide next: of those broken at the lowest offsets, the one with the least room to choose."""
        low, high = state.low, state.high
        chosen, least = None, 0
        for index, ways in enumerate(state.ways):
            if len(ways) < 2:
                continue
            i, j = self.pairs[index]
            distance = low[i] - low[j]
            if any(a <= distance <= b for a, b in ways):
                continue
            room = sum(min(high[i] - low[j] - a, high[j] - low[i] + b) for a, b in ways)
            if chosen is None or room < least:
                chosen, least = index, room
        self.work += len(self.pairs) // 8
        return chosen


def fit(puzzle: Puzzle, capacity: int, limit: int) -> Answer:
    """Offsets within ``capacity`` bytes, or that there are none, or unknown after looking at ``limit`` rules."""
    search = _Search(puzzle)
    high = [(capacity - size) // align * align for size, align in zip(puzzle.sizes, puzzle.aligns, strict=True)]
    if min(high, default=0) < 0:
        return Answer(None, True, 0)
    root = _State([0] * len(high), high, [_ways(r.forbidden) for r in puzzle.rules])
    stack: list[tuple[_State, Iterable[int]]] = [(root, range(len(puzzle.rules)))]
    while stack:
        state, start = stack.pop()
        fits = search.narrow(state, start, limit)
        if search.work > limit:
            return Answer(None, False, search.work)
        if not fits:
            continue
        rule = search.broken(state)
        if rule is None:
            return Answer(state.low, True, search.work)
        i, j = search.pairs[rule]

        def room(way: tuple[int, int], i: int = i, j: int = j, state: _State = state) -> int:
            return min(state.high[i] - state.low[j] - way[0], state.high[j] - state.low[i] + way[1])

        # The way with most room is tried first: it is pushed last.
        stack += [(state.choose(rule, way), (rule,)) for way in sorted(state.ways[rule], key=room)]
    return Answer(None, True, search.work)


def _ways(forbidden: Intervals) -> Ways:
    """The closed intervals between open ones."""
    ends = (-FAR, *(end for interval in forbidden for end in interval), FAR)
    return tuple(zip(ends[::2], ends[1::2], strict=True))
