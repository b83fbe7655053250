"""What a linked 32-bit little-endian ELF program holds: sections and functions."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SECTION = struct.Struct("<10I")
_SYMBOL = struct.Struct("<IIIBBH")
_SYMBOL_TABLE, _WRITABLE, _ALLOCATED = 2, 1, 2
_FUNCTION, _FILE, _LOCAL = 2, 4, 0


@dataclass(frozen=True)
class Section:
    """A section that takes memory on the device; ``size`` in bytes."""

    name: str
    address: int
    size: int
    writable: bool


@dataclass(frozen=True)
class Function:
    """A function: addresses from ``first`` to before ``end``; ``file`` is its source file, if it is local to one."""

    name: str
    file: str
    first: int
    end: int


@dataclass(frozen=True)
class Elf:
    """A program's sections that take memory, and its functions in ascending order of addresses."""

    sections: tuple[Section, ...]
    functions: tuple[Function, ...]


def read(data: bytes) -> Elf:
    """Read a linked program; ValueError for anything else."""
    if data[:6] != b"\x7fELF\x01\x01":
        raise ValueError("not a 32-bit little-endian ELF file")
    header = _HEADER.unpack_from(data)
    start, size, count, names = header[6], header[11], header[12], header[13]
    table = [_SECTION.unpack_from(data, start + i * size) for i in range(count)]
    sections = tuple(Section(_text(data, table[names][4] + s[0]), s[3], s[5], bool(s[2] & _WRITABLE))
                     for s in table if s[2] & _ALLOCATED and s[5])
    functions: set[Function] = set()
    for section in (s for s in table if s[1] == _SYMBOL_TABLE):
        strings, file = table[section[6]][4], ""
        for name, value, length, info, _, _ in _SYMBOL.iter_unpack(data[section[4]:section[4] + section[5]]):
            kind, local = info & 15, info >> 4 == _LOCAL
            if kind == _FILE:
                file = _text(data, strings + name)
            elif kind == _FUNCTION and length:
                first = value & ~1  # the lowest bit of an Arm function's address says Thumb
                functions.add(Function(_text(data, strings + name), file if local else "", first, first + length))
    return Elf(sections, tuple(sorted(functions, key=lambda f: (f.first, f.end, f.name))))


def _text(data: bytes, offset: int) -> str:
    return data[offset:data.index(b"\0", offset)].decode("utf-8", "replace")
