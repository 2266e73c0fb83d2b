"""Two priors: the regions of their difference are disjoint, cover what changed, and say how."""

from __future__ import annotations

from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from prior_programs import LANGUAGE_FILES, prior_of
from random_programs import Asked, Program, asked, cells_of, programs, renamed, seeds, text_of

from priorlang.compare.difference import Difference, Region, RuleDifference, Side, compare
from priorlang.phases import Prior


def difference(before: str, after: str) -> Difference:
    first, second = prior_of(before, "a.prior"), prior_of(after, "b.prior")
    return compare(Side("a", first.table, first.spec), Side("b", second.table, second.spec))


def sound(program: Program) -> bool:
    return not any(finding.severity == "error" for finding in prior_of(text_of(program)).findings)


Key = tuple[int, tuple[tuple[str, str], ...]]


def all_cells(first: Program, second: Program) -> list[Key]:
    """The united grid: layers and members of either, attributes in order of name."""
    members: dict[str, dict[str, None]] = {}
    layers: set[int] = set()
    for program in (first, second):
        layers.update(layer for layer, _ in cells_of(program))
        for attribute in program.attributes:
            members.setdefault(attribute.name, {}).update(dict.fromkeys(attribute.leaves))
    names = sorted(members)
    classes = list(product(*(members[name] for name in names)))
    return [
        (layer, tuple(zip(names, chosen, strict=True))) for layer, chosen in product(sorted(layers), classes)
    ]


def value_at(program: Program, cell: Key) -> object:
    """(α, λ) of a cell of the united grid; `unshaped` or `absent`."""
    layer, named = cell
    members = dict(named)
    own = tuple(members[attribute.name] for attribute in program.attributes)
    if (layer, own) not in set(cells_of(program)):
        return "absent"
    result = asked(program, (layer, own))
    if result is None:
        return "unshaped"
    assert isinstance(result, Asked)
    return tuple(map(float, result.alpha)), float(result.weight)


def side_of(region: Region, side: int) -> object:
    if region.state[side] != "shaped":
        return region.state[side]
    return region.alpha[side], region.weight[side]


def cells_in(region: Region, cells: list[Key]) -> list[Key]:
    layers = set()
    for part in region.layers.split(" | "):
        first, _, last = part.partition("..")
        layers.update(range(int(first), int(last or first) + 1))
    return [
        (layer, named)
        for layer, named in cells
        if layer in layers and all(member in region.classes.get(name, (member,)) for name, member in named)
    ]


@settings(max_examples=25, deadline=None)
@given(programs().filter(sound), programs().filter(sound))
def test_regions_rebuild_the_change(before: Program, after: Program) -> None:
    found = difference(text_of(before), text_of(after))
    cells = all_cells(before, after)
    assert found.total_cells == len(cells)
    seen: dict[Key, Region] = {}
    for region in found.regions:
        covered = cells_in(region, cells)
        assert len(covered) == region.cells
        for cell in covered:
            assert cell not in seen
            seen[cell] = region
    assert found.changed_cells == len(seen)
    for cell in cells:
        old, new = value_at(before, cell), value_at(after, cell)
        if cell in seen:
            assert (side_of(seen[cell], 0), side_of(seen[cell], 1)) == (old, new)
            assert old != new or seen[cell].regrouped
        else:
            assert old == new


@settings(max_examples=30, deadline=None)
@given(programs().filter(sound), seeds)
def test_order_form_and_names_of_parameters_are_no_difference(program: Program, random: Random) -> None:
    found = difference(text_of(program), text_of(renamed(program), random))
    assert found.identical
    assert not found.regions
    assert not found.declarations
    assert found.rules == RuleDifference()


def test_both_forms_are_no_difference() -> None:
    first, second = (Prior.read(LANGUAGE_FILES / f"g-today.{form}") for form in ("prior", "yaml"))
    found = compare(Side("a", first.table, first.spec), Side("b", second.table, second.spec))
    assert found.identical


BASE = """priorlang 1
model { layers = 4  experts = 2  top_k = 1 }
attribute modality { vision, language }
default base 1 weight 0.1
rule a: for modality vision prefer 0 by 1
"""


@pytest.mark.parametrize(
    ("change", "kind", "regions"),
    [
        (("layers = 4", "layers = 6"), ("model", "layers"), [("4..5", {}, ("absent", "shaped"))] * 2),
        (("experts = 2", "experts = 3"), ("model", "experts"), [("0..3", {}, ("shaped", "shaped"))] * 2),
        (
            ("vision, language", "vision, language, sound"),
            ("attribute", "modality"),
            [("0..3", {"modality": ("sound",)}, ("absent", "shaped"))],
        ),
        (("default", "attribute task { ocr, vqa } default"), ("attribute", "task"), []),
        (("default", "schedule { 0: 0, 9: 1 } default"), ("schedule", ""), []),
        (("top_k = 1", "top_k = 2"), ("model", "top_k"), []),
    ],
)
def test_what_is_declared_differs(
    change: tuple[str, str],
    kind: tuple[str, str],
    regions: list[tuple[str, dict[str, tuple[str, ...]], object]],
) -> None:
    found = difference(BASE, BASE.replace(*change))
    assert not found.identical
    assert kind in {(item.kind, item.name) for item in found.declarations}
    assert len(found.regions) == len(regions)
    for region, (layers, classes, state) in zip(found.regions, regions, strict=True):
        assert region.layers == layers
        assert region.state == state
        assert classes.items() <= region.classes.items()


def test_rules_are_matched_by_name_and_then_by_effect() -> None:
    text = BASE + "rule b: in layers 3 prefer 1 by 1\nrule c: in layers 2 prefer 1 by 1\n"
    other = BASE.replace("by 1", "by 2") + "rule b2: in layers 3 prefer 1 by 1\nrule d: weight 0.2\n"
    rules = difference(text, other).rules
    assert [change.name for change in rules.changed] == ["a"]
    assert rules.renamed == (("b", "b2"),)
    assert [name for name, _ in rules.removed] == ["c"]
    assert [name for name, _ in rules.added] == ["d"]


def test_a_split_alone_regroups_without_changing_alpha() -> None:
    plain = BASE.replace("rule a: for modality vision", "rule a: ")
    divided = plain + "rule b: in layers 3 weight 0.1 split by modality\n"
    for before, after in ((plain, divided), (divided, plain)):
        (region,) = difference(before, after).regions
        assert region.regrouped
        assert region.layers == "3"
        assert region.cells == 2
        assert region.alpha[0] == region.alpha[1]
        assert region.kl == 0


def test_a_kl_that_no_float_holds_is_left_out() -> None:
    huge = BASE.replace("base 1", "base 1e300")
    (first, *_) = difference(BASE.replace("base 1", "base 1e-300"), huge).regions
    assert first.kl is None
    assert first.mean_shift is not None
