"""Assembly functions met compilers that add to them: a stack protector before their first instruction, or a limit of
the length of strings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from boards import check
from kernels import Project, graph_of, project

from aot import build, emulate
from aot.ops import OPS
from aot.targets import TARGETS

KINDS = ("conv2d", "depthwise_conv2d", "fully_connected", "add", "average_pool2d")
GUARD = "\nextern void *__stack_chk_guard;\nextern void __stack_chk_fail(void);\n" \
        "void *__stack_chk_guard = &__stack_chk_guard;\nvoid __stack_chk_fail(void) { for (;;) { } }\n"


def projects() -> dict[str, Project]:
    return {f"{op.name}_{i}": project(graph_of(case), TARGETS["cortex-m4"], f"{op.name}_{i}", optimize="speed")
            for op in OPS if op.name in KINDS for i, case in enumerate(op.cases())}


@pytest.mark.emulator
def test_a_stack_protector_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulate, "_NETWORK_FLAGS", (*emulate._NETWORK_FLAGS, "-fstack-protector-all"))
    made = projects()
    first = next(iter(made.values()))
    first.files[f"src/{next(iter(made))}.c"] += GUARD
    check(made, "cortex-m4")


@pytest.mark.emulator
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_clang_for_arm_is_content(level: str, tmp_path: Path) -> None:
    if not build.have("clang"):
        assert "CI" not in os.environ, "clang is missing"
        pytest.skip("needs clang")
    (tmp_path / "find.c").write_text("#include <string.h>\n")
    used = build.run(["arm-none-eabi-gcc", "-M", "find.c"], tmp_path).out.split()
    headers = next(Path(word).parent for word in used if word.endswith("/string.h"))
    for name, one in projects().items():
        build.put(one.files, tmp_path / name)
        done = build.run(["clang", "--target=arm-none-eabi", "-mcpu=cortex-m4", "-isystem", str(headers),
                          *build.STRICT, level, "-Iinclude", "-Isrc", "-c", f"src/{name}.c", "-o", "a.o"],
                         tmp_path / name)
        assert (done.status, done.err) == (0, ""), done.err
