"""The Program: which C function touches which bytes, in which order."""

from __future__ import annotations

from dataclasses import dataclass

from aot.ir import Array
from aot.ops.base import Site


@dataclass(frozen=True)
class Buffer:
    """A stretch of the arena, needed from step ``first`` to step ``last``, both included."""

    name: str
    nbytes: int
    align: int
    first: int
    last: int


@dataclass(frozen=True)
class Sharing:
    """Permission for buffer ``output`` to overlap buffer ``input``, whose last use is ``output``'s first step.

    Either they do not overlap at all, or ``offset(input) - offset(output) >= distance``; with ``exact``, only
    ``offset(input) == offset(output)``.
    """

    input: str
    output: str
    distance: int
    exact: bool
