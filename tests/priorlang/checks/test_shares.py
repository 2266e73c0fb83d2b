"""Token shares: what fits a prior, and what each mistake is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from prior_programs import HEAD, prior_of

import priorlang
from priorlang import PriorError
from priorlang.checks.shares import class_shares, parse_shares

SPEC = prior_of(HEAD).spec
TASKS = {"caption": 1, "vqa": 2, "ocr": 3, "chart": 4, "unknown": 0}
EVEN = {"vision": 1, "language": 1}


def test_counts_and_fractions_are_the_same() -> None:
    fractions = {"modality": {"vision": 0.85, "language": "0.15"}, "task": TASKS}
    counts = {"modality": {"vision": 850, "language": 150}, "task": TASKS}
    assert class_shares(SPEC, fractions).fraction_C == pytest.approx(class_shares(SPEC, counts).fraction_C)


def test_attributes_are_independent_and_what_is_left_out_is_even_and_both_are_said() -> None:
    shares = class_shares(SPEC, {"modality": {"vision": 3, "language": 1}})
    assert shares.fraction_C.reshape(2, 5)[0] == pytest.approx([0.15] * 5)
    assert shares.note == " (the members of task taken as equally frequent)"
    assert "independent" in class_shares(SPEC, {"modality": EVEN, "task": TASKS}).note


def test_counts_of_classes_assume_nothing() -> None:
    shares = class_shares(
        SPEC,
        [
            {"modality": "vision", "task": "ocr", "count": 30},
            {"modality": "language", "task": "unknown", "count": 10},
        ],
    )
    assert shares.fraction_C[np.flatnonzero(shares.fraction_C)].tolist() == [0.75, 0.25]
    assert shares.note == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"modalty": EVEN}, "no attribute `modalty`; did you mean `modality`?"),
        ({"modality": {"vison": 1, "language": 1}}, "no member `vison`; did you mean `vision`?"),
        ({"modality": {"vision": 1}}, "leave out language"),
        ({"modality": {"vision": 0, "language": 0}}, "every share of modality is 0"),
        ({"modality": {"vision": 0.8, "language": 0.1}}, "add up to 0.9, not to 1"),
        ({"modality": {"vision": -1, "language": 2}}, "never negative"),
        ({"modality": {"vision": "many", "language": 2}}, "no number"),
        ({"modality": {"vision": float("nan"), "language": 2}}, "no number"),
        ({"modality": {"vision": True, "language": 2}}, "no number"),
        ({"modality": 3}, "a mapping of its members"),
        ({"task": {"reading": 1}}, "task.reading is a parent; give the shares of its leaves: ocr, chart"),
        ([{"modality": "vision", "count": 3}], "entry 1 states no `task`"),
        ([{"modality": "vision", "task": "ocr", "tokens": 3}], "entry 1: there is no attribute `tokens`"),
        ([{"modality": "vision", "task": "ocr", "count": 0}], "every count is 0"),
        ([], "every count is 0"),
        ([3], "entry 1 is no mapping"),
        (3, "shares are a mapping"),
        ("modality", "shares are a mapping"),
    ],
)
def test_each_mistake_is_told(given: Any, words: str) -> None:
    with pytest.raises(PriorError) as caught:
        priorlang.check(SPEC, shares=given)
    (finding,) = caught.value.findings
    assert finding.name == "invalid-shares"
    assert words in finding.message


def test_text_is_split_at_the_last_of_quoted_names() -> None:
    assert parse_shares('modality.vision=.85, "my set"."llava_v1.5"=3') == {
        "modality": {"vision": ".85"},
        "my set": {"llava_v1.5": "3"},
    }
    assert parse_shares("dataset.llava_v1.5_mix=3") == {"dataset": {"llava_v1.5_mix": "3"}}


@pytest.mark.parametrize(
    "text", ["modality=3", "modality.vision", "modality.vision=1,,", "=", "a.b=1,a.b=2", ""]
)
def test_text_that_is_no_shares_is_told(text: str) -> None:
    with pytest.raises(PriorError, match="invalid-shares"):
        parse_shares(text)


@pytest.mark.parametrize("tokens", [0.0, -1.0, float("nan"), float("inf")])
def test_a_batch_has_tokens(tokens: float) -> None:
    with pytest.raises(PriorError, match="above 0"):
        priorlang.check(SPEC, batch_tokens=tokens)


def test_numbers_of_numpy_are_numbers() -> None:
    given = {"modality": {"vision": np.int64(85), "language": np.float32(15)}, "task": TASKS}
    expected = class_shares(SPEC, {"modality": {"vision": 85, "language": 15}, "task": TASKS})
    assert class_shares(SPEC, given).fraction_C == pytest.approx(expected.fraction_C)


def test_counts_that_would_overflow_are_refused() -> None:
    with pytest.raises(PriorError, match="the most that is counted"):
        class_shares(SPEC, {"modality": {"vision": 1e308, "language": 1e308}})
