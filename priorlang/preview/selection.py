"""Which cells a reader asks to see: `modality=vision task=reading|vqa layer=0..11`."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file
from priorlang.diagnostics.suggest import closest, listing
from priorlang.semantics.describe import index_set
from priorlang.syntax.phrases import quoted
from priorlang.table.cell_text import pairs_of
from priorlang.table.prior_table import PriorTable, TableAttribute

_RANGE = re.compile(r"(\d{1,9})?\.\.(\d{1,9})?|(\d{1,9})")


@dataclass(frozen=True, eq=False)
class Selection:
    """Some layers and token classes of a table.

    Attributes:
        layers: [l], positions of routed layers.
        classes: [c], token classes.
        whole: whether that is all of them.
    """

    layers: NDArray[np.int64]
    classes: NDArray[np.int64]
    whole: bool


def everything(table: PriorTable) -> Selection:
    """All cells of a table."""
    return Selection(np.arange(len(table.layer)), np.arange(table.class_count), whole=True)


def parse_selection(table: PriorTable, text: str) -> Selection:
    """The cells that `NAME=VALUE …` names; what it leaves out is not restricted.

    A value is a member, a parent or several joined by `|`; for `layer`, numbers and ranges joined by `|`.

    Raises:
        PriorError: the text names nothing in this table.
    """
    given = pairs_of(text, _example(table))
    attributes = {attribute.name: attribute for attribute in table.header.attributes}
    for name in given:
        if name != "layer" and name not in attributes:
            meant = closest(name, [*attributes, "layer"])
            hint = f"; did you mean `{meant}`?" if meant else f"; there are {listing(['layer', *attributes])}"
            raise _refused(f"there is no attribute `{name}`{hint}")
    layers = _layers(table, given["layer"]) if "layer" in given else np.arange(len(table.layer))
    sizes = [len(attribute.members) for attribute in attributes.values()]
    chosen = np.ones(sizes or [1], dtype=np.bool_)
    for axis, attribute in enumerate(attributes.values()):
        if attribute.name in given:
            shape = [1] * len(sizes)
            shape[axis] = -1
            chosen &= _members(attribute, given[attribute.name]).reshape(shape)
    classes = np.flatnonzero(chosen)
    whole = len(layers) == len(table.layer) and len(classes) == table.class_count
    return Selection(layers, classes, whole)


def _layers(table: PriorTable, text: str) -> NDArray[np.int64]:
    chosen = np.zeros(len(table.layer), dtype=np.bool_)
    for part in text.split("|"):
        found = _RANGE.fullmatch(part)
        if found is None:
            raise _refused(f"`{part}` is no layer; write layer=5, layer=0..11 or layer=0..3|20")
        first, last, single = found.groups()
        low = int(single or first or 0)
        high = int(single or last or table.layer[-1])
        here = (table.layer >= low) & (table.layer <= high)
        if not here.any():
            raise _refused(f"layer {part} does not route; layers {index_set(table.layer.tolist())} do")
        chosen |= here
    return np.flatnonzero(chosen)


def _members(attribute: TableAttribute, text: str) -> NDArray[np.bool_]:
    chosen = np.zeros(len(attribute.members), dtype=np.bool_)
    parents = dict(attribute.parents)
    for word in [text] if text in attribute.members else text.split("|"):
        if word not in attribute.members and word not in parents:
            known = [*attribute.members, *parents]
            meant = closest(word, known)
            hint = f"; did you mean `{meant}`?" if meant else f"; it has {listing(known)}"
            raise _refused(f"attribute {attribute.name} has no member `{word}`{hint}")
        for leaf in parents.get(word, (word,)):
            chosen[attribute.members.index(leaf)] = True
    return chosen


def _example(table: PriorTable) -> str:
    words = [f"{quoted(item.name)}={quoted(item.members[0])}" for item in table.header.attributes[:2]]
    return f"'{' '.join([*words, f'layer={table.layer[0]}'])}'"


def _refused(message: str) -> PriorError:
    return PriorError([Finding("unknown-name", Severity.ERROR, message, whole_file("--at"))])
