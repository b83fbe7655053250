"""Good plans quickly: place one box after the other as low as possible, and search for the order that packs best.

Placing by falling size is the greedy planner of TensorFlow Lite Micro and of Pisarchyk and Lee (Efficient Memory
Management for Deep Neural Net Inference, 2020); hill climbing over the order is what TVM's unified static memory
planner does. Here the other orders matter as much: an input that slides above its output can only be placed once the
output lies below it, so some orders walk the program backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from aot.plan.puzzle import Puzzle

#: An order of boxes -> offsets.
Placer = Callable[[Sequence[int]], list[int]]

#: Changes of one order before the hill climbing starts again from another.
ROUND = 150


def placer(puzzle: Puzzle) -> Placer:
    """The function that places boxes in a given order, each at its lowest offset free of those placed before it."""
    near: list[list[tuple[int, int, int]]] = [[] for _ in puzzle.sizes]
    for rule in puzzle.rules:
        for low, high in rule.forbidden:
            near[rule.one].append((rule.other, low, high))
            near[rule.other].append((rule.one, -high, -low))

    def place(order: Sequence[int]) -> list[int]:
        offsets = [-1] * len(near)
        for box in order:
            align, offset = puzzle.aligns[box], 0
            for low, high in sorted((offsets[other] + low, offsets[other] + high)
                                    for other, low, high in near[box] if offsets[other] >= 0):
                if low >= offset:
                    break
                if offset < high:
                    offset = -(-high // align) * align
            offsets[box] = offset
        return offsets

    return place


def orders(puzzle: Puzzle) -> Iterator[list[int]]:
    """The orders worth trying first."""
    boxes = range(len(puzzle.sizes))
    size, life = puzzle.sizes, puzzle.lifetimes
    crowd = _crowd(puzzle)
    keys: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda i: (-size[i], -life[i][0]),
        lambda i: (-size[i], life[i][0]),
        lambda i: (-life[i][0], -size[i]),
        lambda i: (-life[i][1], -size[i]),
        lambda i: (life[i][0], -size[i]),
        lambda i: (life[i][1], -size[i]),
        lambda i: (-crowd[i], -life[i][0]),
        lambda i: (-crowd[i], -size[i]),
        lambda i: (-size[i] * (life[i][1] - life[i][0] + 1), -life[i][0]),
        lambda i: (life[i][0] - life[i][1], -size[i]),
    )
    for key in keys:
        yield sorted(boxes, key=key)


def _crowd(puzzle: Puzzle) -> list[int]:
    """For each box the most bytes alive in any step of its life, itself included."""
    steps = sorted({born for born, _ in puzzle.lifetimes})
    live = {t: sum(s for s, (born, dead) in zip(puzzle.sizes, puzzle.lifetimes, strict=True) if born <= t <= dead)
            for t in steps}
    return [max(live[t] for t in steps if born <= t <= dead) for born, dead in puzzle.lifetimes]


def quick(puzzle: Puzzle, goal: int) -> list[int]:
    """The offsets from the best of :func:`orders`; stops early at ``goal`` bytes."""
    place = placer(puzzle)
    best: list[int] = []
    for order in orders(puzzle):
        offsets = place(order)
        if not best or puzzle.top(offsets) < puzzle.top(best):
            best = offsets
        if puzzle.top(best) <= goal:
            break
    return best


def climb(puzzle: Puzzle, goal: int, tries: int) -> list[int]:
    """Offsets after ``tries`` small changes of an order, kept unless they cost bytes; stops early at ``goal`` bytes.

    The changes are random with a fixed seed: the same puzzle always gives the same offsets.
    """
    random = Random(len(puzzle.sizes))
    place = placer(puzzle)
    starts = list(orders(puzzle))
    best: list[int] = []
    for attempt in range(tries):
        if attempt % ROUND == 0:
            order = starts[attempt // ROUND % len(starts)]
            offsets = place(order)
        else:
            ends = [offset + size for offset, size in zip(offsets, puzzle.sizes, strict=True)]
            changed = _change(order, ends, random)
            trial = place(changed)
            if puzzle.top(trial) <= puzzle.top(offsets):
                order, offsets = changed, trial
        if not best or puzzle.top(offsets) < puzzle.top(best):
            best = offsets
        if puzzle.top(best) <= goal:
            break
    return best


def _change(order: list[int], ends: list[int], random: Random) -> list[int]:
    """The order with one box moved, or two swapped; half the time one of the boxes that reach the top."""
    changed = list(order)
    top = max(ends)
    highest = [place for place, box in enumerate(order) if ends[box] == top]
    one = random.choice(highest) if random.random() < 0.5 else random.randrange(len(order))
    other = random.randrange(len(order))
    if random.random() < 0.5:
        changed[one], changed[other] = changed[other], changed[one]
    else:
        changed.insert(other, changed.pop(one))
    return changed
