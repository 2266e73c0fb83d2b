"""Regions of cells → the text of a prior file, in the language's own layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from priorlang.fit.regions import Layout, Region
from priorlang.semantics.describe import index_set
from priorlang.semantics.exact import decimal_text
from priorlang.semantics.spec import UNKNOWN
from priorlang.syntax.keywords import KEYWORDS
from priorlang.syntax.phrases import quoted
from priorlang.table.prior_table import PriorTable, TableAttribute
from priorlang.table.rectangles import describe_layers, describe_members

_LONGEST_NAME = 40


@dataclass(frozen=True)
class WrittenRule:
    """A region under the name that its rule gets."""

    name: str
    region: Region
    comment: str


def prior_text(
    table: PriorTable, layout: Layout, rules: Sequence[WrittenRule], weight: float, opening: Iterable[str]
) -> str:
    """The text of a prior over the model and attributes of a table; `opening` are lines of comment."""
    groups = _expert_groups(rules)
    lines = [*(f"# {line}" for line in opening), f"priorlang {table.header.language}", _model(table)]
    lines += [_attribute(attribute) for attribute in table.header.attributes]
    lines += [f"experts {quoted(name)} = {index_set(experts)}" for experts, name in groups.items()]
    lines.append(f"default base {decimal_text(layout.base)} weight {weight!r}")
    for rule in rules:
        lines.append(f"rule {quoted(rule.name)}: {_clauses(table, rule.region, groups)}  # {rule.comment}")
    return "\n".join(lines) + "\n"


def named(table: PriorTable, regions: Sequence[Region]) -> list[str]:
    """A name for the rule of each region, from the members and layers it selects."""
    names: list[str] = []
    for region in regions:
        layers, members = region.cells
        words = []
        for attribute, codes in zip(table.header.attributes, members, strict=False):
            if len(codes) < len(attribute.members):
                words.append(describe_members(attribute, [attribute.members[code] for code in codes]))
        if len(layers) < len(table.layer):
            words.append(describe_layers(table.layer[list(layers)].tolist()))
        plain = re.sub(r"[^A-Za-z0-9_]+", "-", " ".join(words)).strip("-") or "everywhere"
        if len(plain) > _LONGEST_NAME or plain in KEYWORDS or not plain[0].isalpha():
            plain = f"rule-{len(names) + 1}"
        names.append(plain if plain not in names else f"{plain}-{len(names) + 1}")
    return names


def _model(table: PriorTable) -> str:
    header = table.header
    routed = index_set(table.layer.tolist())
    part = "" if len(table.layer) == header.layers else f"  routed = {routed}"
    return f"model {{ layers = {header.layers}  experts = {header.experts}  top_k = {header.top_k}{part} }}"


def _attribute(attribute: TableAttribute) -> str:
    """A declaration with the parents that its members had: the largest first, each within the one around it."""
    parents = sorted(attribute.parents, key=lambda parent: -len(parent[1]))
    return f"attribute {quoted(attribute.name)} {{ {', '.join(_members(attribute.members, parents))} }}"


def _members(leaves: Sequence[str], parents: Sequence[tuple[str, tuple[str, ...]]]) -> Iterable[str]:
    left = list(leaves)
    while left:
        around = next((place for place, (_, own) in enumerate(parents) if left[0] in own), None)
        if around is None:
            yield quoted(left.pop(0))
            continue
        name, own = parents[around]
        within = [parent for parent in parents[around + 1 :] if set(parent[1]) <= set(own)]
        yield f"{quoted(name)} {{ {', '.join(_members(own, within))} }}"
        left = [leaf for leaf in left if leaf not in own]


def _expert_groups(rules: Sequence[WrittenRule]) -> dict[tuple[int, ...], str]:
    """A name for each set of several experts that a rule pushes, after the first such rule."""
    groups: dict[tuple[int, ...], str] = {}
    for rule in rules:
        for amount, experts in rule.region.effects.pushes:
            if len(experts) > 1 and experts not in groups:
                several = sum(len(chosen) > 1 for _, chosen in rule.region.effects.pushes) > 1
                plain = f"{rule.name}-by-{decimal_text(abs(amount))}" if several else rule.name
                name = re.sub(r"[^A-Za-z0-9_]+", "-", plain)
                groups[experts] = f"{name}-{'experts' if amount > 0 else 'avoided'}"
    return groups


def _clauses(table: PriorTable, region: Region, groups: dict[tuple[int, ...], str]) -> str:
    layers, members = region.cells
    terms = [
        f"{quoted(attribute.name)} {_member_set(attribute, [attribute.members[code] for code in codes])}"
        for attribute, codes in zip(table.header.attributes, members, strict=False)
        if len(codes) < len(attribute.members)
    ]
    words = [f"for {' and '.join(terms)}"] if terms else []
    if len(layers) < len(table.layer):
        words.append(f"in layers {index_set(table.layer[list(layers)].tolist())}")
    if region.effects.base is not None:
        words.append(f"base {decimal_text(region.effects.base)}")
    for amount, experts in region.effects.pushes:
        which = quoted(groups[experts]) if experts in groups else index_set(experts)
        words.append(f"{'prefer' if amount > 0 else 'avoid'} {which} by {decimal_text(abs(amount))}")
    return " ".join(words)


def _member_set(attribute: TableAttribute, members: list[str]) -> str:
    """Members as the language writes them; never by a `not` that lets `unknown` through."""
    words = describe_members(attribute, members)
    if words.startswith("not ") and UNKNOWN in members:
        return " | ".join(quoted(member) for member in members)
    return words
