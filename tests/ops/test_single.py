"""Float32 functions of our own: near the true ones, everywhere and at the ends."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import PARAMETERS

from aot.ir import Array
from aot.ops.single import FUNCTIONS
from aot.ops.unary import FUNCTIONS as MEANINGS

#: What is defined for positive numbers only.
POSITIVE = ("sqrt", "log")


def points(name: str) -> Array:
    """Numbers of all sizes that networks see, dense around 0."""
    ends = [0.25, 0.5, 1.0, 1.5, 2.5, 8388607]
    sizes = np.concatenate([np.linspace(0, 12, 4001), np.geomspace(1e-6, 80, 4001), ends])
    x = sizes if name in POSITIVE else np.concatenate([-sizes, sizes])
    if name in ("reciprocal", "log"):
        x = x[x != 0]
    if name in ("pow", "exp", "sin", "cos", "gelu_tanh"):
        x = x[np.abs(x) < 100]
    return x.astype(np.float32)


def test_every_function_has_one() -> None:
    assert {*FUNCTIONS, "clip"} == set(MEANINGS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_near_the_true_function(name: str) -> None:
    x = points(name)
    with np.errstate(all="ignore"):
        found = FUNCTIONS[name][1](x, *PARAMETERS.get(name, ()))
        exact = np.asarray(MEANINGS[name](x.astype(np.float64), *PARAMETERS.get(name, ())))
    assert found.dtype == np.float32
    usable = np.abs(exact) < 3e38
    # relative to the number or, where it comes out of numbers near 1 or of the input's size, to those
    size = np.maximum.reduce([np.abs(exact), np.minimum(np.abs(x), 1), np.full_like(exact, 1e-30)])
    error = (np.abs(found - exact) / size)[usable]
    assert error.max() < 1e-6, (x[usable][error.argmax()], error.max())


def test_at_the_ends() -> None:
    def one(name: str, x: float) -> float:
        with np.errstate(all="ignore"):
            return float(FUNCTIONS[name][1](np.array([x], np.float32), *PARAMETERS.get(name, ()))[0])

    assert one("exp", -200) == 0 and one("exp", 89) > 1e38 and one("exp", 200) == np.inf and one("exp", 0) == 1
    assert np.isnan(one("exp", np.nan)) and one("log", 0) == -np.inf and np.isnan(one("log", -1))
    assert one("log", np.inf) == one("sqrt", np.inf) == np.inf and one("sqrt", 0) == 0 and np.isnan(one("sqrt", -1))
    assert one("tanh", 100) == one("erf", 100) == one("sigmoid", 200) == 1 and one("sigmoid", -200) == 0
    assert one("round", 2.5) == 2 and one("round", -3.5) == -4 and one("floor", -0.5) == -1 and one("ceil", 0.5) == 1
    assert one("floor", 1e30) == float(np.float32(1e30)) and np.isnan(one("sin", 1e6))
