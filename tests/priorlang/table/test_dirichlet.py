"""How often each expert enters the top k, against sampling and against what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln

from priorlang.table.dirichlet import kl, mean, top_k_load, top_k_probability

SAMPLES = 200_000
concentrations = st.sampled_from([0.05, 0.5, 0.75, 1.0, 1.25, 3.0, 20.0, 1000.0])


def sampled(alpha: np.ndarray, top_k: int) -> np.ndarray:
    """The same by sampling: ln Gamma(α) as ln Gamma(α + 1) + ln(U) / α, which does not underflow."""
    rng = np.random.default_rng(0)
    size = (SAMPLES, len(alpha))
    log_y = np.log(rng.gamma(alpha + 1, size=size)) + np.log(rng.random(size)) / alpha
    chosen = np.argsort(-log_y, axis=1)[:, :top_k]
    return np.bincount(chosen.ravel(), minlength=len(alpha)) / SAMPLES


@pytest.mark.parametrize(
    ("alpha", "top_k"),
    [
        ((0.05, 1000.0, 1.0, 2.0), 2),
        ((0.05, 0.05, 0.1), 1),
        ((0.001, 0.002), 1),
        ((1000.0, 1001.0, 999.0, 0.05), 2),
        ((1.25, 1.25, 0.75, 0.75), 2),
        ((0.5, 5.0, 20.0, 0.01), 3),
    ],
)
def test_it_agrees_with_sampling(alpha: tuple[float, ...], top_k: int) -> None:
    given_alpha = np.array(alpha)
    worst = np.abs(top_k_probability(given_alpha, top_k) - sampled(given_alpha, top_k)).max()
    assert worst < 5 * 0.5 / np.sqrt(SAMPLES)


def test_two_experts_that_are_nearly_never_used_compete_by_their_ratio() -> None:
    # As α → 0 the larger of two is expert k with chance α_k / A.
    np.testing.assert_allclose(top_k_probability(np.array([1e-6, 2e-6]), 1), [1 / 3, 2 / 3], atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(st.lists(concentrations, min_size=2, max_size=8), st.data())
def test_it_sums_to_k_and_follows_alpha(alpha: list[float], data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, len(alpha)))
    found = top_k_probability(np.array(alpha), top_k)
    assert found.sum() == pytest.approx(top_k)
    assert ((found >= 0) & (found <= 1 + 1e-9)).all()
    order = np.argsort(alpha, kind="stable")
    assert (np.diff(found[order]) >= -1e-9).all()


@pytest.mark.parametrize(("experts", "top_k"), [(2, 1), (8, 2), (512, 8), (4, 4)])
@pytest.mark.parametrize("alpha", [1e-300, 0.05, 1.0, 1e300])
def test_equal_experts_share_evenly(experts: int, top_k: int, alpha: float) -> None:
    found = top_k_probability(np.full(experts, alpha), top_k)
    np.testing.assert_allclose(found, top_k / experts)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("alpha", [(1e300, 1e-300), (5e-324, 1e308), (1e300, 2e300, 5.0), (1e12, 1e-12, 1.0)])
def test_extremes_stay_numbers(alpha: tuple[float, ...]) -> None:
    found = top_k_probability(np.array(alpha), 1)
    assert found.sum() == pytest.approx(1)
    assert found[int(np.argmax(alpha))] == pytest.approx(1)


def test_the_mean_is_the_share_of_alpha() -> None:
    np.testing.assert_allclose(mean(np.array([1.0, 3.0])), [0.25, 0.75])


def test_kl_is_the_integral_of_the_log_ratio() -> None:
    alpha, other = np.array([1.25, 0.75, 2.0]), np.array([0.75, 0.75, 1.0])
    samples = np.random.default_rng(0).dirichlet(alpha, size=400_000)

    def log_density(shape: np.ndarray) -> np.ndarray:
        return gammaln(shape.sum()) - gammaln(shape).sum() + ((shape - 1) * np.log(samples)).sum(axis=1)

    ratio = log_density(alpha) - log_density(other)
    assert kl(alpha, other) == pytest.approx(ratio.mean(), abs=5 * ratio.std() / np.sqrt(len(ratio)))
    assert kl(alpha, alpha) == 0


@pytest.mark.parametrize(("experts", "top_k"), [(12, 1), (64, 8), (128, 8), (40, 39)])
def test_many_different_concentrations_are_worked_out_at_once(experts: int, top_k: int) -> None:
    """The same as beside a twin that is far too small to enter, with which no nodes can be shared."""
    alpha = np.round(10 ** np.random.default_rng(experts).uniform(-0.5, 0.4, experts), 3)
    together = top_k_probability(alpha, top_k)
    assert together.sum() == pytest.approx(top_k, abs=1e-9)
    alone = top_k_probability(np.append(alpha, 1e-6), top_k)
    np.testing.assert_allclose(together, alone[:-1], atol=2e-5)


def test_loads_of_many_priors_are_those_of_each() -> None:
    alpha_RK = np.random.default_rng(0).choice([0.5, 1.0, 3.0], size=(40, 6))
    loads = top_k_load(alpha_RK, 2)
    for alpha_K, load_K in zip(alpha_RK, loads, strict=True):
        np.testing.assert_allclose(load_K, top_k_probability(alpha_K, 2) / 2, atol=1e-12)
    np.testing.assert_allclose(top_k_load(alpha_RK[:1], 9), np.full((1, 6), 1 / 6))
