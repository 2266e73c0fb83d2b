"""Programs that are large: what is sane is judged, what is not is refused, and neither takes long."""

from __future__ import annotations

import warnings

import pytest
from prior_programs import findings_of, prior_of, said

SIZE = "priorlang 1 model {{ layers = {layers} experts = {experts} top_k = {top_k} }} default base 1 weight 0.1\n"


def program(layers: int = 24, experts: int = 8, top_k: int = 2) -> str:
    return SIZE.format(layers=layers, experts=experts, top_k=top_k)


def attribute(name: str, members: int) -> str:
    return f"attribute {name} {{ {', '.join(f'{name}{number}' for number in range(members))} }}\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (program(layers=10**9), "out-of-range"),
        (program(experts=10_001), "out-of-range"),
        (program(experts=1, top_k=1), "out-of-range"),
        (program(top_k=9), "out-of-range"),
        (program() + "rule a: in layers 0..1000000000 prefer 0 by 1", "out-of-range"),
        (program() + "rule a: prefer 0..999999999 by 1", "out-of-range"),
        (program() + "rule a: in layers 0..23 step 1000000000 prefer 0..7 step 0 by 1", "out-of-range"),
        (program(layers=5000) + attribute("a", 1000) + "rule r: for a a1 prefer 0 by 1", "too-large"),
        (program(10_000, 10_000).replace("base 1", "base ramp 0.1 to 1 over layers all"), "too-large"),
    ],
)
def test_what_is_too_much_is_one_finding(text: str, name: str) -> None:
    assert {entry for entry, _ in said(text)} == {name}


def test_rules_that_tell_too_much_apart_are_refused() -> None:
    rules = "".join(f"rule r{i}: for a a{i} and b b{i} prefer 0 by 1\n" for i in range(1500))
    text = program(layers=1) + attribute("a", 1500) + attribute("b", 1500) + rules
    assert {name for name, _ in said(text)} == {"too-large"}


def test_members_that_no_rule_tells_apart_cost_nothing() -> None:
    text = program() + attribute("a", 10_000) + "rule r: for a not a7 | a8 prefer 0 by 0.5 split by a\n"
    table = prior_of(text).table
    assert table.row.shape == (24, 10_000)
    assert table.population_count == 24 * (1 + 9_998)
    first = table.alpha_of(layer=3, a="a6")
    assert first is not None
    assert first[0] == 1.5
    assert table.header.populations[0] == "layer 0 · a0"
    assert "layer 0 · a7 | a8" in table.header.populations


@pytest.mark.parametrize(("experts", "top_k"), [(2, 1), (512, 8), (512, 512)])
def test_few_and_many_experts(experts: int, top_k: int) -> None:
    text = program(4, experts, top_k) + (
        "rule a: in layers 1 prefer 0 by ramp 0 to 1 over layers 0..3\n"
        "expect alpha(0) = 1 in layers 0\nexpect load(all) = 1\nexpect share(0) < 0.6\n"
    )
    prior = prior_of(text)
    assert [f.message for f in prior.findings if f.severity == "error"] == []
    alpha = prior.table.alpha_of(layer=1)
    assert alpha is not None
    assert alpha[0] == float(4 / 3)


def test_extremes_of_alpha_are_judged() -> None:
    text = program(2, 4, 2).replace("base 1", "base (1e300, 1e-300, 1, 1e-5)") + "expect load(0) = 0.5\n"
    found = findings_of(text)
    assert {"coarse-marginal", "extreme-alpha"} <= {finding.name for finding in found}
    assert not [finding.message for finding in found if finding.severity == "error"]


@pytest.mark.parametrize(
    ("rules", "errors"),
    [
        ("rule a: prefer 0 by 9e299\nrule b: prefer 0 by 2000000000e300", [("invalid-alpha", 3)]),
        ("rule a: prefer 0 by 9e300 prefer 1 by 1\nrule b: avoid 0 by 9e300", []),
        ("rule a: prefer 0 by 2000000000e300\nrule b: avoid 0 by 2000000000e300 prefer 1 by 1", []),
        ("rule a: base (1e300, 1e300, 1, 1) prefer 0..1 by 1e300", []),
    ],
)
def test_amounts_out_of_all_bounds_warn_nobody_and_are_blamed(
    rules: str, errors: list[tuple[str, int]]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert said(program(2, 4, 2) + rules) == errors


def test_a_model_that_nothing_states_is_one_finding() -> None:
    (finding,) = findings_of("priorlang 1\ndefault base 1 weight 0.1\n")
    assert finding.name == "missing-model"
    assert "nothing states the layers, experts, top_k" in finding.message


def test_two_thousand_rules_are_judged() -> None:
    rules = "".join(
        f"rule r{i}: for d d{i % 50} and t t{i % 20} in layers {i % 24} prefer {i % 8} by 0.{i % 9 + 1}\n"
        for i in range(2000)
    )
    prior = prior_of(program() + attribute("d", 50) + attribute("t", 20) + rules)
    assert not [finding for finding in prior.findings if finding.severity == "error"]
    assert len(prior.spec.rules) == 2000
