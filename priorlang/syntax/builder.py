"""The parts of a complete rule of the grammar → its node, with a span placed in the file that the text came from."""

from __future__ import annotations

from typing import Any

from priorlang.diagnostics.span import Position, Span
from priorlang.records import Record
from priorlang.syntax import tree as t
from priorlang.syntax.lexer import Token

Part = tuple[str, Any]
"""A terminal or a symbol of the grammar, and its token or its node."""


class Origin(Record):
    """Where a stretch of text lies in its file: the place of its first character.

    A text whose inner places do not map to the file (a YAML scalar with escapes, say) has a `fixed`
    span that stands for all of them.
    """

    file: str
    line: int = 1
    column: int = 1
    fixed: Span | None = None

    def position(self, line: int, column: int) -> Position:
        """The place in the file of a place in the text; both count from 1."""
        return Position(
            line + self.line - 1,
            column + self.column - 1 if line == 1 else column,
        )

    def span(self, line: int, column: int, end_line: int, end_column: int) -> Span:
        """The span in the file of a stretch of the text."""
        if self.fixed is not None:
            return self.fixed
        return Span(self.file, self.position(line, column), self.position(end_line, end_column))


class Builder:
    """One method for each rule of the grammar, but for those that only rename; holds nothing but the origin."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin

    def between(self, first: Token, last: Token) -> Span:
        """The span in the file from one token to another."""
        origin, end = self.origin, last.column + len(last.text)
        if origin.line == 1 == origin.column and origin.fixed is None:
            return Span(origin.file, Position(first.line, first.column), Position(last.line, end))
        return origin.span(first.line, first.column, last.line, end)

    def name_of(self, token: Token) -> t.Name:
        return t.Name(_unquoted(token.text), self.between(token, token))

    def percent(self, token: Token) -> t.NumberLiteral:
        return t.NumberLiteral(token.text[:-1], self.between(token, token))

    # --- file and statements ---------------------------------------------------------------------

    def start(self, parts: list[Part], span: Span) -> t.Document:
        header, *statements = _each(parts)
        return t.Document(header, tuple(statements), span)

    def fragment(self, parts: list[Part], _: Span) -> Any:
        return _one(parts)

    def header(self, parts: list[Part], _: Span) -> t.NumberLiteral:
        token = _token(parts, 1)
        return t.NumberLiteral(token.text, self.between(token, token))

    def import_(self, parts: list[Part], span: Span) -> t.Import:
        return t.Import(self.name_of(_token(parts, 1)), span)

    def model(self, parts: list[Part], span: Span) -> t.Model:
        return t.Model(_each(parts, "setting"), span)

    def setting(self, parts: list[Part], span: Span) -> t.Setting:
        key = self.name_of(_token(parts, 0))
        return t.Setting(key, _one(parts, "set"), span)

    def attribute(self, parts: list[Part], span: Span) -> t.Attribute:
        return t.Attribute(_one(parts, "name"), _has(parts, "ADDS"), _each(parts, "member"), span)

    def member(self, parts: list[Part], span: Span) -> t.Member:
        return t.Member(_one(parts, "name"), _each(parts, "member"), span)

    def experts(self, parts: list[Part], span: Span) -> t.Group:
        return t.Group("experts", _one(parts, "name"), _one(parts, "set"), span)

    def layers(self, parts: list[Part], span: Span) -> t.Group:
        return t.Group("layers", _one(parts, "name"), _one(parts, "set"), span)

    def param(self, parts: list[Part], span: Span) -> t.Parameter:
        name = self.name_of(_token(parts, 1))
        return t.Parameter(name, _one(parts, "value"), span)

    def default(self, parts: list[Part], span: Span) -> t.Default:
        return t.Default(_each(parts), span)

    def rule(self, parts: list[Part], span: Span) -> t.Rule:
        effects = _each(parts, "base", "push", "weight", "unshaped", "split")
        return t.Rule(_one(parts, "name"), _one(parts, "overrides"), _one(parts, "selector"), effects, span)

    def overrides(self, parts: list[Part], span: Span) -> t.Overrides:
        return t.Overrides(_has(parts, "ALL"), _each(parts, "name"), span)

    def schedule(self, parts: list[Part], span: Span) -> t.Schedule:
        return t.Schedule(_each(parts, "point"), span)

    def point(self, parts: list[Part], span: Span) -> t.Point:
        numbers = _each(parts, "number")
        if len(numbers) == 2:
            return t.Point(numbers[0], False, numbers[1], span)
        return t.Point(self.percent(_token(parts, 0)), True, numbers[0], span)

    def expect(self, parts: list[Part], span: Span) -> t.Expect:
        claim: t.Expect = _one(parts)
        return t.Expect(claim.claim, claim.selector, span)

    def expectation(self, parts: list[Part], span: Span) -> t.Expect:
        return t.Expect(_one(parts, "claim"), _one(parts, "selector"), span)

    def comparison(self, parts: list[Part], span: Span) -> t.Comparison:
        left, right = _each(parts)
        sign: Any = _token(parts, 1).text
        return t.Comparison(left, sign, right, span)

    def measure(self, parts: list[Part], span: Span) -> t.Measure:
        function = self.name_of(_token(parts, 0))
        return t.Measure(function, _one(parts, "set"), span)

    def weight_of(self, _: list[Part], span: Span) -> t.WeightOf:
        return t.WeightOf(span)

    def allow(self, parts: list[Part], span: Span) -> t.Allow:
        finding, *rules = _each(parts, "name")
        because = self.name_of(_token(parts, -1))
        return t.Allow(finding, tuple(rules), because, span)

    # --- selectors and effects -------------------------------------------------------------------

    def selector(self, parts: list[Part], span: Span) -> t.Selector:
        return t.Selector(_each(parts, "term"), _one(parts, "set"), span)

    def term(self, parts: list[Part], span: Span) -> t.Term:
        return t.Term(_one(parts, "name"), _one(parts, "set"), span)

    def base(self, parts: list[Part], span: Span) -> t.Base:
        return t.Base(_one(parts, "value"), _each(parts, "share"), span)

    def share(self, parts: list[Part], span: Span) -> t.Share:
        return t.Share(_one(parts, "number"), _one(parts, "set"), span)

    def push(self, parts: list[Part], span: Span) -> t.Push:
        verb: Any = _token(parts, 0).text
        return t.Push(verb, _one(parts, "set"), _one(parts, "value"), span)

    def weight(self, parts: list[Part], span: Span) -> t.Weight:
        return t.Weight(_one(parts, "value"), span)

    def unshaped(self, _: list[Part], span: Span) -> t.Unshaped:
        return t.Unshaped(span)

    def split(self, parts: list[Part], span: Span) -> t.Split:
        return t.Split(_each(parts, "name"), span)

    # --- sets and values -------------------------------------------------------------------------

    def set(self, parts: list[Part], span: Span) -> t.SetExpression:
        return t.SetExpression(_has(parts, "NOT"), _each(parts), span)

    def all(self, _: list[Part], span: Span) -> t.All:
        return t.All(span)

    def closed(self, parts: list[Part], span: Span) -> t.Range:
        first, last, *step = _each(parts, "number")
        return t.Range(first, last, step[0] if step else None, span)

    def from_(self, parts: list[Part], span: Span) -> t.Range:
        return t.Range(_one(parts, "number"), None, None, span)

    def upto(self, parts: list[Part], span: Span) -> t.Range:
        return t.Range(None, _one(parts, "number"), None, span)

    def vector(self, parts: list[Part], span: Span) -> t.Vector:
        return t.Vector(_each(parts, "number"), span)

    def ramp(self, parts: list[Part], span: Span) -> t.Ramp:
        start, stop = _each(parts, "number")
        return t.Ramp(start, stop, _one(parts, "set"), span)

    def number(self, parts: list[Part], span: Span) -> t.Number:
        token = _token(parts, 0)
        if token.kind == "REFERENCE":
            return t.Reference(token.text[1:], span)
        return t.NumberLiteral(token.text, span)

    def name(self, parts: list[Part], span: Span) -> t.Name:
        return t.Name(_unquoted(_token(parts, 0).text), span)

    def place(self, parts: list[Part], _: Span) -> tuple[t.Number, bool]:
        if _has(parts, "PERCENT"):
            return self.percent(_token(parts, 0)), True
        return _one(parts, "number"), False


def _one(parts: list[Part], *kinds: str) -> Any:
    """The first node of these kinds, or of any; None where there is none."""
    return next((value for kind, value in parts if (kind in kinds if kinds else kind.islower())), None)


def _each(parts: list[Part], *kinds: str) -> tuple[Any, ...]:
    """The nodes of these kinds, or all."""
    return tuple([value for kind, value in parts if (kind in kinds if kinds else kind.islower())])


def _has(parts: list[Part], terminal: str) -> bool:
    return any(kind == terminal for kind, _ in parts)


def _token(parts: list[Part], index: int) -> Token:
    token: Token = parts[index][1]
    return token


def _unquoted(text: str) -> str:
    return text[1:-1] if text.startswith('"') else text
