"""Arithmetic in float32, operation by operation as C does it: the numpy twin of ``runtime_c/aot_float.h``.

Every function takes and gives float32 arrays; constants are rounded to float32 where they meet them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aot.ir import Array
from aot.ops.base import Clamp

NAN, MINUS_INFINITY = np.float32(np.nan), np.float32(-np.inf)
LARGEST, SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)


def f32(x: Any) -> Array:
    """As a float32 array."""
    return np.asarray(x, np.float32)


def horner(z: Array, *coefficients: float) -> Array:
    """A polynomial, the highest power's coefficient first; each step rounded twice."""
    p = np.full_like(z, coefficients[0])
    for c in coefficients[1:]:
        p = f32(c) + p * z
    return p


def limit(x: Array, clamp: Clamp) -> Array:
    """The fused activation: ``aot_at_least``, then ``aot_at_most``."""
    low, high = clamp
    if low is not None:
        x = np.where(x < f32(low), f32(low), x)
    return x if high is None else np.where(x > f32(high), f32(high), x)


def floor(x: Array) -> Array:
    """``aot_floor``."""
    small = (x > -8388608) & (x < 8388608)
    whole = np.where(small, x, 0).astype(np.int32).astype(np.float32)
    return np.where(small, np.where(whole > x, whole - f32(1), whole), x)


def nearest(x: Array) -> Array:
    """``aot_nearest``."""
    low = floor(x)
    rest = x - low
    even = floor(low * f32(0.5)) * f32(2) == low
    return np.where(rest < 0.5, low, np.where(rest > 0.5, low + f32(1), np.where(
        rest == 0.5, np.where(even, low, low + f32(1)), x)))


def power_of_two(n: Array) -> Array:
    """2**n for integers n of normal numbers."""
    return np.asarray(((n + 127).astype(np.uint32) << np.uint32(23)).view(np.float32))


def exp(x: Array) -> Array:
    """``aot_exp``."""
    y = limit(np.where(np.isnan(x), f32(0), x), (-105.0, 90.0))
    n = floor(f32(0.5) + y * f32(1.44269504))
    r = y + n * f32(-0.693359375)
    r = r + n * f32(2.12194440e-4)
    p = horner(r, 1.98412698e-4, 1.38888889e-3, 8.33333333e-3, 4.16666667e-2, 1.66666667e-1, 0.5, 1.0, 1.0)
    power = n.astype(np.int32)
    half = power >> 1
    return np.where(np.isnan(x), x, p * power_of_two(half) * power_of_two(power - half))


def expm1(x: Array) -> Array:
    """``aot_expm1``."""
    near = x * horner(x, 2.48015873e-5, 1.98412698e-4, 1.38888889e-3, 8.33333333e-3, 4.16666667e-2, 1.66666667e-1, 0.5,
                      1.0)
    return np.where(absolute(x) < 0.5, near, exp(x) - f32(1))


def log(x: Array) -> Array:
    """``aot_log``."""
    normal = (x > 0) & (x <= f32(LARGEST))
    y = np.where(normal, x, f32(1))
    tiny = y < f32(SMALLEST)
    y = np.where(tiny, y * f32(8388608), y)
    bits = y.view(np.uint32).astype(np.int64)
    power = (bits - 0x3F3504F3) >> 23
    m = (bits - (power << 23)).astype(np.uint32).view(np.float32)
    exponent = np.where(tiny, f32(-23), f32(0)) + power.astype(np.float32)
    s = (m - f32(1)) / (m + f32(1))
    p = f32(2) * s * horner(s * s, 0.111111111, 0.142857143, 0.2, 0.333333333, 1.0)
    p = p + exponent * f32(-2.12194440e-4)
    p = p + exponent * f32(0.693359375)
    return np.where(normal, p, np.where(x == 0, MINUS_INFINITY, np.where(x > 0, x, NAN)))


def sqrt(x: Array) -> Array:
    """``aot_sqrt``."""
    normal = (x > 0) & (x <= f32(LARGEST))
    y = np.where(normal, x, f32(1))
    root: Array = ((y.view(np.uint32) >> np.uint32(1)) + np.uint32(0x1FBD1DF5)).view(np.float32)
    for _ in range(4):
        root = f32(0.5) * (root + y / root)
    return np.where(normal, root, np.where(x < 0, NAN, x))


def absolute(x: Array) -> Array:
    """``aot_abs``."""
    return np.where(x < 0, -x, x)


def signed(y: Array, x: Array) -> Array:
    """y with the sign of x."""
    return np.where(x < 0, -y, y)


def tanh(x: Array) -> Array:
    """``aot_tanh``."""
    size = absolute(x)
    near = x * horner(x * x, 0.0218694885, -0.0539682540, 0.133333333, -0.333333333, 1.0)
    far = signed(f32(1) - f32(2) / (exp(f32(2) * size) + f32(1)), x)
    return np.where(size >= f32(0.25), far, near)


def sigmoid(x: Array) -> Array:
    """``aot_sigmoid``."""
    return np.asarray(f32(1) / (f32(1) + exp(-x)))


def erf(x: Array) -> Array:
    """``aot_erf``."""
    size, z = absolute(x), x * x
    near = horner(z, -7.57575758e-4, 4.62962963e-3, -2.38095238e-2, 0.1, -0.333333333, 1.0)
    t = f32(1) / (f32(1) + f32(0.3275911) * size)
    p = horner(t, 1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592) * t
    far = signed(f32(1) + -p * exp(-z), x)
    return np.where(size >= 0.5, far, f32(1.12837917) * x * near)


def sine(x: Array, quarters: int) -> Array:
    """``aot_sine``."""
    fine = (x > -32768) & (x < 32768)
    y = np.where(fine, x, f32(0))
    n = floor(f32(0.5) + y * f32(0.636619772))
    r = y + n * f32(-1.5703125)
    r = r + n * f32(-4.83751297e-4)
    r = r + n * f32(-7.54978995e-8)
    turns, z = n.astype(np.int32) + quarters, r * r
    odd = horner(z, 2.75573192e-6, -1.98412698e-4, 8.33333333e-3, -0.166666667, 1.0) * r
    even = horner(z, -2.75573192e-7, 2.48015873e-5, -1.38888889e-3, 4.16666667e-2, -0.5, 1.0)
    p = np.where(turns & 1 == 0, odd, even)
    return np.where(fine, np.where(turns & 2 == 0, p, -p), NAN)


def atan(x: Array) -> Array:
    """``aot_atan``."""
    y = absolute(x)
    steep = y > 1
    y = np.where(steep, f32(1) / y, y)
    middle = y > f32(0.414213562)
    y = np.where(middle, (y - f32(1)) / (y + f32(1)), y)
    p = horner(y * y, 0.0588235294, -0.0666666667, 0.0769230769, -0.0909090909, 0.111111111, -0.142857143, 0.2,
               -0.333333333, 1.0) * y
    p = np.where(middle, p + f32(0.785398163), p)
    return signed(np.where(steep, f32(1.57079633) - p, p), x)


def softplus(x: Array) -> Array:
    """``aot_softplus``."""
    return limit(x, (0.0, None)) + log(f32(1) + exp(-absolute(x)))


def power(x: Array, exponent: float, whole: int) -> Array:
    """``aot_power``."""
    if whole == 0:
        return np.ones_like(x) if exponent == 0 else exp(f32(exponent) * log(x))
    y = np.ones_like(x)
    for _ in range(abs(whole)):
        y = y * x
    return f32(1) / y if whole < 0 else y


def whole_power(exponent: float) -> int:
    """The exponent if it is a small whole number, else 0."""
    return int(exponent) if exponent == int(exponent) and abs(exponent) <= 16 else 0


#: Functions of one element, by their name in ``unary``: a C expression of x and parameters P0, P1, and its twin.
FUNCTIONS: Mapping[str, tuple[str, Callable[..., Array]]] = {
    "identity": ("x", lambda x: x),
    "abs": ("aot_abs(x)", absolute),
    "neg": ("-x", lambda x: -x),
    "exp": ("aot_exp(x)", exp),
    "sqrt": ("aot_sqrt(x)", sqrt),
    "reciprocal": ("1.0f / x", lambda x: f32(1) / x),
    "log": ("aot_log(x)", log),
    "sin": ("aot_sine(x, 0)", lambda x: sine(x, 0)),
    "cos": ("aot_sine(x, 1)", lambda x: sine(x, 1)),
    "atan": ("aot_atan(x)", atan),
    "erf": ("aot_erf(x)", erf),
    "sign": ("(float)((x > 0.0f) - (x < 0.0f))", lambda x: (x > 0).astype(np.float32) - (x < 0).astype(np.float32)),
    "floor": ("aot_floor(x)", floor),
    "ceil": ("-aot_floor(-x)", lambda x: -floor(-x)),
    "round": ("aot_nearest(x)", nearest),
    "sigmoid": ("aot_sigmoid(x)", sigmoid),
    "tanh": ("aot_tanh(x)", tanh),
    "softplus": ("aot_softplus(x)", softplus),
    "softsign": ("x / (1.0f + aot_abs(x))", lambda x: x / (f32(1) + absolute(x))),
    "mish": ("x * aot_tanh(aot_softplus(x))", lambda x: x * tanh(softplus(x))),
    "hardswish": ("x * aot_at_most(aot_at_least(x / 6.0f + 0.5f, 0.0f), 1.0f)",
                  lambda x: x * limit(x / f32(6) + f32(0.5), (0.0, 1.0))),
    "hardsigmoid": ("aot_at_most(aot_at_least(aot_add_product(P1, P0, x), 0.0f), 1.0f)",
                    lambda x, a, b: limit(f32(b) + f32(a) * x, (0.0, 1.0))),
    "leakyrelu": ("x < 0.0f ? P0 * x : x", lambda x, a: np.where(x < 0, f32(a) * x, x)),
    "elu": ("x < 0.0f ? P0 * aot_expm1(x) : x",
            lambda x, a: np.where(x < 0, f32(a) * expm1(x), x)),
    "celu": ("x < 0.0f ? P0 * aot_expm1(x / P0) : x",
             lambda x, a: np.where(x < 0, f32(a) * expm1(x / f32(a)), x)),
    "selu": ("P1 * (x < 0.0f ? P0 * aot_expm1(x) : x)",
             lambda x, a, g: f32(g) * np.where(x < 0, f32(a) * expm1(x), x)),
    "thresholdedrelu": ("x > P0 ? x : 0.0f", lambda x, a: np.where(x > f32(a), x, f32(0))),
    "gelu": ("0.5f * x * (1.0f + aot_erf(x * 0.707106781f))",
             lambda x: f32(0.5) * x * (f32(1) + erf(x * f32(0.707106781)))),
    "gelu_tanh": ("0.5f * x * (1.0f + aot_tanh(0.797884561f * aot_add_product(x, 0.044715f * x * x, x)))",
                  lambda x: f32(0.5) * x * (f32(1) + tanh(f32(0.797884561) * (x + f32(0.044715) * x * x * x)))),
    "pow": ("aot_power(x, P0, WHOLE)", lambda x, e: power(x, e, whole_power(e))),
}
