"""Real networks: accuracy of int8 against the float model, exactness of the C, and memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from road import EXAMPLES, SHARED, Shared, compile_shared, shared_files

import aot
from aot import data
from aot.verify import verify

pytestmark = pytest.mark.shared

LABELLED = [s for s in SHARED if s.agreement is not None]
BOUNDED = [s for s in SHARED if s.arena is not None]
#: Points of top-1 accuracy that quantization may cost.
MOST_LOST = 0.005
LEAST_AREA = 0.864
#: Those which are verified in other precisions too.
SMALL = ("kws01_dscnn", "fashion_lenet", "mnist_mlp")


def name(item: Shared) -> str:
    return item.name


@pytest.mark.parametrize("item", LABELLED, ids=name)
def test_accuracy_and_exactness(item: Shared) -> None:
    """All evaluation samples: the C equals its twin, and nearly always answers as the float model does."""
    _, _, samples = shared_files(item)
    net = compile_shared(item)
    result = verify(net, data.load(samples, net.float_graph))
    assert (result.mismatches, result.first_mismatch) == (0, None)
    assert result.elements > 10 * result.samples
    assert result.metric == "top1"
    assert result.float_ is not None
    assert result.quantized is not None
    assert result.quantized >= result.float_ - MOST_LOST
    assert result.agreement is not None
    assert item.agreement is not None
    assert round(result.agreement, 3) >= item.agreement


@pytest.mark.parametrize("item", [s for s in LABELLED if s.name in SMALL], ids=name)
def test_int16_is_hardly_to_be_told_from_float(item: Shared) -> None:
    """The same answers as the float model, with at most a tenth of int8's error; float32 with none to speak of."""
    path, calib, samples = shared_files(item)
    errors = {}
    for precision in ("int8", "int16", "float32"):
        net = aot.compile(path, calib, precision=precision)
        result = verify(net, data.load(samples, net.float_graph).first(60))
        assert result.mismatches == 0
        assert precision == "int8" or result.agreement == 1.0
        errors[precision] = result.mean_abs_error
    assert errors["float32"] < errors["int16"] / 10 < errors["int8"] / 100


@pytest.mark.parametrize("target", ["c99", "cortex-m4"])
@pytest.mark.parametrize("item", BOUNDED, ids=name)
def test_arena(item: Shared, target: str) -> None:
    """Never more memory than the hand-written kernels need; the plan is proven to be near the least possible."""
    report = compile_shared(item, target).report
    assert item.arena is not None
    assert 0 < report.arena <= item.arena
    assert report.arena_lower_bound <= report.arena


def test_anomalies_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The autoencoder is judged by the example's script: its scores still part normal from anomalous recordings."""
    model, calib, recordings = map(str, shared_files(next(s for s in SHARED if s.name == "ad01_autoencoder")))
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    import anomaly_score

    assert Path(anomaly_score.__file__).parent == EXAMPLES
    before, after = anomaly_score.evaluate(model, calib, recordings)
    assert before == pytest.approx(0.8648, abs=0.001)
    assert after >= LEAST_AREA
