"""`make bench`: what counts as worse, what is written into the table, and that the committed table is whole."""

from __future__ import annotations

import copy
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from road import ROOT

BEFORE = {"macs": 5, "instructions": 1000, "cycles": 2000, "code": 300, "weights": 700, "arena": 400, "stack": 100}
TABLE = {"digits_cnn": {"cortex-m4": {"speed": dict(BEFORE), "balanced": dict(BEFORE)},
                        "cortex-m0": {"balanced": dict(BEFORE)}}}


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """docs/bench.py, which finds docs/tables.py beside it."""
    sys.path.insert(0, str(ROOT / "docs"))
    yield importlib.import_module("bench")
    sys.path.remove(str(ROOT / "docs"))
    for name in ("bench", "tables"):
        del sys.modules[name]


def changed(**numbers: int | None) -> dict[str, dict[str, dict[str, dict[str, int | None]]]]:
    """The table as it would be measured, with one entry changed."""
    table = copy.deepcopy(TABLE)
    table["digits_cnn"]["cortex-m4"]["speed"].update(numbers)
    return table


@pytest.mark.parametrize(("what", "numbers"), [
    ("instructions 1,000 -> 1,011, +1.1%", {"instructions": 1011}),
    ("cycles 2,000 -> 2,021", {"cycles": 2021}),
    ("flash 1,000 -> 1,011", {"code": 311}),
    ("flash 1,000 -> 1,011", {"weights": 711}),
    ("arena 400 -> 405", {"arena": 405}),
    ("stack 100 -> 117", {"stack": 117}),
])
def test_a_regression_is_named(bench: ModuleType, what: str, numbers: dict[str, int],
                               capsys: pytest.CaptureFixture[str]) -> None:
    worse, better = bench.compare(TABLE, changed(**numbers))
    assert len(worse) == 1 and not better
    assert worse[0].startswith(f"digits_cnn, cortex-m4, speed: {what}")
    assert bench.judge(TABLE, changed(**numbers)) == 1
    printed = capsys.readouterr()
    assert what in printed.err and "ACCEPT=1" in printed.out


@pytest.mark.parametrize("numbers", [
    {"instructions": 1010, "cycles": 2020, "code": 310, "arena": 404, "stack": 116},
    {"instructions": 990, "cycles": 1980, "weights": 690, "arena": 396, "stack": 84},
    {"code": 500, "weights": 500},
    {"macs": 9},
    {},
])
def test_small_changes_pass(bench: ModuleType, numbers: dict[str, int]) -> None:
    """Flash is one number: weights that became code are no change."""
    assert bench.compare(TABLE, changed(**numbers)) == ([], [])
    assert bench.judge(TABLE, changed(**numbers)) == 0


def test_an_improvement_passes_and_is_named(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.judge(TABLE, changed(instructions=900, stack=60)) == 0
    out = capsys.readouterr().out
    assert "instructions 1,000 -> 900, -10.0%" in out and "stack 100 -> 60" in out and "ACCEPT=1" in out


def test_an_improvement_does_not_make_up_for_a_regression(bench: ModuleType) -> None:
    worse, better = bench.compare(TABLE, changed(instructions=900, arena=500))
    assert len(worse) == len(better) == 1
    assert bench.judge(TABLE, changed(instructions=900, arena=500)) == 1


def test_missing_entries(bench: ModuleType) -> None:
    """What the table does not have is a failure; what was not measured, and cycles that do not exist, are not."""
    assert bench.compare({}, {"digits_cnn": {"cortex-m0": {"balanced": BEFORE}}}) == (
        ["digits_cnn, cortex-m0, balanced: not in docs/bench.json"], [])
    assert bench.judge({}, TABLE) == 1
    assert bench.compare(TABLE, {"digits_cnn": {"cortex-m0": {"balanced": BEFORE}}}) == ([], [])
    assert bench.compare(TABLE, changed(cycles=None)) == ([], [])
    worse, _ = bench.compare(TABLE, changed(cycles=None, instructions=2000))
    assert worse == ["digits_cnn, cortex-m4, speed: instructions 1,000 -> 2,000, +100.0%"]


def test_something_from_nothing_is_worse(bench: ModuleType) -> None:
    before = copy.deepcopy(TABLE)
    before["digits_cnn"]["cortex-m4"]["speed"]["arena"] = 0
    assert bench.compare(before, TABLE)[0] == ["digits_cnn, cortex-m4, speed: arena 0 -> 400"]


def test_what_is_accepted(bench: ModuleType) -> None:
    """The measured replaces, the unmeasured stays, the unwanted goes; the text is JSON with a line an entry."""
    other = BEFORE | {"instructions": 7}
    committed = TABLE | {"gone": {"cortex-m4": {"speed": BEFORE}}, "kws01_dscnn": {"cortex-m4": {"speed": BEFORE}}}
    new = bench.merged(committed, {"digits_cnn": {"cortex-m4": {"speed": other}}},
                       {"cortex-m4": ("speed", "balanced")})
    assert new == {"digits_cnn": {"cortex-m4": {"speed": other, "balanced": BEFORE}},
                   "kws01_dscnn": {"cortex-m4": {"speed": BEFORE}}}
    text = bench.as_text(new)
    assert json.loads(text) == new
    assert sum('"instructions"' in line for line in text.splitlines()) == 3


def test_the_committed_table_is_whole(bench: ModuleType) -> None:
    """Every model, target and goal that is measured is there, with every number; cycles where there is a rule."""
    table = json.loads(bench.BENCH.read_text(encoding="utf-8"))
    assert bench.as_text(table) == bench.BENCH.read_text(encoding="utf-8")
    planned = {run[:3] for run in bench.runs(Path("models"), tuple(bench.GOALS))}
    found = {(m, t, g): e for m, t, g, e in bench.entries(table)}
    assert set(found) == planned and len(planned) == 6 * sum(map(len, bench.GOALS.values()))
    for (_, target, _), entry in found.items():
        assert set(entry) == set(BEFORE)
        assert (entry["cycles"] is not None) == (target == "cortex-m4")
        assert all(isinstance(n, int) and n > 0 for what, n in entry.items() if what != "cycles")


def test_without_the_models_only_the_examples_are_measured(
        bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(planned: list[tuple[str, ...]], committed: object, jobs: int) -> tuple[object, list[str]]:
        measured.extend(planned)
        return {}, []

    monkeypatch.setenv("AOT_MODELS", str(tmp_path))
    monkeypatch.setattr(bench, "measure", measure)
    monkeypatch.setattr(bench.emulate, "missing", lambda target: [])
    assert bench.main(["--target", "cortex-m4"]) == 0
    assert {run.model for run in measured} == set(bench.EXAMPLES)
    assert {run.target for run in measured} == {"cortex-m4"}
    assert "examples only" in capsys.readouterr().out


def test_a_missing_tool_is_named(bench: ModuleType, capsys: pytest.CaptureFixture[str],
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.emulate, "missing", lambda target: [target.compiler])
    assert bench.main([]) == 1
    assert "arm-none-eabi-gcc, riscv64-unknown-elf-gcc; say `make toolchain`" in capsys.readouterr().err


@pytest.mark.parametrize("accept", [False, True])
def test_a_failed_measurement_fails(bench: ModuleType, accept: bool, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the rest is accepted: then the failed entry stays as it was."""
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(TABLE))
    monkeypatch.setattr(bench, "BENCH", file)
    monkeypatch.setattr(bench, "read_bench", lambda: json.loads(file.read_text()))
    monkeypatch.setattr(bench.emulate, "missing", lambda target: [])
    monkeypatch.setattr(bench, "measure", lambda *_: ({}, ["digits_cnn, cortex-m4, speed: bytes differ"]))
    assert bench.main(["--accept"] if accept else []) == 1
    assert "digits_cnn, cortex-m4, speed: bytes differ" in capsys.readouterr().err
    assert json.loads(file.read_text()) == TABLE


@pytest.mark.emulator("cortex-m4")
def test_one_measurement_for_real(bench: ModuleType) -> None:
    run = next(r for r in bench.runs(None, ("cortex-m4",)) if (r.model, r.goal) == ("digits_dense", "balanced"))
    broken = run._replace(file=ROOT / "missing.onnx")
    measured, failed = bench.measure([run, broken], {}, 1)
    entry = measured["digits_dense"]["cortex-m4"]["balanced"]
    assert entry["macs"] == 101_632 < entry["cycles"] and set(entry) == set(BEFORE)
    assert len(failed) == 1 and failed[0].startswith("digits_dense, cortex-m4, balanced: ")
