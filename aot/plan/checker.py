"""Judges a plan, whoever made it: step by step, pair by pair. Shares no code with the planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from aot.errors import AotError
from aot.program import Buffer, Sharing


def check(buffers: Sequence[Buffer], sharings: Sequence[Sharing], offsets: Mapping[str, int], size: int) -> None:
    """Raise AotError unless every buffer keeps its bytes to itself while it lives, but for permitted sharing.

    ``offsets`` and ``size`` are in bytes. A sharing permits an overlap only in the one step in which the input is
    last used and the output first, a progressive one from that step on; where several name the same pair, each of them
    must permit it.
    """
    if len({b.name for b in buffers}) < len(buffers):
        raise _error("two buffers have the same name")
    for b in buffers:
        _check_alone(b, offsets, size)
    # Two buffers meet for the first time when the younger one is born, so other steps show nothing new.
    for step in sorted({b.first for b in buffers}):
        live = [b for b in buffers if b.first <= step <= b.last]
        for a, b in combinations(live, 2):
            if _overlap(a, b, offsets) and not _permitted(a, b, step, sharings, offsets):
                raise _error(f"buffers {a.name!r} and {b.name!r} overlap in step {step}")


def _check_alone(b: Buffer, offsets: Mapping[str, int], size: int) -> None:
    """One buffer by itself: it has a life, and an offset that is aligned and inside the arena."""
    if b.nbytes < 0 or b.align < 1 or b.first > b.last:
        raise _error(f"buffer {b.name!r} makes no sense: {b}")
    if b.name not in offsets:
        raise _error(f"buffer {b.name!r} has no offset")
    start = offsets[b.name]
    if start < 0 or start + b.nbytes > size:
        raise _error(f"buffer {b.name!r}, alive from step {b.first}, lies at {start}..{start + b.nbytes}, "
                     f"outside the arena of {size} bytes")
    if start % b.align:
        raise _error(f"buffer {b.name!r} lies at {start}, which is not a multiple of {b.align}")


def _overlap(a: Buffer, b: Buffer, offsets: Mapping[str, int]) -> bool:
    """Whether two buffers have a byte in common."""
    start = max(offsets[a.name], offsets[b.name])
    end = min(offsets[a.name] + a.nbytes, offsets[b.name] + b.nbytes)
    return start < end


def _permitted(a: Buffer, b: Buffer, step: int, sharings: Sequence[Sharing], offsets: Mapping[str, int]) -> bool:
    """Whether all sharings that name the two buffers allow them to lie as they do; False if none names them."""
    verdicts = []
    for before, after in ((a, b), (b, a)):
        for s in sharings:
            if (s.input, s.output) == (before.name, after.name):
                distance = offsets[before.name] - offsets[after.name]
                good = distance == 0 if s.exact else distance >= s.distance
                verdicts.append(good and (before.last == step == after.first
                                          or (s.progressive and before.first < after.first <= step)))
    return bool(verdicts) and all(verdicts)


def _error(fact: str) -> AotError:
    return AotError(f"internal error: the memory plan is wrong: {fact}", "please report this with the model")
