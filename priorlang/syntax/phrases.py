"""The phrases of the language as text: what both forms share."""

from __future__ import annotations

import re

from priorlang.syntax import tree as t
from priorlang.syntax.keywords import KEYWORDS

_PLAIN = re.compile(r"[A-Za-z_][\w-]*(?:[./][\w-]+)*")


def name_text(name: t.Name) -> str:
    """A name, in quotes where it must be."""
    return quoted(name.text)


def quoted(text: str) -> str:
    """A name as the DSL writes it: in quotes where it must be."""
    return text if _PLAIN.fullmatch(text) and text not in KEYWORDS else f'"{text}"'


def number_text(number: t.Number) -> str:
    """A number as it was written, or `$name`."""
    return f"${number.name}" if isinstance(number, t.Reference) else number.text


def value_text(value: t.Value) -> str:
    """A number, a vector or a ramp."""
    if isinstance(value, t.Vector):
        return f"({', '.join(map(number_text, value.items))})"
    if isinstance(value, t.Ramp):
        ends = f"{number_text(value.start)} to {number_text(value.stop)}"
        return f"ramp {ends} over layers {set_text(value.layers)}"
    return number_text(value)


def set_text(node: t.SetExpression) -> str:
    """A set: `not visual | 7`."""
    items = " | ".join(map(_item_text, node.items))
    return f"not {items}" if node.negated else items


def _item_text(item: t.SetItem) -> str:
    if isinstance(item, t.Name):
        return name_text(item)
    if isinstance(item, t.All):
        return "all"
    if not isinstance(item, t.Range):
        return number_text(item)
    first = number_text(item.first) if item.first is not None else ""
    last = number_text(item.last) if item.last is not None else ""
    step = f" step {number_text(item.step)}" if item.step is not None else ""
    return f"{first}..{last}{step}"


def selector_text(selector: t.Selector) -> str:
    """`for modality vision and task ocr in layers 12..`."""
    terms = " and ".join(f"{name_text(term.attribute)} {set_text(term.members)}" for term in selector.terms)
    words = [f"for {terms}"] if terms else []
    if selector.layers is not None:
        words.append(f"in layers {set_text(selector.layers)}")
    return " ".join(words)


def operand_text(operand: t.Operand) -> str:
    """One side of a comparison."""
    if isinstance(operand, t.Measure):
        return f"{operand.function.text}({set_text(operand.experts)})"
    return "weight" if isinstance(operand, t.WeightOf) else number_text(operand)
