"""The command line: exit status, messages, JSON, and nothing written when something is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from frontend.models import dense, model
from onnx import helper
from road import EXAMPLES, cnn, draws, need_package, small

from aot import cli
from aot.targets import TARGETS

DENSE, CNN = EXAMPLES / "digits_dense", EXAMPLES / "digits_cnn"


class Done:
    """What a command answered."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    def refused(self, *words: str) -> Done:
        """Exit status 1, and an error with all these words; no traceback, nothing on stdout."""
        assert self.status == 1, (self.status, self.out, self.err)
        assert self.err.startswith("error: "), self.err
        assert "Traceback" not in self.err
        assert self.out == ""
        for word in words:
            assert word in self.err, self.err
        return self


Command = Callable[..., Done]


def process(*words: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Done:
    """The command in a process of its own, its output in pipes."""
    done = subprocess.run([sys.executable, "-m", "aot", *map(str, words)], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """The command in this process: faster."""
    def run(*words: object) -> Done:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["aot", *map(str, words)])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capfd.readouterr()
        return Done(status, captured.out, captured.err)
    return run


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A small model, calibration data for it, and a folder that does not exist yet."""
    net = dense()
    onnx.save(net, tmp_path / "net.onnx")
    np.savez(tmp_path / "calib.npz", **draws(net, 32))
    return tmp_path / "net.onnx", tmp_path / "calib.npz", tmp_path / "out"


def listing(folder: Path) -> list[str]:
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*"))


# --- what works --------------------------------------------------------------------------------------------------

def test_compile_writes_the_project(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "er" / "out"
    done = process("compile", DENSE / "model.onnx", "--data", DENSE / "calib.npz", "-o", out, "--name", "digits")
    assert (done.status, done.err) == (0, "")
    assert "fully_connected" in done.out
    assert f"written to {out}" in done.out
    files = {f for f in listing(out) if (out / f).is_file()}
    assert {"include/digits.h", "src/digits.c", "src/digits_weights.c", "CMakeLists.txt", "report.json"} <= files
    assert json.loads((out / "report.json").read_text())["name"] == "digits"
    assert listing(out.parent) == sorted(["out", *(f"out/{f}" for f in listing(out))]), "something was left beside it"


def test_compile_into_a_folder_that_exists(command: Command, paths: tuple[Path, Path, Path]) -> None:
    """Other files stay, old generated ones are replaced."""
    net, calib, out = paths
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    (out / "CMakeLists.txt").write_text("old")
    command("compile", net, "--data", calib, "-o", out).refused("CMakeLists.txt", "would be replaced")
    (out / "report.json").write_text("{}")  # now it is one of ours
    assert command("compile", net, "--data", calib, "-o", out).status == 0
    assert (out / "mine.txt").read_text() == "keep"
    assert "add_library(net" in (out / "CMakeLists.txt").read_text()


def test_verify_json_on_stdout_alone() -> None:
    done = process("verify", CNN / "model.onnx", "--data", CNN / "eval.npz", "--calib", CNN / "calib.npz",
                   "--json", "-")
    assert (done.status, done.err) == (0, "")
    result = json.loads(done.out)
    assert set(result) >= {"samples", "metric", "float", "quantized", "agreement", "mean_abs_error", "sqnr_db",
                           "bit_exact", "layers"}
    assert (result["samples"], result["metric"]) == (500, "top1")
    assert result["quantized"] >= result["float"] - 0.005 > 0.9
    assert result["agreement"] > 0.98
    assert result["bit_exact"]["mismatches"] == 0
    assert result["bit_exact"]["elements"] > 500 * 10
    assert result["mean_abs_error"] >= 0
    assert all(set(layer) == {"name", "sqnr_db", "type"} for layer in result["layers"])
    assert result["layers"]


def test_verify_to_a_file_and_a_table(command: Command, paths: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Without labels the metric is null; with a target array it is the mean squared error."""
    net, calib, _ = paths
    done = command("verify", net, "--data", calib, "--json", tmp_path / "new" / "v.json")
    assert (done.status, done.err) == (0, "")
    assert "C equals its twin" in done.out
    result = json.loads((tmp_path / "new" / "v.json").read_text())
    assert (result["metric"], result["float"], result["quantized"]) == (None, None, None)
    samples = draws(dense(), 32)
    np.savez(tmp_path / "target.npz", **samples, y=np.zeros((32, 3), np.float32))
    result = json.loads(command("verify", net, "--data", tmp_path / "target.npz", "--json", "-").out)
    assert result["metric"] == "mse"
    assert result["quantized"] == pytest.approx(result["float"], rel=0.05)


def test_inspect_shows_layers_and_work(command: Command) -> None:
    done = command("inspect", CNN / "model.onnx")
    assert (done.status, done.err) == (0, "")
    assert all(word in done.out for word in ("Conv", "MACs", "parameters", "1x10", "yes"))
    assert "cannot be compiled" not in done.out


def test_targets_are_listed(command: Command) -> None:
    done = command("targets")
    assert done.status == 0
    assert all(name in done.out for name in TARGETS)


def test_every_option_is_understood(command: Command, paths: tuple[Path, Path, Path]) -> None:
    net, calib, out = paths
    for goal, method in (("speed", "minmax"), ("balanced", "percentile"), ("size", "mse")):
        assert command("compile", net, "--data", calib, "-o", out, "--target", "cortex-m7", "--name", "other name",
                       "--optimize", goal, "--calibration", method, "--precision", "int8", "--ram", 4096,
                       "--flash", 4096, "--corrections", "none").status == 0
    assert (out / "include" / "other_name.h").is_file()


def test_output_survives_an_ascii_terminal(tmp_path: Path) -> None:
    """Names in unicode, printed where only ASCII can be."""
    net = small("eingäng", outputs=("größe \N{SNOWMAN}",), nodes=("schicht ü", "\x1b[31mred"))
    onnx.save(net, tmp_path / "mödel.onnx")
    np.savez(tmp_path / "c.npz", **draws(net, 32))
    env = {"PYTHONIOENCODING": "ascii"}
    for words in (["inspect"], ["verify", "--data", tmp_path / "c.npz"],
                  ["compile", "--data", tmp_path / "c.npz", "-o", tmp_path / "ö"]):
        done = process(words[0], tmp_path / "mödel.onnx", *words[1:], env=env)
        assert (done.status, done.err) == (0, ""), done.err
        assert done.out.isascii()
        assert "\x1b" not in done.out


# --- usage -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("words", [
    ["nonsense"], ["compile"], ["compile", "m.onnx"], ["compile", "m.onnx", "-o"], ["verify", "m.onnx"],
    ["bench", "m.onnx"], ["inspect"], ["inspect", "a", "b"], ["targets", "x"],
    ["compile", "m", "-o", "d", "--ram", "x"],
    ["compile", "m", "-o", "d", "--optimize", "fast"], ["compile", "m", "-o", "d", "--precision", "int5"],
    ["compile", "m", "-o", "d", "--colour"], ["compile", "m", "-o", "d", "--calibration", "guess"],
])
def test_wrong_usage(command: Command, words: list[str]) -> None:
    done = command(*words)
    assert done.status == 2
    assert done.out == ""
    assert "Error" in done.err


def test_wrong_usage_in_a_process() -> None:
    done = process("compile")
    assert (done.status, done.out) == (2, "")


def test_help(command: Command) -> None:
    assert "compile" in command("--help").out
    for name in ("compile", "verify", "bench", "inspect", "targets"):
        done = command(name, "--help")
        assert (done.status, done.err) == (0, "")
        assert "Usage" in done.out


# --- refusals ----------------------------------------------------------------------------------------------------

def test_no_data(command: Command, paths: tuple[Path, Path, Path]) -> None:
    net, _, out = paths
    command("compile", net, "-o", out).refused("calibration data", "hint", "--data")
    assert not out.exists()


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(range(256)) * 9, b"\x08" * 100])
def test_a_file_that_is_no_model(command: Command, paths: tuple[Path, Path, Path], content: bytes) -> None:
    net, calib, out = paths
    net.write_bytes(content)
    for words in (["compile", net, "--data", calib, "-o", out], ["inspect", net], ["verify", net, "--data", calib],
                  ["bench", net, "--target", "cortex-m4", "--data", calib]):
        command(*words).refused("net.onnx")
    assert not out.exists()


def test_a_truncated_model(command: Command, paths: tuple[Path, Path, Path]) -> None:
    net, calib, out = paths
    whole = net.read_bytes()
    for share in (0.2, 0.5, 0.9):
        net.write_bytes(whole[:int(share * len(whole))])
        command("compile", net, "--data", calib, "-o", out).refused()
        assert not out.exists()


def test_a_folder_or_nothing_as_model(command: Command, tmp_path: Path) -> None:
    command("inspect", tmp_path).refused("folder", "hint")
    command("inspect", tmp_path / "none.onnx").refused("none.onnx")
    command("compile", tmp_path, "-o", tmp_path / "out").refused("folder")


def test_refusals_in_a_process(tmp_path: Path, paths: tuple[Path, Path, Path]) -> None:
    net, calib, out = paths
    before = listing(tmp_path)
    process("compile", net, "-o", out).refused("hint")
    process("compile", tmp_path / "none.onnx", "--data", calib, "-o", out).refused()
    process("compile", net, "--data", calib, "-o", calib / "below").refused("cannot write", "hint")
    assert listing(tmp_path) == before


def unsupported() -> onnx.ModelProto:
    """Three nodes that are not supported, one that is; two of the three use the same operator."""
    nodes = [helper.make_node("Det", ["x"], ["a"], name="first"),
             helper.make_node("Det", ["x"], ["b"], name="second"),
             helper.make_node("Relu", ["x"], ["c"], name="fine"),
             helper.make_node("CumSum", ["c", "axis"], ["d"], name="third")]
    return model(nodes, {"x": [1, 4, 4]}, {"a": [1], "b": [1], "d": [1, 4, 4]}, {"axis": np.int64(1)})


def test_every_unsupported_node_is_told(command: Command, tmp_path: Path) -> None:
    onnx.save(unsupported(), tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", x=np.zeros((3, 1, 4, 4), np.float32))
    done = command("compile", tmp_path / "m.onnx", "--data", tmp_path / "c.npz", "-o", tmp_path / "out")
    done.refused("first", "second", "third", "Det", "CumSum", "hint")
    assert "fine" not in done.err
    assert not (tmp_path / "out").exists()


def test_inspect_tells_what_is_not_supported(command: Command, tmp_path: Path) -> None:
    """That is its purpose: no refusal."""
    onnx.save(unsupported(), tmp_path / "m.onnx")
    done = command("inspect", tmp_path / "m.onnx")
    assert (done.status, done.err) == (0, "")
    assert "cannot be compiled" in done.out
    assert done.out.count("  no") >= 3
    assert all(word in done.out for word in ("first", "second", "third", "fine", "hint"))


def test_unknown_target(command: Command, paths: tuple[Path, Path, Path]) -> None:
    net, calib, out = paths
    command("compile", net, "--data", calib, "-o", out, "--target", "z80").refused("z80", "cortex-m4")
    assert not out.exists()


def test_a_search_and_what_it_writes(command: Command, paths: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """The table and the picture; the choice in a project, and in a file by which another project is the same."""
    need_package("matplotlib")
    net, calib, out = paths
    auto = ["--data", calib, "--precision", "auto", "--max-loss", 3, "--optimize", "size", "--jobs", 1]
    done = command("compile", net, *auto, "-o", out, "--picture", tmp_path / "front.svg")
    assert done.status == 0 and "instructions" in done.out and "to lose at most 3 points" in done.out
    assert (tmp_path / "front.svg").read_text().startswith("<?xml")
    words = ["search", net, *auto[:2], *auto[4:], "--picture", tmp_path / "front.png", "-o", tmp_path / "made.toml"]
    found = command(*words, "--json", "-")
    assert json.loads(found.out)["max_loss"] == 3 and (tmp_path / "front.png").read_bytes()[1:4] == b"PNG"
    assert (tmp_path / "made.toml").read_text() == (out / "config.toml").read_text()
    assert command("compile", net, "--data", calib, "--config", tmp_path / "made.toml", "--optimize", "size", "-o",
                   tmp_path / "again").status == 0
    sources = [p for p in out.glob("src/*") if p.is_file()]
    assert sources and all(p.read_bytes() == (tmp_path / "again" / "src" / p.name).read_bytes() for p in sources)


def test_refusals_of_a_search(command: Command, paths: tuple[Path, Path, Path], tmp_path: Path) -> None:
    net, calib, out = paths
    words = ["compile", net, "--data", calib, "-o", out, "--precision", "auto", "--optimize", "size", "--jobs", 1]
    command("compile", net, "-o", out, "--precision", "auto").refused("auto needs calibration data")
    command(*words, "--max-loss", 0).refused("0 points", "--max-loss")
    command(*words, "--instructions", 10).refused("within 10 instructions", "the best one loses", "bytes of flash")
    command(*words, "--cluster", "tcp://127.0.0.1:9").refused("127.0.0.1:9")
    command(*words, "--max-loss", 3, "--picture", tmp_path / "front.docx").refused("docx", ".svg")
    for name, text, *said in (("broken", "weights = ", "is not TOML"), ("key", "[defaults]", "'defaults'"),
                              ("format", '[default]\nweights = "s5"', "s5", "s4"),
                              ("layer", '[layers.nothing]\nweights = "s4"', "'nothing'", "aot verify"),
                              ("goal", '[layers.y]\ngoal = "speedy"\nbits = 3', "speedy", "'bits'")):
        (tmp_path / f"{name}.toml").write_text(text)
        command("compile", net, "--data", calib, "-o", out, "--config", tmp_path / f"{name}.toml").refused(*said)
    command("compile", net, "--data", calib, "-o", out, "--config", tmp_path / "none.toml").refused("cannot be read")
    assert not out.exists()


def test_budgets(command: Command, tmp_path: Path) -> None:
    onnx.save(cnn(), tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", **draws(cnn()))
    words = ["compile", tmp_path / "m.onnx", "--data", tmp_path / "c.npz", "-o", tmp_path / "out"]
    command(*words, "--ram", 10).refused("RAM", "10", "hint")
    command(*words, "--flash", 10).refused("flash", "10", "hint")
    assert command(*words, "--ram", -1).status == 2
    assert not (tmp_path / "out").exists()
    assert command(*words, "--ram", 100_000, "--flash", 100_000).status == 0


# --- places that cannot be written -------------------------------------------------------------------------------

def test_output_that_is_a_file(command: Command, paths: tuple[Path, Path, Path], tmp_path: Path) -> None:
    net, calib, out = paths
    out.write_text("mine")
    before = listing(tmp_path)
    command("compile", net, "--data", calib, "-o", out).refused("not a folder", "hint")
    assert out.read_text() == "mine"
    command("compile", net, "--data", calib, "-o", out / "a" / "b").refused("cannot write", "hint")
    assert listing(tmp_path) == before


def test_output_on_a_file_system_of_the_kernel(command: Command, paths: tuple[Path, Path, Path]) -> None:
    """Nobody can write there, not even root."""
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc here")
    net, calib, _ = paths
    command("compile", net, "--data", calib, "-o", "/proc/self/out").refused("cannot write")


def test_a_folder_in_the_way_of_a_file(command: Command, paths: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Where a file must go stands a folder: the old project stays as it was."""
    net, calib, out = paths
    (out / "src" / "net.c").mkdir(parents=True)
    (out / "CMakeLists.txt").write_text("old")
    (out / "report.json").write_text("{}")
    before = listing(tmp_path)
    command("compile", net, "--data", calib, "-o", out).refused("cannot write")
    assert (out / "CMakeLists.txt").read_text() == "old"
    assert listing(tmp_path) == before


def test_json_that_cannot_be_written(command: Command, paths: tuple[Path, Path, Path], tmp_path: Path) -> None:
    net, calib, _ = paths
    before = listing(tmp_path)
    command("verify", net, "--data", calib, "--json", net / "v.json").refused("not a folder")
    command("verify", net, "--data", calib, "--json", tmp_path).refused("cannot write")
    assert listing(tmp_path) == before


def test_json_to_a_device(command: Command, paths: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """A pipe or device is written to, not replaced by a file; a link is followed."""
    net, calib, _ = paths
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen([sys.executable, "-c", f"print(open({str(pipe)!r}).read())"], stdout=subprocess.PIPE)
    assert command("verify", net, "--data", calib, "--json", pipe).status == 0
    assert json.loads(reader.communicate(timeout=60)[0])["samples"] == 32
    assert pipe.is_fifo()
    (tmp_path / "link.json").symlink_to(tmp_path / "v.json")
    assert command("verify", net, "--data", calib, "--json", tmp_path / "link.json").status == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "v.json").read_text())["samples"] == 32


def test_a_reader_that_went_away(paths: tuple[Path, Path, Path]) -> None:
    """``aot targets | head -0``: no traceback."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "aot", "targets"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.stderr == ""


@pytest.mark.parametrize("words", [["targets"], ["inspect", CNN / "model.onnx"],
                                   ["verify", DENSE / "model.onnx", "--data", DENSE / "calib.npz", "--json", "-"]])
def test_an_answer_that_cannot_be_written(words: list[object]) -> None:
    """As on a full disk: one message, and no traceback."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "aot", *map(str, words)], stdout=full, stderr=subprocess.PIPE,
                              text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the answer cannot be written: ")
    assert len(done.stderr.splitlines()) == 1
