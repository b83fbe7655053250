"""Judges a plan, whoever made it, by marking the bytes of the arena step by step. Shares no code with the planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aot.errors import AotError
from aot.program import Buffer, Sharing


def check(buffers: Sequence[Buffer], sharings: Sequence[Sharing], offsets: Mapping[str, int], size: int) -> None:
    """Raise AotError unless every buffer keeps its bytes to itself while it lives, but for permitted sharing.

    ``offsets`` and ``size`` are in bytes. A sharing permits an overlap only in the one step in which the input is
    last used and the output first; where several name the same pair, each of them must permit it.
    """
    for b in buffers:
        _sound(b, offsets, size)
    if len({b.name for b in buffers}) < len(buffers):
        raise _error("two buffers have the same name")
    permissions: dict[tuple[str, str], list[Sharing]] = {}
    for s in sharings:
        permissions.setdefault((s.input, s.output), []).append(s)
    ending = {b.name: b.last for b in buffers}
    beginning = {b.name: b.first for b in buffers}

    def permitted(one: str, other: str, step: int) -> bool:
        """Whether two buffers that overlap in a step may do so, with ``one`` as input or as output."""
        for before, after in ((one, other), (other, one)):
            given = permissions.get((before, after), [])
            if given and ending[before] == step == beginning[after]:
                distance = offsets[before] - offsets[after]
                return all(distance == 0 if s.exact else distance >= s.distance for s in given)
        return False

    for step in sorted(set(beginning.values())):
        owner = np.full(size, -1, np.int64)
        shared: list[int] = []
        for index, b in enumerate(buffers):
            if not b.first <= step <= b.last or b.nbytes == 0:
                continue
            mine = owner[offsets[b.name]:offsets[b.name] + b.nbytes]
            # A buffer of several owners is remembered beside the map, which has room for one owner a byte.
            met = {int(i) for i in np.unique(mine) if i >= 0}
            met |= {i for i in shared if _touch(buffers[i], b, offsets)}
            for i in sorted(met):
                if not permitted(buffers[i].name, b.name, step):
                    raise _error(f"buffers {buffers[i].name!r} and {b.name!r} overlap in step {step}")
            shared += sorted(met - set(shared))
            mine[:] = index


def _touch(a: Buffer, b: Buffer, offsets: Mapping[str, int]) -> bool:
    return len(range(max(offsets[a.name], offsets[b.name]),
                     min(offsets[a.name] + a.nbytes, offsets[b.name] + b.nbytes))) > 0


def _sound(b: Buffer, offsets: Mapping[str, int], size: int) -> None:
    """One buffer on its own: it has an offset, aligned and inside the arena, and a life."""
    if b.nbytes < 0 or b.align < 1 or b.first > b.last:
        raise _error(f"buffer {b.name!r} makes no sense: {b}")
    if b.name not in offsets:
        raise _error(f"buffer {b.name!r} has no offset")
    offset = offsets[b.name]
    if offset < 0 or offset + b.nbytes > size:
        raise _error(f"buffer {b.name!r} lies at {offset}..{offset + b.nbytes}, outside the arena of {size} bytes, "
                     f"from step {b.first} on")
    if offset % b.align:
        raise _error(f"buffer {b.name!r} lies at {offset}, which is not a multiple of {b.align}")


def _error(fact: str) -> AotError:
    return AotError(f"internal error: the memory plan is wrong: {fact}", "please report this with the model")
