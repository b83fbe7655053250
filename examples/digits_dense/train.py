"""Train the dense network on enlarged digits, in plain numpy, and write it as ONNX.

784 -> 128 relu -> dropout -> 10 softmax. Needs scikit-learn for the data: ``pip install -e '.[train]'``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
from numpy.typing import NDArray

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import digits  # noqa: E402

EPOCHS, BATCH, RATE, DROPOUT, DECAY = 60, 32, 1e-3, 0.5, 1e-4
PIXELS, HIDDEN, CLASSES = digits.SIZE**2, 128, 10

#: The network in ONNX's own text form. Dropout does nothing when a network is used; a compiler has to see that.
NETWORK = f"""
<ir_version: 8, opset_import: ["" : 17], producer_name: "digits_dense">
digits_dense (float[1, {PIXELS}] image) => (float[1, {CLASSES}] probability)
<float ratio = {{{DROPOUT}}}>
{{
    [dense_1] sums = Gemm <transB = 1> (image, weight_1, bias_1)
    [relu] hidden = Relu (sums)
    [dropout] kept = Dropout (hidden, ratio)
    [dense_2] logits = Gemm <transB = 1> (kept, weight_2, bias_2)
    [softmax] probability = Softmax <axis = 1> (logits)
}}
"""

Weights = dict[str, NDArray[np.float32]]


def start(rng: np.random.Generator) -> Weights:
    """Random weights [outputs, inputs], spread so that signals keep their size; biases of zero."""
    def normal(outputs: int, inputs: int) -> NDArray[np.float32]:
        return (rng.standard_normal((outputs, inputs)) * np.sqrt(2 / inputs)).astype(np.float32)
    return {"weight_1": normal(HIDDEN, PIXELS), "bias_1": np.zeros(HIDDEN, np.float32),
            "weight_2": normal(CLASSES, HIDDEN), "bias_2": np.zeros(CLASSES, np.float32)}


def gradients(w: Weights, x: NDArray[np.float32], y: NDArray[np.int64], keep: NDArray[np.float32]) -> Weights:
    """Gradients of the cross entropy on a batch; ``keep`` is the dropout mask, 0 or 1 / (1 - DROPOUT)."""
    hidden = np.maximum(0, x @ w["weight_1"].T + w["bias_1"])
    kept = hidden * keep
    logits = kept @ w["weight_2"].T + w["bias_2"]
    error = softmax(logits)
    error[np.arange(len(y)), y] -= 1
    error /= len(y)
    back = (error @ w["weight_2"]) * keep * (hidden > 0)
    return {"weight_1": back.T @ x, "bias_1": back.sum(0), "weight_2": error.T @ kept, "bias_2": error.sum(0)}


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities along the last axis."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit(x: NDArray[np.float32], y: NDArray[np.int64]) -> Weights:
    """Train with Adam and dropout."""
    rng = np.random.default_rng(0)
    w = start(rng)
    mean = {k: np.zeros_like(v) for k, v in w.items()}
    square = {k: np.zeros_like(v) for k, v in w.items()}
    step = 0
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for batch in np.array_split(order, len(x) // BATCH):
            step += 1
            keep = (rng.random((len(batch), HIDDEN)) >= DROPOUT).astype(np.float32) / np.float32(1 - DROPOUT)
            for name, gradient in gradients(w, x[batch], y[batch], keep).items():
                gradient = gradient + np.float32(DECAY) * w[name]
                mean[name] = 0.9 * mean[name] + 0.1 * gradient
                square[name] = 0.999 * square[name] + 0.001 * gradient**2
                direction = mean[name] / (1 - 0.9**step) / (np.sqrt(square[name] / (1 - 0.999**step)) + 1e-8)
                w[name] = (w[name] - RATE * direction).astype(np.float32)
    return w


def accuracy(w: Weights, x: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    """Share of samples whose largest output is the right one."""
    hidden = np.maximum(0, x @ w["weight_1"].T + w["bias_1"])
    return float(((hidden @ w["weight_2"].T + w["bias_2"]).argmax(axis=1) == y).mean())


def main() -> None:
    """Train, print the accuracy, write the three files."""
    train, evaluation = digits.load()
    weights = fit(flat(train), train.y)
    print(f"accuracy: training {accuracy(weights, flat(train), train.y):.4f}, "
          f"evaluation {accuracy(weights, flat(evaluation), evaluation.y):.4f}")
    model = onnx.parser.parse_model(NETWORK)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in weights.items())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, HERE / "model.onnx")
    digits.save(HERE, train, evaluation, (PIXELS,))


def flat(samples: digits.Digits) -> NDArray[np.float32]:
    """Images as rows of numbers in 0 .. 1."""
    return samples.x.reshape(-1, PIXELS) * np.float32(digits.PIXEL)


if __name__ == "__main__":
    main()
