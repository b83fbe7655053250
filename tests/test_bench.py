"""`aot bench`: examples and MLPerf Tiny networks on emulated boards."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from boards import BOARDS
from road import EXAMPLES, ROOT, SHARED, shared_files
from typer.testing import CliRunner

import aot
from aot import bench as bench_module
from aot import build, host
from aot.bench import Bench, bench, compare
from aot.cli import app
from aot.compiler import Net
from aot.errors import AotError
from aot.targets import TARGETS

#: MLPerf Tiny: instructions which the best hand-written library needs on a Cortex-M4 (-O3 -flto).
MLPERF = {"kws01_dscnn": 7_153_900, "ic01_resnet8": 26_945_101, "vww96_mobilenetv1_025": 23_344_365,
          "ad01_autoencoder": 577_738}


@cache
def digits(target: str, optimize: str = "balanced") -> Net:
    folder = EXAMPLES / "digits_cnn"
    return aot.compile(folder / "model.onnx", data=str(folder / "calib.npz"), target=target, name="digits",
                       optimize=optimize)


@cache
def measured(target: str) -> Bench:
    return bench(digits(target))


@pytest.mark.emulator
@pytest.mark.parametrize("target", [name for name, t in TARGETS.items() if t.emulator])
def test_an_example_on_every_board(target: str) -> None:
    """That bytes equal the twin's and the host's is checked by bench itself; see the next tests."""
    net, result = digits(target), measured(target)
    assert result.samples >= 3 and result.elements == 10 * result.samples
    assert [x.name for x in result.layers] == [s.function for s in net.program.steps]
    assert sum(x.instructions for x in result.layers) + result.overhead == result.instructions
    assert all(x.instructions > 0 for x in result.layers) and 10 < result.overhead < 300
    assert result.macs == net.report.macs < result.instructions
    assert net.report.weights <= result.weights <= net.report.weights + 4 * len(net.program.constants)
    assert 500 < result.code < 10_000
    assert result.static == 0
    estimated = target in ("cortex-m3", "cortex-m4")
    assert all((n is not None) == estimated for n in (result.cycles, *(x.cycles for x in result.layers)))
    assert ("cycles" in str(result)) == estimated
    assert f"digits_ARENA_BYTES {result.arena}u" in net.files["include/digits.h"]
    assert 32 <= result.stack < 1000 and result.stack % 4 == 0
    assert bench(net) == result, "counts repeat"


@pytest.mark.emulator
def test_processors_differ_and_so_do_goals() -> None:
    assert measured("cortex-m4").instructions < measured("cortex-m0").instructions / 2
    small, fast = bench(digits("cortex-m4", "size")), bench(digits("cortex-m4", "speed"))
    assert small.code < measured("cortex-m4").code < fast.code
    assert small.instructions > fast.instructions


@pytest.mark.emulator
@pytest.mark.parametrize("whose", ["twin", "machine"])
def test_a_wrong_byte_is_noticed(whose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit of one output of one sample, in what the board is compared with."""
    net = digits("cortex-m4")
    runner = host.runner(net.name, net.files, net.graph)
    real = bench_module.run_quantized if whose == "twin" else runner.run
    calls = []

    def spoiled(*args: object) -> dict[str, np.ndarray]:
        calls.append(args)
        out = {n: y.copy() for n, y in real(*args).items()}
        if len(calls) == 2:
            next(iter(out.values())).flat[3] ^= 1
        return out

    if whose == "twin":
        monkeypatch.setattr(bench_module, "run_quantized", spoiled)
    else:
        monkeypatch.setattr(type(runner), "run", lambda _, x: spoiled(x))
    with pytest.raises(AotError, match=f"cortex-m4 differs from .*{whose} on sample 1 in 1 of 10 bytes: element 3"):
        bench(net)


def test_compare_tells_the_first_difference() -> None:
    a, b = {"y": np.array([[1, 2, 3]], np.int8)}, {"y": np.array([[1, 5, 4]], np.int8)}
    compare(a, a, "x", "board")
    with pytest.raises(AotError, match="board differs from x in 2 of 3 bytes: element 1 is 5 instead of 2") as caught:
        compare(a, b, "x", "board")
    assert caught.value.problems[0].node == "y"


@pytest.mark.emulator("cortex-m4")
def test_json_and_table() -> None:
    folder = EXAMPLES / "digits_cnn"
    words = ["bench", str(folder / "model.onnx"), "--target", "cortex-m4", "--data", str(folder / "calib.npz"),
             "--name", "digits"]
    done = CliRunner().invoke(app, [*words, "--json", "-"])
    assert done.exit_code == 0
    found, result = json.loads(done.stdout), measured("cortex-m4")
    assert found == json.loads(json.dumps(result.as_json()))
    assert found["target"] == "cortex-m4"
    assert found["instructions_per_mac"] == pytest.approx(found["instructions"] / found["macs"])
    assert found["flash"] == {"code": result.code, "weights": result.weights}
    assert found["ram"] == {"arena": result.arena, "static": 0, "stack": result.stack}
    assert set(found["layers"][0]) == {"name", "op", "macs", "instructions", "cycles"}
    assert found["cycles"] == result.cycles and isinstance(result.cycles, int)
    assert 1.2 < result.cycles / result.instructions < 2.5
    assert sum(x["cycles"] for x in found["layers"]) < result.cycles
    table = CliRunner().invoke(app, words).stdout
    assert f"cycles {result.cycles:,} without wait states" in table
    assert f"{result.instructions:,}" in table and result.layers[-2].name in table and "cortex-m4" in table
    assert str(ROOT) not in table


@pytest.mark.parametrize("target", ["c99", "host"])
def test_a_target_without_a_board(target: str) -> None:
    with pytest.raises(AotError, match=f"no emulated board stands for target '{target}'") as caught:
        bench(digits(target))
    assert all(board in caught.value.problems[0].hint for board in BOARDS)


@pytest.mark.parametrize("target", ["cortex-m4", "rv32imc"])
def test_missing_tools(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "have", lambda name: False)
    with pytest.raises(AotError, match=f"{TARGETS[target].compiler} was not found") as caught:
        bench(digits(target))
    assert "make toolchain" in caught.value.problems[0].hint and "gcc-" in caught.value.problems[0].hint


@pytest.mark.emulator
@pytest.mark.shared
@pytest.mark.parametrize("target", BOARDS)
@pytest.mark.parametrize("name", MLPERF)
def test_mlperf_tiny(name: str, target: str) -> None:
    """Equal bytes on every board; on a Cortex-M4 no more instructions, by default, than the library needs."""
    shared = next(s for s in SHARED if s.name == name)
    path, calib, _ = shared_files(shared)
    result = bench(aot.compile(path, data=calib, target=target))
    assert result.static == 0
    assert shared.arena is not None and result.arena <= shared.arena
    if target == "cortex-m4":
        assert result.instructions <= MLPERF[name]
