"""The one set syntax → sets of indices: members of an attribute, experts, layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from priorlang.diagnostics.finding import Edit, Finding, Fix, Severity
from priorlang.diagnostics.span import Span
from priorlang.diagnostics.suggest import closest, listing
from priorlang.semantics.scope import Scope
from priorlang.semantics.spec import AttributeSpec, Negation
from priorlang.semantics.values import MAXIMUM_CHAIN, Values, ring_text, unknown_name
from priorlang.syntax import tree as t
from priorlang.syntax.phrases import quoted

Kind = Literal["experts", "layers"]


class Sets:
    """Resolves sets. What cannot be resolved is a finding and None, so that one mistake speaks once."""

    def __init__(self, scope: Scope, findings: list[Finding]) -> None:
        self.scope = scope
        self.findings = findings
        self.values: Values
        self.sizes: dict[Kind, int | None] = {}
        self.groups: dict[tuple[str, str], frozenset[int] | None] = {}
        self.used_groups: set[tuple[str, str]] = set()
        self.resolving: list[tuple[str, str]] = []
        self.negations: list[Negation] = []

    # --- experts and layers ----------------------------------------------------------------------

    def indices(self, kind: Kind, node: t.SetExpression, rule: str | None = None) -> frozenset[int] | None:
        """The experts, or decoder layers, of a set. Needs `sizes[kind]`, the number there are."""
        size = self.sizes.get(kind)
        if size is None:
            return None
        found: set[int] = set()
        complete = True
        for item in node.items:
            part = self._index_item(kind, item, size)
            complete = complete and part is not None
            found.update(part or ())
        if not complete:
            return None
        if node.negated:
            self.negations.append(Negation(kind, None, node.span.file, node.span, rule))
            found = set(range(size)) - found
        if not found:
            self._error("out-of-range", f"this set of {kind} is empty", node.span)
            return None
        return frozenset(found)

    def _index_item(self, kind: Kind, item: t.SetItem, size: int) -> Iterable[int] | None:
        if isinstance(item, t.All):
            return range(size)
        if isinstance(item, t.Name):
            return self.group(kind, item)
        if isinstance(item, t.Range):
            return self._range(kind, item, size)
        index = self.values.index(item, kind)
        if index is None or not self._inside(kind, index, size, item.span):
            return None
        return (index,)

    def _range(self, kind: Kind, node: t.Range, size: int) -> Iterable[int] | None:
        first = 0 if node.first is None else self.values.index(node.first, kind)
        last = size - 1 if node.last is None else self.values.index(node.last, kind)
        step = 1 if node.step is None else self.values.index(node.step, "steps")
        if first is None or last is None or step is None:
            return None
        if step < 1:
            self._error("out-of-range", "a step is at least 1", node.span)
            return None
        if not all(self._inside(kind, end, size, node.span) for end in {first, last}):
            return None
        if first > last:
            self._error("out-of-range", f"the range {first}..{last} runs backwards", node.span)
            return None
        return range(first, last + 1, step)

    def _inside(self, kind: Kind, index: int, size: int, span: Span) -> bool:
        if 0 <= index < size:
            return True
        noun = kind[:-1]
        self._error("out-of-range", f"there is no {noun} {index}: {kind} run from 0 to {size - 1}", span)
        return False

    def group(self, kind: Kind, name: t.Name) -> frozenset[int] | None:
        """The indices of a named group."""
        key = (kind, name.text)
        self.used_groups.add(key)
        if key in self.groups:
            return self.groups[key]
        declared = self.scope.groups.get(key)
        if declared is None:
            if not self.scope.is_broken(kind, name.text):
                self.findings.append(self._unknown_group(kind, name))
            return None
        if key in self.resolving or len(self.resolving) >= MAXIMUM_CHAIN:
            ring = ring_text([item for _, item in [*self.resolving, key]])
            self._error("group-cycle", f"a group cannot contain itself: {ring}", name.span)
            return None
        self.resolving.append(key)
        found = self.indices(kind, declared.value)
        self.resolving.pop()
        self.groups[key] = found
        return found

    def _unknown_group(self, kind: Kind, name: t.Name) -> Finding:
        known = [group for group_kind, group in self.scope.groups if group_kind == kind]
        other: Kind = "layers" if kind == "experts" else "experts"
        if (other, name.text) in self.scope.groups:
            message = f"`{name.text}` is a group of {other}, and here stand {kind}"
            return Finding("unknown-name", Severity.ERROR, message, name.span)
        return unknown_name(f"group of {kind}", name.text, known, name.span)

    # --- members ---------------------------------------------------------------------------------

    def members(
        self, attribute: AttributeSpec, node: t.SetExpression, rule: str | None = None
    ) -> frozenset[int] | None:
        """The codes of the leaves that a set of members means; a parent means all its leaves."""
        found: set[int] = set()
        complete = True
        for item in node.items:
            part = self._member_item(attribute, item)
            complete = complete and part is not None
            found.update(part or ())
        if not complete:
            return None
        if node.negated:
            self.negations.append(Negation("members", attribute.name, node.span.file, node.span, rule))
            found = set(range(len(attribute.leaves))) - found
        if not found:
            self._error("out-of-range", f"no member of {attribute.name} is left in this set", node.span)
            return None
        return frozenset(found)

    def _member_item(self, attribute: AttributeSpec, item: t.SetItem) -> Iterable[int] | None:
        if isinstance(item, t.All):
            return range(len(attribute.leaves))
        if isinstance(item, t.Name):
            if item.text in attribute.codes:
                return attribute.codes[item.text]
            if not self.scope.is_broken("attribute", attribute.name):
                self.findings.append(_unknown_member(attribute, item))
            return None
        self._error(
            "invalid-value", f"members of {attribute.name} are names; a number must be quoted", item.span
        )
        return None

    def _error(self, name: str, message: str, span: Span) -> None:
        self.findings.append(Finding(name, Severity.ERROR, message, span))


def _unknown_member(attribute: AttributeSpec, item: t.Name) -> Finding:
    known = list(attribute.codes)
    meant = closest(item.text, known)
    message = f"attribute {attribute.name} has no member `{item.text}`"
    if meant is None:
        return Finding("unknown-member", Severity.ERROR, f"{message}; it has {listing(known)}", item.span)
    fix = Fix(f"write `{meant}`", (Edit(item.span, quoted(meant)),))
    return Finding(
        "unknown-member", Severity.ERROR, f"{message}; did you mean `{meant}`?", item.span, fix=fix
    )
