"""A budget of flash: goals of layers by what they save, and estimates that hold on boards."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import aot
from aot.bench import bench
from aot.compiler import Net
from aot.errors import AotError
from aot.flash import program_flash

CNN = Path(__file__).parents[1] / "examples" / "digits_cnn"


def compiled(flash: int | None = None, **options: object) -> Net:
    samples = dict(np.load(CNN / "calib.npz"))
    return aot.compile(CNN / "model.onnx", data=samples, name="digits", target="cortex-m4", flash=flash, **options)


def flash(net: Net) -> int:
    return program_flash(net.program, net.options.optimize).total


def test_a_budget_is_met_at_the_least_cost() -> None:
    """The smaller the budget, the more instructions."""
    free = compiled(optimize="speed")
    small = compiled(optimize="size")
    assert flash(small) < flash(free)
    budgets = np.linspace(flash(free), flash(small), 5).astype(int)
    found = [compiled(int(b), optimize="speed") for b in budgets]
    assert all(flash(n) <= b for n, b in zip(found, budgets, strict=True))
    counts = [n.report.instructions for n in found]
    assert all(b > 0.99 * a for a, b in pairwise(counts))
    assert counts[0] <= free.report.instructions < counts[-1]
    assert any({r.goal for r in n.report.rows} != {n.options.optimize} for n in found)  # layers of several goals
    x = np.random.default_rng(0).integers(-128, 128, (3, *free.graph.values[free.graph.inputs[0]].type.shape[1:]))
    for net in found[1:]:
        np.testing.assert_array_equal(net.run_quantized(x), free.run_quantized(x))


def test_what_fits_stays_as_it_is() -> None:
    """A budget that binds nothing made the whole network one for a smaller goal."""
    free, roomy = compiled(optimize="speed"), compiled(10 ** 6, optimize="speed")
    assert roomy.files["src/digits.c"] == free.files["src/digits.c"]


def test_a_budget_that_cannot_be_met_is_refused_with_what_is_needed() -> None:
    least = flash(compiled(optimize="size"))
    with pytest.raises(AotError, match=r"needs \d+ bytes of flash, \d+ for weights and tables and an estimated \d+ "
                                       r"at most for code, the budget is 3000") as refused:
        compiled(3000)
    need = int(str(refused.value).split("needs ")[1].split()[0])
    assert 3000 < need <= least
    assert flash(compiled(need, optimize="size")) <= need


def test_memory_and_flash_together() -> None:
    free = compiled(optimize="speed")
    both = compiled(flash(free), optimize="speed", ram=free.report.arena * 8 // 10)
    assert both.report.arena <= free.report.arena * 8 // 10
    assert flash(both) <= flash(free)


@pytest.mark.emulator
def test_linked_programs_fit_their_budgets() -> None:
    free, small = compiled(optimize="speed"), compiled(optimize="size")
    for budget in np.linspace(flash(free), flash(small), 3).astype(int):
        made = bench(compiled(int(budget), optimize="speed"))
        assert made.code + made.weights <= budget
