"""Refusals: what was wrong, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One reason to refuse a model, its data or the options.

    ``fact`` says what was found, ``hint`` what would help, ``node`` where (an ONNX node, tensor or file).
    """

    fact: str
    hint: str = ""
    node: str = ""

    def __str__(self) -> str:
        where = f"{printable(self.node)}: " if self.node else ""
        hint = f"\n    hint: {printable(self.hint)}" if self.hint else ""
        return f"{where}{printable(self.fact)}{hint}"


class AotError(Exception):
    """The model, the data or the options were refused; carries every problem that was found."""

    def __init__(self, fact: str = "", hint: str = "", node: str = "", *, problems: tuple[Problem, ...] = ()) -> None:
        self.problems = problems or (Problem(fact, hint, node),)
        super().__init__("\n".join(str(p) for p in self.problems))

    def at(self, node: str) -> AotError:
        """The same refusal with the node's name filled in where it was missing."""
        return AotError(problems=tuple(p if p.node else Problem(p.fact, p.hint, node) for p in self.problems))


def printable(text: str, limit: int = 400) -> str:
    """Text from a model, fit for one terminal line: control characters escaped, overlong text cut."""
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."
