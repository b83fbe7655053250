"""Loops over strided memory, with as few dimensions as the shapes allow: what broadcasting and data movement share."""

from __future__ import annotations

from dataclasses import dataclass

from aot.errors import AotError
from aot.ops.base import Shape

#: The templates' loop nests have this many levels.
MAX_LOOPS = 6


@dataclass(frozen=True)
class Loops:
    """A loop nest, outermost first: trip counts, and for each operand its step in elements at each level."""

    counts: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    def dims(self, names: tuple[str, ...]) -> dict[str, int]:
        """Named numbers ``COUNT_0..``, ``<NAME>_STRIDE_0..`` for a template."""
        out = {f"COUNT_{i}": c for i, c in enumerate(self.counts)}
        for name, steps in zip(names, self.strides, strict=True):
            out.update({f"{name}_STRIDE_{i}": s for i, s in enumerate(steps)})
        return out


def row_major(shape: Shape) -> tuple[int, ...]:
    """Strides in elements of a dense row-major tensor."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def broadcast_strides(shape: Shape, to: Shape) -> tuple[int, ...]:
    """Strides with which a tensor of ``shape`` is read as one of shape ``to`` (numpy broadcasting)."""
    padded = (1,) * (len(to) - len(shape)) + shape
    return tuple(0 if size == 1 else step for size, step in zip(padded, row_major(padded), strict=True))


def collapse(counts: Shape, strides: tuple[tuple[int, ...], ...]) -> Loops:
    """The same accesses with adjacent levels merged where every operand steps evenly through both."""
    levels: list[tuple[int, tuple[int, ...]]] = []
    for i, count in enumerate(counts):
        step = tuple(s[i] for s in strides)
        if count == 1:
            continue
        if levels and all(outer == inner * count for outer, inner in zip(levels[-1][1], step, strict=True)):
            levels[-1] = (levels[-1][0] * count, step)
        else:
            levels.append((count, step))
    if not levels:
        levels = [(1, (0,) * len(strides))]
    if len(levels) > MAX_LOOPS:
        raise AotError(f"this access pattern needs {len(levels)} nested loops, more than {MAX_LOOPS}",
                       "reshape the tensor so that it has fewer dimensions")
    return Loops(tuple(c for c, _ in levels), tuple(zip(*(s for _, s in levels), strict=True)))
