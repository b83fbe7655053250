"""Emulated boards: exact counts and sizes of known programs, and every way in which a program can go wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from boards import BOARDS, check
from kernels import Project, graph_of, project

from aot import build, elf
from aot.builder import Builder
from aot.emulate import Emulation, Job, emulate
from aot.errors import AotError
from aot.ops.add import Add
from aot.ops.base import Case
from aot.ops.max_pool2d import MaxPool2d
from aot.ops.unary import Unary
from aot.targets import TARGETS

pytestmark = pytest.mark.emulator

#: Instructions known by hand: the loop has 1 + 2 * 100 + 1, the run function 4 or 7, and a stack of 8 or 16 bytes.
KNOWN = {
    "thumb": """
__attribute__((naked, noinline)) static void loop_0(void) {
    __asm__(".syntax unified\\n movs r2, #100\\n 1: subs r2, #1\\n bne 1b\\n bx lr"); }
__attribute__((naked)) int known_run(void *arena, const int8_t *input, int8_t *output) {
    __asm__("push {r3, lr}\\n bl loop_0\\n movs r0, #0\\n pop {r3, pc}"); }
int keep(void) { loop_0(); return 0; }
""",
    "riscv": """
__attribute__((naked, noinline)) static void loop_0(void) {
    __asm__("li t0, 100\\n 1: addi t0, t0, -1\\n bnez t0, 1b\\n ret"); }
__attribute__((naked)) int known_run(void *arena, const int8_t *input, int8_t *output) {
    __asm__("addi sp, sp, -16\\n sw ra, 0(sp)\\n jal loop_0\\n li a0, 0\\n lw ra, 0(sp)\\n addi sp, sp, 16\\n ret"); }
int keep(void) { loop_0(); return 0; }
""",
}
HEAD = '#include <string.h>\n#include "known.h"\n#define LAYER __attribute__((noinline)) static\n'
RUN = "int known_run(void *arena, const int8_t *input, int8_t *output)"


@pytest.fixture(scope="module")
def known() -> Project:
    """A project of 64 bytes in and out, whose code the tests replace."""
    b = Builder("known")
    return project(b.graph([b.input("in", (1, 64))], [b.add(Unary("tanh"), ["in"], "out")]), name="known")


def run(known: Project, code: str, target: str = "cortex-m4", layers: tuple[str, ...] = ("loop_0",), samples: int = 1,
        flags: tuple[str, ...] = (), timeout: float = 60.0) -> Emulation:
    files = known.files | {"src/known.c": HEAD + code}
    job = Job("known", files, known.graph, layers, known.inputs[:samples])
    return emulate([job], TARGETS[target], flags=flags, timeout=timeout)


@pytest.mark.parametrize("target", [name for name, t in TARGETS.items() if t.emulator])
def test_counts_are_exact(known: Project, target: str) -> None:
    riscv = target == "rv32imc"
    ran = run(known, KNOWN["riscv" if riscv else "thumb"], target).samples[0][0]
    assert (ran.layers, ran.overhead, ran.instructions) == ((202,), 7 if riscv else 4, 209 if riscv else 206)
    assert ran.stack == (16 if riscv else 8)


#: Instructions of a layer, and the cycles of each by hand: for a Cortex-M4, and where they differ for a Cortex-M3.
#: r0 points to 64 bytes. The layer's BL, "movs r0" and POP belong to the run function.
TIMED = {
    "movs r2, #1\n adds r2, #1\n add.w r2, r2, #300\n nop\n nop.w": ([1, 1, 1, 1, 1], None),
    # Single loads and stores: 2, right behind another 1.
    "ldr r2, [r0]\n nop\n ldrb r2, [r0, #1]\n nop\n str.w r2, [r0, #4]\n nop\n strh r2, [r0, #6]": (
        [2, 1, 2, 1, 2, 1, 2], None),
    "ldr r2, [r0]\n ldr r3, [sp]\n str r2, [sp]\n ldrsb.w r2, [r0]\n ldr r3, [r0], #4\n strb r3, [r0, r1]": (
        [2, 1, 1, 1, 1, 1], None),
    "ldr r2, 1f\n b 2f\n .align 2\n 1: .word 7\n 2: ldr.w r2, 1b\n ldrex r3, [r0]\n ldrh r3, [r0, r1]": (
        [2, 3, 2, 1, 1], None),
    # Several: 1 and 1 for each register; a single one behind them is not behind a single one.
    "push {r4, r5, lr}\n ldr r2, [r0]\n pop {r4, r5, lr}": ([4, 2, 4], None),
    "push {r4, r5, r6}\n pop {r4, r5, r6}\n push.w {r4, r8}\n pop.w {r4, r8}": ([4, 4, 3, 3], None),
    "ldm r0, {r2, r3}\n ldmia.w r0, {r1, r2, r3, r12}\n stm r0!, {r1, r2, r3}\n stmdb r0!, {r1, r2, r3, r12}": (
        [3, 5, 4, 5], None),
    "ldrd r2, r3, [r0]\n ldrd r2, r3, [r0], #8\n strd r2, r3, [r0, #-8]!\n ldr r2, [r0]": ([3, 3, 3, 2], None),
    # Multiplications and divisions.
    "muls r2, r3\n mul r2, r3, r3\n mla r2, r3, r3, r2\n mls r2, r3, r3, r2": ([1, 1, 1, 1], [1, 1, 2, 2]),
    "smull r2, r3, r1, r1\n umull r2, r3, r1, r1\n smlal r2, r3, r1, r1\n umlal r2, r3, r1, r1": (
        [1, 1, 1, 1], [5, 5, 7, 7]),
    "movs r3, #3\n udiv r2, r0, r3\n sdiv r2, r2, r3": ([1, 12, 12], None),
    # Branches: 2 more when taken. Behind one, a load stands by itself.
    "movs r2, #3\n 1: subs r2, #1\n bne 1b": ([1, 1, 3, 1, 3, 1, 1], None),
    "movs r2, #0\n cbz r2, 1f\n nop\n 1: cbnz r2, 2f\n ldr r3, [r0]\n b 2f\n nop\n 2: ldr r3, [r0]": (
        [1, 3, 1, 2, 3, 2], None),
    "movs r2, #1\n tbb [pc, r2]\n 1: .byte 1, (2f-1b)/2\n nop\n 2: nop": ([1, 4, 1], None),
    "adr r3, 1f\n adds r3, #1\n push {r2, r3}\n pop {r2, pc}\n nop\n .align 2\n 1: nop": ([1, 1, 3, 5, 1], None),
    # A branch to the following instruction is none. An instruction that is skipped takes what it takes.
    "b 1f\n 1: movs r2, #0\n cmp r2, #1\n ittt eq\n ldreq r3, [r0]\n ldreq r3, [r0]\n beq 1b": (
        [1, 1, 1, 1, 2, 1, 1], None),
}


@pytest.mark.parametrize("code", TIMED, ids=range(len(TIMED)))
@pytest.mark.parametrize("target", ["cortex-m3", "cortex-m4"])
def test_cycles_are_those_of_the_rule(known: Project, target: str, code: str) -> None:
    asm = code.replace("\n", "\\n")
    ran = run(known, f"""
__attribute__((naked, noinline)) static void loop_0(int8_t *memory, int zero) {{
    __asm__(".syntax unified\\n {asm}\\n bx lr"); }}
__attribute__((naked)) {RUN} {{
    __asm__("push {{r3, lr}}\\n mov r0, r2\\n movs r1, #0\\n bl loop_0\\n movs r0, #0\\n pop {{r3, pc}}"); }}
int keep(void) {{ loop_0(0, 0); return 0; }}
""", target).samples[0][0]
    m4, m3 = TIMED[code]
    expected = m4 if m3 is None or target == "cortex-m4" else m3
    assert ran.layers == (len(expected) + 1,)
    assert ran.layer_cycles == (sum(expected) + 3,)
    assert ran.cycles == sum(expected) + 3 + 3 + 1 + 1 + 3 + 1 + 5


@pytest.mark.parametrize("target", ["cortex-m0", "cortex-m55", "rv32imc"])
def test_other_processors_have_no_cycles(known: Project, target: str) -> None:
    ran = run(known, KNOWN["riscv" if target == "rv32imc" else "thumb"], target).samples[0][0]
    assert ran.cycles is None and ran.layer_cycles is None


def test_cycles_at_the_end_of_a_page(known: Project) -> None:
    """Straight code over two pages: instructions of four bytes lie across their ends."""
    code = KNOWN["thumb"].replace("movs r2, #100", "nop\\n .rept 2100\\n add.w r2, r2, #1\\n .endr\\n movs r2, #100")
    for shift in ("", "nop\\n"):
        ran = run(known, code.replace("nop\\n .rept", f"{shift}nop\\n .rept")).samples[0][0]
        assert ran.layer_cycles == (1 + bool(shift) + 2100 + 1 + 99 * 4 + 2 + 3,)


def test_code_is_what_the_network_needs(known: Project) -> None:
    """Code counts by the byte, and library functions with it; the bench itself does not count."""
    plain = run(known, KNOWN["thumb"])
    assert plain.code == 20  # seven instructions of two bytes, one of four, and two bytes to align the second function
    assert plain.static == 0
    copied = run(known, f"LAYER void loop_0(const int8_t *a, int8_t *b, unsigned n) {{ memcpy(b, a, n); }}\n{RUN} "
                        "{ loop_0(input, output, *(int8_t *)arena == 1 ? 3 : 64); return 0; }")
    np.testing.assert_array_equal(copied.samples[0][0].outputs["out"], known.inputs[0]["in"])
    assert copied.code > 100, "memcpy is missing"
    assert copied.samples[0][0].layers[0] > 30, "memcpy is not counted"


def test_merged_layers_are_told_apart(known: Project) -> None:
    """Equal functions become one; each call still counts for its layer."""
    body = "LAYER void f_0(int8_t *a) { for (int i = 0; i < 64; ++i) { a[i] = (int8_t)(a[i] ^ 85); } }\n"
    code = body + body.replace("f_0", "f_1") + RUN + "{ f_0(output); f_1(output); return input == arena; }"
    ran = run(known, code, layers=("f_0", "f_1"), samples=2).samples[0]
    assert len(ran[0].layers) == 2
    assert ran[0].layers[0] == ran[0].layers[1] > 64


def test_writable_data_counts(known: Project) -> None:
    code = f"static int calls[25];\nLAYER void loop_0(int8_t *a) {{ a[0] = 1; calls[24] = 1; }}\n{RUN} " \
           "{ loop_0(output); return calls[3]; }"
    assert run(known, code, flags=("-fno-toplevel-reorder",)).static == 100


@pytest.mark.parametrize(("what", "body"), [
    ("answered with an error", "(void)output; return 1;"),
    ("beside the arena", "((int8_t *)arena)[known_ARENA_BYTES] = 1; return 0;"),
    ("beside the arena", "((int8_t *)arena)[-1] = 1; return 0;"),
    ("beside an input or output", "output[64] = 1; return 0;"),
    ("beside an input or output", "output[-1] = 1; return 0;"),
    ("took an exception", "__builtin_trap();"),
    ("the stack was used up", "volatile char big[32768 - 32]; for (int i = sizeof big; i-- > 0;) { big[i] = 1; }"
                              "return 0;"),
    ("differs from the first", "static int8_t calls; output[0] = ++calls; return 0;"),
    ("calls of layers", "return 0;"),
])
def test_a_wrong_program_is_noticed(known: Project, what: str, body: str) -> None:
    with pytest.raises(AotError, match=what):
        run(known, f"{RUN} {{ (void)arena; (void)input; (void)output; {body} }}")


def test_unaligned_words_stop_a_cortex_m0(known: Project) -> None:
    code = "LAYER void loop_0(const int8_t *a, int8_t *b) { b[0] = (int8_t)*(const volatile uint32_t *)(a + 1); }\n" \
           f"{RUN} {{ loop_0(input, output); return 0; }}"
    run(known, code, "cortex-m4")
    with pytest.raises(AotError, match="took an exception"):
        run(known, code, "cortex-m0")


def test_a_program_without_end(known: Project) -> None:
    with pytest.raises(AotError, match="did not end"):
        run(known, f"{RUN} {{ for (volatile int i = 0;; ++i) {{ }} }}", timeout=3.0)


@pytest.mark.parametrize("target", BOARDS)
def test_many_projects_in_one_program(target: str) -> None:
    cases = {"first": Case(Add(), ((1, 3, 3, 5), (1, 3, 3, 5)), {}), "second": Case(Unary("tanh"), ((1, 77),), {}),
             "third": next(iter(MaxPool2d.cases()))}
    made = {name: project(graph_of(case), TARGETS[target], name) for name, case in cases.items()}
    assert len(check(made, target).samples) == 3
    spoiled = made["second"].outputs[1]["out"].copy()
    spoiled.flat[5] ^= 1
    outputs = (made["second"].outputs[0], {"out": spoiled}, *made["second"].outputs[2:])
    with pytest.raises(AssertionError, match=f"second on {target}, vector 1"):
        check(made | {"second": replace(made["second"], outputs=outputs)}, target)


def test_projects_of_one_program_fit_together(known: Project) -> None:
    job = Job("known", known.files, known.graph, known.layers, known.inputs)
    with pytest.raises(AotError, match="same name"):
        emulate([job, job], TARGETS["cortex-m4"])
    other = replace(job, name="other", files=job.files | {"src/aot_fixed.h": "/* another */"})
    with pytest.raises(AotError, match="different files"):
        emulate([job, other], TARGETS["cortex-m4"])
    with pytest.raises(AotError, match="64 numbers of int8"):
        emulate([replace(job, inputs=({"in": np.zeros((1, 63), np.int8)},))], TARGETS["cortex-m4"])


def test_what_the_compiler_refuses(known: Project) -> None:
    with pytest.raises(AotError, match="arm-none-eabi-gcc refused"):
        run(known, "int broken(")


@pytest.mark.parametrize("tool", ["arm-none-eabi-gcc", "qemu-system-arm"])
def test_a_missing_tool(known: Project, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "have", lambda name: name != tool)
    with pytest.raises(AotError, match=f"{tool} was not found") as caught:
        run(known, KNOWN["thumb"])
    assert "make toolchain" in caught.value.problems[0].hint


def test_a_missing_library(known: Project) -> None:
    with pytest.raises(AotError, match="arm-none-eabi-gcc has no C library") as caught:
        run(known, KNOWN["thumb"], flags=("-nostdinc",))
    assert "libnewlib-arm-none-eabi" in caught.value.problems[0].hint


def test_what_is_no_program() -> None:
    with pytest.raises(ValueError, match="ELF"):
        elf.read(b"\x7fELF\x02\x01" + bytes(60))
