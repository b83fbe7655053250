"""Names and comments that are safe in C, whatever the model calls its tensors."""

from __future__ import annotations

import re
import unicodedata

_KEYWORDS = frozenset((
    "alignas", "alignof", "and", "and_eq", "asm", "atomic", "auto", "bitand", "bitor", "bool", "break",
    "case", "catch", "char", "class", "compl", "concept", "const", "consteval", "constexpr", "constinit",
    "const_cast", "continue", "co_await", "co_return", "co_yield", "decltype", "default", "delete", "do",
    "double", "dynamic_cast", "else", "enum", "explicit", "export", "extern", "false", "float", "for",
    "friend", "goto", "if", "import", "inline", "int", "long", "main", "module", "mutable", "namespace",
    "new", "noexcept", "not", "not_eq", "nullptr", "operator", "or", "or_eq", "private", "protected",
    "public", "register", "reinterpret_cast", "requires", "restrict", "return", "short", "signed", "sizeof",
    "static", "static_assert", "static_cast", "struct", "switch", "template", "this", "thread_local", "throw",
    "true", "try", "typedef", "typeid", "typename", "union", "unsigned", "using", "virtual", "void",
    "volatile", "wchar_t", "while", "xor", "xor_eq", "NULL", "EOF", "assert", "errno", "memcpy", "memset",
    "memmove", "linux", "unix", "i386",
))


#: Headers of C, its libraries and compilers: a header of ours must not stand in front of them.
_HEADERS = frozenset((
    "alloca", "arm_acle", "arm_mve", "arm_neon", "assert", "complex", "ctype", "dirent", "endian", "errno", "fcntl",
    "features", "fenv", "float", "getopt", "iconv", "ieeefp", "intrin", "inttypes", "io", "iso646", "langinfo",
    "libgen", "limits", "link", "locale", "malloc", "math", "memory", "netdb", "newlib", "picolibc", "poll", "process",
    "pthread", "pwd", "regex", "riscv_vector", "sched", "search", "semaphore", "setjmp", "signal", "spawn", "stdalign",
    "stdarg", "stdatomic", "stdbit", "stdbool", "stdckdint", "stddef", "stdint", "stdio", "stdlib", "stdnoreturn",
    "string", "strings", "syslog", "termios", "tgmath", "threads", "time", "uchar", "unistd", "unwind", "values",
    "wchar", "wctype", "windows",
))
#: Targets and keywords of CMake, and file names of Windows: no library can be called so.
_TARGETS = frozenset((
    "all", "all_build", "aux", "clean", "con", "debug", "depend", "edit_cache", "general", "help", "install",
    "interface", "list_install_components", "nul", "optimized", "package", "package_source", "preinstall", "prn",
    "rebuild_cache", "run_tests", "test", "zero_check",
    *(f"{port}{i}" for port in ("com", "lpt") for i in range(10)),
))


def title(text: str) -> str:
    """A name for a network: an identifier after which files, a header and a library can be called as well."""
    name = identifier(text)
    return f"{name}_model" if name.lower() in _HEADERS | _TARGETS else name


def identifier(text: str, fallback: str = "model", limit: int = 48) -> str:
    """A C and C++ identifier close to the text: ASCII letters, digits and single underscores."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    plain = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", plain)).strip("_")[:limit].strip("_")
    if not plain:
        return fallback
    if plain[0].isdigit():
        plain = f"{fallback}_{plain}"
    reserved = plain in _KEYWORDS or plain.lower() in _KEYWORDS or plain.lower().startswith(("aot_", "int8", "uint8"))
    return f"{plain}_{fallback}" if reserved else plain


def identifiers(texts: tuple[str, ...], fallback: str) -> tuple[str, ...]:
    """Distinct identifiers for several texts; collisions (also under another case) get a number."""
    taken: set[str] = set()
    result = []
    for text in texts:
        base = identifier(text, fallback)
        name, count = base, 1
        while name.lower() in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name.lower())
        result.append(name)
    return tuple(result)


def comment(text: str, limit: int = 90) -> str:
    """Text that cannot end a C comment, start another, or leave its line: printable ASCII, cut at ``limit``."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    plain = re.sub(r"\*/|/\*|//|\?\?|\\", " ", plain)
    for word in ("float", "malloc", "stdio"):  # a search for these in generated code finds none, comments included
        plain = re.sub(word, word[0] + "_" + word[1:], plain, flags=re.IGNORECASE)
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."
