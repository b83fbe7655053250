"""What a search over formats found, as data: choices none of which is beaten by another, and the one to take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any

from aot.errors import Problem
from aot.judge import TEST, Loss
from aot.recipe import Recipe


@dataclass(frozen=True)
class Row:
    """A layer of a choice: what it was and is by estimate, and what it alone loses; ``name`` is its output's."""

    name: str
    op: str
    origin: str
    activations: str
    weights: str
    goal: str
    kernel: str
    instructions: int
    constants: int
    plain_kernel: str
    plain_instructions: int
    plain_constants: int
    loss: float

    @property
    def why(self) -> str:
        """What is different from 8 bits with the kernel of the whole network's goal."""
        changes = []
        if self.constants != self.plain_constants:
            changes.append(f"{self.constants - self.plain_constants:+,} bytes")
        if self.instructions != self.plain_instructions and self.plain_instructions:
            changes.append(f"{100 * (self.instructions / self.plain_instructions - 1):+.1f} % instructions")
        if abs(self.loss) >= 0.0005:
            changes.append(f"{self.loss:+.3f} points lost")
        return ", ".join(changes) or "as it would be anyway"


@dataclass(frozen=True)
class Point:
    """A choice, quantized and judged: ``flash`` (weights, and code as large as it may be) and ``arena`` in bytes.

    ``instructions`` of an inference are an estimate. ``name`` says where the choice comes from; ``unsure`` is by how
    many instructions each layer's estimate may be off, by its name and prices.
    """

    name: str
    recipe: Recipe
    loss: Loss
    instructions: int
    flash: int
    arena: int
    unsure: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)

    def beats(self, other: Point) -> bool:
        """Whether it is as good in everything and better in something."""
        mine, theirs = ((p.loss.points, p.instructions, p.flash) for p in (self, other))
        return all(a <= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs

    def surely_no_more(self, other: Point) -> bool:
        """Whether it takes no more flash, and no more instructions by more than the estimates may be off.

        Those of layers that are the same in both are off by the same. Errors of different layers are independent.
        """
        apart = self.unsure.keys() ^ other.unsure.keys()
        doubt = sqrt(sum((self.unsure if key in self.unsure else other.unsure)[key] ** 2 for key in apart))
        return self.instructions + doubt <= other.instructions and self.flash <= other.flash


@dataclass(frozen=True)
class Front:
    """The result of a search for a target and a goal.

    ``points``: those which no other beats and the chosen one, by flash; ``references``: the same formats everywhere,
    for comparison; ``chosen``: the point that was taken, with a row a layer. ``samples``: judged ones.
    """

    name: str
    target: str
    optimize: str
    max_loss: float
    classes: bool
    samples: int
    points: tuple[Point, ...]
    references: tuple[Point, ...]
    chosen: Point
    rows: tuple[Row, ...]
    warnings: tuple[Problem, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data, the fields as they are called here; recipes as :mod:`aot.recipe` keeps them."""
        def point(p: Point) -> dict[str, Any]:
            return {"name": p.name, "recipe": p.recipe.as_data(), "loss": asdict(p.loss),
                    "instructions": p.instructions, "flash": p.flash, "arena": p.arena, "chosen": p is self.chosen}
        return {"name": self.name, "target": self.target, "optimize": self.optimize, "max_loss": self.max_loss,
                "classes": self.classes, "samples": self.samples, "points": [point(p) for p in self.points],
                "references": [point(p) for p in self.references],
                "layers": [{**asdict(r), "why": r.why} for r in self.rows]}

    @property
    def table(self) -> tuple[tuple[str, ...], ...]:
        """A head, and a row of words for each point and each reference."""
        head = ("", "formats", "instructions", "flash", "arena", "loss", "expected",
                *(("changed",) if self.classes else ()))
        return (head, *(self._words(p) for p in (*self.points, *(r for r in self.references if r not in self.points))))

    def _words(self, p: Point) -> tuple[str, ...]:
        mark = "*" if p is self.chosen else "" if p in self.points else "beaten"
        changed = (f"{p.loss.changed:.2f} %",) if p.loss.changed is not None else ()
        return (mark, p.name, f"{p.instructions:,}", f"{p.flash:,}", f"{p.arena:,}", f"{p.loss.points:.2f}",
                f"{p.loss.expected:.2f}", *changed)

    def __str__(self) -> str:
        table = self.table
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines = ["  ".join(word.ljust(w) if i < 2 else word.rjust(w)
                           for i, (word, w) in enumerate(zip(row, widths, strict=True))).rstrip() for row in table]
        return "\n".join([*lines, "", *self.legend])

    @property
    def legend(self) -> tuple[str, ...]:
        """What the numbers of the table mean."""
        what = (f"points of top-1: what a test of {TEST} samples shows, one standard deviation above what is expected"
                if self.classes else "hundredths of the standard deviation of the outputs, with a margin")
        return (f"* taken for {self.target}, optimized for {self.optimize}, to lose at most {self.max_loss:g} points",
                f"loss: {what}; judged on {self.samples} samples",
                "instructions and flash are estimates, flash as large as it may be; bytes of flash and arena")


def summary(recipe: Recipe) -> Mapping[str, int]:
    """How many layers have which formats."""
    found: dict[str, int] = {}
    for f in recipe.layers.values():
        key = f.activations if f.activations == f.weights else f"{f.activations}x{f.weights}"
        found[key] = found.get(key, 0) + 1
    return found
