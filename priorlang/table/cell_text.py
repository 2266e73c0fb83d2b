"""A cell as people name it: `modality=vision task=ocr layer=5`."""

from __future__ import annotations

import re

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import Span
from priorlang.diagnostics.suggest import closest, listing
from priorlang.semantics.describe import index_set
from priorlang.semantics.spec import UNKNOWN, AttributeSpec, Spec
from priorlang.syntax.phrases import quoted
from priorlang.syntax.source import LineTable

_PAIR = re.compile(r"""(?:"([^"]*)"|([^\s,"=]+))=(?:"([^"]*)"|([^\s,"]+))(?=[\s,]|$)""")
_BETWEEN = re.compile(r"[\s,]*")


def parse_cell(spec: Spec, text: str) -> tuple[int, dict[str, str]]:
    """The decoder layer and the leaf members of `NAME=VALUE …`, in any order.

    White space or commas stand between the pairs; a name or a member that holds one of them is quoted, as in
    `"my set"="with space"`. An attribute that is left out means `unknown` where it has that member.

    Raises:
        PriorError: the text names no cell of this prior.
    """
    given = pairs_of(text, example_of(spec))
    known = [attribute.name for attribute in spec.attributes]
    for name in given:
        if name != "layer" and name not in known:
            meant = closest(name, [*known, "layer"])
            hint = f"; did you mean `{meant}`?" if meant else f"; there are {listing(['layer', *known])}"
            raise _refused(f"there is no attribute `{name}`{hint}", text, name)
    layer = _layer(spec, given.get("layer"), text)
    return layer, {
        attribute.name: _member(spec, attribute, given.get(attribute.name), text)
        for attribute in spec.attributes
    }


def pairs_of(text: str, example: str) -> dict[str, str]:
    """What `NAME=VALUE …` gives each name; `example` shows how a cell is written.

    Raises:
        PriorError: the text is written otherwise, or gives a name twice.
    """
    given: dict[str, str] = {}
    place = 0
    while (place := _between(text, place)) < len(text):
        found = _PAIR.match(text, place)
        if found is None:
            word = text[place:].split()[0]
            raise _refused(f"`{word}` is not NAME=VALUE; a cell is written {example}", text, word)
        quoted_name, name, quoted_member, member = found.groups()
        key = name if quoted_name is None else quoted_name
        if key in given:
            raise _refused(f"`{key}` is given twice", text, found[0])
        given[key] = member if quoted_member is None else quoted_member
        place = found.end()
    return given


def _between(text: str, place: int) -> int:
    found = _BETWEEN.match(text, place)
    return place if found is None else found.end()


def _layer(spec: Spec, value: str | None, text: str) -> int:
    if value is None:
        raise _refused(f"a cell needs its layer; write {example_of(spec)}", text)
    layer = int(value) if re.fullmatch("[0-9]{1,9}", value) else -1
    if layer not in spec.model.routed:
        raise _refused(
            f"layer {value[:40]} does not route; layers {index_set(spec.model.routed)} do", text, value
        )
    return layer


def _member(spec: Spec, attribute: AttributeSpec, given: str | None, text: str) -> str:
    member = UNKNOWN if given is None else given
    if member in attribute.leaves:
        return member
    if given is None:
        raise _refused(f"a cell needs its {attribute.name}; write {example_of(spec)}", text)
    if member in attribute.parents:
        leaves = [attribute.leaves[code] for code in attribute.parents[member]]
        raise _refused(
            f"`{member}` is a parent; a cell has one of its leaves: {listing(leaves)}", text, member
        )
    meant = closest(member, attribute.leaves)
    hint = f"; did you mean `{meant}`?" if meant else f"; it has {listing(attribute.leaves)}"
    raise _refused(f"attribute {attribute.name} has no member `{member}`{hint}", text, member)


def example_of(spec: Spec) -> str:
    """A cell of a prior as a shell takes it, in quotes: `'modality=vision layer=0'`."""
    words = [f"{quoted(attribute.name)}={quoted(attribute.leaves[0])}" for attribute in spec.attributes]
    return f"'{' '.join([*words, f'layer={spec.model.routed[0]}'])}'"


def _refused(message: str, text: str, word: str = "") -> PriorError:
    """The refusal of a cell, at the last place of `word` in its text; at the whole text without one."""
    begin = text.rfind(word) if word else 0
    places = LineTable(text)
    span = Span("--at", places.at(begin), places.at(begin + len(word) if word else len(text)))
    return PriorError([Finding("unknown-name", Severity.ERROR, message, span)])
