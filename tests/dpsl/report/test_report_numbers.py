"""What the report computes, against what was put in."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import ACCURACY, QUESTIONS, compiled, follows, modality_prior, undecided, write_run

import priorlang
from dpsl.proportion import standard_error
from dpsl.report.accuracy import OVERALL, Accuracy, held_out_sets, moves
from dpsl.report.read import read_run
from dpsl.report.routing import (
    group_routing,
    kind_of,
    kind_routing,
    layer_load,
    measured_stages,
    preferred_experts,
)
from dpsl.report.words import findings
from priorlang.routing.statistics import RoutingStatistics

SPECS = Path(priorlang.__file__).parents[1] / "specs"


def test_scores_drawn_from_the_prior_attain_it(tmp_path: Path) -> None:
    table = modality_prior(tmp_path)
    groups = group_routing(follows(table, 20_000), table)
    # 1.95 / √n bounds the distance with probability 99.9 %; the grid adds nothing at its own edges.
    assert max(group.ks for group in groups) < 2.5 / math.sqrt(20_000)
    for group in groups:
        assert group.asked == pytest.approx(0.625)
        assert group.attained == pytest.approx(0.625, abs=0.01)
    assert {group.kind: group.preferred for group in groups} == {"vision": (0, 1), "language": (2, 3)}


def test_scores_near_an_even_share_do_not(tmp_path: Path) -> None:
    table = modality_prior(tmp_path)
    groups = group_routing(undecided(table), table)
    assert min(group.ks for group in groups) > 0.4
    for group in groups:
        assert group.attained == pytest.approx(0.5, abs=0.01)
        assert group.spread < 0.1


def test_the_shipped_prior_with_a_greater_boost_asks_more(tmp_path: Path) -> None:
    table = compiled(tmp_path, (SPECS / "modality.prior").read_text(encoding="utf-8"), boost=1.5)
    groups = group_routing(follows(table, 200), table)
    # (0.75 + 1.5) · 2 of (0.75 · 4 + 1.5 · 2)
    assert {round(group.asked, 6) for group in groups} == {0.75}
    assert len(groups) == 2 * len(table.layer)


def test_kinds_sum_up_their_layers(tmp_path: Path) -> None:
    table = modality_prior(tmp_path)
    groups = group_routing(follows(table), table)
    vision, language = kind_routing(groups)
    assert (vision.kind, language.kind) == ("vision", "language")
    own = [group for group in groups if group.kind == "vision"]
    assert vision.ks == max(group.ks for group in own)
    assert vision.attained == pytest.approx(np.mean([group.attained for group in own]))
    assert vision.layers == 3


def test_all_tokens_are_named_once(tmp_path: Path) -> None:
    text = """priorlang 1
model { layers = 1  experts = 4  top_k = 2 }
attribute modality { vision, language }
default base 0.75 weight 0.1
"""
    table = compiled(tmp_path, text)
    run = read_run(write_run(tmp_path / "run", table, {"warmup-moe": follows(table, 50)}))
    (sentence,) = [s for s in findings(run, (), measured_stages(run.stages)) if "KS at most" in s]
    assert sentence.startswith("After warmup-moe (shaped by the prior): all tokens have KS at most")


def test_a_group_without_tokens_is_unknown_and_counts_for_nothing(tmp_path: Path) -> None:
    table = modality_prior(tmp_path)
    full = follows(table)
    empty = RoutingStatistics.of(
        full.layer, full.group_layer, full.group_name, full.group_population,
        tokens=full.tokens * 0, load=full.load * 0, top=full.top * 0, probability=full.probability * 0,
        log_probability=full.log_probability * 0, bins=full.bins * 0,
    )  # fmt: skip
    groups = group_routing(empty, table)
    assert all(math.isnan(group.ks) and math.isnan(group.attained) for group in groups)
    assert np.isnan(layer_load(empty)).all()
    assert math.isnan(kind_routing(groups)[0].ks)


def test_layer_load_weighs_groups_by_their_slots(tmp_path: Path) -> None:
    table = modality_prior(tmp_path, layers=1)
    statistics = follows(table)
    expected = statistics.load.sum(0) / statistics.load.sum()
    np.testing.assert_allclose(layer_load(statistics)[0], expected)


def test_a_symmetric_prior_prefers_no_expert() -> None:
    assert preferred_experts(np.full(7, 0.1)) == ()
    assert preferred_experts(np.array([0.75, 1.25, 0.75, 1.25])) == (1, 3)
    assert preferred_experts(None) == ()


def test_a_kind_is_a_name_without_its_layer() -> None:
    assert kind_of("layer 12 · vision · layer 3 · x") == "vision · layer 3 · x"
    assert kind_of("everything") == "everything"


def test_accuracies_of_a_run_and_how_they_moved(tmp_path: Path) -> None:
    (held_out,) = held_out_sets(read_run(write_run(tmp_path, None, {})))
    assert held_out.tasks == (OVERALL, "caption", "digit", "larger", "parity")
    assert held_out.of("finetune", OVERALL) == Accuracy(ACCURACY["finetune"], QUESTIONS)
    last = moves(held_out)[-1]
    assert (last.before, last.after, last.count) == ("warmup-moe", "finetune", QUESTIONS)
    assert last.points == pytest.approx(-1.1)
    assert last.standard_error == pytest.approx(
        100 * math.sqrt((0.964 * 0.036 + 0.953 * 0.047) / 360), rel=0.05
    )


def test_other_questions_are_another_set(tmp_path: Path) -> None:
    stages = [
        {"name": "a", "eval_data": [{"path": "text.json"}]},
        {"name": "b"},
        {"name": "c"},
        {"name": "d", "objective": "image-labels"},
    ]
    sets = held_out_sets(read_run(write_run(tmp_path, None, {}, stages=stages)))
    assert [held_out.stages for held_out in sets] == [("a",), ("b", "c"), ("d",)]
    assert [held_out.objective for held_out in sets] == ["language", "language", "image-labels"]


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_a_standard_error_is_never_nothing_and_never_more_than_a_coin(value: float, count: int) -> None:
    error = Accuracy(value, count).standard_error
    assert 0 < error <= 0.5 / math.sqrt(count) + 1e-12
    assert error == standard_error(value, count)


def test_without_a_count_there_is_no_standard_error() -> None:
    assert math.isnan(Accuracy(0.5).standard_error)
