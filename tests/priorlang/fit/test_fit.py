"""Fitting the routing of a known prior gives its rules back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ideal_routing import cell_alpha, ideal_run
from prior_programs import prior_of

from priorlang.diagnostics.finding import PriorError, Severity
from priorlang.fit.divergence import distances
from priorlang.fit.fit import fit_prior
from priorlang.phases import Prior
from priorlang.table.dirichlet import kl

SPECS = Path(__file__).parents[3] / "specs"
HEAD = """priorlang 1
model { layers = 6  experts = 4  top_k = 2  routed = 1..4 }
attribute "data set" { "a b", c/d, not-this }
attribute task { caption, text { reading { ocr, chart }, prose }, unknown }
default base 0.75 weight 0.02
"""


def effects(prior: Prior) -> set[object]:
    """What the rules do, whatever they are called."""
    return {
        (frozenset((item.attribute, item.codes) for item in rule.where.conditions), rule.where.layers,
         frozenset((push.verb, push.experts, push.by) for push in rule.pushes))
        for rule in prior.spec.rules
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["modality", "task", "symmetric", *(f"table-10/setting-{n}" for n in ("II", "III", "IV"))]
)
@pytest.mark.parametrize("tokens", [None, 20_000])
def test_the_rules_of_a_ready_made_prior_come_back(name: str, tokens: int | None) -> None:
    """From exact expectations, and with the noise of as many tokens in each cell."""
    known = Prior.read(SPECS / f"{name}.prior")
    run = ideal_run(known.table, tokens=tokens or 10**6)
    if tokens is not None:
        assert run.statistics.classes is not None
        generator = np.random.default_rng(0)
        alpha = cell_alpha(known.table)
        for cell in np.ndindex(*alpha.shape[:2]):
            p_NK = generator.dirichlet(alpha[cell], tokens)
            run.statistics.classes.log_probability[cell] = np.log(p_NK.clip(1e-300)).sum(0)
    fitted = fit_prior(run, "x.prior")
    assert effects(prior_of(fitted.text)) == effects(known)
    np.testing.assert_allclose(cell_alpha(fitted.table), cell_alpha(known.table))
    assert (fitted.table.weight == known.table.weight[0]).all()


@pytest.mark.parametrize("ending", ["prior", "yaml"])
def test_names_nesting_and_routed_layers_survive(ending: str) -> None:
    known = prior_of(
        HEAD + 'rule r: for "data set" "a b" and task text in layers 2.. prefer 0..1 by 2\n'
        "rule s: for task caption | unknown avoid 3 by 0.5\n"
    )
    fitted = fit_prior(ideal_run(known.table), f"x.{ending}")
    again = prior_of(fitted.text, f"x.{ending}")
    assert not [finding for finding in again.findings if finding.severity is Severity.ERROR]
    assert again.table.header.attributes == known.table.header.attributes
    assert again.table.header.layers == 6
    np.testing.assert_array_equal(again.table.layer, known.table.layer)
    np.testing.assert_allclose(cell_alpha(again.table), cell_alpha(known.table))
    assert fitted.rules == 2


alphas = st.lists(st.lists(st.floats(0.05, 30), min_size=4, max_size=4), min_size=2, max_size=4)


@settings(max_examples=12, deadline=None)
@given(alphas, st.integers(0, 10**6), st.sampled_from([1e-3, 0.05, 1.0]), st.sampled_from([50, 2000, 10**6]))
def test_every_cell_lies_within_the_tolerance(
    priors: list[list[float]], seed: int, tolerance: float, tokens: int
) -> None:
    """Whatever the routing, some cells without tokens among it."""
    table = prior_of(HEAD).table
    generator = np.random.default_rng(seed)
    alpha = np.array(priors)[generator.integers(len(priors), size=table.row.shape)]
    counts = tokens * (generator.random(table.row.shape) < 0.8)
    counts[0, 0] = tokens
    fitted = fit_prior(ideal_run(table, alpha, tokens=counts), "x.prior", tolerance)
    written = cell_alpha(fitted.table)
    noise = (4 + 2.33 * np.sqrt(8)) / (2 * tokens)
    for cell in zip(*np.nonzero(counts), strict=True):
        assert kl(alpha[cell], written[cell]) <= tolerance + noise + 1e-6
    assert fitted.unseen == (counts == 0).sum()


def test_a_larger_tolerance_has_no_more_rules() -> None:
    table = prior_of(HEAD).table
    generator = np.random.default_rng(0)
    alpha = cell_alpha(table) * np.exp(0.2 * generator.normal(size=(*table.row.shape, 4)))
    counts = [
        fit_prior(ideal_run(table, alpha), "x.prior", tolerance).rules for tolerance in (1e-3, 0.05, 10.0)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0
    assert counts[0] > 10


def test_few_tokens_lead_to_no_rule_of_their_own() -> None:
    """Noise of small cells is no reason for a rule: the fit of 300 sampled tokens a cell is the prior's."""
    known = Prior.read(SPECS / "task.prior")
    run = ideal_run(known.table, tokens=300)
    assert run.statistics.classes is not None
    generator = np.random.default_rng(1)
    alpha = cell_alpha(known.table)
    for cell in np.ndindex(*alpha.shape[:2]):
        run.statistics.classes.log_probability[cell] = np.log(generator.dirichlet(alpha[cell], 300)).sum(0)
    assert len(prior_of(fit_prior(run, "x.prior").text).spec.rules) == 4


def test_without_sums_of_classes_populations_are_fitted() -> None:
    known = Prior.read(SPECS / "task.prior")
    fitted = fit_prior(ideal_run(known.table, by_class=False), "x.prior")
    assert fitted.units.pooled
    assert effects(prior_of(fitted.text)) == effects(known)
    assert "The run did not count token classes apart" in fitted.text


def test_a_run_without_tokens_is_no_run_to_fit() -> None:
    with pytest.raises(PriorError, match="too few tokens to fit"):
        fit_prior(ideal_run(prior_of(HEAD).table, tokens=3), "x.prior")


@pytest.mark.parametrize("scale", [1e-3, 1e6])
def test_extreme_routing_is_written_too(scale: float) -> None:
    table = prior_of(HEAD).table
    alpha = np.broadcast_to(scale * np.array([1.0, 2.0, 3.0, 4.0]), (*table.row.shape, 4))
    fitted = fit_prior(ideal_run(table, alpha), "x.prior")
    np.testing.assert_allclose(cell_alpha(fitted.table), alpha, rtol=0.2)


def test_distances_are_divergences() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.uniform(0.1, 5, (3, 4)), generator.uniform(0.1, 5, (2, 4))
    found = distances(first, second)
    for row, column in np.ndindex(3, 2):
        assert found[row, column] == pytest.approx(kl(first[row], second[column]), abs=1e-9)
