"""Text → syntax tree by the LALR(1) tables of grammar_tables.py.

A node is built when its rule is complete, so no parse tree stands between the text and the syntax tree.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

from priorlang.syntax.builder import Builder, Origin, Part
from priorlang.syntax.grammar_tables import RULES, STARTS, STATES
from priorlang.syntax.lexer import Token, UnreadableError, tokens_of

END = "$END"
_END_TOKEN = Token(END, "", -1, 0, 0)


def _plan(
    symbol: str, length: int, method: str, kept: tuple[tuple[int, str], ...]
) -> tuple[str, int, tuple[tuple[int, str], ...], Callable[..., Any] | None, bool]:
    """A rule with its method; one of a symbol that the builder has no method for only renames its one part."""
    found: Callable[..., Any] | None = getattr(Builder, method) if hasattr(Builder, method) else None
    return symbol, length, kept, found, bool(method) and found is None


_RULES = tuple(_plan(*rule) for rule in RULES)


class MisreadError(Exception):
    """A text that the grammar has no place for.

    Attributes:
        offset: of the word that has no place; None where the text ran out.
        expected: the terminals that have one there; none where no word begins.
    """

    def __init__(self, offset: int | None, expected: frozenset[str]) -> None:
        self.offset = offset
        self.expected = expected
        super().__init__(f"not understood at offset {offset}; expected {sorted(expected)}")


def parse_text(text: str, symbol: str, origin: Origin) -> Any:
    """The syntax tree of a text.

    Args:
        text: one whole phrase of the language.
        symbol: a start symbol of the grammar: a Document for `start`, else the node of that symbol.
        origin: where the text lies in its file.

    Raises:
        MisreadError: the text is no such phrase.
    """
    builder = Builder(origin)
    states, row = [STARTS[symbol]], STATES[STARTS[symbol]]
    values: list[Any] = []
    firsts: list[Token] = []
    lasts: list[Token] = []
    try:
        for token in chain(tokens_of(text), (_END_TOKEN,)):
            kind = token.kind
            while True:
                action = row.get(kind)
                if action is None:
                    raise MisreadError(None if kind == END else token.offset, accepted(states))
                if action >= 0:
                    break
                produced, length, kept, method, renames = _RULES[~action]
                if renames:
                    states.pop()
                else:
                    begin = len(values) - length
                    first, last = firsts[begin], lasts[-1]
                    node: Any = _parts(kept, values, begin)
                    if method is not None:
                        node = method(builder, node, builder.between(first, last))
                    del states[begin + 1 :], values[begin:], firsts[begin:], lasts[begin:]
                    values.append(node)
                    firsts.append(first)
                    lasts.append(last)
                action = STATES[states[-1]][produced]
                states.append(action)
                row = STATES[action]
            if kind == END:
                break
            states.append(action)
            row = STATES[action]
            values.append(token)
            firsts.append(token)
            lasts.append(token)
    except UnreadableError as error:
        raise MisreadError(error.offset, frozenset()) from None
    return values[-1]


def _parts(kept: tuple[tuple[int, str], ...], values: list[Any], begin: int) -> list[Part]:
    """The parts of a complete rule that count, with those of the lists among them in their place."""
    parts: list[Part] = []
    for position, kind in kept:
        value = values[begin + position]
        if kind[0] != "_":
            parts.append((kind, value))
        elif parts:
            parts.extend(value)
        else:
            # The list is the stack's own: a long enumeration grows in place.
            parts = value
    return parts


class Reading:
    """The words of a phrase one by one, without building anything."""

    def __init__(self, symbol: str) -> None:
        self.states = [STARTS[symbol]]

    def feed(self, kind: str) -> bool:
        """Read a word of this terminal; False, and nothing is read, where the grammar has no place for it."""
        states = _fed(self.states, kind)
        if states is not None:
            self.states = states
        return states is not None

    def accepts(self) -> frozenset[str]:
        """The terminals that may stand next; `$END` where the phrase may be over."""
        return accepted(self.states)


def accepted(states: list[int]) -> frozenset[str]:
    """The terminals that can be read in these states, where rules may be complete first."""
    row = STATES[states[-1]]
    return frozenset(kind for kind in row if kind.isupper() and _fed(states, kind) is not None)


def _fed(states: list[int], kind: str) -> list[int] | None:
    """The states after a terminal; None where the grammar has no place for it."""
    states = list(states)
    while (action := STATES[states[-1]].get(kind)) is not None:
        if action >= 0:
            return [*states, action]
        symbol, length, _, _ = RULES[~action]
        del states[len(states) - length :]
        states.append(STATES[states[-1]][symbol])
    return None
