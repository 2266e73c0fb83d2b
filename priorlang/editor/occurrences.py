"""Every name in a file, with what it stands for.

A DSL file is read word by word, so the names of a statement that cannot be parsed count too; of a YAML
file, the tree tells. Where both can be had they agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from priorlang.diagnostics.span import Position, Span
from priorlang.editor.places import Lines
from priorlang.editor.slots import Kind, roles_of
from priorlang.editor.words import statements, words_of
from priorlang.editor.yaml_text import mended
from priorlang.syntax import tree as t
from priorlang.syntax.source import SourceFile


@dataclass(frozen=True, slots=True)
class Symbol:
    """What a name stands for in a program: two names with one symbol are the same thing."""

    kind: Kind
    name: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A name in a file. `phrase`: it stands among other words, so it is quoted as in the DSL."""

    symbol: Symbol
    span: Span
    declares: bool
    phrase: bool = True

    def holds(self, place: Position) -> bool:
        """Whether a cursor at this place is on the name, its end included."""
        return self.span.start <= place <= self.span.end


@lru_cache(maxsize=128)
def occurrences(source: SourceFile) -> tuple[Occurrence, ...]:
    """Every name in a file that stands for something, in order."""
    found = _of_yaml(source) if source.is_yaml else _of_words(source)
    return tuple(sorted(found, key=lambda item: item.span))


def _of_words(source: SourceFile) -> Iterator[Occurrence]:
    lines = Lines(source.text)
    for statement in statements(words_of(source.text)):
        for word, role in roles_of(statement):
            symbol = Symbol(role.kind, word.name, role.owner)
            yield Occurrence(symbol, lines.span(source.name, word.start, word.end), role.declares)


def _of_yaml(source: SourceFile) -> Iterator[Occurrence]:
    from priorlang.syntax.yaml_form import parse_yaml

    document, _ = parse_yaml(SourceFile(source.name, mended(source)))
    yield from of_tree(document)


def of_tree(document: t.Document) -> Iterator[Occurrence]:
    """The names in the tree of a file, measures apart: those are words of the language."""
    for statement in document.statements:
        yield from _of_statement(statement)


def _of_statement(statement: t.Statement) -> Iterator[Occurrence]:
    match statement:
        case t.Import():
            yield _name("file", statement.path)
        case t.Model():
            for setting in statement.settings:
                yield _name("setting", setting.key)
                yield from _of_set(setting.value, "layers" if setting.key.text == "routed" else None)
        case t.Attribute():
            yield _name("attribute", statement.name, declares=not statement.adds)
            for member in statement.members:
                yield from _of_member(member, statement.name.text)
        case t.Group():
            yield _name(statement.kind, statement.name, declares=True)
            yield from _of_set(statement.value, statement.kind)
        case t.Parameter():
            yield _name("parameter", statement.name, declares=True)
            yield from _of_value(statement.value)
        case t.Default():
            for effect in statement.effects:
                yield from _of_effect(effect)
        case t.Rule():
            yield _name("rule", statement.name, declares=True)
            for name in statement.overrides.rules if statement.overrides else ():
                yield _name("rule", name)
            yield from _of_selector(statement.selector)
            for effect in statement.effects:
                yield from _of_effect(effect)
        case t.Schedule():
            for point in statement.points:
                yield from _of_value(point.place)
                yield from _of_value(point.factor)
        case t.Expect():
            if isinstance(statement.claim, t.Comparison):
                for operand in (statement.claim.left, statement.claim.right):
                    yield from _of_operand(operand)
            yield from _of_selector(statement.selector, phrase=True)
        case t.Allow():
            yield _name("finding", statement.finding)
            for name in statement.rules:
                yield _name("rule", name)


def _of_member(member: t.Member, attribute: str) -> Iterator[Occurrence]:
    yield _name("member", member.name, attribute, declares=True)
    for child in member.children:
        yield from _of_member(child, attribute)


def _of_selector(selector: t.Selector | None, *, phrase: bool = False) -> Iterator[Occurrence]:
    if selector is None:
        return
    for term in selector.terms:
        yield _name("attribute", term.attribute, phrase=phrase)
        yield from _of_set(term.members, "member", term.attribute.text)
    if selector.layers is not None:
        yield from _of_set(selector.layers, "layers")


def _of_effect(effect: t.Effect) -> Iterator[Occurrence]:
    match effect:
        case t.Base():
            yield from _of_value(effect.value)
            for share in effect.shares:
                yield from _of_value(share.amount)
                yield from _of_set(share.experts, "experts")
        case t.Push():
            yield from _of_set(effect.experts, "experts")
            yield from _of_value(effect.by)
        case t.Weight():
            yield from _of_value(effect.value)
        case t.Split():
            for name in effect.attributes:
                yield _name("attribute", name)


def _of_operand(operand: t.Operand) -> Iterator[Occurrence]:
    if isinstance(operand, t.Measure):
        yield from _of_set(operand.experts, "experts")
    elif not isinstance(operand, t.WeightOf):
        yield from _of_value(operand)


def _of_set(node: t.SetExpression, kind: Kind | None, owner: str = "") -> Iterator[Occurrence]:
    for item in node.items:
        if isinstance(item, t.Name):
            if kind is not None:
                yield _name(kind, item, owner, phrase=True)
        elif isinstance(item, t.Range):
            for number in (item.first, item.last, item.step):
                if number is not None:
                    yield from _of_value(number)
        elif isinstance(item, t.NumberLiteral | t.Reference):
            yield from _of_value(item)


def _of_value(value: t.Value) -> Iterator[Occurrence]:
    if isinstance(value, t.Reference):
        yield Occurrence(Symbol("parameter", value.name), value.span, declares=False)
    elif isinstance(value, t.Vector):
        for number in value.items:
            yield from _of_value(number)
    elif isinstance(value, t.Ramp):
        yield from _of_value(value.start)
        yield from _of_value(value.stop)
        yield from _of_set(value.layers, "layers")


def _name(
    kind: Kind, name: t.Name, owner: str = "", *, declares: bool = False, phrase: bool = False
) -> Occurrence:
    return Occurrence(Symbol(kind, name.text, owner), name.span, declares, phrase)
