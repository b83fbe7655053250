"""Numbers for the channels of values, such that what must be treated alike has one number."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from aot.ir import Array


class Ties:
    """Channels that were tied get the same number; number 0 is that of all which must be left as they are."""

    def __init__(self) -> None:
        self._parent = [0]

    def new(self, channels: int) -> Array:
        """Numbers for a value."""
        first = len(self._parent)
        self._parent += range(first, first + channels)
        return np.arange(first, len(self._parent))

    def find(self, i: int) -> int:
        """The number that stands for this one."""
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def tie(self, some: Iterable[int], others: Iterable[int]) -> None:
        """One number for each pair."""
        for i, k in zip(some, others, strict=True):
            low, high = sorted((self.find(int(i)), self.find(int(k))))
            self._parent[high] = low

    def fix(self, some: Iterable[int]) -> None:
        """Number 0 for all of them."""
        for i in some:
            self.tie([i], [0])

    def settled(self, numbers: Array) -> Array:
        """The numbers that stand for these."""
        return np.array([self.find(int(i)) for i in numbers], np.int64)
