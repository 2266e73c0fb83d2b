"""What is stated outside rules: the model, attributes with their members, the schedule."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from priorlang.semantics.describe import index_set
from priorlang.syntax.phrases import quoted
from priorlang.table.prior_table import PriorTable, TableHeader


@dataclass(frozen=True)
class Declaration:
    """Something stated outside rules that differs; None where a side lacks it."""

    kind: str
    name: str
    before: str | None
    after: str | None
    added: tuple[str, ...] = ()
    """Members of an attribute that only `after` has."""
    removed: tuple[str, ...] = ()
    """Members of an attribute that only `before` has."""


@dataclass(frozen=True)
class _Stated:
    """A value in words, and what is compared: the order of members does not count."""

    words: str
    meaning: Hashable
    members: tuple[str, ...] = ()


def compare_declarations(before: PriorTable, after: PriorTable) -> tuple[Declaration, ...]:
    """Everything stated that differs, in the order of the file."""
    old, new = _stated(before), _stated(after)
    found = []
    for key in [*old, *(key for key in new if key not in old)]:
        was, now = old.get(key), new.get(key)
        if was is not None and now is not None and was.meaning == now.meaning:
            continue
        left = was.members if was else ()
        right = now.members if now else ()
        found.append(
            Declaration(
                *key,
                was.words if was else None,
                now.words if now else None,
                tuple(member for member in right if member not in left) if left else (),
                tuple(member for member in left if member not in right) if right else (),
            )
        )
    return tuple(found)


def _stated(table: PriorTable) -> dict[tuple[str, str], _Stated]:
    header = table.header
    if not header.experts:
        return {}
    numbers = {"layers": header.layers, "experts": header.experts, "top_k": header.top_k}
    stated = {("model", name): _Stated(str(number), number) for name, number in numbers.items()}
    routed = table.layer.tolist()
    # The default, every layer, differs wherever `layers` does: that goes without saying.
    everywhere = len(routed) == header.layers
    stated["model", "routed"] = _Stated(index_set(routed), None if everywhere else tuple(routed))
    for attribute in header.attributes:
        words = ", ".join(map(quoted, attribute.members))
        stated["attribute", attribute.name] = _Stated(words, frozenset(attribute.members), attribute.members)
    if header.schedule:
        stated["schedule", ""] = _Stated(_schedule(header), (header.schedule_unit, header.schedule))
    return stated


def _schedule(header: TableHeader) -> str:
    share = header.schedule_unit == "fraction"
    points = (
        f"{place * (100 if share else 1):g}{'%' if share else ''}: {factor:g}"
        for place, factor in header.schedule
    )
    return ", ".join(points)
