"""Tree → the YAML form, in its one canonical layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from priorlang.diagnostics.span import Span
from priorlang.syntax import tree as t
from priorlang.syntax.canonical import canonical, effect_rank
from priorlang.syntax.comment_map import CommentMap, map_comments
from priorlang.syntax.phrases import number_text, set_text, value_text
from priorlang.syntax.print_dsl import WIDTH, expectation_text

_INDENT = "  "
_PLAIN = re.compile(r"[A-Za-z0-9_$.(][\w$.|()/+<>=%-]*(?: [\w$.|()/+<>=%-]+)*")


def print_yaml(document: t.Document) -> str:
    """The canonical YAML of a document, comments kept with the parts they belong to."""
    comments = map_comments(document)
    ordered = canonical(document)
    printer = _Printer(comments)
    blocks = [printer.header(ordered)]
    for kind, statements in _by_key(ordered.statements).items():
        blocks.append(printer.key(kind, statements))
    if comments.end:
        blocks.append(list(comments.end))
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _by_key(statements: Iterable[t.Statement]) -> dict[str, list[t.Statement]]:
    groups: dict[str, list[t.Statement]] = {}
    for statement in statements:
        groups.setdefault(_key(statement), []).append(statement)
    return groups


def _key(statement: t.Statement) -> str:
    if isinstance(statement, t.Group):
        return statement.kind
    return "param" if isinstance(statement, t.Parameter) else type(statement).__name__.lower()


class _Printer:
    """One method for each key of the YAML form; holds nothing but the comments."""

    def __init__(self, comments: CommentMap) -> None:
        self.comments = comments

    def header(self, document: t.Document) -> list[str]:
        version = document.version
        return [] if version is None else self.around([f"priorlang: {version.text}"], version.span)

    def key(self, key: str, statements: Sequence[t.Statement]) -> list[str]:
        first = statements[0]
        if isinstance(first, t.Model):
            items = [(f"{s.key.text}: {scalar(set_text(s.value))}", s.span) for s in first.settings]
            return self.around(self.mapping("model", items), first.span)
        if isinstance(first, t.Schedule):
            items = [(f"{point_key(p)}: {number_text(p.factor)}", p.span) for p in first.points]
            return self.around(self.mapping("schedule", items), first.span)
        if isinstance(first, t.Default):
            lines = self.effects(first.effects)
            flat = _flow(lines)
            one_line = f"default: {{{flat}}}" if flat is not None else ""
            fits = flat is not None and len(one_line) <= WIDTH and not self.comments.within(first)
            whole = [one_line] if fits else ["default:", *_indented(lines)]
            return self.around(whole, first.span)
        if isinstance(first, t.Import):
            paths = [(scalar(s.path.text), s.span) for s in statements if isinstance(s, t.Import)]
            return self.listed("import", paths)
        lines = [f"{key}:"]
        for statement in statements:
            lines.extend(_indented(self.around(self.statement(statement), statement.span)))
        return lines

    def statement(self, statement: t.Statement) -> list[str]:
        if isinstance(statement, t.Attribute):
            return self.attribute(statement)
        if isinstance(statement, t.Rule):
            return self.rule(statement)
        if isinstance(statement, t.Group):
            return [f"{scalar(statement.name.text)}: {scalar(set_text(statement.value))}"]
        if isinstance(statement, t.Parameter):
            return [f"{scalar(statement.name.text)}: {_value(statement.value)}"]
        if isinstance(statement, t.Expect):
            return [f"- {scalar(expectation_text(statement))}"]
        assert isinstance(statement, t.Allow)
        rules = f", in: {_names(statement.rules)}" if statement.rules else ""
        because = scalar(statement.because.text)
        return [f"- {{finding: {scalar(statement.finding.text)}{rules}, because: {because}}}"]

    def attribute(self, attribute: t.Attribute) -> list[str]:
        name = scalar(attribute.name.text)
        members = [(_member(member), member.span) for member in attribute.members]
        if not attribute.adds:
            return self.listed(name, members)
        lines = self.listed("adds", members)
        if len(lines) == 1 and len(f"{name}: {{{lines[0]}}}") <= WIDTH:
            return [f"{name}: {{{lines[0]}}}"]
        return [f"{name}:", *_indented(lines)]

    def rule(self, rule: t.Rule) -> list[str]:
        lines: list[str] = []
        if rule.overrides is not None:
            silenced = "all" if rule.overrides.everything else _names(rule.overrides.rules)
            lines.extend(self.around([f"overrides: {silenced}"], rule.overrides.span))
        if rule.selector is not None:
            lines.extend(self.around(self.selector(rule.selector), rule.selector.span))
        lines.extend(self.effects(rule.effects))
        return [f"{scalar(rule.name.text)}:", *_indented(lines)]

    def selector(self, selector: t.Selector) -> list[str]:
        lines = []
        if selector.terms:
            terms = (f"{scalar(i.attribute.text)}: {scalar(set_text(i.members))}" for i in selector.terms)
            lines.append(f"for: {{{', '.join(terms)}}}")
        if selector.layers is not None:
            lines.append(f"layers: {scalar(set_text(selector.layers))}")
        return lines

    def effects(self, effects: Sequence[t.Effect]) -> list[str]:
        """The clauses of a rule, in canonical order; all that it prefers stands under one key."""
        lines: list[str] = []
        for rank in sorted({effect_rank(effect) for effect in effects}):
            alike = [effect for effect in effects if effect_rank(effect) == rank]
            pushes = [effect for effect in alike if isinstance(effect, t.Push)]
            if pushes:
                lines.extend(self.pushes(pushes[0].verb, pushes))
            for effect in alike:
                if not isinstance(effect, t.Push):
                    lines.extend(self.around([_clause(effect)], effect.span))
        return lines

    def pushes(self, verb: str, pushes: Sequence[t.Push]) -> list[str]:
        items = [(f"{scalar(set_text(p.experts))}: {_value(p.by)}", p.span) for p in pushes]
        if len({push.experts for push in pushes}) == len(pushes):
            return self.mapping(verb, items)
        return self.listed(verb, [(f"{{{text}}}", span) for text, span in items])

    # --- YAML itself -----------------------------------------------------------------------------

    def mapping(self, key: str, items: Sequence[tuple[str, Span]]) -> list[str]:
        return self.collection(key, items, "{", "}", "")

    def listed(self, key: str, items: Sequence[tuple[str, Span]]) -> list[str]:
        return self.collection(key, items, "[", "]", "- ")

    def collection(
        self, key: str, items: Sequence[tuple[str, Span]], left: str, right: str, bullet: str
    ) -> list[str]:
        """A mapping or a list: on one line where it fits and no comment stands in it."""
        one_line = f"{key}: {left}{', '.join(text for text, _ in items)}{right}"
        mapped = (self.comments.before, self.comments.after, self.comments.tail)
        commented = any(span in comments for comments in mapped for _, span in items)
        if len(one_line) <= WIDTH and not commented:
            return [one_line]
        lines = [f"{key}:"]
        for text, span in items:
            lines.extend(_indented(self.around([bullet + text], span)))
        return lines

    def around(self, lines: list[str], span: Span) -> list[str]:
        after = "".join(f"  {comment}" for comment in self.comments.after.get(span, []))
        tail = [_INDENT + comment for comment in self.comments.tail.get(span, [])]
        return [*self.comments.before.get(span, []), *lines[:-1], lines[-1] + after, *tail]


def scalar(text: str) -> str:
    """A YAML scalar that reads back as this text: plain where it can be."""
    if _PLAIN.fullmatch(text):
        return text
    if '"' in text or "\\" in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def point_key(point: t.Point) -> str:
    """The place of a point of a schedule, as a key."""
    return f"{number_text(point.place)}{'%' if point.percent else ''}"


def _clause(effect: t.Effect) -> str:
    if isinstance(effect, t.Base):
        return f"base: {_base(effect)}"
    if isinstance(effect, t.Weight):
        return f"weight: {_value(effect.value)}"
    return f"split: {_names(effect.attributes)}" if isinstance(effect, t.Split) else "unshaped: true"


def _value(value: t.Value) -> str:
    if isinstance(value, t.Vector):
        return f"[{', '.join(map(number_text, value.items))}]"
    return scalar(value_text(value))


def _base(base: t.Base) -> str:
    if not base.shares:
        return _value(base.value)
    shares = ", ".join(f"{scalar(set_text(s.experts))}: {number_text(s.amount)}" for s in base.shares)
    return f"{{value: {_value(base.value)}, share: {{{shares}}}}}"


def _member(member: t.Member) -> str:
    name = scalar(member.name.text)
    return f"{{{name}: [{', '.join(map(_member, member.children))}]}}" if member.children else name


def _names(names: Iterable[t.Name]) -> str:
    return f"[{', '.join(scalar(name.text) for name in names)}]"


def _indented(lines: Iterable[str]) -> list[str]:
    return [_INDENT + line for line in lines]


def _flow(lines: Sequence[str]) -> str | None:
    """Lines of a block mapping as the inside of a flow mapping; None where one of them is nested."""
    return None if any(line.startswith(_INDENT) or line.endswith(":") for line in lines) else ", ".join(lines)
