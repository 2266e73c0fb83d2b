"""A prior against routing: what is flagged, what is not, and what is said about what cannot be seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ideal_routing import cell_alpha, ideal_run, swapped
from prior_programs import prior_of

from priorlang.checks.routing import check_routing
from priorlang.checks.routing_limits import deficit, differs, kl_limit, ks_limit, rms_limit
from priorlang.phases import Prior
from priorlang.routing.statistics import cdf_gaps
from priorlang.table.dirichlet import top_k_probability

HEAD = """priorlang 1
model { layers = 3  experts = 4  top_k = 2 }
attribute modality { vision, language }
default base 0.75 weight 0.01
"""
PRIOR = prior_of(
    HEAD
    + "rule vision: for modality vision prefer 0..1 by 0.5\nrule text: for modality language prefer 2..3 by 0.5\n"
)
SYMMETRIC = prior_of(HEAD)
RIGHT = ideal_run(PRIOR.table)
WRONG = swapped(RIGHT)


def names(prior: Prior, run: object) -> list[str]:
    return [finding.name for finding in check_routing(prior.spec, prior.table, run).findings]


@pytest.mark.parametrize("shaped", [False, True])
def test_the_priors_own_routing_is_no_finding(shaped: bool) -> None:
    assert names(PRIOR, replace(RIGHT, shaped=shaped, on=shaped)) == []


def test_a_wrong_order_is_a_mismatch_of_each_rule() -> None:
    check = check_routing(PRIOR.spec, PRIOR.table, replace(WRONG, shaped=False))
    vision, text = check.findings
    assert (vision.name, text.name) == ("prior-mismatch", "prior-mismatch")
    assert (vision.span.start.line, text.span.start.line) == (5, 6)
    assert vision.witness == {"layer": 0, "modality": "vision"}
    assert (
        "in layers 0..2: experts 0..1 should come first for 69 % of the tokens and do for 31 %"
        in vision.message
    )
    assert "experts 2..3 for 69 % (TVtop 0.372)" in vision.message


def test_a_wrong_prior_is_not_attained() -> None:
    check = check_routing(PRIOR.spec, PRIOR.table, WRONG)
    assert [finding.name for finding in check.findings] == ["not-attained", "not-attained"]
    assert "what fits is (0.75, 0.75, 1.25, 1.25)" in check.findings[0].message
    assert "0 of 6 populations attained" in check.remarks[0]


def test_one_layer_that_is_off_is_named() -> None:
    alpha = cell_alpha(PRIOR.table)
    alpha[1, 0] = 3.0
    (finding,) = check_routing(PRIOR.spec, PRIOR.table, ideal_run(PRIOR.table, alpha)).findings
    assert finding.message.startswith("`vision` in layer 1: KS")
    assert finding.witness == {"layer": 1, "modality": "vision"}


def test_attained_is_said_not_to_be_correct() -> None:
    remarks = "\n".join(check_routing(PRIOR.spec, PRIOR.table, RIGHT).remarks)
    assert "all 6 populations attained, which is not the same as correct" in remarks
    assert "cannot tell a right prior from a wrong one" in remarks


def test_a_model_that_bent_to_a_wrong_prior_is_not_told_from_a_right_one() -> None:
    """The limit of these checks, on purpose: routing that follows the wrong prior attains it."""
    wrong = prior_of(HEAD + "rule vision: for modality vision prefer 2..3 by 0.5\n")
    assert names(wrong, ideal_run(wrong.table)) == []


def test_a_symmetric_prior_is_never_a_mismatch_and_says_why() -> None:
    run = replace(WRONG, shaped=False)
    check = check_routing(SYMMETRIC.spec, SYMMETRIC.table, run)
    assert check.findings == ()
    assert "of 3 populations the prior is symmetric, which no routing can speak against" in check.remarks[1]
    assert "--shares" in check.remarks[1]
    balanced = check_routing(SYMMETRIC.spec, SYMMETRIC.table, replace(run, balanced=True))
    assert "the run sought balanced load" in balanced.remarks[1]


def test_a_router_without_an_order_is_no_mismatch() -> None:
    even = ideal_run(PRIOR.table, np.ones((3, 2, 4)), shaped=False)
    assert names(PRIOR, even) == []


def test_a_router_surer_than_the_prior_is_no_mismatch() -> None:
    sure = ideal_run(PRIOR.table, cell_alpha(PRIOR.table) ** 4, shaped=False)
    assert names(PRIOR, sure) == []


def test_a_run_without_tokens_says_so() -> None:
    check = check_routing(PRIOR.spec, PRIOR.table, ideal_run(PRIOR.table, tokens=0))
    assert (check.findings, check.measured) == ((), ())
    assert check.remarks == ("a-run, stage shaped has no tokens that this prior shapes",)


def test_another_priors_run_is_pointed_out() -> None:
    other = prior_of(HEAD + "rule vision: for modality vision prefer 0 by 3\n")
    remarks = check_routing(other.spec, other.table, RIGHT).remarks
    assert any("shaped by another prior" in remark for remark in remarks)
    after = check_routing(PRIOR.spec, PRIOR.table, replace(RIGHT, on=False)).remarks
    assert any("the prior was off in this stage" in remark for remark in after)


@settings(max_examples=40)
@given(
    st.lists(st.floats(0.1, 5.0), min_size=3, max_size=10),
    st.sampled_from([64, 512, 8192]),
    st.integers(0, 9),
)
def test_samples_of_a_prior_are_rarely_flagged(values: list[float], tokens: int, seed: int) -> None:
    """At 1 % for each limit, and the part of the limits that is not noise: none of these is."""
    alpha = np.array(values)
    p_NK = np.random.default_rng(seed).dirichlet(alpha, tokens).clip(1e-300, 1 - 1e-15)
    share = np.bincount(p_NK.argmax(1), minlength=len(alpha)) / tokens
    assert not differs(share, top_k_probability(alpha, 1), tokens)
    bin_NK = ((np.log(p_NK / (1 - p_NK)) + 30) * (1024 / 60)).astype(int).clip(0, 1023)
    ks, rms = cdf_gaps(np.stack([np.bincount(column, minlength=1024) for column in bin_NK.T]), alpha)
    assert ks.max() < ks_limit(len(alpha), tokens)
    assert rms.max() < rms_limit(len(alpha), tokens)


@given(st.integers(2, 256), st.integers(2, 10**6))
def test_limits_fall_with_tokens_and_have_a_floor(experts: int, tokens: int) -> None:
    for limit, floor in ((ks_limit, 0.1), (rms_limit, 0.06), (kl_limit, 0.0125 * experts)):
        assert limit(experts, tokens) >= limit(experts, 2 * tokens) > floor
    assert kl_limit(experts, 10**9) == pytest.approx(0.0125 * experts, rel=1e-3)


def test_a_deficit_is_what_preferred_experts_lack() -> None:
    asked = np.array([0.4, 0.4, 0.1, 0.1])
    assert deficit(asked, asked) == pytest.approx(0)
    assert deficit(np.array([0.0, 0.3, 0.6, 0.1]), asked) == pytest.approx(0.5)
    assert deficit(np.full(4, 0.25), np.full(4, 0.25)) == 0
