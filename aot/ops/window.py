"""Sliding windows: what convolution and pooling share (shapes, padding, reading ONNX attributes)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import Array
from aot.ops.base import OnnxNode
from aot.ops.reshape import Reshape
from aot.ops.transpose import Transpose

Pair = tuple[int, int]
#: Padding in elements: top, left, bottom, right.
Pads = tuple[int, int, int, int]


#: The largest kernel, stride, dilation or padding that is taken to be meant.
LARGEST = 32767


@dataclass(frozen=True)
class Window:
    """A 2-D window: kernel, stride and dilation as (height, width), padding as (top, left, bottom, right)."""

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)

    def __str__(self) -> str:
        words = [f"{self.kernel[0]}x{self.kernel[1]}"]
        if self.stride != (1, 1):
            words.append(f"stride:{self.stride[0]}x{self.stride[1]}")
        if self.dilation != (1, 1):
            words.append(f"dilation:{self.dilation[0]}x{self.dilation[1]}")
        if any(self.pads):
            words.append(f"pads:{','.join(map(str, self.pads))}")
        return "/".join(words)

    def extent(self) -> Pair:
        """Height and width which one window spans, dilation included."""
        return ((self.kernel[0] - 1) * self.dilation[0] + 1, (self.kernel[1] - 1) * self.dilation[1] + 1)

    def output(self, height: int, width: int) -> Pair:
        """Output height and width; an AotError when no window fits."""
        sizes = []
        for i, size in enumerate((height, width)):
            padded = size + self.pads[i] + self.pads[i + 2]
            if padded < self.extent()[i]:
                raise AotError(f"a window of {self.extent()[i]} does not fit an input of {size} padded to {padded}")
            sizes.append((padded - self.extent()[i]) // self.stride[i] + 1)
        return sizes[0], sizes[1]

    def strip(self, height: int, rows: tuple[int, int]) -> tuple[Window, tuple[int, int]] | None:
        """The window for some output rows (first, and the one behind the last), and the input rows it then needs.

        None if those windows lie in the padding altogether.
        """
        start = rows[0] * self.stride[0] - self.pads[0]
        end = (rows[1] - 1) * self.stride[0] - self.pads[0] + self.extent()[0]
        first, last = max(start, 0), min(end, height)
        if first >= last:
            return None
        pads = (first - start, self.pads[1], end - last, self.pads[3])
        return Window(self.kernel, self.stride, self.dilation, pads), (first, last)

    def padded(self, x: Array, fill: float) -> Array:
        """NHWC data with the padding around it, filled with ``fill``; the very same array if there is none."""
        if not any(self.pads):
            return x
        n, height, width, channels = x.shape
        top, left, bottom, right = self.pads
        out = np.full((n, top + height + bottom, left + width + right, channels), fill, x.dtype)
        out[:, top:top + height, left:left + width] = x
        return out

    def patches(self, x: Array, fill: float) -> Array:
        """Windows of NHWC data, shape [N, OH, OW, KH, KW, C], padded with ``fill``."""
        n, height, width, channels = x.shape
        oh, ow = self.output(height, width)
        padded = self.padded(x, fill)
        out = np.empty((n, oh, ow, *self.kernel, channels), dtype=x.dtype)
        for ky in range(self.kernel[0]):
            for kx in range(self.kernel[1]):
                y0, x0 = ky * self.dilation[0], kx * self.dilation[1]
                out[:, :, :, ky, kx] = padded[:, y0:y0 + (oh - 1) * self.stride[0] + 1:self.stride[0],
                                              x0:x0 + (ow - 1) * self.stride[1] + 1:self.stride[1]]
        return out

    def counts(self, height: int, width: int) -> Array:
        """Number of window elements that lie inside the input, shape [OH, OW]."""
        return np.asarray(self.patches(np.ones((1, height, width, 1), np.int64), 0).sum(axis=(3, 4, 5))[0])

    def dims(self, in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> dict[str, int]:
        """The named numbers of a kernel over this window."""
        return {
            "BATCH": in_shape[0], "IN_H": in_shape[1], "IN_W": in_shape[2], "IN_C": in_shape[3],
            "OUT_H": out_shape[1], "OUT_W": out_shape[2], "OUT_C": out_shape[3],
            "KERNEL_H": self.kernel[0], "KERNEL_W": self.kernel[1],
            "STRIDE_H": self.stride[0], "STRIDE_W": self.stride[1],
            "DILATION_H": self.dilation[0], "DILATION_W": self.dilation[1],
            "PAD_TOP": self.pads[0], "PAD_LEFT": self.pads[1],
        }


def read_window(node: OnnxNode, kernel: tuple[int, ...], spatial: tuple[int, ...]) -> Window:
    """The window of an ONNX Conv or Pool node, of one or two spatial dimensions (one becomes a height of 1).

    Source: ONNX operator specification, Conv and MaxPool (``auto_pad``, ``pads``, ``strides``, ``dilations``,
    ``ceil_mode``).
    """
    rank = len(spatial)
    strides = tuple(node.attr("strides") or (1,) * rank)
    dilations = tuple(node.attr("dilations") or (1,) * rank)
    if len(kernel) != rank or len(strides) != rank or len(dilations) != rank:
        raise AotError(f"kernel, strides and dilations must each have {rank} numbers for this input")
    if min(kernel + strides + dilations) < 1:
        raise AotError(f"kernel {kernel}, strides {strides} and dilations {dilations} must be positive")
    if max(kernel + strides + dilations + tuple(node.attr("pads") or ())) > LARGEST:
        raise AotError(f"kernel {kernel}, strides {strides}, dilations {dilations} and pads "
                       f"{tuple(node.attr('pads') or ())} must not exceed {LARGEST}")
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    mode = str(node.attr("auto_pad", "NOTSET"))
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        begin, end = [], []
        for size, extent, stride in zip(spatial, extents, strides, strict=True):
            total = max((-(-size // stride) - 1) * stride + extent - size, 0)
            small, large = total // 2, total - total // 2
            begin.append(small if mode == "SAME_UPPER" else large)
            end.append(large if mode == "SAME_UPPER" else small)
    elif mode in ("NOTSET", "VALID", ""):
        pads = tuple(node.attr("pads") or (0,) * (2 * rank)) if mode != "VALID" else (0,) * (2 * rank)
        if len(pads) != 2 * rank:
            raise AotError(f"pads {pads} must have {2 * rank} numbers")
        begin, end = list(pads[:rank]), list(pads[rank:])
    else:
        raise AotError(f"auto_pad {mode!r} is not defined by ONNX")
    if min(begin + end) < 0:
        raise AotError(f"negative pads {begin + end} are not supported", "crop with a Slice before this node")
    if node.attr("ceil_mode", 0):
        for i, size in enumerate(spatial):
            rest = (size + begin[i] + end[i] - extents[i]) % strides[i]
            if rest:
                last = size + begin[i] + end[i] - extents[i] + strides[i] - rest
                if last < size + begin[i]:  # windows that would start in the padding at the end are dropped
                    end[i] += strides[i] - rest
    if rank == 1:
        return Window((1, kernel[0]), (1, strides[0]), (1, dilations[0]), (0, begin[0], 0, end[0]))
    return Window((kernel[0], kernel[1]), (strides[0], strides[1]), (dilations[0], dilations[1]),
                  (begin[0], begin[1], end[0], end[1]))


def to_nhwc(b: Builder, name: str, hint: str) -> str:
    """An ONNX feature map (N, C, W) or (N, C, H, W) as NHWC."""
    shape = b.shape(name)
    if len(shape) == 3:
        name = b.add(Transpose((0, 2, 1)), [name], f"{hint}.nwc")
        return b.add(Reshape((shape[0], 1, shape[2], shape[1])), [name], f"{hint}.nhwc")
    if len(shape) == 4:
        return b.add(Transpose((0, 2, 3, 1)), [name], f"{hint}.nhwc")
    raise AotError(f"an input of rank {len(shape)} is not supported", "use one or two spatial dimensions")


def from_nhwc(b: Builder, name: str, rank: int, hint: str) -> str:
    """The way back from :func:`to_nhwc` for a feature map that had ``rank`` dimensions."""
    shape = b.shape(name)
    if rank == 3:
        name = b.add(Reshape((shape[0], shape[2], shape[3])), [name], f"{hint}.nwc")
        return b.add(Transpose((0, 2, 1)), [name], f"{hint}.ncw")
    return b.add(Transpose((0, 3, 1, 2)), [name], f"{hint}.nchw")
