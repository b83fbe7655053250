"""One search through the options of all layers: from a choice, a change at a time, to the cheapest within limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from aot.ir import Array
from aot.judge import Judge
from aot.options import Cost, Space, Tally
from aot.recipe import Formats

#: Changes of layers: index of the layer, of its option.
Move = tuple[tuple[int, int], ...]
#: Shares of limits that are used do not count against a change below this; it must save this share of all.
SLIGHT, WORTH = 0.02, 1e-6
MOST_STEPS = 1000


@dataclass(frozen=True)
class Stage:
    """What is cheap: instructions, and ``price`` of them for a byte of flash; and ceilings of both."""

    price: float
    flash: float = np.inf
    instructions: float = np.inf


@dataclass(frozen=True, eq=False)
class Descent:
    """What to search: the cheapest choice, from 8 bits on through one stage after the other.

    It may lose ``limit`` points, by the ``judge``: ``whole`` is the change of outputs that 8 bits make, ``shifts``
    what formats of single layers add to it.
    """

    space: Space
    judge: Judge
    whole: Array
    shifts: Mapping[str, Mapping[Formats, Array]]
    stages: tuple[Stage, ...]
    limit: float


@dataclass(frozen=True)
class _State:
    """How far beyond the limits, what it costs, what it loses, and the share of each limit that it uses."""

    excess: float
    value: float
    loss: float
    used: tuple[float, ...]


class _Walker:
    """A choice under change."""

    def __init__(self, job: Descent) -> None:
        self.job, self.stage = job, job.stages[0]
        self.tally = Tally(job.space, (0,) * len(job.space.layers))
        none = np.zeros_like(job.whole)
        self._shifts = [[job.shifts.get(name, {}).get(o.formats, none) for o in options]
                        for name, options in zip(job.space.layers, job.space.options, strict=True)]
        self._changes = job.whole
        self.now = self._state(self._changes, np.inf)

    def enter(self, stage: Stage) -> None:
        """From now on, this is what counts."""
        self.stage = stage
        self.now = self._state(self._changes, np.inf)

    def _state(self, changes: Array, worth: float) -> _State:
        """The loss is only found out where the value is below what would be worth it."""
        stage, cost = self.stage, self.tally.cost
        value = cost.instructions + stage.price * cost.flash
        over = _over(cost.flash, stage.flash) + _over(cost.instructions, stage.instructions)
        if value >= worth:
            return _State(np.inf, value, np.inf, ())
        loss = self.job.judge.loss(changes).points
        used = (cost.flash / stage.flash, cost.instructions / stage.instructions, loss / self.job.limit)
        return _State(over + _over(loss, self.job.limit), value, loss, used)

    def tried(self, move: Move, worth: float = np.inf) -> _State:
        """What it would be after the move."""
        before = [(i, self.tally.picks[i]) for i, _ in move]
        changes = self._changes + sum(self._shifts[i][k] - self._shifts[i][self.tally.picks[i]] for i, k in move)
        for i, k in move:
            self.tally.set(i, k)
        found = self._state(changes, worth)
        for i, k in before:
            self.tally.set(i, k)
        return found

    def take(self, move: Move) -> None:
        """Make the move."""
        for i, k in move:
            self._changes = self._changes + self._shifts[i][k] - self._shifts[i][self.tally.picks[i]]
            self.tally.set(i, k)
        self.now = self._state(self._changes, np.inf)

    def singles(self) -> Iterable[Move]:
        """One layer becomes something else."""
        for i, options in enumerate(self.job.space.options):
            yield from (((i, k),) for k in range(len(options)) if k != self.tally.picks[i])

    def tails(self) -> Iterable[Move]:
        """From some layer on, all get the same formats: for those that cost a conversion where they begin."""
        space = self.job.space
        for formats in dict.fromkeys(o.formats for options in space.options for o in options):
            if formats.activations == "s8":
                continue
            move: list[tuple[int, int]] = []
            for i in reversed(range(len(space.layers))):
                found = [k for k, o in enumerate(space.options[i]) if o.formats == formats] or [
                    k for k, o in enumerate(space.options[i]) if o.formats.activations == formats.activations]
                if not found:
                    break
                move.append((i, found[0]))
                yield tuple(move)

    def exchanges(self) -> Iterable[Move]:
        """One layer goes back to 8 bits, another one becomes something else."""
        changed = [i for i, k in enumerate(self.tally.picks) if k]
        for i, other in product(changed, range(len(self.tally.picks))):
            if i != other:
                yield from (((i, 0), (other, k)) for k in range(len(self.job.space.options[other]))
                            if k != self.tally.picks[other])


def descend(job: Descent) -> tuple[tuple[int, ...], float]:
    """The option of each layer, and what that loses by prediction."""
    walker = _Walker(job)
    for stage in job.stages:
        walker.enter(stage)
        for _ in range(MOST_STEPS):
            move = _mending(walker) if walker.now.excess > 0 else _saving(walker)
            if move is None:
                break
            walker.take(move)
    return tuple(walker.tally.picks), walker.now.loss


def _mending(walker: _Walker) -> Move | None:
    """The move that comes nearer to the limits for the least cost; None if none does."""
    best: tuple[float, Move] | None = None
    for move in (*walker.singles(), *walker.tails()):
        found = walker.tried(move)
        gain = walker.now.excess - found.excess
        if gain > 1e-9:
            score = gain / (0.01 + max(found.value / walker.now.value - 1, 0.0))
            if best is None or score > best[0]:
                best = (score, move)
    return None if best is None else best[1]


def _saving(walker: _Walker) -> Move | None:
    """Of the moves within the limits, the one that saves most for what it uses of them; None if none saves anything."""
    for moves in (walker.singles(), walker.tails(), walker.exchanges()):
        best: tuple[float, Move] | None = None
        worth = walker.now.value * (1 - WORTH)
        for move in moves:
            found = walker.tried(move, worth)
            if found.excess > 0 or found.value >= worth:
                continue
            more = sum(max(b - a, 0.0) for a, b in zip(walker.now.used, found.used, strict=True))
            score = (walker.now.value - found.value) / (more + SLIGHT)
            if best is None or score > best[0]:
                best = (score, move)
        if best is not None:
            return best[1]
    return None


def _over(value: float, limit: float) -> float:
    return max(value / limit - 1, 0.0) if limit > 0 else float(value > 0)


def cost(space: Space, picks: tuple[int, ...]) -> Cost:
    """What a choice costs by estimate."""
    return Tally(space, picks).cost
