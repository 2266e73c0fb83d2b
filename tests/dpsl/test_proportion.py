"""The standard error of a share, against counting over all shares that could have been."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dpsl.proportion import standard_error


@pytest.mark.parametrize(("right", "count"), [(0, 20), (1, 1), (7, 20), (20, 20)])
def test_it_is_the_spread_of_the_shares_that_could_have_given_these_answers(right: int, count: int) -> None:
    share = (np.arange(200_000) + 0.5) / 200_000
    likelihood = share**right * (1 - share) ** (count - right)
    mean = (share * likelihood).sum() / likelihood.sum()
    variance = ((share - mean) ** 2 * likelihood).sum() / likelihood.sum()
    assert standard_error(right / count, count) == pytest.approx(math.sqrt(variance), rel=1e-6)


def test_with_many_questions_it_is_the_binomial_one() -> None:
    assert standard_error(0.3, 100_000) == pytest.approx(math.sqrt(0.3 * 0.7 / 100_000), rel=1e-4)


@pytest.mark.parametrize(("share", "count"), [(1.1, 3), (-0.1, 3), (math.nan, 3), (0.5, 0)])
def test_what_is_no_share_is_refused(share: float, count: int) -> None:
    with pytest.raises(ValueError, match="a share of"):
        standard_error(share, count)
