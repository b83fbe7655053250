"""What ``aot doctor`` finds, as data: layers with their losses and harm, recipes, and the findings in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aot.errors import Problem

#: Answers that differ from float on more samples, or lose more of their top-1, are worth a remark.
DIFFERENT, LOST = 0.02, 0.005


@dataclass(frozen=True)
class Answers:
    """How the quantized network's outputs compare with float: on ``samples``; ``top1`` only with labels.

    ``error``: mean absolute error of all outputs; ``sqnr_db``: their signal-to-noise ratio.
    """

    samples: int
    agreement: float | None
    float_top1: float | None
    top1: float | None
    error: float
    sqnr_db: float


@dataclass(frozen=True)
class Part:
    """What rounding the weights, the output, or both does to the network's squared output error; its own is 1.

    ``alone``: the error if nothing else is rounded. ``mended``: the share of the error that goes away if this alone is
    put back to float. None where there are no weights, or no rounding.
    """

    alone: float | None
    mended: float | None


@dataclass(frozen=True)
class Channel:
    """One channel (last axis) of a layer's output in the quantized network, and of its weights; fields as in Layer.

    ``unused_bits`` is what one scale for all channels costs this one.
    """

    sqnr_db: float
    low: float
    high: float
    clipped: float
    unused_bits: float
    weights_sqnr_db: float | None
    largest_weight: float | None


@dataclass(frozen=True)
class Layer:
    """A layer (or an input) of the quantized network.

    ``sqnr_db``: of its output, with all that was lost before; ``own_sqnr_db``: if only this layer is rounded.
    ``low``, ``high``: what the float network reaches on the samples; ``limits``: what the quantized value can hold;
    ``clipped``: share of elements beyond; ``unused_bits``: log2 of the range that can be held over what is reached.
    ``headroom``: bits above the largest possible accumulator. ``spread``: largest weight of the largest channel over
    that of the smallest which does anything.
    """

    name: str
    op: str
    origin: str
    type: str
    sqnr_db: float
    own_sqnr_db: float
    weights_sqnr_db: float | None
    low: float
    high: float
    limits: tuple[float, float] | None
    clipped: float
    unused_bits: float
    headroom: int | None
    spread: float | None
    weights: Part
    output: Part
    both: Part
    channels: tuple[Channel, ...]

    @property
    def harm(self) -> float:
        """By which layers are ranked."""
        return (self.weights.alone or 0.0) + (self.output.alone or 0.0)

    @property
    def where(self) -> str:
        """What of the layer does the harm."""
        return "weights" if (self.weights.alone or 0.0) > (self.output.alone or 0.0) else "output"

    @property
    def reason(self) -> str:
        """Why it does: one sentence."""
        if self.where == "weights":
            wide = f", the largest channel's weights are {self.spread:,.0f} times the smallest's" if self.spread else ""
            return f"its weights keep {self.weights_sqnr_db:.1f} dB{wide}"
        poor = sum(c.sqnr_db < 10 for c in self.channels)
        words = f"its output keeps {self.own_sqnr_db:.1f} dB"
        if self.clipped > 1e-4:
            words += f", {100 * self.clipped:.2f} % of it is clipped"
        if self.unused_bits >= 1:
            words += f", {self.unused_bits:.1f} bits of its range are not used"
        return words + (f", {poor} of {len(self.channels)} channels keep less than 10 dB" if poor else "")


@dataclass(frozen=True)
class Restored:
    """The squared output error (1 = all rounded) with this layer and those before it in the list put back to float."""

    name: str
    left: float
    agreement: float | None


@dataclass(frozen=True)
class Recipe:
    """Options of :func:`aot.compile` that were tried, and the answers they give; ``why`` says what they change."""

    options: Mapping[str, str]
    why: str
    answers: Answers

    @property
    def words(self) -> str:
        """The options as on the command line."""
        return " ".join(f"--{k} {v}" for k, v in self.options.items())


@dataclass(frozen=True)
class Diagnosis:
    """The result of :func:`diagnose`. ``blamed``: layers that cause most of the error, worst first, if they are few.

    ``recipe`` is the best of ``tried``, or None if nothing that was tried is noticeably better.
    """

    name: str
    options: Mapping[str, str]
    answers: Answers
    layers: tuple[Layer, ...]
    restored: tuple[Restored, ...]
    blamed: tuple[str, ...]
    tried: tuple[Recipe, ...]
    recipe: Recipe | None
    warnings: tuple[Problem, ...]
    walked: int

    def as_json(self) -> dict[str, Any]:
        """Plain data, the fields as they are called here, and each layer's harm and reason."""
        plain = asdict(self)
        for row, layer in zip(plain["layers"], self.layers, strict=True):
            row.update(harm=layer.harm, where=layer.where, reason=layer.reason)
        return plain

    @property
    def healthy(self) -> bool:
        """Whether the quantized network answers like float."""
        a = self.answers
        same = a.agreement is None or a.agreement >= 1 - DIFFERENT
        return same and a.sqnr_db > 15 and (a.top1 is None or a.float_top1 is None or a.float_top1 - a.top1 <= LOST)

    @property
    def verdict(self) -> tuple[str, ...]:
        """The findings in sentences: how much is lost, where, why, and what mends it."""
        a, by_name = self.answers, {layer.name: layer for layer in self.layers}
        top1 = f"top-1 {_percent(a.float_top1)} in float, {_percent(a.top1)} quantized; " if a.top1 is not None else ""
        agreement = f"{_percent(a.agreement)} of answers agree; " if a.agreement is not None else ""
        lines = [f"on {a.samples} samples: {top1}{agreement}mean absolute error {a.error:.4g}, SQNR {a.sqnr_db:.1f} dB"]
        if self.blamed:
            count = f"{len(self.blamed)} of {len(self.layers)} layers cause"
            left = self.restored[len(self.blamed) - 1].left
            lines.append(f"{count.replace('layers cause', 'layers causes') if len(self.blamed) == 1 else count} "
                         f"{_percent(1 - left)} of the squared error:")
            lines += [f"  {layer.op} from {layer.origin}: {layer.reason}"
                      for layer in (by_name[n] for n in self.blamed)]
        else:
            lines.append("the error comes from many layers; none stands out")
        if self.recipe is not None:
            r = self.recipe.answers
            better = f"top-1 {_percent(r.top1)}, " if r.top1 is not None else ""
            better += f"{_percent(r.agreement)} of answers agree, " if r.agreement is not None else ""
            lines.append(f"recipe: {self.recipe.words} ({self.recipe.why})")
            lines.append(f"  {better}mean absolute error {r.error:.4g}, the smallest of {len(self.tried)} tried")
        elif self.healthy:
            lines.append("nothing is wrong: the quantized network answers like the float one")
        else:
            lines.append("recipe: no other choice of options is noticeably better; "
                         + ("samples may be missing in the calibration data" if self.warnings else
                            "more calibration samples, or training with quantization, may help"))
        return tuple(lines)

    def worst(self) -> list[Layer]:
        """The layers, most harmful first."""
        return sorted(self.layers, key=lambda layer: -layer.harm)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
