"""What tests share of their compilations is what they would have computed themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from once import PREPARE, QUANTIZE, WITHIN, Once, compiled_once
from road import cnn, draws

import aot
from aot import compiler
from aot.prepare import Prepared


def test_a_function_is_called_once_for_what_it_is_given(tmp_path: Path) -> None:
    calls: list[tuple[int, ...]] = []

    def add(*numbers: int) -> int:
        calls.append(numbers)
        if not all(numbers):
            raise ValueError
        return sum(numbers)

    for _ in range(2):  # as two processes would
        once = Once(tmp_path)
        assert [once(add, 1, 2), once(add, 1, 3), once(add, 1, 2)] == [3, 4, 3]
        with pytest.raises(ValueError):
            once(add, 0)
    assert calls == [(1, 2), (1, 3), (0,), (0,)]


@pytest.mark.parametrize("ram", [None, 1700])
def test_the_same_files_with_and_without(ram: int | None, tmp_path: Path) -> None:
    """Where nothing is there yet, where everything is, and where all is but what another goal changes."""
    told: list[tuple[str, int, int]] = []

    def compiled(optimize: str) -> Mapping[str, str]:
        told.clear()
        return aot.compile(cnn(), draws(cnn(), 24), name="cnn", target="cortex-m4", ram=ram, optimize=optimize,
                           progress=lambda *step: told.append(step)).files

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "prepare", PREPARE)
        patch.setattr(Prepared, "quantize", QUANTIZE)
        patch.setattr(compiler, "within", WITHIN)
        expected, ticks, small = compiled("balanced"), [*told], compiled("size")
    for _ in range(2):  # as two processes would
        with compiled_once(tmp_path):
            assert compiled("balanced") == expected and told == ticks != []
            assert compiled("size") == small != expected
    assert len([*tmp_path.glob("*.lock")]) == 4
