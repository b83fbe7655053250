"""What is broken, hostile or unsupported is refused with node, fact and hint: no traceback, no huge tensor."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import convolution, dense, model
from onnx import TensorProto, helper, numpy_helper

from aot.errors import AotError, Problem
from aot.frontend import load


def refusal(what: Any) -> tuple[Problem, ...]:
    """The problems for which a model is refused; each states a fact."""
    with pytest.raises(AotError) as caught:
        load(what)
    assert all(p.fact for p in caught.value.problems)
    assert "\n" not in caught.value.problems[0].fact
    return caught.value.problems


def only(what: Any) -> Problem:
    """The one problem, which also gives a hint."""
    problems = refusal(what)
    assert len(problems) == 1, problems
    assert problems[0].hint
    return problems[0]


def relu(dims: list[Any], **more: Any) -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["x"], ["y"], name="act")], {"x": dims}, {"y": [1]}, **more)


# --- files -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("content", [b"", b"hello, this is text", b"PK\x03\x04zip", b"\x00" * 64, b"\xff" * 99,
                                     b"version https://git-lfs.github.com/spec/v1\n", b"TFL3" * 9])
def test_files_that_are_no_models(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert str(path) in only(path).node
    only(content)


def test_missing_files_folders_and_devices(tmp_path: Path) -> None:
    assert "cannot read" in only(tmp_path / "none.onnx").fact
    assert "folder" in only(tmp_path).fact
    assert "regular" in only("/dev/zero").fact
    assert "null" in only("a\0b.onnx").fact
    assert "int" in only(7).fact


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated_files(share: float) -> None:
    content = dense().SerializeToString()
    refusal(content[:int(len(content) * share)])


TINY = [dense().SerializeToString(), convolution().SerializeToString()]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_files(data: st.DataObject) -> None:
    """Any bytes of a model changed, cut out or doubled: it loads, or is refused."""
    content = bytearray(data.draw(st.sampled_from(TINY)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["set", "cut", "double"])):
            case "set":
                content[at] = data.draw(st.integers(0, 255))
            case "cut":
                del content[at:at + data.draw(st.integers(1, 8))]
            case _:
                content[at:at] = content[at:at + data.draw(st.integers(1, 16))]
    try:
        load(bytes(content))
    except AotError as error:
        assert all(p.fact for p in error.problems)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_fields(data: st.DataObject) -> None:
    """The file is whole, but some of its numbers, texts and lists are not what they were."""
    changed = onnx.ModelProto.FromString(data.draw(st.sampled_from(TINY)))
    for _ in range(data.draw(st.integers(1, 3))):
        message, field = data.draw(st.sampled_from(list(fields(changed))))
        damage(message, field, data)
    try:
        load(changed)
    except AotError as error:
        assert all(p.fact for p in error.problems)


def fields(message: Any) -> Iterator[tuple[Any, Any]]:
    """Every field that is set, with the message that holds it."""
    for field, value in message.ListFields():
        yield message, field
        if field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from fields(part)


def damage(message: Any, field: Any, data: st.DataObject) -> None:
    """Change one field: another number or text, an element fewer, or the whole field gone."""
    value = getattr(message, field.name)
    repeated = hasattr(value, "append") or hasattr(value, "add")
    if field.type == field.TYPE_MESSAGE or (not repeated and data.draw(st.booleans())):
        if repeated:
            del value[data.draw(st.integers(0, len(value) - 1))]
        else:
            message.ClearField(field.name)
        return
    numbers = st.sampled_from([-(1 << 31), -2, -1, 0, 1, 2, 3, 5, 7, 16, 1 << 20, (1 << 31) - 1])
    kinds: dict[Any, st.SearchStrategy[Any]] = {
        field.TYPE_STRING: st.sampled_from(["", "x", "y", "w", "h", "Conv", "Gemm", "Add", "Concat", "Slice", "Pad",
                                            "Transpose", "pads", "axis", "ai.onnx"]),
        field.TYPE_BYTES: st.binary(max_size=8),
        field.TYPE_FLOAT: st.sampled_from([0.0, -1.0, float("nan"), float("inf")]),
        field.TYPE_ENUM: st.sampled_from(sorted(field.enum_type.values_by_number) if field.enum_type else [0]),
    }
    new = data.draw(kinds.get(field.type, numbers))
    if repeated:
        value[data.draw(st.integers(0, len(value) - 1))] = new
    else:
        setattr(message, field.name, new)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes(content: bytes) -> None:
    refusal(content)


def test_texts_that_are_no_utf8() -> None:
    only(dense().SerializeToString().replace(b"act", b"\xff\xfe\xfd"))


# --- external data -----------------------------------------------------------------------------------------------

def external(tmp_path: Path, location: str, **entries: str) -> Path:
    """A model in its own folder whose weights are said to be at ``location``; 48 bytes are in and beside the folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    for place in (folder, tmp_path):
        (place / "weights.bin").write_bytes(bytes(48))
    changed = dense()
    tensor = changed.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": location} | entries).items():
        tensor.external_data.add(key=key, value=value)
    (folder / "m.onnx").write_bytes(changed.SerializeToString())
    return folder / "m.onnx"


def test_external_data_in_the_folder_is_read(tmp_path: Path) -> None:
    assert load(external(tmp_path, "weights.bin", offset="0", length="48")).graph.nodes


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../weights.bin", "C:\\weights.bin", "..",
                                      "\\\\server\\share", "..\\weights.bin", ""])
def test_external_data_outside_the_folder(location: str, tmp_path: Path) -> None:
    problem = only(external(tmp_path, location))
    assert problem.node == "w"
    assert "outside" in problem.fact


def test_external_data_behind_a_link(tmp_path: Path) -> None:
    path = external(tmp_path, "link.bin")
    (path.parent / "link.bin").symlink_to(tmp_path / "weights.bin")
    assert "leads outside" in only(path).fact


@pytest.mark.parametrize(("entries", "fact"), [
    ({"location": "none.bin"}, "is missing"),
    ({"location": "."}, "is missing"),
    ({"offset": "8"}, "ends at byte 56"),
    ({"length": "8"}, "8 bytes"),
    ({"offset": "-1"}, "not a number"),
    ({"length": "9" * 30}, "not a number"),
    ({"location": "a\0b"}, "not a path"),
])
def test_external_data_that_does_not_fit(entries: dict[str, str], fact: str, tmp_path: Path) -> None:
    path = external(tmp_path, **({"location": "weights.bin"} | entries))
    assert fact in only(path).fact


def test_external_data_without_a_folder(tmp_path: Path) -> None:
    assert "path of the model" in only(external(tmp_path, "weights.bin").read_bytes()).hint


# --- structure ---------------------------------------------------------------------------------------------------

def test_cycle() -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"], name="first"), helper.make_node("Relu", ["a"], ["b"])]
    problem = only(model(nodes, {"x": [1, 2]}, {"b": [1, 2]}))
    assert "cycle" in problem.fact
    assert problem.node == "first (Add)"


def test_missing_initializer() -> None:
    changed = dense()
    del changed.graph.initializer[0]
    problem = only(changed)
    assert (problem.node, "'w' is missing" in problem.fact) == ("fc (Gemm)", True)


def test_duplicate_names() -> None:
    changed = dense()
    changed.graph.node[1].output[0] = "h"
    changed.graph.output[0].name = "h"
    assert "'h' is defined twice" in only(changed).fact
    changed = dense()
    changed.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "b"))
    assert "'b' is defined twice" in only(changed).fact


def test_output_that_nothing_computes() -> None:
    assert "nothing computes" in only(model([helper.make_node("Relu", ["x"], ["h"])], {"x": [1]}, {"y": [1]})).fact


def test_no_inputs_or_outputs() -> None:
    assert "no outputs" in only(model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {})).fact
    nodes = [helper.make_node("Relu", ["c"], ["y"])]
    assert "no inputs" in only(model(nodes, {}, {"y": [2]}, {"c": np.ones(2, np.float32)})).fact


def test_an_output_that_is_an_input() -> None:
    assert "one of its inputs" in only(model([], {"x": [1]}, {"x": [1]})).fact


@pytest.mark.parametrize("opset", [1, 6, onnx.defs.onnx_opset_version() + 1, 0, -3])
def test_opsets_out_of_reach(opset: int) -> None:
    assert "opset" in only(relu([1], opset=opset)).fact


def test_recursive_functions() -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    functions = []
    for a, b in (("F", "G"), ("G", "F")):
        body = [helper.make_node(b, ["a"], ["b"], domain="mine")]
        functions.append(helper.make_function("mine", a, ["a"], ["b"], body, imports))
    changed = model([helper.make_node("F", ["x"], ["y"], domain="mine")], {"x": [1]}, {"y": [1]},
                    functions=functions, opset_imports=imports)
    assert "call themselves" in only(changed).fact


def test_functions_that_unfold_without_end() -> None:
    """Ten calls of a function which calls another ten times, forty deep."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    functions = []
    for i in range(40):
        names = ["a", *(f"t{j}" for j in range(9)), "b"]
        domain = {"domain": "mine"} if i else {}
        body = [helper.make_node(f"F{i - 1}" if i else "Relu", [names[j]], [names[j + 1]], **domain) for j in range(10)]
        functions.append(helper.make_function("mine", f"F{i}", ["a"], ["b"], body, imports))
    changed = model([helper.make_node("F39", ["x"], ["y"], domain="mine")], {"x": [1]}, {"y": [1]},
                    functions=functions, opset_imports=imports)
    assert "nodes" in only(changed).fact


# --- shapes and types --------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("dims", "fact"), [
    ([1, "T"], "dimension 1 of this input is 'T'"),
    ([1, None], "dimension 1 of this input is not given"),
    ([0, 4], "no elements"),
    ([1, -1], "negative"),
    ([1 << 20, 1 << 20], "elements"),
    ([1 << 40, 1 << 40], "elements"),
    ([1] * 9, "9 dimensions"),
])
def test_input_shapes(dims: list[Any], fact: str) -> None:
    problem = only(relu(dims))
    assert fact in problem.fact
    assert problem.node == "x"


def test_an_input_without_a_shape() -> None:
    changed = dense()
    changed.graph.input[0].type.tensor_type.ClearField("shape")
    assert "no shape" in only(changed).fact


def test_an_input_that_is_no_tensor() -> None:
    changed = relu([1])
    changed.graph.input[0].type.CopyFrom(
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1])))
    assert "not a tensor" in only(changed).fact


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL,
                                   TensorProto.STRING, TensorProto.UNDEFINED, TensorProto.UINT8])
def test_input_types(dtype: int) -> None:
    problem = only(relu([1, 4], dtype=dtype))
    assert "float32" in problem.hint
    assert problem.node == "x"


def test_shapes_that_do_not_fit() -> None:
    problem = only(dense(w=np.zeros((5, 3), np.float32)))
    assert problem.node == "fc (Gemm)"


def test_missing_attribute() -> None:
    problem = only(model([helper.make_node("MaxPool", ["x"], ["y"], name="pool")], {"x": [1, 1, 4, 4]}, {"y": [1]}))
    assert "kernel_shape" in problem.fact


def test_a_computed_shape_without_elements() -> None:
    nodes = [helper.make_node("Slice", ["x", "from", "to"], ["e"], name="none"), helper.make_node("Relu", ["e"], ["y"])]
    problem = only(model(nodes, {"x": [4]}, {"y": [0]}, {"from": np.array([2]), "to": np.array([2])}))
    assert "no elements" in problem.fact
    assert problem.node == "none (Slice)"


# --- weights -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("bad", "words"), [
    (np.nan, "1 NaN of 12"), (np.inf, "1 infinite of 12"), (-np.inf, "1 infinite of 12")])
def test_weights_that_are_not_finite(bad: float, words: str) -> None:
    weights = np.ones((4, 3), np.float32)
    weights[1, 2] = bad
    problem = only(dense(w=weights))
    assert "'w'" in problem.fact
    assert words in problem.fact
    assert problem.node == "fc (Gemm)"


def test_a_double_that_does_not_fit_float() -> None:
    nodes = [helper.make_node("Cast", ["d"], ["f"], to=TensorProto.FLOAT),
             helper.make_node("Add", ["x", "f"], ["y"], name="sum")]
    problem = only(model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, {"d": np.array([1e300, 1.0])}))
    assert "infinite" in problem.fact


def test_infinite_bounds_of_clip_are_no_fault() -> None:
    nodes = [helper.make_node("Clip", ["x", "low", "high"], ["y"])]
    assert load(model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, {"low": np.float32(0), "high": np.float32(np.inf)}))


@pytest.mark.parametrize(("dims", "size"), [([4, 3], 40), ([4, 3], 56), ([4, 3], 0), ([1 << 30, 1], 48), ([4, -3], 48),
                                            ([1 << 40, 1 << 40], 0), ([1 << 62, 4], 48)])
def test_weights_whose_data_does_not_fit_their_shape(dims: list[int], size: int) -> None:
    changed = dense()
    tensor = changed.graph.initializer[0]
    tensor.dims[:] = dims
    tensor.raw_data = bytes(size)
    assert only(changed).node == "w"


def test_weights_without_data_and_of_no_type() -> None:
    changed = dense()
    changed.graph.initializer[0].ClearField("raw_data")
    assert "holds 0 numbers" in only(changed).fact
    changed.graph.initializer[0].data_type = 99
    assert "unknown type 99" in only(changed).fact
    changed.graph.initializer[0].data_type = TensorProto.STRING
    assert "string" in only(changed).fact


def test_sparse_weights() -> None:
    changed = dense()
    del changed.graph.initializer[0]
    sparse = helper.make_sparse_tensor(numpy_helper.from_array(np.ones(1, np.float32), "w"),
                                       numpy_helper.from_array(np.zeros(1, np.int64)), [4, 3])
    changed.graph.sparse_initializer.append(sparse)
    assert "sparse" in only(changed).fact


@pytest.mark.parametrize("nodes", [
    [helper.make_node("ConstantOfShape", ["many"], ["c"], name="huge")],
    [helper.make_node("ConstantOfShape", ["many"], ["t"], name="huge"), helper.make_node("Exp", ["t"], ["c"])],
    [helper.make_node("Expand", ["one", "many"], ["c"], name="huge")],
    [helper.make_node("Tile", ["one", "many"], ["c"], name="huge")],
    [helper.make_node("Range", ["zero", "count", "step"], ["c"], name="huge")],
    [helper.make_node("Pad", ["one", "pads"], ["c"], name="huge")],
], ids=["constant of shape", "its exponential", "expand", "tile", "range", "pad"])
@pytest.mark.parametrize("count", [1 << 29, 1 << 40])
def test_small_files_that_ask_for_huge_constants(nodes: list[onnx.NodeProto], count: int) -> None:
    constants = {"many": np.array([count]), "one": np.ones(1, np.float32), "zero": np.float64(0),
                 "count": np.float64(count), "step": np.float64(1), "pads": np.array([0, count])}
    rest = [helper.make_node("ReduceSum", ["c"], ["s"], keepdims=0), helper.make_node("Cast", ["s"], ["f"], to=1),
            helper.make_node("Add", ["x", "f"], ["y"])]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problem = only(model([*nodes, *rest], {"x": [1, 2]}, {"y": [1, 2]}, constants))
    assert problem.node.startswith("huge")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


# --- operators ---------------------------------------------------------------------------------------------------

def test_every_unsupported_node_is_in_one_message() -> None:
    kinds = ["NonZero", "Relu", "Foo", "NonZero", "com.acme.Bar", "Relu", "Bernoulli"]
    nodes = [helper.make_node(k.split(".")[-1], [f"t{i}"], [f"t{i + 1}"], name=f"n{i}",
                              domain="com.acme" if "." in k else "") for i, k in enumerate(kinds)]
    changed = model(nodes, {"t0": [1, 4]}, {f"t{len(nodes)}": [1, 4]},
                    opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.acme", 1)])
    problems = refusal(changed)
    assert [p.node for p in problems] == ["n0 (NonZero)", "n2 (Foo)", "n3 (NonZero)", "n4 (com.acme.Bar)",
                                          "n6 (Bernoulli)"]
    assert [bool(p.hint) for p in problems] == [True, True, False, True, True]  # a hint once an operator
    assert len(str(AotError(problems=problems)).splitlines()) == 9


def test_problems_of_every_kind_come_together() -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["a"], name="bad"),
             helper.make_node("NonZero", ["a"], ["b"], name="odd"),
             helper.make_node("Add", ["b", "gone"], ["y"], name="lost")]
    changed = model(nodes, {"x": [1, 4], "z": ["N", "T"]}, {"y": [1, 4]}, {"w": np.full((4, 4), np.nan, np.float32)})
    assert {p.node for p in refusal(changed)} == {"bad (Gemm)", "odd (NonZero)", "lost (Add)", "z"}


def test_control_flow() -> None:
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["r"])], "b", [],
                               [helper.make_tensor_value_info("r", TensorProto.FLOAT, [1])])
    nodes = [helper.make_node("If", ["c"], ["y"], name="maybe", then_branch=branch, else_branch=branch)]
    assert "control flow" in only(model(nodes, {"x": [1]}, {"y": [1]}, {"c": np.array(True)})).fact


def test_operators_of_machine_learning_before_networks() -> None:
    nodes = [helper.make_node("Scaler", ["x"], ["y"], name="scale", domain="ai.onnx.ml", offset=[0.0], scale=[1.0])]
    changed = model(nodes, {"x": [1, 2]}, {"y": [1, 2]},
                    opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)])
    assert only(changed).node == "scale (ai.onnx.ml.Scaler)"


def test_integers_at_run_time() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("ArgMax", ["r"], ["y"], name="best", axis=1)]
    problems = refusal(model(nodes, {"x": [1, 4]}, {"y": [1, 1]}))
    assert {p.node for p in problems} <= {"best (ArgMax)", "y"}
