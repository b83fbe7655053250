"""What work costs: instructions for each kind of work of each kernel, and bytes of its code.

``make costs`` measures layers on the emulated boards and fits prices to what they took. They are kept in
``prices``, a file for each instruction set; docs/costs.md says what errors are left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files

#: How often a kernel does what, for one inference: kind of work -> count.
Work = Mapping[str, float]

_FITTED = [json.loads(file.read_text(encoding="utf-8"))
           for file in sorted(files("aot").joinpath("prices").iterdir(), key=lambda f: f.name)
           if file.name.endswith(".json")]
#: Kernel (plain ones: @ instruction set, goal) -> kind of work -> instructions.
INSTRUCTIONS: dict[str, dict[str, float]] = {
    name: row for part in _FITTED for name, row in part["instructions"].items()}
#: Instruction set, goal -> kernel -> bytes of code: of a layer's function, of one for each shape, and of each piece of
#: either that is made for the shape; and the names of library functions that they call. "": bytes of the run function,
#: and of each call in it.
CODE: dict[str, dict[str, tuple[int, int, float, tuple[str, ...]]]] = {
    goal: {name: (own, shape, piece, tuple(library)) for name, (own, shape, piece, library) in rows.items()}
    for part in _FITTED for goal, rows in part["code"].items()}
#: Instruction set, goal -> bytes of library functions: those of ``runtime_c`` that are not inlined, and the compiler's.
LIBRARY: dict[str, dict[str, int]] = {goal: rows for part in _FITTED for goal, rows in part["library"].items()}
#: Rows of ``INSTRUCTIONS`` -> their mean relative error over the measured layers.
ERRORS: dict[str, float] = {name: share for part in _FITTED for name, share in part["errors"].items()}
#: Goal -> the share, besides ``SLACK``, by which hardly any measured network's code exceeds its estimate.
MARGIN: dict[str, float] = {goal: share for part in _FITTED for goal, share in part["margin"].items()}

#: Bytes, and the share of the estimate which those are at most, that any code may take more.
SLACK = (300, 0.4)

#: What an operator's own kernel costs where it has not been measured.
PLAIN: Work = {"layer": 30, "macs": 8, "outputs": 12, "places": 8}
#: A residual added to an output's sum, as it is and cut off at 0, where that has not been measured.
RESIDUAL: Work = {"residual": 4, "rectified": 7}


#: The relative error of estimates that were not compared with anything.
UNKNOWN = 0.2


@dataclass(frozen=True)
class Code:
    """Bytes of code: a layer's own function, one for each shape, a piece of what is made for the shape, and by name
    library functions, which all share."""

    own: int
    shape: int = 0
    piece: float = 0.0
    library: Mapping[str, int] = field(default_factory=dict)


#: What a function takes where its kernel has not been measured, and a piece of it.
PLAIN_CODE, PIECE = Code(250), 42.0
#: Goals whose code is most alike, that of a goal itself first.
_ALIKE = {"speed": ("speed", "balanced", "size"), "balanced": ("balanced", "size", "speed"),
          "size": ("size", "balanced", "speed")}


def priced_as(isa: str) -> str:
    """The instruction set whose prices hold: a plain one, where nothing is known of the processor."""
    return "plain" if isa in ("c99", "host") else isa


def measured(kernel: str) -> str:
    """The kernel whose prices one has that is much like it."""
    return kernel.removesuffix("_unrolled").removesuffix("_wide")


def priced_by(kernel: str, isa: str, goal: str) -> str:
    """The row of ``INSTRUCTIONS`` that a kernel's prices stand in; "" if it has none."""
    rows = (measured(kernel), f"{kernel}@{priced_as(isa)}, {goal}")
    return next((row for row in rows if row in INSTRUCTIONS), "")


def estimate(kernel: str, isa: str, goal: str, work: Work) -> float:
    """Instructions which the work takes on an instruction set, where the kernel favours a goal."""
    prices = INSTRUCTIONS.get(priced_by(kernel, isa, goal), PLAIN)
    return sum((prices.get(kind) or RESIDUAL[kind]) * count for kind, count in work.items() if count)


def sized_as(kernel: str) -> str:
    """The kernel whose layers' functions are as large: one that differs in a function for each shape only."""
    return kernel.replace("_unrolled", "")


@cache
def code(kernel: str, isa: str, goal: str) -> Code:
    """Bytes of code, compiled for a goal, of a kernel; words behind its name say which variant of it.

    What was not measured takes as much as what is most alike: the kernel for another goal, its plain variant, the
    kernel that it was made from, or the largest for another instruction set.
    """
    name = sized_as(kernel)
    plain = name.partition(" ")[0]
    names = (name, plain, plain.removesuffix("_wide"))
    for like in names:
        for row in (f"{priced_as(isa)}, {other}" for other in _ALIKE[goal]):
            if like in CODE.get(row, {}):  # a kernel's pieces are not those of the one that it was made from
                return _code(row, like) if like in names[:2] else replace(_code(row, like), piece=PIECE)
    others = [_code(row, like) for like in names for row in CODE if like in CODE[row] and row.endswith(goal)]
    return max(others, key=lambda c: c.own, default=PLAIN_CODE)


def _code(row: str, kernel: str) -> Code:
    own, shape, piece, library = CODE[row][kernel]
    return Code(own, shape, piece, {function: LIBRARY[row][function] for function in library})


def at_most(code: float, share: float) -> float:
    """An estimate of bytes of code, raised to what it may be; ``share``: that of ``MARGIN``."""
    most, part = SLACK
    return code * (1 + share) + min(most, part * code)


def run_code(isa: str, goal: str) -> tuple[int, int]:
    """Bytes of the run function, and of each call in it."""
    start, call, *_ = CODE[f"{priced_as(isa)}, {goal}"][""]
    return start, call
