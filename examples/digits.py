"""The data of both examples: scikit-learn's handwritten digits, enlarged from 8x8 to 28x28 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

SIZE = 28
CALIBRATION_SAMPLES = 100
EVALUATION_SAMPLES = 500
#: What one step of a uint8 pixel is worth: networks see 0 .. 1.
PIXEL = 1 / 255


@dataclass(frozen=True)
class Digits:
    """``x``: uint8 [samples, 28, 28], 0 = paper, 255 = ink; ``y``: labels 0 .. 9."""

    x: NDArray[np.uint8]
    y: NDArray[np.int64]


def load() -> tuple[Digits, Digits]:
    """Training and evaluation samples, split without shuffling: samples of one writer stand together."""
    small, y = load_digits(return_X_y=True)
    x = enlarge(small.reshape(-1, 8, 8) / 16)
    split = len(x) - EVALUATION_SAMPLES
    return Digits(x[:split], y[:split]), Digits(x[split:], y[split:])


def enlarge(images: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Images [samples, 8, 8] in 0 .. 1 to uint8 [samples, 28, 28], by linear interpolation between pixel centres."""
    old = images.shape[1]
    centres = np.clip((np.arange(SIZE) + 0.5) * old / SIZE - 0.5, 0, old - 1)
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(old)))  # [28, 8]
    return np.round(255 * weights @ images @ weights.T).astype(np.uint8)


def save(folder: Path, train: Digits, evaluation: Digits, shape: tuple[int, ...]) -> None:
    """Write ``calib.npz`` and ``eval.npz``: pixels stay uint8, ``scale`` says what one step is worth."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(train.x), CALIBRATION_SAMPLES, replace=False)
    np.savez_compressed(folder / "calib.npz", x=train.x[chosen].reshape(-1, *shape), scale=np.float32(PIXEL))
    np.savez_compressed(folder / "eval.npz", x=evaluation.x.reshape(-1, *shape), scale=np.float32(PIXEL),
                        y=evaluation.y.astype(np.uint8))
