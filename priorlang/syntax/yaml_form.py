"""The YAML form: structure from YAML, leaves from the DSL's own phrases, to the same tree.

priorlang: 1
experts: {visual: 0..3}
rule:
vision: {for: {modality: vision}, prefer: {visual: 0.5}}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast

from priorlang.diagnostics.finding import Finding, Severity
from priorlang.diagnostics.span import Span, whole_file
from priorlang.diagnostics.suggest import closest, listing
from priorlang.records import replace
from priorlang.syntax import tree as t
from priorlang.syntax.dsl import parse_phrase, version_findings
from priorlang.syntax.phrases import quoted
from priorlang.syntax.source import SourceFile
from priorlang.syntax.yaml_comments import yaml_comments_of
from priorlang.syntax.yaml_nodes import YamlList, YamlMapping, YamlNode, YamlScalar, read_yaml, replacing


def parse_yaml(source: SourceFile) -> tuple[t.Document, list[Finding]]:
    """Read a `.yaml` prior file. The document holds every statement that could be read."""
    root, findings = read_yaml(source)
    misplaced = {finding.span.start for finding in findings}
    reader = _Form([])
    if root is None:
        lost = (t.Broken("", None, whole_file(source.name)),)
        document = t.Document(None, (), whole_file(source.name), lost)
        if findings:
            return document, findings
    elif isinstance(root, YamlMapping):
        document = reader.document(root, yaml_comments_of(source))
    else:
        document = t.Document(None, (), root.span, (t.Broken("", None, root.span),))
        reader.error("a prior in YAML is a mapping with the key `priorlang`", root.span)
    # A tag, or an alias of itself, is said once; that its node is no phrase either follows from it.
    findings.extend(found for found in reader.findings if found.span.start not in misplaced)
    if not findings:
        findings.extend(version_findings(document.version, document.span))
    return document, sorted(findings, key=lambda finding: finding.span)


class _Form:
    """Reads each statement of the mapping; a part that cannot be read is a finding and is left out."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        self.broken: list[t.Broken] = []

    # --- statements ------------------------------------------------------------------------------

    def document(self, root: YamlMapping, comments: tuple[t.Comment, ...]) -> t.Document:
        readers: dict[str, Callable[[YamlNode], Iterator[t.Statement | None]]] = {
            "import": self.imports,
            "model": self.model,
            "attribute": self.attributes,
            "experts": lambda node: self.groups("experts", node),
            "layers": lambda node: self.groups("layers", node),
            "param": self.parameters,
            "default": self.default,
            "rule": self.rules,
            "schedule": self.schedule,
            "allow": self.allows,
            "expect": self.expects,
        }
        version: t.NumberLiteral | None = None
        statements: list[t.Statement] = []
        for key, value in self.known(root, ("priorlang", *readers)):
            if key.text == "priorlang":
                number = self.phrase(value, "number")
                version = number if isinstance(number, t.NumberLiteral) else None
                if version is None:
                    self.broken.append(t.Broken("priorlang", None, key.span))
                continue
            before = len(self.findings)
            statements.extend(_whole(key, item) for item in readers[key.text](value) if item is not None)
            unnamed = key.text in {"model", "default", "schedule"} or not isinstance(value, YamlMapping)
            if len(self.findings) > before and unnamed:
                self.broken.append(t.Broken(key.text, None, key.span))
        for key, _ in root.items:
            if key.text not in ("priorlang", *readers):
                self.broken.append(t.Broken(closest(key.text, readers) or "", None, key.span))
        if version is None and not self.broken:
            self.findings.extend(version_findings(None, root.span))
        return t.Document(version, tuple(statements), root.span, tuple(self.broken), comments)

    def imports(self, node: YamlNode) -> Iterator[t.Import]:
        for name in self.names(node):
            yield t.Import(name, name.span)

    def model(self, node: YamlNode) -> Iterator[t.Model]:
        settings = []
        for key, value in self.entries(node, "the settings of `model`"):
            if key.text not in {"layers", "experts"} and quoted(key.text) != key.text:
                self.error("a setting of `model` is one plain word", key.span)
                continue
            expression = self.phrase(value, "set")
            if expression is not None:
                settings.append(t.Setting(self.name(key), expression, key.span.to(value.span)))
        yield t.Model(tuple(settings), node.span)

    def attributes(self, node: YamlNode) -> Iterator[t.Attribute | None]:
        for key, value in self.entries(node, "attributes"):
            adds = isinstance(value, YamlMapping)
            listed: YamlNode | None = value
            if isinstance(value, YamlMapping):
                known = {name.text: inner for name, inner in self.known(value, ("adds",))}
                listed = known.get("adds")
            members = self.members(listed) if listed is not None else ()
            if members:
                yield t.Attribute(self.name(key), adds, members, key.span.to(value.span))
            else:
                self.error(f"attribute `{key.text}` takes a list of members: [vision, language]", value.span)
                self.broken.append(t.Broken("attribute", key.text, key.span))

    def members(self, node: YamlNode) -> tuple[t.Member, ...]:
        if not isinstance(node, YamlList):
            return ()
        found: list[t.Member] = []
        for item in node.items:
            if isinstance(item, YamlScalar):
                found.append(t.Member(self.name(item), (), item.span))
            elif isinstance(item, YamlMapping):
                for key, value in item.items:
                    children = self.members(value)
                    if not children:
                        self.error(f"`{key.text}` takes a list of members: [ocr, chart]", value.span)
                    found.append(t.Member(self.name(key), children, key.span.to(value.span)))
            else:
                self.error(
                    "a member is a name, or a name with a list of its own: {reading: [ocr, chart]}", item.span
                )
        return tuple(found)

    def groups(self, kind: Literal["experts", "layers"], node: YamlNode) -> Iterator[t.Group]:
        for key, value in self.entries(node, f"groups of {kind}"):
            expression = self.phrase(value, "set")
            if expression is None:
                self.broken.append(t.Broken(kind, key.text, key.span))
            else:
                yield t.Group(kind, self.name(key), expression, key.span.to(value.span))

    def parameters(self, node: YamlNode) -> Iterator[t.Parameter]:
        for key, value in self.entries(node, "parameters"):
            if not _PARAMETER.fullmatch(key.text):
                self.error("the name of a parameter takes letters, digits, `_` and `-`", key.span)
            parsed = self.value(value)
            if parsed is None:
                self.broken.append(t.Broken("param", key.text, key.span))
            else:
                yield t.Parameter(self.name(key), parsed, key.span.to(value.span))

    def default(self, node: YamlNode) -> Iterator[t.Default]:
        before = len(self.findings)
        effects: list[t.Effect] = []
        for key, value in self.known(node, _EFFECTS):
            effects.extend(self.effect(key, value))
        if not effects and len(self.findings) == before:
            self.error("`default` states a base and a weight, or unshaped", node.span)
        if len(self.findings) == before:
            yield t.Default(tuple(effects), node.span)

    def rules(self, node: YamlNode) -> Iterator[t.Rule]:
        for key, value in self.entries(node, "rules"):
            before = len(self.findings)
            overrides: t.Overrides | None = None
            terms: tuple[t.Term, ...] = ()
            layers: t.SetExpression | None = None
            effects: list[t.Effect] = []
            places: list[Span] = []
            for part, content in self.known(value, ("overrides", "for", "layers", *_EFFECTS)):
                if part.text == "overrides":
                    overrides = self.overrides(content)
                elif part.text == "for":
                    terms = tuple(self.terms(content))
                    places.append(content.span)
                elif part.text == "layers":
                    layers = self.phrase(content, "set")
                    places.append(content.span)
                else:
                    effects.extend(self.effect(part, content))
            if not effects and len(self.findings) == before:
                self.error(f"rule `{key.text}` does nothing: give it one of {listing(_EFFECTS)}", value.span)
            if len(self.findings) > before:
                self.broken.append(t.Broken("rule", key.text, key.span))
                continue
            selector = t.Selector(terms, layers, min(places).to(max(places))) if places else None
            yield t.Rule(self.name(key), overrides, selector, tuple(effects), key.span.to(value.span))

    def schedule(self, node: YamlNode) -> Iterator[t.Schedule]:
        points = []
        for key, value in self.entries(node, "the points of a schedule"):
            place, factor = self.phrase(key, "place"), self.phrase(value, "number")
            if place is not None and factor is not None:
                points.append(t.Point(place[0], place[1], factor, key.span.to(value.span)))
        if points:
            yield t.Schedule(tuple(points), node.span)
        elif isinstance(node, YamlMapping) and not node.items:
            self.error("a schedule has points: {0%: 0, 5%: 1}", node.span)

    def allows(self, node: YamlNode) -> Iterator[t.Allow]:
        for item in self.listed(node):
            parts = {key.text: value for key, value in self.known(item, ("finding", "in", "because"))}
            finding, because = parts.get("finding"), parts.get("because")
            if isinstance(finding, YamlScalar) and isinstance(because, YamlScalar):
                rules = self.names(parts["in"]) if "in" in parts else ()
                yield t.Allow(self.name(finding), rules, self.name(because), item.span)
            else:
                self.error("an entry of `allow` has `finding` and `because`, and may have `in`", item.span)

    def expects(self, node: YamlNode) -> Iterator[t.Expect | None]:
        for item in self.listed(node):
            yield self.phrase(item, "expectation")

    # --- parts of statements ---------------------------------------------------------------------

    def effect(self, key: YamlScalar, value: YamlNode) -> Iterator[t.Effect]:
        span = key.span.to(value.span)
        if key.text == "base":
            base = self.base(value, span)
            if base is not None:
                yield base
        elif key.text in {"prefer", "avoid"}:
            verb = cast("Literal['prefer', 'avoid']", key.text)
            for experts, by in self.pairs(value, f"`{verb}` takes experts and amounts: {{visual: 0.5}}"):
                target, amount = self.phrase(experts, "set"), self.value(by)
                if target is not None and amount is not None:
                    yield t.Push(verb, target, amount, experts.span.to(by.span))
        elif key.text == "weight":
            weight = self.value(value)
            if weight is not None:
                yield t.Weight(weight, span)
        elif key.text == "split":
            yield t.Split(self.names(value), span)
        elif isinstance(value, YamlScalar) and value.text in {"", "true"}:
            yield t.Unshaped(span)
        else:
            self.error("`unshaped` stands alone: write `unshaped: true`", value.span)

    def base(self, node: YamlNode, span: Span) -> t.Base | None:
        if not isinstance(node, YamlMapping):
            value = self.value(node)
            return None if value is None else t.Base(value, (), span)
        parts = {key.text: value for key, value in self.known(node, ("value", "share"))}
        if "value" not in parts:
            self.error("a base with shares needs its `value`: {value: 0.75, share: {visual: 0.6}}", node.span)
            return None
        shares = []
        if "share" in parts:
            for experts, amount in self.pairs(
                parts["share"], "`share` takes experts and parts: {visual: 0.6}"
            ):
                target, part = self.phrase(experts, "set"), self.phrase(amount, "number")
                if target is not None and part is not None:
                    shares.append(t.Share(part, target, experts.span.to(amount.span)))
        value = self.value(parts["value"])
        return None if value is None else t.Base(value, tuple(shares), span)

    def terms(self, node: YamlNode) -> Iterator[t.Term]:
        for key, value in self.entries(node, "what `for` selects"):
            members = self.phrase(value, "set")
            if members is not None:
                yield t.Term(self.name(key), members, key.span.to(value.span))

    def overrides(self, node: YamlNode) -> t.Overrides:
        if isinstance(node, YamlScalar) and node.text == "all" and not node.quoted:
            return t.Overrides(True, (), node.span)
        return t.Overrides(False, self.names(node), node.span)

    def value(self, node: YamlNode) -> t.Value | None:
        if isinstance(node, YamlList):
            numbers = [self.phrase(item, "number") for item in node.items]
            if len(numbers) < 2:
                self.error("a vector has a number for each expert: [3, 1, 0.5]", node.span)
            return None if None in numbers or len(numbers) < 2 else t.Vector(tuple(numbers), node.span)
        return cast("t.Value | None", self.phrase(node, "value"))

    def names(self, node: YamlNode) -> tuple[t.Name, ...]:
        items = node.items if isinstance(node, YamlList) else (node,)
        if not items:
            self.error("an empty list names nothing: leave the key out, or name something", node.span)
        found = []
        for item in items:
            if isinstance(item, YamlScalar) and (item.text or item.quoted):
                found.append(self.name(item))
            else:
                self.error("a name belongs here, or a list of names", item.span)
        return tuple(found)

    # --- YAML itself -----------------------------------------------------------------------------

    def phrase(self, node: YamlNode, symbol: str) -> Any:
        """A leaf, read by the grammar; None, with a finding, where it cannot be."""
        if not isinstance(node, YamlScalar):
            message = "a phrase of the language belongs here, not a list or a mapping"
            if isinstance(node, YamlList) and symbol == "set":
                message = "a set is one phrase; join its items with `|`, as `ocr | chart`"
            self.error(message, node.span)
            return None
        parsed, findings = parse_phrase(node.text, symbol, node.origin)
        self.findings.extend(findings)
        return parsed

    def known(self, node: YamlNode, allowed: tuple[str, ...]) -> Iterator[tuple[YamlScalar, YamlNode]]:
        """The entries of a mapping whose keys are fixed words."""
        entries = self.entries(node, listing(allowed, 20))
        present = {key.text for key, _ in entries}
        for key, value in entries:
            if key.text in allowed:
                yield key, value
                continue
            meant = closest(key.text, allowed)
            hint = f"; did you mean `{meant}`?" if meant else f"; here stand {listing(allowed, 20)}"
            # A key that is there already would stand twice.
            fix = replacing(key.span, meant) if meant and meant not in present else None
            message = f"there is no key `{key.text}` here{hint}"
            self.findings.append(Finding("unknown-key", Severity.ERROR, message, key.span, fix=fix))

    def entries(self, node: YamlNode, what: str) -> tuple[tuple[YamlScalar, YamlNode], ...]:
        if isinstance(node, YamlMapping):
            return node.items
        self.error(f"a mapping belongs here: {what}", node.span)
        return ()

    def pairs(self, node: YamlNode, hint: str) -> tuple[tuple[YamlScalar, YamlNode], ...]:
        """The entries of a mapping, or of a list of mappings where one set stands twice."""
        if isinstance(node, YamlMapping):
            return node.items
        if isinstance(node, YamlList) and all(isinstance(item, YamlMapping) for item in node.items):
            return tuple(pair for item in node.items for pair in cast("YamlMapping", item).items)
        self.error(hint, node.span)
        return ()

    def listed(self, node: YamlNode) -> tuple[YamlNode, ...]:
        if isinstance(node, YamlList):
            return node.items
        self.error("a list belongs here, also of one: [vision]", node.span)
        return ()

    def name(self, scalar: YamlScalar) -> t.Name:
        """A name, or a text: what the DSL can write in quotes."""
        if '"' in scalar.text or "\n" in scalar.text:
            self.error("a name or a text holds no quotes and no line breaks", scalar.span)
        return t.Name(scalar.text, scalar.span)

    def error(self, message: str, span: Span) -> None:
        self.findings.append(Finding("syntax-error", Severity.ERROR, message, span))


def _whole(key: YamlScalar, statement: t.Statement) -> t.Statement:
    """A statement that has no name begins with its keyword; it is more than the only piece in it."""
    if isinstance(statement, t.Model | t.Default | t.Schedule):
        return replace(statement, span=key.span.to(statement.span))
    return statement


_PARAMETER = re.compile(r"[A-Za-z_][\w-]*")
_EFFECTS: tuple[str, ...] = ("base", "prefer", "avoid", "weight", "split", "unshaped")
