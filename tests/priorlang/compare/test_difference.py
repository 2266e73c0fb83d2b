"""Two priors: the regions of their difference are disjoint, cover what changed, and say how."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from prior_programs import LANGUAGE_FILES, prior_of
from random_programs import Asked, Program, Rule, asked, cells_of, programs, renamed, seeds, text_of

from priorlang.compare.difference import Difference, Side, compare
from priorlang.compare.load import NOTHING
from priorlang.compare.regions import Region
from priorlang.compare.rules import ExpectationDifference, RuleDifference
from priorlang.phases import Prior
from priorlang.syntax import SourceFile
from priorlang.syntax.reformat import rewritten
from priorlang.table.dirichlet import top_k_probability


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


@settings(max_examples=20, deadline=None)
@given(programs().filter(sound), programs().filter(sound))
def test_regions_rebuild_the_change(before: Program, after: Program) -> None:
    rebuild(before, after)


@settings(max_examples=20, deadline=None)
@given(programs().filter(lambda program: any(rule.pushes for rule in program.rules)).filter(sound), seeds)
def test_another_number_in_one_rule_changes_its_cells_alone(program: Program, random: Random) -> None:
    rule = random.choice([rule for rule in program.rules if rule.pushes])
    stronger = replace(rule, pushes=(replace(rule.pushes[0], verb="prefer", by="7.5"), *rule.pushes[1:]))
    after = replace(program, rules=tuple(stronger if other is rule else other for other in program.rules))
    if not sound(after):
        return
    found = rebuild(program, after)
    assert [change.name for change in found.rules.changed] == [rule.name]
    assert not (found.rules.added)
    assert not (found.rules.removed)
    assert not (found.rules.renamed)
    assert not (found.declarations)


def rebuild(before: Program, after: Program) -> Difference:
    """Compare two programs; the regions cover what changed, once each, and nothing else."""
    found = difference(text_of(before), text_of(after))
    cells = all_cells(before, after)
    assert found.total_cells == len(cells)
    seen: dict[Key, Region] = {}
    for region in found.regions:
        covered = cells_in(region, cells)
        assert len(covered) == region.cells == len(region.places)
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
    return found


@settings(max_examples=25, deadline=None)
@given(programs().filter(sound), seeds)
def test_order_form_and_names_of_parameters_are_no_difference(program: Program, random: Random) -> None:
    shuffled = text_of(renamed(program), random)
    in_yaml = rewritten(SourceFile("a.prior", shuffled), "a.yaml")
    first, second = prior_of(text_of(program)), prior_of(in_yaml, "a.yaml")
    found = compare(Side("a", first.table, first.spec), Side("b", second.table, second.spec))
    assert found.identical
    assert not found.regions
    assert not found.declarations
    assert found.rules == RuleDifference()
    assert found.expectations == ExpectationDifference()


@settings(max_examples=20, deadline=None)
@given(programs().filter(sound))
def test_rules_that_are_only_called_otherwise_are_renamed(program: Program) -> None:
    """Also where they name each other in `overrides`; two rules that do the same cannot be told apart."""
    after = text_of(replace(program, rules=tuple(_called_otherwise(rule) for rule in program.rules)))
    found = difference(text_of(program), after)
    assert found.identical
    assert {old for old, _ in found.rules.renamed} == {rule.name for rule in program.rules}
    assert found.rules == RuleDifference(renamed=found.rules.renamed)


def _called_otherwise(rule: Rule) -> Rule:
    overrides = rule.overrides if rule.overrides == "all" else tuple(f"new-{name}" for name in rule.overrides)
    return replace(rule, name=f"new-{rule.name}", overrides=overrides)


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


def test_an_unused_member_is_seen() -> None:
    found = difference(BASE, BASE.replace("vision, language", "language, vision, sound"))
    assert not found.identical
    (item,) = found.declarations
    assert (item.kind, item.name, item.added, item.removed) == ("attribute", "modality", ("sound",), ())
    assert item.after == "language, vision, sound"


def test_expectations_are_shown_and_do_not_count() -> None:
    group = "experts visual = 0\n"
    before = BASE + group + "expect share(visual) > 0.6 for modality vision\n"
    same = BASE + "expect share(0) > 0.6 for modality not language\n"
    assert difference(before, same).expectations == ExpectationDifference()
    found = difference(before, before.replace("0.6", "0.5"))
    assert found.identical
    assert found.expectations.removed == ("expect share(0) > 0.6 for modality vision",)
    assert found.expectations.added == ("expect share(0) > 0.5 for modality vision",)


def test_words_keep_the_order_of_declaration() -> None:
    text = BASE.replace("vision, language", "z, vision, a").replace(
        "for modality vision", "for modality not vision"
    )
    (change,) = difference(text, text.replace("by 1", "by 2")).rules.changed
    assert change.before == "for modality z | a prefer 0 by 1"


def test_means_and_loads_are_those_of_either_side() -> None:
    (region,) = difference(BASE, BASE.replace("prefer 0 by 1", "prefer 0 by 3")).regions
    for side, alpha in enumerate(([2.0, 1.0], [4.0, 1.0])):
        assert region.mean[side] == pytest.approx([value / sum(alpha) for value in alpha])
        assert region.load[side] == pytest.approx(top_k_probability(np.array(alpha), 1))
    assert region.mean_shift == pytest.approx([4 / 5 - 2 / 3, 1 / 5 - 1 / 3])
    assert sum(region.load_shift or ()) == pytest.approx(0)


def test_a_side_without_a_prior() -> None:
    prior = prior_of(BASE)
    side = Side("a", prior.table, prior.spec)
    for found, states in (
        (compare(NOTHING, side), ("absent", "shaped")),
        (compare(side, NOTHING), ("shaped", "absent")),
    ):
        assert {region.state for region in found.regions} == {states}
        assert found.changed_cells == found.total_cells == 8
        assert len(found.rules.added) + len(found.rules.removed) == 2
    nothing = compare(NOTHING, NOTHING)
    assert nothing.identical
    assert not nothing.regions


def test_a_kl_that_no_float_holds_is_left_out() -> None:
    huge = BASE.replace("base 1", "base 1e300")
    (first, *_) = difference(BASE.replace("base 1", "base 1e-300"), huge).regions
    assert first.kl is None
    assert first.mean_shift is not None
