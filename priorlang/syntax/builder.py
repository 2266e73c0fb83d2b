"""Lark's parse tree → the syntax tree, with spans placed in the file that the text came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from priorlang.diagnostics.span import Position, Span
from priorlang.syntax import tree as t

if TYPE_CHECKING:
    from lark import Token, Tree

    Parsed = Tree[Token]
    Node = Parsed | Token


@dataclass(frozen=True, slots=True)
class Origin:
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


def build(parsed: Parsed, origin: Origin) -> Any:
    """The syntax tree of what Lark parsed: a Document for `start`, else the node of that symbol."""
    return _Builder(origin).build(parsed)


class _Builder:
    """One method for each rule of the grammar; holds nothing but the origin."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin

    def build(self, node: Parsed) -> Any:
        method: Callable[[Parsed], Any] = getattr(self, node.data)
        return method(node)

    # --- helpers ---------------------------------------------------------------------------------

    def span(self, node: Node) -> Span:
        meta = node.meta if hasattr(node, "meta") else node
        return self.origin.span(meta.line, meta.column, meta.end_line, meta.end_column)  # type: ignore[arg-type]

    def trees(self, node: Parsed, *kinds: str) -> list[Parsed]:
        found = (child for child in node.children if hasattr(child, "data"))
        return [cast("Parsed", child) for child in found if not kinds or cast("Parsed", child).data in kinds]

    def one(self, node: Parsed, *kinds: str) -> Any:
        found = self.trees(node, *kinds)
        return self.build(found[0]) if found else None

    def each(self, node: Parsed, *kinds: str) -> tuple[Any, ...]:
        return tuple(self.build(child) for child in self.trees(node, *kinds))

    def has(self, node: Parsed, token_type: str) -> bool:
        return any(getattr(child, "type", None) == token_type for child in node.children)

    def token_name(self, token: Token) -> t.Name:
        return t.Name(_unquoted(str(token)), self.span(token))

    # --- file and statements ---------------------------------------------------------------------

    def start(self, node: Parsed) -> t.Document:
        header, *statements = self.trees(node)
        built = tuple(self.build(statement) for statement in statements)
        return t.Document(self.header(header), built, self.span(node))

    def fragment(self, node: Parsed) -> Any:
        return self.build(self.trees(node)[0])

    def header(self, node: Parsed) -> t.NumberLiteral:
        token = cast("Token", node.children[1])
        return t.NumberLiteral(str(token), self.span(token))

    def import_(self, node: Parsed) -> t.Import:
        return t.Import(self.token_name(cast("Token", node.children[1])), self.span(node))

    def model(self, node: Parsed) -> t.Model:
        return t.Model(self.each(node, "setting"), self.span(node))

    def setting(self, node: Parsed) -> t.Setting:
        key = self.token_name(cast("Token", node.children[0]))
        return t.Setting(key, self.one(node, "set"), self.span(node))

    def attribute(self, node: Parsed) -> t.Attribute:
        return t.Attribute(
            self.one(node, "name"), self.has(node, "ADDS"), self.each(node, "member"), self.span(node)
        )

    def member(self, node: Parsed) -> t.Member:
        return t.Member(self.one(node, "name"), self.each(node, "member"), self.span(node))

    def experts(self, node: Parsed) -> t.Group:
        return t.Group("experts", self.one(node, "name"), self.one(node, "set"), self.span(node))

    def layers(self, node: Parsed) -> t.Group:
        return t.Group("layers", self.one(node, "name"), self.one(node, "set"), self.span(node))

    def param(self, node: Parsed) -> t.Parameter:
        name = self.token_name(cast("Token", node.children[1]))
        return t.Parameter(name, self.one(node, "value"), self.span(node))

    def default(self, node: Parsed) -> t.Default:
        return t.Default(self.each(node), self.span(node))

    def rule(self, node: Parsed) -> t.Rule:
        effects = self.each(node, "base", "push", "weight", "unshaped", "split")
        return t.Rule(
            self.one(node, "name"),
            self.one(node, "overrides"),
            self.one(node, "selector"),
            effects,
            self.span(node),
        )

    def overrides(self, node: Parsed) -> t.Overrides:
        return t.Overrides(self.has(node, "ALL"), self.each(node, "name"), self.span(node))

    def schedule(self, node: Parsed) -> t.Schedule:
        return t.Schedule(self.each(node, "point"), self.span(node))

    def point(self, node: Parsed) -> t.Point:
        numbers = self.each(node, "number")
        if len(numbers) == 2:
            return t.Point(numbers[0], False, numbers[1], self.span(node))
        percent = cast("Token", node.children[0])
        return t.Point(
            t.NumberLiteral(str(percent)[:-1], self.span(percent)), True, numbers[0], self.span(node)
        )

    def expect(self, node: Parsed) -> t.Expect:
        claim: t.Expect = self.one(node)
        return t.Expect(claim.claim, claim.selector, self.span(node))

    def expectation(self, node: Parsed) -> t.Expect:
        claim = self.one(node, "comparison", "unshaped")
        return t.Expect(claim, self.one(node, "selector"), self.span(node))

    def comparison(self, node: Parsed) -> t.Comparison:
        left, right = self.each(node)
        sign = next(
            str(child) for child in node.children if getattr(child, "type", None) in {"COMPARE", "EQUAL"}
        )
        return t.Comparison(left, cast("Any", sign), right, self.span(node))

    def operand(self, node: Parsed) -> t.Operand:
        return cast("t.Operand", self.one(node))

    def measure(self, node: Parsed) -> t.Measure:
        function = self.token_name(cast("Token", node.children[0]))
        return t.Measure(function, self.one(node, "set"), self.span(node))

    def weight_of(self, node: Parsed) -> t.WeightOf:
        return t.WeightOf(self.span(node))

    def allow(self, node: Parsed) -> t.Allow:
        finding, *rules = self.each(node, "name")
        because = self.token_name(cast("Token", node.children[-1]))
        return t.Allow(finding, tuple(rules), because, self.span(node))

    # --- selectors and effects -------------------------------------------------------------------

    def selector(self, node: Parsed) -> t.Selector:
        return t.Selector(self.each(node, "term"), self.one(node, "set"), self.span(node))

    def term(self, node: Parsed) -> t.Term:
        return t.Term(self.one(node, "name"), self.one(node, "set"), self.span(node))

    def base(self, node: Parsed) -> t.Base:
        return t.Base(self.one(node, "value"), self.each(node, "share"), self.span(node))

    def share(self, node: Parsed) -> t.Share:
        return t.Share(self.one(node, "number"), self.one(node, "set"), self.span(node))

    def push(self, node: Parsed) -> t.Push:
        verb = cast("Any", str(node.children[0]))
        return t.Push(verb, self.one(node, "set"), self.one(node, "value"), self.span(node))

    def weight(self, node: Parsed) -> t.Weight:
        return t.Weight(self.one(node, "value"), self.span(node))

    def unshaped(self, node: Parsed) -> t.Unshaped:
        return t.Unshaped(self.span(node))

    def split(self, node: Parsed) -> t.Split:
        return t.Split(self.each(node, "name"), self.span(node))

    # --- sets and values -------------------------------------------------------------------------

    def set(self, node: Parsed) -> t.SetExpression:
        return t.SetExpression(self.has(node, "NOT"), self.each(node), self.span(node))

    def all(self, node: Parsed) -> t.All:
        return t.All(self.span(node))

    def closed(self, node: Parsed) -> t.Range:
        first, last, *step = self.each(node, "number")
        return t.Range(first, last, step[0] if step else None, self.span(node))

    def from_(self, node: Parsed) -> t.Range:
        return t.Range(self.one(node, "number"), None, None, self.span(node))

    def upto(self, node: Parsed) -> t.Range:
        return t.Range(None, self.one(node, "number"), None, self.span(node))

    def value(self, node: Parsed) -> t.Value:
        return cast("t.Value", self.one(node))

    def vector(self, node: Parsed) -> t.Vector:
        return t.Vector(self.each(node, "number"), self.span(node))

    def ramp(self, node: Parsed) -> t.Ramp:
        start, stop = self.each(node, "number")
        return t.Ramp(start, stop, self.one(node, "set"), self.span(node))

    def number(self, node: Parsed) -> t.Number:
        token = cast("Token", node.children[0])
        if token.type == "REFERENCE":
            return t.Reference(str(token)[1:], self.span(token))
        return t.NumberLiteral(str(token), self.span(token))

    def name(self, node: Parsed) -> t.Name:
        return self.token_name(cast("Token", node.children[0]))

    def place(self, node: Parsed) -> tuple[t.Number, bool]:
        child = node.children[0]
        if getattr(child, "type", None) == "PERCENT":
            token = cast("Token", child)
            return t.NumberLiteral(str(token)[:-1], self.span(token)), True
        return self.one(node, "number"), False


def _unquoted(text: str) -> str:
    return text[1:-1] if text.startswith('"') else text
