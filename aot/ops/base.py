"""The operator's contract. One operator is one frozen dataclass in this folder and one template of the same name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from aot.builder import Builder
from aot.costs import Work, estimate
from aot.errors import AotError
from aot.ir import FORMATS, Array, Node, Quant, TensorType, Value
from aot.numerics import LIMITS, f32, quantize, span
from aot.targets import Isa

Shape = tuple[int, ...]
#: A fused activation in real numbers: (lower bound or None, upper bound or None).
Clamp = tuple[float | None, float | None]
NO_CLAMP: Clamp = (None, None)
#: Which input of a linear operator is added to its sums of products, behind weights and bias.
RESIDUAL = 3


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """An ONNX node in neutral form: attributes as Python values (arrays for tensors), "" for absent inputs."""

    op_type: str
    name: str
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int

    def attr(self, key: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.attributes.get(key, default)

    def has(self, index: int) -> bool:
        """Whether the optional input is there."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def const(self, b: Builder, index: int, what: str) -> Array | None:
        """The constant behind an optional input; None when absent; refused when known only at run time."""
        if not self.has(index):
            return None
        data = b.const(self.inputs[index])
        if data is None:
            raise AotError(f"{self.op_type} needs a constant {what}; {self.inputs[index]!r} is computed at run time",
                           "make it a constant or an initializer of the model")
        return data

    def ints(self, b: Builder, index: int, key: str) -> tuple[int, ...] | None:
        """Integers which older opsets give as attribute ``key`` and newer ones as constant input ``index``."""
        data = self.attributes.get(key)
        if data is None:
            data = self.const(b, index, key)
        return None if data is None else tuple(int(i) for i in np.asarray(data).reshape(-1))

    def axis(self, rank: int, default: int) -> int:
        """The ``axis`` attribute, counted from the front."""
        axis = int(self.attr("axis", default))
        if not -rank <= axis < max(rank, 1):
            raise AotError(f"axis {axis} lies outside a tensor of rank {rank}")
        return axis % max(rank, 1)


@dataclass(frozen=True, eq=False)
class Site:
    """One use of an operator in a quantized graph: what its kernel may know.

    ``goal`` is what the user favours: speed, balanced or size.
    """

    node: Node
    inputs: tuple[Value, ...]
    output: Value
    isa: Isa
    goal: str = "balanced"

    @property
    def format(self) -> str:
        """The number format in which it computes: that of the output."""
        return self.output.type.format

    @property
    def residual(self) -> Value | None:
        """What a linear operator adds to its sums of products, if it does."""
        return self.inputs[RESIDUAL] if self.node.op.linear and len(self.inputs) > RESIDUAL else None


@dataclass(frozen=True, eq=False)
class Case:
    """A small test case: an operator, its run-time inputs' shapes and its constant inputs by index."""

    op: Op
    shapes: tuple[Shape, ...]
    constants: Mapping[int, Array]
    label: str = ""


def with_residual(work: Work, site: Site) -> Work:
    """A kernel's work, and what it takes to add a residual to sums of products, where there is one."""
    if site.residual is None:
        return work
    return {**work, "rectified" if site.node.op.rectifies else "residual": site.output.type.size}


#: First row, and the row behind the last.
Rows = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Fold:
    """What a part of the samples shows of the columns that filters meet, in steps of the integer network's input.

    ``second``: their covariance in the integer network, [groups, depth, depth]; ``drift``: the covariance of what they
    lack of the float network's columns (rows) with them (columns), the same shape; ``beside``: likewise of what is
    added to the sums of products, [groups, outputs, depth], None if nothing is.
    """

    second: Array
    drift: Array
    beside: Array | None = None


@dataclass(frozen=True, eq=False)
class Moments:
    """Statistics of the columns which filters are multiplied with, in real numbers but for a factor of ``second``.

    ``expected`` and ``actual``: means in the float network and in the integer network, shape [groups, depth];
    ``second``: covariance in the integer network, [groups, depth, depth], None if it would be too large; ``columns``
    is how many it was taken from. ``folds``: of some disjoint parts of the samples; none if there are too few samples.
    """

    expected: Array
    actual: Array
    second: Array | None
    columns: int
    folds: tuple[Fold, ...] = ()


@dataclass(frozen=True, eq=False)
class WeightForm:
    """How weights are to be quantized: with a scale for each output channel or one in all, what is known to round them
    well (None: each to the nearest), and the number format. ``exact``: the output's scale is given, and only ties may
    be rounded in another way."""

    per_channel: bool = True
    moments: Moments | None = None
    format: str = "s8"
    exact: bool = False


PLAIN = WeightForm()


@dataclass(frozen=True)
class Op:
    """Base of all operators; fields are attributes only."""

    #: Name in the IR; the template is ``templates/<name>.c.j2``.
    name: ClassVar[str] = ""
    #: The ONNX operators that :meth:`read` understands.
    onnx: ClassVar[tuple[str, ...]] = ()
    #: Headers of ``runtime_c`` which the kernel needs besides the instruction set's.
    headers: ClassVar[tuple[str, ...]] = ()
    #: Whether the output keeps the quantization of the first input (data movement, max).
    same_quant: ClassVar[bool] = False
    #: Whether the output has one scale only, whatever the range and its readers.
    fixed_quant: ClassVar[bool] = False
    #: Whether it multiplies its first input by constant filters (input 1) and adds a constant bias (input 2).
    linear: ClassVar[bool] = False
    #: Whether each of those filters reads one channel only.
    channelwise: ClassVar[bool] = False
    #: Whether it is a part of another one, which the compiler makes in integer graphs only.
    part: ClassVar[bool] = False

    # --- meaning -------------------------------------------------------------------------------------------------

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        """Add what the ONNX node means to the builder; answer the names of its outputs. Refuses with an AotError."""
        raise AotError(f"{cls.name} cannot be read from ONNX")

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        """The output's shape from the inputs' types."""
        raise AssertionError(f"{self.name} does not infer its shape")

    def reference(self, *x: Array) -> Array:
        """The meaning, in float numpy."""
        raise AssertionError(f"{self.name} has no reference")

    def macs(self, types: tuple[TensorType, ...], output: TensorType) -> int:
        """Multiply-accumulates of one inference; 0 for what does not multiply."""
        return 0

    # --- quantization --------------------------------------------------------------------------------------------

    def output_quant(self, low: float, high: float, format: str) -> Quant:
        """Quantization of the output for a calibrated range; operators with a fixed output scale ignore the range."""
        return affine(low, high, format)

    def takes(self, quant: Quant, format: str) -> bool:
        """Whether the output can have that quantization."""
        return not self.fixed_quant

    def output_limits(self, inputs: tuple[Value, ...], output: Value) -> tuple[int, int]:
        """The smallest and largest integer which the output, of given quantization, can be."""
        return span(output.type)

    def reach(self, inputs: tuple[Value, ...], low: float, weights: str) -> float | None:
        """How large 16-bit inputs should become, so that 32 bits hold sums of products with weights of that format.

        ``inputs`` are float; ``low`` is the smallest number that the first one takes. None: as large as they can.
        """
        return None

    def computes(self, activations: str, weights: str) -> bool:
        """Whether there is a kernel for it in these formats."""
        return True

    def judges_input(self) -> bool:
        """Whether the range of its input is best judged by what comes out of it."""
        return False

    def quantize_constants(self, inputs: tuple[Value, ...], output: Value,
                           form: WeightForm = PLAIN) -> tuple[Value, ...]:
        """The inputs with constants turned into integers. ``inputs`` that are computed are quantized already."""
        return tuple(v if v.data is None or v.type.format != "f32" else quantize_activation(v, output.type.format)
                     for v in inputs)

    @property
    def rectifies(self) -> bool:
        """Whether sums of products are cut off at zero before a residual is added to them."""
        return False

    def added(self, inputs: tuple[Value, ...]) -> Value | None:
        """What a linear operator adds to its sums of products, if it is there to be learned from."""
        return None

    def columns(self, x: Array, fill: float) -> Array:
        """What the filters of a linear operator are multiplied with, shape [groups, columns, depth]."""
        raise AssertionError(f"{self.name} has no filters")

    def sensitivity(self, weights: Array, channels: int) -> Array:
        """Sum of the squares of all weights which each input channel of a linear operator meets, [channels]."""
        raise AssertionError(f"{self.name} has no filters")

    def carries(self, inputs: tuple[TensorType, ...], output: TensorType) -> bool:
        """Whether a positive factor on a channel of its inputs is the same factor on that channel of its output.

        Channels are the last axis; one of the output belongs to that of the input with the same remainder.
        """
        return False

    def rescale(self, constants: tuple[Array | None, ...], before: Array | None,
                after: Array | None) -> tuple[Array | None, ...]:
        """The constants if its first input has channels ``before`` times as large, its output ``after`` times."""
        return constants

    # --- the integer kernel --------------------------------------------------------------------------------------

    def simulate(self, site: Site, *x: Array) -> Array:
        """The C kernel in numpy, bit for bit. Inputs and output are integer arrays; asserts the bounds of sums."""
        raise AssertionError(f"{self.name} has no integer kernel")

    def prove(self, site: Site) -> int | None:
        """Prove that no accumulator can overflow, or raise AotError; answer the headroom in bits if there is any."""
        return None

    def error_bound(self, site: Site) -> float:
        """How far :meth:`simulate` may be from :meth:`reference` of the same, dequantized, inputs, in output steps.

        Half a step for the one rounding, and what multipliers of 16 bits or more add.
        """
        return 0.51

    def includes(self, site: Site) -> tuple[str, ...]:
        """Those of the headers which this use needs: wide inputs bring their own."""
        if site.format == "f32":
            return (*self.headers, "aot_float.h")
        if self.linear and site.inputs[1].type.format == "s4":
            return (*self.headers, "aot_nibble.h", *(("aot_wide.h",) if site.format == "s16" else ()))
        wide = site.format == "s16" or (self.linear and site.inputs[1].type.format == "s16")
        return (*self.headers, "aot_wide.h") if wide and (self.linear or self.name == "softmax") else self.headers

    def template(self, site: Site) -> str:
        """The template: ``templates/<answer>.c.j2``."""
        return self.name

    def dims(self, site: Site) -> dict[str, int]:
        """The named numbers of the C body."""
        return {}

    def numbers(self, site: Site) -> dict[str, float]:
        """Those which are float32."""
        return {}

    def constants(self, site: Site) -> dict[str, Array]:
        """Packed arrays for the weights file, by the name which the template uses."""
        return {}

    def shared(self, site: Site) -> None:
        """A function besides the layer's own which the kernel calls; plain kernels have none."""

    def variant(self, site: Site) -> str:
        """Layers with another one have functions of their own, where layers share some; plain kernels share none."""
        return ""

    def pieces(self, site: Site) -> int:
        """Of how many alike the code consists that is made for the site; that of plain kernels is not."""
        return 0

    def operands(self, site: Site) -> tuple[int, ...]:
        """Indices of the inputs which the C function takes as pointers."""
        return tuple(i for i, v in enumerate(site.inputs) if v.data is None) or (0,)

    def scratch(self, site: Site) -> int:
        """Bytes of working memory, 4-byte aligned."""
        return 0

    def overlap(self, site: Site, index: int) -> Overlap | None:
        """How the output may share memory with input ``index`` when that input dies here; None: not at all."""
        return None

    def pixels_at_once(self, site: Site) -> int:
        """Neighbouring pixels of which outputs are written in any order, where a residual is read beside that."""
        return site.output.type.size // site.output.type.shape[-1]

    def view(self, inputs: tuple[TensorType, ...]) -> int | None:
        """Where the output's bytes start in the first input's, if it is a part of those that needs no code."""
        return None

    def strip(self, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows) -> Strip | None:
        """The operator for some rows of its NHWC output only; None if it cannot be cut like that."""
        return None

    def accumulate(self, inputs: tuple[TensorType, ...]) -> Accumulation | None:
        """How the output can be computed while strips of the input come one after the other; None if it cannot."""
        return None

    def work(self, site: Site) -> Work:
        """What the plain kernel does in one inference, how often, for an estimate of its instructions."""
        types = tuple(v.type for v in site.inputs)
        return {"layer": 1, "macs": self.macs(types, site.output.type), "outputs": site.output.type.size}

    def priced(self, site: Site) -> str:
        """Under which name ``costs.py`` has the prices of the plain kernel: in other formats, its C is another."""
        constant = site.inputs[1].type.format if self.linear else site.format
        if (site.format, constant) in (("s8", "s8"), ("s16", "s16"), ("f32", "f32")):
            return self.name if site.format == "s8" else f"{self.name}.{site.format}"
        return f"{self.name}.{site.format}x{constant}"

    def instructions(self, site: Site) -> float:
        """Estimate of the instructions which the plain kernel executes in one inference."""
        return estimate(self.priced(site), site.isa.name, site.goal, with_residual(self.work(site), site))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        """Small odd shapes for the kernel tests."""
        return iter(())

    def describe(self) -> str:
        """Attributes as text, without those at their default."""
        words = []
        for f in fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                words.append(f"{f.name}={_text(value)}")
        return " ".join(words)


@dataclass(frozen=True)
class Strip:
    """An operator for some rows of its output, and the rows of each input which it needs; None: the whole input.

    A strip can have the whole of a constant, or of what is computed before the stretch.
    """

    op: Op
    inputs: tuple[Rows | None, ...]


@dataclass(frozen=True)
class Accumulation:
    """An operator in two parts: sums over strips, and the output from the sums.

    ``strip(pixels)`` is the first part: its inputs are a strip of the first input and, but for the first, the sums so
    far; ``pixels`` counts all that are in them then.
    """

    strip: Callable[[int], Op]
    finish: Op


@dataclass(frozen=True)
class Overlap:
    """Permission for an output to overlap a dying input: ``offset(input) - offset(output) >= distance``.

    ``exact``: only if the two start at the same byte (``distance`` is 0 then).
    """

    distance: int = 0
    exact: bool = False


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(_text(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def same_rows(op: Op, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows) -> Strip | None:
    """A strip of an element-wise operator: the same rows of inputs like the output, the whole of those without rows."""
    if all(t.shape == output.shape or len(t.shape) < 3 or t.shape[-3] == 1 for t in inputs):
        return Strip(op, tuple(rows if t.shape == output.shape else None for t in inputs))
    return None


# --- helpers shared by operators ---------------------------------------------------------------------------------

def affine(low: float, high: float, format: str) -> Quant:
    """Quantization that covers [low, high] and represents 0 exactly: asymmetric for s8, symmetric for s16."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise AotError(f"the range [{low}, {high}] is not finite")
    smallest = 1e-12
    qmin, qmax = LIMITS[format]
    if format == "s16":
        largest = max(-low, high)
        return Quant((f32((largest if largest >= smallest else 1.0) / qmax),))
    if high - low < smallest:
        return Quant((f32(1.0 / 255.0),), 0 if low == high else qmin)
    scale = f32((high - low) / (qmax - qmin))
    zero = int(np.clip(np.floor(qmin - low / scale + 0.5), qmin, qmax))
    return Quant((scale,), zero)


def quantize_activation(value: Value, format: str = "s8") -> Value:
    """A float constant that takes an activation's place, quantized over its own range."""
    assert value.data is not None
    quant = _own_steps(value, format)
    if quant is None:
        quant = affine(float(value.data.min(initial=0)), float(value.data.max(initial=0)), format)
    data = quantize(value.data, quant, *LIMITS[format]).astype(FORMATS[format])
    return Value(value.name, TensorType(format, value.type.shape, quant), data)


def _own_steps(value: Value, format: str) -> Quant | None:
    """The quantization of a constant whose integers are given, if the format holds them."""
    if value.steps is None or value.data is None or np.unique(value.steps).size != 1:
        return None
    step = float(value.steps.reshape(-1)[0])
    whole, (low, high) = np.rint(value.data / step), LIMITS[format]
    first, last = int(whole.min(initial=0)), int(whole.max(initial=0))
    zero = 0 if format == "s16" else max(0, low - first) - max(0, last - high)
    return Quant((step,), zero) if low <= first + zero and last + zero <= high else None


def clamp_limits(clamp: Clamp, output: Value) -> tuple[int, int]:
    """The integer bounds of a fused activation in the output's quantization."""
    low, high = span(output.type)
    bounds = [int(quantize(b, output.quant, low, high)) if b is not None else None for b in clamp]
    return (low if bounds[0] is None else bounds[0], high if bounds[1] is None else bounds[1])


def clamp_numbers(clamp: Clamp, site: Site) -> dict[str, float]:
    """The bounds of a fused activation in float arithmetic."""
    if site.format != "f32":
        return {}
    return {n: b for n, b in zip(("OUT_MIN", "OUT_MAX"), clamp, strict=True) if b is not None}


def apply_clamp(x: Array, clamp: Clamp) -> Array:
    """The fused activation on float data."""
    return x if clamp == NO_CLAMP else np.clip(x, clamp[0], clamp[1])


def merge_clamps(first: Clamp, second: Clamp) -> Clamp:
    """The clamp that equals ``first`` followed by ``second``."""
    def clip(v: float | None) -> float | None:
        if v is None:
            return None
        low, high = second
        v = v if low is None else max(v, low)
        return v if high is None else min(v, high)
    low, high = clip(first[0]), clip(first[1])
    return (second[0] if low is None else low, second[1] if high is None else high)
