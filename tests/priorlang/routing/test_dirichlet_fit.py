"""Maximum-likelihood fits: exact where the mean of ln p is, near where it is sampled, finite at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import psi

from priorlang.routing.dirichlet_fit import LARGEST_TOTAL, fit_dirichlet


@settings(max_examples=60)
@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=12))
def test_the_expectation_of_a_dirichlet_gives_it_back(values: list[float]) -> None:
    alpha = np.array(values)
    np.testing.assert_allclose(fit_dirichlet(psi(alpha) - psi(alpha.sum())), alpha, rtol=1e-6)


def test_samples_give_it_back_within_their_noise() -> None:
    alpha = np.array([0.75, 1.25, 3.0, 0.2])
    p_NK = np.random.default_rng(0).dirichlet(alpha, 50_000)
    np.testing.assert_allclose(fit_dirichlet(np.log(p_NK.clip(1e-300)).mean(0)), alpha, rtol=0.03)


@pytest.mark.parametrize(
    "mean_log_p", [np.log([0.25] * 4), [-800.0, -1e-300, -800.0, -900.0], [-1e5, -20.0, -3.0], [-1e-9, -30.0]]
)
def test_what_no_dirichlet_fits_comes_to_finite_numbers(mean_log_p: list[float]) -> None:
    alpha = fit_dirichlet(np.array(mean_log_p))
    assert np.isfinite(alpha).all()
    assert (alpha > 0).all()
    assert alpha.sum() <= 1.01 * LARGEST_TOTAL
