"""A search over the formats and goals of all layers, for a bound on what is lost and budgets on what it costs.

What single layers change in the outputs is measured, and added up to predict any choice. Descents with several prices
of flash find choices; each of them is then quantized as a whole, judged on its outputs, and arranged for the target.
Where that loses more than was predicted, the search goes on with a stricter limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from aot import costs
from aot.batch import Batch
from aot.data import Samples
from aot.descent import Descent, Stage, cost, descend
from aot.errors import AotError
from aot.flash import program_flash
from aot.front import Front, Point, Row, summary
from aot.ir import Array
from aot.kernels import PRICE, PRICE_OF_MEMORY
from aot.names import comment
from aot.options import Space, space
from aot.plan import usable
from aot.prepare import Prepared
from aot.program import Program
from aot.recipe import PRECISIONS, Recipe
from aot.sensitivity import Court, Shifts, court, shifts
from aot.strips import within
from aot.targets import Target
from aot.workers import Map

#: Instructions for a byte of flash that are tried besides the goal's own.
PRICES = (0.0, 3.0, 30.0, 300.0, 1e6)
#: Parts of the bound that are tried: choices which lose less are on the front too.
PARTS = (1.0, 0.5)
#: Estimates of a choice that shall beat 8 bits everywhere stay below this share of theirs.
BELOW = 0.995
#: So often the limit is made stricter, and by how much more than what was exceeded.
ROUNDS, STRICTER = 4, 0.97
#: So many of the choices that meet the bound are tried with kernels that take less than 8 bits do.
POLISHED = 4
#: The same formats everywhere, for comparison.
REFERENCES = ("int8", "int4", "int16x8")
#: A choice that uses up the bound must be cheaper than one that loses nothing by this share: samples are few.
CAUTION = 0.1
#: And where nothing else loses little enough.
LAST_RESORTS = ("int16", "float32")

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Bounds:
    """Points that may be lost, and budgets: bytes of flash and RAM, instructions of an inference (None: any)."""

    max_loss: float
    flash: int | None = None
    ram: int | None = None
    instructions: int | None = None

    def met(self, p: Point) -> bool:
        """By a point."""
        pairs = ((p.flash, self.flash), (p.arena, self.ram), (p.instructions, self.instructions))
        return p.loss.points <= self.max_loss and all(most is None or x <= most for x, most in pairs)


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A recipe to be quantized, judged and arranged."""

    case: Court
    recipe: Recipe
    target: Target
    goal: str
    ram: int | None


def search(prepared: Prepared, samples: Samples, name: str, target: Target, goal: str, bounds: Bounds, apply: Map,
           learned: bool = True, tell: Tell = lambda stage, done, total: None) -> Front:
    """The front of choices for a network. ``learned``: the samples are those that the weights' rounding is learned by.

    An AotError says what the best choice found loses and costs if none meets the bounds.
    """
    case = court(prepared, samples, learned)
    made = space(prepared, target.isa, goal)
    whole, alone = shifts(case, apply, lambda done, total: tell("trying layers", done, total))
    known: dict[object, Point] = {}

    def attempt(recipes: list[tuple[str, Recipe]]) -> None:
        new = [(n, r) for n, r in {r.key: (n, r) for n, r in recipes}.values() if r.key not in known]
        found = apply(_attempted, [_Attempt(case, r, target, goal, bounds.ram) for _, r in new],
                      lambda done, total: tell("trying choices", done, total))
        for (n, r), point in zip(new, found, strict=True):
            if point is not None:
                known[r.key] = replace(point, name=n)

    references = [(p, _everywhere(made, p)) for p in REFERENCES]
    attempt(references)
    plain = known[references[0][1].key]
    strict = 1.0
    for _ in range(ROUNDS):
        jobs = [replace(job, limit=job.limit * strict)
                for job in _jobs(case, made, whole, alone, goal, bounds, plain)]
        found = apply(descend, jobs, lambda done, total: tell("searching", done, total))
        recipes = {picks: made.recipe(picks) for picks, _ in found}
        attempt([(_words(r), r) for r in recipes.values()])
        losses = [known[recipes[picks].key].loss.points for (picks, _), job in zip(found, jobs, strict=True)
                  if recipes[picks].key in known and job.limit >= bounds.max_loss * strict]
        beyond = max(losses, default=0.0) / bounds.max_loss
        if beyond <= 1:
            break
        strict *= STRICTER / beyond
    polished = [p for p in known.values() if bounds.met(p) and p is not plain]
    polished.sort(key=lambda p: (max(p.instructions / plain.instructions, 1) + max(p.flash / plain.flash, 1),
                                 _price(p, goal, made.isa.pace)))
    jobs = [_polish(job, p.recipe) for p in polished[:POLISHED]
            for job in _jobs(case, made, whole, alone, goal, bounds, plain)[:1]]
    spaces = [job.space for job in jobs]
    better = [s.recipe(picks) for s, (picks, _) in zip(spaces, apply(descend, jobs), strict=True)]
    attempt([(_words(r), r) for r in better])
    if not any(map(bounds.met, known.values())):
        attempt([(p, _everywhere(made, p)) for p in LAST_RESORTS])
    return _front(case, made, whole, alone, name, target, goal, bounds, list(known.values()),
                  [known[r.key] for _, r in references if r.key in known])


def _polish(job: Descent, recipe: Recipe) -> Descent:
    """Other kernels for the formats of a recipe, whose loss is known and stays what it is."""
    options = tuple(tuple(o for o in each if o.formats == recipe.of(name)) or each
                    for name, each in zip(job.space.layers, job.space.options, strict=True))
    return replace(job, space=replace(job.space, options=options), stages=job.stages[-1:], shifts={},
                   whole=np.zeros_like(job.whole))


def _everywhere(made: Space, precision: str) -> Recipe:
    """The same formats for all layers, and the inputs."""
    formats = PRECISIONS[precision].default
    return Recipe(formats, dict.fromkeys(made.layers, formats))


def _jobs(case: Court, made: Space, whole: Array, alone: Shifts, goal: str, bounds: Bounds,
          plain: Point) -> list[Descent]:
    """Descents for the goal's price, also below what 8 bits cost, and for others."""
    own = PRICE[goal] * made.isa.pace
    # what the arrangement for the target adds to the sums over layers, such as strips
    free = cost(made, (0,) * len(made.layers))
    more_flash, more_instructions = plain.flash - free.flash, plain.instructions - free.instructions
    flash = np.inf if bounds.flash is None else max(bounds.flash - more_flash, 1.0)
    instructions = np.inf if bounds.instructions is None else max(bounds.instructions - more_instructions, 1.0)
    less = min(flash, BELOW * plain.flash - more_flash)
    fewer = min(instructions, BELOW * plain.instructions - more_instructions)
    # both at once are found step by step: what saves flash first, then what some of it or all can be spent on
    small, both = Stage(max(own, PRICES[-2])), Stage(own, less, fewer)
    below = ((small, both), (small, Stage(0.0, less), both))

    def job(part: float, *stages: Stage) -> Descent:
        return Descent(made, case.judge, whole, alone, stages, part * bounds.max_loss)
    return [job(part, *stages) for stages in (*below, (Stage(own, flash, instructions),)) for part in PARTS] + [
        job(1.0, Stage(price, flash, instructions)) for price in PRICES if price != own]


def _attempted(job: _Attempt) -> Point | None:
    """The recipe as a whole; None where it cannot be computed or does not fit the memory."""
    prepared = job.case.prepared
    try:
        graph = prepared.quantize(job.recipe)
        made = within(graph, job.target.isa, job.goal, usable(job.ram, job.target.align), None)
    except AotError:
        return None
    loss = job.case.judge.judged(job.case.outputs(Batch(prepared.graph, graph)))
    return Point("", job.recipe, loss, round(made.instructions), program_flash(made.program, made.goal).total,
                 made.plan.reserved(job.target.align), _unsure(made.program, made.goal))


def _unsure(program: Program, goal: str) -> dict[str, float]:
    """By how many instructions the estimates of layers may be off."""
    found: dict[str, float] = {}
    for step in program.steps:
        kernel, site = step.kernel, step.site
        row = costs.priced_by(kernel.priced(site), site.isa.name, goal)
        key = f"{step.layer} {row}"
        found[key] = found.get(key, 0.0) + costs.ERRORS.get(row, costs.UNKNOWN) * kernel.instructions(site)
    return found


def _price(p: Point, goal: str, pace: float) -> float:
    """What a point costs by the goal, in instructions."""
    return p.instructions + PRICE[goal] * pace * p.flash + PRICE_OF_MEMORY[goal] * p.arena


def _front(case: Court, made: Space, whole: Array, alone: Shifts, name: str, target: Target, goal: str,
           bounds: Bounds, found: list[Point], references: list[Point]) -> Front:
    """The points which no other beats, and the one to take.

    That is the cheapest which takes less flash or fewer instructions than 8 bits, and not more of the other, by more
    than the estimates may be off; memory has its price here, and a bound if the user sets one, and so has the part of
    the bound on loss that is used. If there is none: 8 bits for all if that meets the bounds, else the cheapest that
    does.
    """
    kept = [p for i, p in enumerate(found) if not any(q.beats(p) for q in found)
            and not any(q.loss == p.loss and (q.instructions, q.flash) == (p.instructions, p.flash) for q in found[:i])]
    meeting = [p for p in found if bounds.met(p)]
    if not meeting:
        raise _refusal(min(found, key=lambda p: (max(p.loss.points, bounds.max_loss), p.flash)), bounds, case)
    plain = references[0]
    no_more = [p for p in meeting if p.surely_no_more(plain)]
    better = [p for p in no_more if (p.flash, p.instructions) != (plain.flash, plain.instructions)]

    def worth(p: Point) -> tuple[float, ...]:
        caution = 1 + CAUTION * p.loss.points / bounds.max_loss
        return caution * _price(p, goal, made.isa.pace), p.flash, p.loss.points

    from_here = better or [p for p in kept if p in no_more] or [p for p in kept if bounds.met(p)] or meeting
    chosen = min(from_here, key=worth)
    return Front(name, target.name, goal, bounds.max_loss, case.judge.classes, len(case.judge.measured),
                 tuple(sorted(kept if chosen in kept else [*kept, chosen], key=lambda p: (p.flash, p.instructions))),
                 tuple(references), chosen,
                 tuple(_rows(case, made, whole, alone, chosen)))


def _rows(case: Court, made: Space, whole: Array, alone: Shifts, chosen: Point) -> Iterator[Row]:
    """What became of each layer."""
    nodes, base = case.prepared.layers.producer(), case.judge.loss(whole).points
    for layer, options in zip(made.layers, made.options, strict=True):
        formats, goal = chosen.recipe.of(layer), chosen.recipe.goals.get(layer, made.goal)
        fitting = [o for o in options if o.formats == formats] or list(options)
        kernel = chosen.recipe.kernels.get(layer, "")
        option = next((o for o in fitting if o.goal == goal and o.named == bool(kernel) and kernel in ("", o.kernel)),
                      fitting[0])
        plain = options[0]
        shift = alone.get(layer, {}).get(formats)
        loss = 0.0 if shift is None else case.judge.loss(whole + shift).points - base
        node = nodes[layer]
        yield Row(layer, node.op.name, comment(" + ".join(node.origin), 70), formats.activations, formats.weights, goal,
                  option.kernel, round(option.instructions), option.constants, plain.kernel,
                  round(plain.instructions), plain.constants, loss)


def _refusal(best: Point, bounds: Bounds, case: Court) -> AotError:
    budgets = [f"{value:,} {what}" for value, what in (
        (bounds.flash, "bytes of flash"), (bounds.ram, "bytes of RAM"), (bounds.instructions, "instructions"))
        if value is not None]
    return AotError(
        f"no choice of formats was found that loses at most {bounds.max_loss:g} points"
        f"{' within ' + ', '.join(budgets) if budgets else ''}: the best one loses {best.loss.points:.2f} "
        f"(expected {best.loss.expected:.2f}) and needs {best.flash:,} bytes of flash, {best.arena:,} of RAM and "
        f"{best.instructions:,} instructions, by estimate",
        "raise --max-loss or the budgets" + (
            f", or give more samples than {len(case.judge.measured)} to judge by: --judge FILE"
            if len(case.judge.measured) < 500 else ""))


def _words(recipe: Recipe) -> str:
    """How many layers have which formats."""
    return ", ".join(f"{count} {formats}" for formats, count in summary(recipe).items())
