"""Score recordings by an autoencoder's error, in float and int8: python anomaly_score.py MODEL CALIB.npz EVAL.npz

MODEL reproduces windows of FRAMES frames, flattened; CALIB holds such windows. EVAL holds recordings: ``x``
[recordings, frames, bins] and ``y`` (1: anomaly). A recording's score is the mean squared error between windows and
outputs over all windows that start at every STEP-th frame. Printed is the area under the ROC curve: 1 if every anomaly
scores higher than every normal recording, 0.5 if chance decides.
"""

from __future__ import annotations

import argparse

import numpy as np
import onnxruntime

import aot

FRAMES, STEP = 5, 4


def windows(recordings: np.ndarray) -> np.ndarray:
    """All windows of all recordings: [recordings, frames, bins] to [recordings, windows, FRAMES * bins]."""
    starts = range(0, recordings.shape[1] - FRAMES + 1, STEP)
    return np.stack([recordings[:, s:s + FRAMES].reshape(len(recordings), -1) for s in starts], axis=1)


def area_under_curve(scores: np.ndarray, anomaly: np.ndarray) -> float:
    """Share of pairs of an anomaly and a normal recording in which the anomaly scores higher; ties count half."""
    high, low = scores[anomaly == 1][:, None], scores[anomaly == 0][None, :]
    return float(((high > low) + 0.5 * (high == low)).mean())


def evaluate(model: str, calib: str, recordings: str) -> tuple[float, float]:
    """Areas under the curve of the float model and of the generated C."""
    net = aot.compile(model, data=calib)
    file = np.load(recordings)
    x = windows(file["x"].astype(np.float32) * file["scale"] + file["offset"])
    flat = x.reshape(-1, x.shape[2])
    session = onnxruntime.InferenceSession(model)
    name = session.get_inputs()[0].name
    before = np.concatenate([session.run(None, {name: window[None]})[0] for window in flat])
    areas = []
    for output in (before, net.run(flat)):
        error = ((output - flat) ** 2).mean(axis=1, dtype=np.float64)
        areas.append(area_under_curve(error.reshape(x.shape[:2]).mean(axis=1), file["y"]))
    return areas[0], areas[1]


def main() -> None:
    """Print both areas."""
    parser = argparse.ArgumentParser(description="Compare the anomaly scores of a float autoencoder and its int8 C.")
    for name in ("model", "calib", "eval"):
        parser.add_argument(name)
    given = parser.parse_args()
    before, after = evaluate(given.model, given.calib, given.eval)
    print(f"area under the ROC curve: float {before:.4f}, int8 {after:.4f}")


if __name__ == "__main__":
    main()
