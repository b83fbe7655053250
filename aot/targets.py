"""The targets: frozen data. An ``Isa`` is what kernels may know; a ``Target`` adds what builds and runs them."""

from __future__ import annotations

from dataclasses import dataclass

from aot.errors import AotError


@dataclass(frozen=True)
class Isa:
    """What a kernel may use.

    ``header`` names the primitives in ``runtime_c``. Matrix products take ``rows`` output channels times ``tile``
    output pixels at a time, and ``block`` elements of the sum in each step: their sums are padded to a multiple of it.
    Of the kernels in ``aot/kernels``, those made for one of the ``features`` can be used. ``pace`` is how much an
    instruction of a Cortex-M4 does compared with one of this set: prices in instructions shrink by it.
    """

    name: str
    header: str
    block: int
    rows: int
    tile: int
    features: tuple[str, ...] = ()
    pace: float = 1.0


HOST = Isa("host", "aot_simd_c99.h", block=1, rows=2, tile=2, features=("vector",))
C99 = Isa("c99", "aot_simd_c99.h", block=1, rows=2, tile=2, features=("vector", "scalar"))
PLAIN = Isa("plain", "aot_simd_c99.h", block=1, rows=2, tile=2, features=("scalar",))
DSP = Isa("dsp", "aot_simd_dsp.h", block=4, rows=2, tile=3, features=("dsp",))
THUMB1 = Isa("thumb1", "aot_simd_c99.h", block=1, rows=2, tile=2, features=("mul32", "thumb1", "scalar"))
RV32 = Isa("rv32", "aot_simd_c99.h", block=1, rows=2, tile=2, features=("mul32", "scalar"))
MVE = Isa("mve", "aot_simd_dsp.h", block=4, rows=2, tile=3, features=("dsp", "mve"), pace=0.2)


@dataclass(frozen=True)
class Cycles:
    """What differs between the processors whose cycles are estimated; ``runtime_c/bench/count.c`` has the whole rule.

    Cycles of a multiplication with accumulation, of one with a result of 64 bits, of one that adds to 64 bits, and of a
    division. Where the processor's manual gives a range, the longest is taken.
    """

    accumulate: int
    multiply_long: int
    accumulate_long: int
    divide: int


@dataclass(frozen=True)
class Target:
    """A processor: instruction set, compiler with flags, arena alignment, and the emulated board that stands for it.

    ``libc`` are flags that choose the compiler's C library; ``board`` names a linker script in ``runtime_c/bench``.
    ``cycles`` is there for processors simple enough to estimate cycles from the executed instructions alone.
    """

    name: str
    description: str
    isa: Isa
    compiler: str
    flags: tuple[str, ...]
    align: int
    emulator: tuple[str, ...] = ()
    board: str = ""
    libc: tuple[str, ...] = ()
    cycles: Cycles | None = None


_ARM = "arm-none-eabi-gcc"
_RISCV = "riscv64-unknown-elf-gcc"

TARGETS: dict[str, Target] = {t.name: t for t in (
    Target("host", "this machine, portable C99", HOST, "cc", (), 16),
    Target("c99", "any processor with a C99 compiler", C99, "cc", (), 8),
    Target("cortex-m0", "Arm Cortex-M0, M0+, M1", THUMB1, _ARM,
           ("-mcpu=cortex-m0", "-mthumb", "-mfloat-abi=soft"), 8, ("qemu-system-arm", "-M", "mps2-an385"), "mps2"),
    Target("cortex-m3", "Arm Cortex-M3", PLAIN, _ARM,
           ("-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft"), 8, ("qemu-system-arm", "-M", "mps2-an385"), "mps2",
           cycles=Cycles(2, 5, 7, 12)),
    Target("cortex-m4", "Arm Cortex-M4 with DSP instructions", DSP, _ARM,
           ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft"), 8, ("qemu-system-arm", "-M", "mps2-an386"), "mps2",
           cycles=Cycles(1, 1, 1, 12)),
    Target("cortex-m7", "Arm Cortex-M7", DSP, _ARM,
           ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=soft"), 8, ("qemu-system-arm", "-M", "mps2-an500"), "mps2"),
    Target("cortex-m33", "Arm Cortex-M33 with DSP instructions", DSP, _ARM,
           ("-mcpu=cortex-m33", "-mthumb", "-mfloat-abi=soft"), 8, ("qemu-system-arm", "-M", "mps2-an505"),
           "mps2-an505"),
    Target("cortex-m55", "Arm Cortex-M55 with Helium (MVE)", MVE, _ARM,
           ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"), 8, ("qemu-system-arm", "-M", "mps3-an547"), "mps3"),
    # GCC knows it from release 13 on, QEMU not at all: the same instructions for a Cortex-M55 stand for it
    Target("cortex-m85", "Arm Cortex-M85 with Helium (MVE), built and emulated as a Cortex-M55", MVE, _ARM,
           ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"), 8, ("qemu-system-arm", "-M", "mps3-an547"), "mps3"),
    Target("rv32imc", "RISC-V RV32IMC", RV32, _RISCV,
           ("-march=rv32imc", "-mabi=ilp32"), 8, ("qemu-system-riscv32", "-M", "virt", "-bios", "none"), "virt",
           ("--specs=picolibc.specs",)),
)}


def target(name: str) -> Target:
    """The target of that name; an AotError lists the known ones."""
    if name not in TARGETS:
        raise AotError(f"unknown target {name!r}", f"known targets: {', '.join(TARGETS)}")
    return TARGETS[name]


#: ``--optimize`` -> the compiler flag for generated code.
OPTIMIZE_FLAGS = {"speed": "-O3", "balanced": "-O2", "size": "-Os"}
