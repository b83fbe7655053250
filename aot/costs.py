"""What work costs: instructions for each kind of work of each kernel, and bytes of its code.

``make costs`` measures layers on the emulated boards and fits prices to what they took. They are kept in
``prices``, a file for each instruction set; docs/costs.md says what errors are left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files

#: How often a kernel does what, for one inference: kind of work -> count.
Work = Mapping[str, float]

_FITTED = [json.loads(file.read_text(encoding="utf-8"))
           for file in sorted(files("aot").joinpath("prices").iterdir(), key=lambda f: f.name)
           if file.name.endswith(".json")]
#: Kernel (plain ones: @ instruction set, goal) -> kind of work -> instructions.
INSTRUCTIONS: dict[str, dict[str, float]] = {
    name: row for part in _FITTED for name, row in part["instructions"].items()}
#: Instruction set, goal -> kernel -> bytes of code: what all its layers share, a layer's function, and
#: one for each shape. "": what every program has, and each call.
CODE: dict[str, dict[str, tuple[int, int, int]]] = {
    goal: {name: (common, own, shape) for name, (common, own, shape) in rows.items()}
    for part in _FITTED for goal, rows in part["code"].items()}
#: Goal -> the largest share by which the code of a measured network exceeds its estimate.
MARGIN: dict[str, float] = {goal: share for part in _FITTED for goal, share in part["margin"].items()}

#: What an operator's own kernel costs where it has not been measured.
PLAIN: Work = {"layer": 30, "macs": 8, "outputs": 12, "places": 8}
PLAIN_CODE = (0, 250, 0)
#: A residual added to an output's sum, as it is and cut off at 0, where that has not been measured.
RESIDUAL: Work = {"residual": 4, "rectified": 7}


#: Goals whose code is most alike, that of a goal itself first.
_ALIKE = {"speed": ("speed", "balanced", "size"), "balanced": ("balanced", "size", "speed"),
          "size": ("size", "balanced", "speed")}


def priced_as(isa: str) -> str:
    """The instruction set whose prices hold: a plain one, where nothing is known of the processor."""
    return "plain" if isa in ("c99", "host") else isa


def measured(kernel: str) -> str:
    """The kernel whose prices one has that is much like it."""
    return kernel.removesuffix("_unrolled").removesuffix("_wide")


def estimate(kernel: str, isa: str, goal: str, work: Work) -> float:
    """Instructions which the work takes on an instruction set, where the kernel favours a goal."""
    plain = f"{kernel}@{priced_as(isa)}, {goal}"
    prices = INSTRUCTIONS.get(measured(kernel)) or INSTRUCTIONS.get(plain) or PLAIN
    return sum((prices.get(kind) or RESIDUAL[kind]) * count for kind, count in work.items() if count)


def code(kernel: str, isa: str, goal: str) -> tuple[int, int, int]:
    """Bytes of code, compiled for a goal: what all layers of a kernel share, a layer's function, one for each shape."""
    for like in _ALIKE[goal]:
        row = CODE.get(f"{priced_as(isa)}, {like}", {})
        found = row.get(kernel) or row.get(kernel.removesuffix("_wide"))
        if found is not None:
            return found
    others = [row[kernel] for name, row in CODE.items() if kernel in row and name.endswith(goal)]
    return max(others, default=PLAIN_CODE)
