"""What moving a number does: the right number, the right direction, the largest first."""

from __future__ import annotations

import pytest
from prior_programs import prior_of

from priorlang import PriorError
from priorlang.checks.sensitivity import sensitivity_of
from priorlang.checks.shares import class_shares

HEAD = "priorlang 1\nmodel { layers = 4  experts = 4  top_k = 2 }\nattribute m { a, b }\n"
TWO = "rule one: for m a prefer 0..1 by $boost\nrule two: for m b prefer 2..3 by $boost\n"
PARAMS = "param base = 0.75\nparam boost = 0.5\nparam lambda = 0.1\n"


def test_parameters_move_loads_and_means_the_way_they_should() -> None:
    prior = prior_of(HEAD + PARAMS + "default base $base weight $lambda\n" + TWO)
    shares = class_shares(prior.spec, {"m": {"a": 3, "b": 1}})
    found = {item.name: item for item in sensitivity_of(prior, shares)}
    boost, base, weight = found["$boost"], found["$base"], found["$lambda"]
    assert (boost.less, boost.now, boost.more) == ("0.4", "0.5", "0.6")
    assert boost.load is not None
    assert base.load is not None
    assert boost.load.less is not None
    assert boost.load.more is not None
    assert boost.load.less < boost.load.now < boost.load.more
    assert boost.load.expert in {0, 1}
    assert weight.largest == 0.0
    assert list(found) == ["$boost", "$base", "$lambda"]


def test_without_parameters_the_amounts_of_rules_move() -> None:
    prior = prior_of(HEAD + "default base 0.75 weight 0.1\n" + TWO.replace("$boost", "0.5"))
    assert {item.name for item in sensitivity_of(prior, None)} == {
        "default base",
        "one prefer 0..1",
        "two prefer 2..3",
    }


def test_what_cannot_move_says_why() -> None:
    text = HEAD + "param last = 1\nparam less = 0.7\ndefault base 0.75 weight 0.1\n"
    rules = "rule one: for m a prefer ..$last by 0.5\nrule two: for m b avoid 0 by $less\n"
    found = {item.name: item for item in sensitivity_of(prior_of(text + rules), None)}
    assert found["$last"].load is None
    assert len(found["$last"].problems) == 2
    assert found["$less"].load is not None
    assert found["$less"].load.more is None
    assert "must be above 0" in found["$less"].problems[0]


def test_too_many_numbers_ask_for_parameters() -> None:
    rules = "".join(f"rule r{i}: for m a prefer {i % 4} by 0.5\n" for i in range(61))
    with pytest.raises(PriorError, match="write `param`"):
        sensitivity_of(prior_of(HEAD + "default base 1 weight 1\n" + rules), None)
