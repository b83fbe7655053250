"""What a user says is used or refused, with the file and the cause: options, configurations, labels, old files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from frontend.models import model
from onnx import helper
from road import draws, small

import aot
from aot import cli
from aot.config import read
from aot.data import load
from aot.errors import AotError
from aot.ir import Array
from aot.sanity import look
from aot.verify import verify

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Compile a small model to a folder with more options: exit status, and what stands on stderr."""
    onnx.save(small(), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", **draws(small(), 40))

    def run(*words: object) -> tuple[int, str]:
        capfd.readouterr()
        fixed = ["aot", "compile", tmp_path / "m.onnx", "--data", tmp_path / "d.npz", "-o", tmp_path / "out"]
        monkeypatch.setattr(sys, "argv", [str(w) for w in (*fixed, *words)])
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0), " ".join(capfd.readouterr().err.split())
        return 0, ""
    return run


@pytest.mark.parametrize("option", [("--max-loss", "1"), ("--picture", "p.svg"), ("--judge", "d.npz"), ("--jobs", "2")])
def test_options_of_a_search_without_one(command: Command, option: tuple[str, str], tmp_path: Path) -> None:
    status, said = command(*option)
    assert status == 1 and option[0] in said and "--precision auto" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("precision", ["auto", "int4"])
def test_formats_given_twice(command: Command, precision: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[default]\n")
    status, said = command("--config", tmp_path / "c.toml", "--precision", precision)
    assert status == 1 and "configuration" in said and f"precision {precision}" in said
    with pytest.raises(AotError, match="so does precision auto"):
        aot.compile(small(), data=draws(small(), 40), config={"default": {}}, precision="auto")


def test_all_that_does_not_fit_the_network_is_told_with_the_file(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '[layers."nowhere"]\nactivations = "s16"\n[layers."y"]\nkernel = "add.dsp"\n[layers."lost"]\ngoal = "size"\n')
    status, said = command("--config", tmp_path / "mine.toml")
    assert status == 1 and said.count("mine.toml") == 3
    assert "'nowhere'" in said and "'lost'" in said
    assert "'y' is fully_connected, and 'add.dsp' computes add" in said
    (tmp_path / "mine.toml").write_text('[layers."y"]\nkernel = "magic"\n')
    status, said = command("--config", tmp_path / "mine.toml")
    assert status == 1 and "mine.toml" in said and "'magic'" in said


def test_a_goal_of_the_default_is_refused_once(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[default]\ngoal = "fast"\n')
    status, said = command("--config", tmp_path / "mine.toml")
    assert status == 1 and said.count("error:") == 1 and "has no 'goal'" in said


def test_preprocessing_in_a_configuration() -> None:
    """It is checked, and used where none is given otherwise."""
    with pytest.raises(AotError, match="unknown key 'meen'"):
        read({"data": {"meen": 1}})
    pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 6)).astype(np.uint8)
    config = {"data": {"mean": 0.5, "std": 0.25, "scale": 1 / 255}}
    scaled = aot.compile(small(), data=pixels, config=config)
    other = aot.compile(small(), data=((pixels / 255 - 0.5) / 0.25).astype(np.float32))
    ranges = [net.calibration.ranges[net.graph.inputs[0]] for net in (scaled, other)]
    assert ranges[0].high == pytest.approx(ranges[1].high, rel=0.02)


def test_an_unknown_format_is_named_alone() -> None:
    with pytest.raises(AotError, match="activations of 's9' are not supported"):
        read({"default": {"activations": "s9"}})


@pytest.mark.parametrize("index", [6, -7])
def test_gather_beyond_its_axis(index: int) -> None:
    refused = model([helper.make_node("Gather", ["x", "i"], ["y"], axis=1)], {"x": [1, 6]}, {"y": [1, 1]},
                    {"i": np.array([index])})
    with pytest.raises(AotError, match=rf"takes index {index} of an axis of 6") as error:
        aot.compile(refused, data=np.zeros((4, 6), np.float32))
    assert "from -6 to 5" in str(error.value)


@pytest.mark.parametrize("name", ["stride", "kernel", "dilation", "in", "out", "net_weights"])
def test_a_network_called_like_a_number_of_a_layer(name: str) -> None:
    """The guard of its header once was a name that layers use."""
    net = aot.compile(convolution(), data=draws(convolution(), 40), name=name)
    (given, expected), *_ = net.golden
    np.testing.assert_array_equal(net.run_quantized(given), next(iter(expected.values())))


def convolution() -> onnx.ModelProto:
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    return model([helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2])], {"x": [1, 3, 9, 8]},
                 {"y": [1, 4, 4, 3]}, {"w": weights})


# --- data --------------------------------------------------------------------------------------------------------

def test_one_sample_of_another_size_is_named() -> None:
    net = aot.compile(small(), data=draws(small(), 40))
    data = draws(small(), 40)["x"]
    data[7, 0] = 1e12
    (found,) = look(net.float_graph, load({"x": data}, net.float_graph))
    assert "sample 7 holds 1e+12" in found.fact and "more like it" not in found.fact
    data[9, 0] = -1e12
    (found,) = look(net.float_graph, load({"x": data}, net.float_graph))
    assert "sample 7 holds" in found.fact and "and 1 more like it" in found.fact



def test_a_scale_of_zero() -> None:
    net = aot.compile(small(), data=draws(small(), 40))
    for scale in (np.float32(0), np.array([[0, 1, 1, 1, 1, 1]], np.float32)):
        with pytest.raises(AotError, match="scale is 0"):
            load({"x": draws(small(), 4)["x"], "scale": scale}, net.float_graph)


@pytest.mark.parametrize(("labels", "fits"), [([0, 4, 1, 2], True), ([0, 5, 1, 2], False), ([0, -1, 1, 2], False)])
def test_labels_beyond_the_outputs(labels: list[int], fits: bool) -> None:
    net = aot.compile(small(), data=draws(small(), 40))
    samples = load({**draws(small(), 4), "y": np.array(labels)}, net.float_graph)
    if fits:
        assert verify(net, samples).metric == "top1"
        return
    with pytest.raises(AotError, match=rf"label {labels[1]} in sample 1, and the model has 5 outputs"):
        verify(net, samples)


def test_whole_numbers_of_a_single_output_are_targets() -> None:
    """They were compared with the place of the largest output, of which there is one."""
    mean = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)
    proto = model([mean], {"x": [1, 6]}, {"y": [1, 1]}, opset=13)
    net = aot.compile(proto, data=draws(proto, 40))
    found = verify(net, load({**draws(proto, 4), "y": np.array([3, 1, 0, 2])}, net.float_graph))
    assert found.metric == "mse" and found.float_ is not None and found.float_ > 1


@pytest.mark.parametrize("content", [b"1 2 3\n", b"\x00\x01junk" * 40, None])
def test_files_without_numbers(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "d.npz"
    if content is None:
        np.savez(file, x=np.array([{"a": 1}], object), allow_pickle=True)
    else:
        file.write_bytes(content)
    with pytest.raises(AotError) as refused:
        aot.compile(small(), data=file)
    assert "pickle" not in str(refused.value) and "d.npz" in str(refused.value)


def test_filters_of_nothing_are_no_fault_of_the_data() -> None:
    proto = small()
    kept = [t for t in proto.graph.initializer if t.name != "weights!"]
    zero = onnx.numpy_helper.from_array(np.zeros((6, 5), np.float32), "weights!")
    del proto.graph.initializer[:]
    proto.graph.initializer.extend([*kept, zero])
    net = aot.compile(proto, data=draws(proto, 40))
    samples = load(draws(proto, 40), net.float_graph)
    assert not any("scaled" in p.fact for p in look(net.float_graph, samples))


# --- files of before -----------------------------------------------------------------------------------------------

def listing(folder: Path) -> set[str]:
    return {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}


def test_what_an_earlier_run_left_is_removed(tmp_path: Path) -> None:
    """But for what somebody has changed, or added."""
    folder = tmp_path / "out"
    aot.compile(small(), data=draws(small(), 40), name="one", config={"default": {}}).write(folder)
    assert (folder / "config.toml").exists()
    (folder / "src/own.c").write_text("int own;\n")
    (folder / "src/one.c").write_text((folder / "src/one.c").read_text() + "/* mine */\n")
    net = aot.compile(small(), data=draws(small(), 40), name="two")
    net.write(folder)
    assert listing(folder) == {*net.files, "src/own.c", "src/one.c"}
    net.write(folder)
    assert listing(folder) == {*net.files, "src/own.c", "src/one.c"}


def test_a_list_of_files_that_is_not_ours(tmp_path: Path) -> None:
    """It names nothing that would be removed: other folders, and lists in other forms."""
    folder, outside = tmp_path / "out", tmp_path / "mine.txt"
    net = aot.compile(small(), data=draws(small(), 40), name="one")
    net.write(folder)
    outside.write_text("mine")
    digest = "c9f4ca1b3b2c7e1b0a2a3b9b9a7b5a4d"
    for files in ({"../mine.txt": digest, str(outside): digest}, [1, 2], "src", None, {"src": digest, "no": 3}):
        report = json.loads((folder / "report.json").read_text())
        (folder / "report.json").write_text(json.dumps({**report, "files": files}))
        net.write(folder)
        assert listing(folder) == set(net.files) and outside.read_text() == "mine"


# --- Gather --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("positions", [[0, 3, 4, 7], [5, 5, 1], [7, 6, 5, 0, 0], [-1, 0, 2, 4]])
def test_gather_of_positions_that_do_not_step_evenly(positions: list[int]) -> None:
    proto = gather(np.array(positions))
    x = draws(proto, 40)
    np.testing.assert_array_equal(aot.compile(proto, precision="float32").run(x), x["x"][:, 0, positions])
    net = aot.compile(proto, data=x, calibration="minmax")
    np.testing.assert_allclose(net.run(x), x["x"][:, 0, positions], atol=2 * net.graph.values["y"].scale)


def test_gather_in_no_order_is_refused() -> None:
    with pytest.raises(AotError, match="in no order"):
        aot.compile(gather(np.arange(400) ** 2 % 401), data=draws(gather(np.arange(401)), 40))


def gather(positions: Array) -> onnx.ModelProto:
    size = 8 if len(positions) < 8 else 401
    return model([helper.make_node("Gather", ["x", "i"], ["y"], axis=1)], {"x": [1, size]},
                 {"y": [1, len(positions)]}, {"i": positions.astype(np.int64)})
