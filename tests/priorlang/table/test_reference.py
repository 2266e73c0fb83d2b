"""Random programs: the compiled table against an evaluator that goes through every cell by itself."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from prior_programs import findings_of, prior_of
from random_programs import (
    Asked,
    Program,
    asked,
    cells_of,
    override_each_other,
    programs,
    renamed,
    seeds,
    text_of,
)

from priorlang.diagnostics.finding import Severity
from priorlang.table.prior_table import PriorTable


def errors_of(program: Program) -> dict[str, list[dict[str, int | str]]]:
    """The errors of a program: by name, the witness of each."""
    found: dict[str, list[dict[str, int | str]]] = defaultdict(list)
    for finding in findings_of(text_of(program)):
        if finding.severity is Severity.ERROR:
            found[finding.name].append(dict(finding.witness or {}))
    return found


def expected_errors(program: Program) -> set[str]:
    results = [asked(program, cell) for cell in cells_of(program)]
    errors = {result for result in results if isinstance(result, str)}
    if any(
        min(result.alpha) <= 0 for result in results if result is not None and not isinstance(result, str)
    ):
        errors.add("invalid-alpha")
    return errors | ({"override-cycle"} if override_each_other(program) else set())


@settings(max_examples=100, deadline=None)
@given(programs())
def test_the_table_is_what_every_cell_asks_for(program: Program) -> None:
    errors = errors_of(program)
    assert set(errors) == expected_errors(program)
    for name in ("conflict", "missing-default"):
        for witness in errors.get(name, []):
            members = tuple(str(witness[attribute.name]) for attribute in program.attributes)
            assert asked(program, (int(witness["layer"]), members)) == name
    if not errors:
        compare(program, prior_of(text_of(program)).table)


def compare(program: Program, table: PriorTable) -> None:
    population_of: dict[object, set[int]] = defaultdict(set)
    key_of: dict[int, set[object]] = defaultdict(set)
    names = [attribute.name for attribute in program.attributes]
    for layer, members in cells_of(program):
        result = asked(program, (layer, members))
        assert not isinstance(result, str)
        named = dict(zip(names, members, strict=True))
        alpha = table.alpha_of(layer=layer, **named)
        position, token_class = table.layer_position(layer), table.class_index(**named)
        population = int(table.population[position, token_class])
        assert table.class_members(token_class) == named
        if result is None:
            assert alpha is None
            assert table.weight_of(layer=layer, **named) is None
            assert population == table.row[position, token_class] == -1
            continue
        assert alpha is not None
        np.testing.assert_array_equal(alpha, [float(value) for value in result.alpha])
        assert table.weight_of(layer=layer, **named) == float(result.weight)
        split = tuple(sorted((name, named[name]) for name in result.split))
        key = (layer, result.alpha, result.weight, split)
        population_of[key].add(population)
        key_of[population].add(key)
    assert all(len(found) == 1 for found in population_of.values())
    assert all(len(found) == 1 for found in key_of.values())
    assert sorted(key_of) == list(range(table.population_count))


@settings(max_examples=40, deadline=None)
@given(programs(), seeds)
def test_order_layout_and_names_of_parameters_mean_nothing(program: Program, random: Random) -> None:
    if expected_errors(program):
        return
    first = prior_of(text_of(program)).table
    other = prior_of(text_of(renamed(program), random)).table
    assert first.header.normal_form == other.header.normal_form
    for layer, members in cells_of(program):
        named = dict(zip((attribute.name for attribute in program.attributes), members, strict=True))
        before, after = first.alpha_of(layer=layer, **named), other.alpha_of(layer=layer, **named)
        assert (before is None) == (after is None)
        if before is not None:
            np.testing.assert_array_equal(before, after)


@settings(max_examples=40, deadline=None)
@given(programs(), seeds)
def test_the_order_of_rules_leaves_every_array_as_it_is(program: Program, random: Random) -> None:
    if expected_errors(program):
        return
    head, *rules = text_of(program).split("\nrule ")
    random.shuffle(rules)
    first = prior_of(text_of(program)).table
    other = prior_of("\nrule ".join([head, *rules])).table
    for name in ("layer", "row", "population", "alpha", "weight", "pair", "marginal", "window"):
        np.testing.assert_array_equal(getattr(first, name), getattr(other, name))
    assert first.header.normal_form == other.header.normal_form


@settings(max_examples=40, deadline=None)
@given(programs().filter(lambda program: program.rules))
def test_the_normal_form_changes_exactly_where_a_cell_does(program: Program) -> None:
    without = replace(program, rules=program.rules[1:])
    if expected_errors(program) or expected_errors(without):
        return
    before, after = (prior_of(text_of(one)).table.header.normal_form for one in (program, without))
    asked_before, asked_after = ([asked(one, cell) for cell in cells_of(one)] for one in (program, without))
    if asked_before == asked_after:
        assert before == after
    elif [_alpha_and_weight(x) for x in asked_before] != [_alpha_and_weight(x) for x in asked_after]:
        assert before != after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("routed = 0..1", "routed = 1..2"),
        ("layers = 3", "layers = 4"),
        ("top_k = 1", "top_k = 2"),
        ("weight 0.1", "weight 0.2"),
        ("{ x, y }", "{ x, z }"),
        ("0%: 0", "0%: 0.5"),
        ("0%: 0, 9%: 1", "0: 0, 9: 1"),
        ("split by m", "split by n"),
        ("rule r: for m a", "rule r: for m b"),
    ],
)
def test_whatever_training_sees_is_in_the_normal_form(before: str, after: str) -> None:
    text = (
        "priorlang 1 model { layers = 3 experts = 2 top_k = 1 routed = 0..1 }\n"
        "attribute m { a, b } attribute n { x, y } default base 1 weight 0.1 split by m\n"
        "schedule { 0%: 0, 9%: 1 }\nrule r: for m a prefer 0 by 1\n"
    )
    assert before in text
    other = text.replace(before, after)
    assert prior_of(text).table.header.normal_form != prior_of(other).table.header.normal_form


def _alpha_and_weight(result: Asked | str | None) -> object:
    return (result.alpha, result.weight) if isinstance(result, Asked) else result
