"""Regular parts of axes, and which part of its input a sliding window reads."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd


@dataclass(frozen=True)
class Part:
    """Indices ``first``, ``first + step``, ... of an axis, ``count`` of them, in rising order; of one index, step 1."""

    first: int
    count: int
    step: int = 1

    def __post_init__(self) -> None:
        if self.count == 1:
            object.__setattr__(self, "step", 1)

    @property
    def last(self) -> int:
        """The largest index."""
        return self.first + (self.count - 1) * self.step

    def hull(self, other: Part) -> Part:
        """The least part that has all indices of both."""
        first, last = min(self.first, other.first), max(self.last, other.last)
        step = gcd(self._step(), other._step(), abs(self.first - other.first)) or 1
        return Part(first, (last - first) // step + 1, step)

    def _step(self) -> int:
        return self.step if self.count > 1 else 0

    def within(self, size: int) -> Part | None:
        """What of it lies in an axis of that size; None if nothing does."""
        low = max(0, -(self.first // self.step))
        high = min(self.count - 1, (size - 1 - self.first) // self.step)
        return Part(self.first + low * self.step, high - low + 1, self.step) if low <= high else None

    def moved(self, by: int) -> Part:
        """All indices larger by a number."""
        return Part(self.first + by, self.count, self.step)

    def filled(self, step: int) -> Part:
        """Indices from its first to its last in smaller steps, of which its own are a multiple."""
        return Part(self.first, (self.last - self.first) // step + 1, step)

    def inside(self, other: Part) -> Part:
        """Where it is in another part that has all its indices."""
        return Part((self.first - other.first) // other.step, self.count, max(1, self.step // other.step))


#: A part of each axis.
Parts = tuple[Part, ...]


def whole(shape: tuple[int, ...]) -> Parts:
    """All of a tensor."""
    return tuple(Part(0, size) for size in shape)


def hulls(a: Parts, b: Parts) -> Parts:
    """What has all indices of both, axis by axis."""
    return tuple(x.hull(y) for x, y in zip(a, b, strict=True))


@dataclass(frozen=True)
class Reach:
    """A window along one axis: kernel, stride, dilation, padding before."""

    kernel: int
    stride: int
    dilation: int
    before: int

    def taps(self, out: Part) -> Part:
        """The indices which some outputs read, or a hull of them; those outside of the input are padding."""
        first, stride = out.first * self.stride - self.before, out.step * self.stride
        last = first + (out.count - 1) * stride + (self.kernel - 1) * self.dilation
        step = gcd(stride if out.count > 1 else 0, self.dilation if self.kernel > 1 else 0) or 1
        return Part(first, (last - first) // step + 1, step)

    def on(self, out: Part, given: Part) -> tuple[Reach, int] | None:
        """The same outputs, all of them, from a part of the input that has what they read; and the padding behind.

        None if no window reads just that from this part.
        """
        taps = self.taps(out)
        step = given.step if given.count > 1 else taps.step
        before, after = (given.first - taps.first) // step, max(0, (taps.last - given.last) // step)
        if (taps.count > 1 and taps.step % step) or (taps.first - given.first) % step or before < 0:
            return None
        stride = out.step * self.stride // step if out.count > 1 else 1
        dilation = self.dilation // step if self.kernel > 1 else 1
        count = (before + given.count + after - (self.kernel - 1) * dilation - 1) // stride + 1
        return (Reach(self.kernel, stride, dilation, before), after) if count == out.count else None
