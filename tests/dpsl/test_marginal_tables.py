"""Beta marginals as tensors: tables against the exact values, priors looked up per token."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import beta

from dpsl.marginals import BetaMarginals
from priorlang.table.marginals import CDF_ERROR, SLOPE_ERROR, build_marginals

ALPHA_RK = torch.tensor([[0.05, 0.75, 3.0], [1.0, 1.0, 1.0], [1000.0, 0.2, 50.0]], dtype=torch.float64)


def ell_grid(tokens: int = 4001) -> torch.Tensor:
    return torch.linspace(-60, 60, tokens, dtype=torch.float64)[:, None].expand(tokens, 3)


@pytest.mark.parametrize("row", range(len(ALPHA_RK)))
def test_exact_values_are_scipys(row: int) -> None:
    ell_NK = torch.linspace(-9, 9, 50, dtype=torch.float64)[:, None].expand(50, 3)
    exact = BetaMarginals.from_alpha(ALPHA_RK, torch.float64)
    cdf_NK, slope_NK = exact.evaluate(ell_NK, torch.full((50,), row))
    p = ell_NK.sigmoid().numpy()
    a = ALPHA_RK[row].numpy()
    b = a.sum() - a
    np.testing.assert_allclose(cdf_NK, beta.cdf(p, a, b), rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(slope_NK, p * (1 - p) * beta.pdf(p, a, b), rtol=1e-8, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tables_are_within_their_stated_error(dtype: torch.dtype) -> None:
    tables = BetaMarginals.from_alpha(ALPHA_RK, torch.float32)
    exact = BetaMarginals.from_alpha(ALPHA_RK, torch.float64)
    for row in range(len(ALPHA_RK)):
        ell_NK = ell_grid().to(dtype)
        row_N = torch.full((len(ell_NK),), row)
        cdf_NK, slope_NK = tables.evaluate(ell_NK, row_N)
        exact_cdf_NK, exact_slope_NK = exact.evaluate(ell_NK.double(), row_N)
        assert cdf_NK.dtype == slope_NK.dtype == dtype
        assert (cdf_NK - exact_cdf_NK).abs().max() < CDF_ERROR
        assert ((slope_NK - exact_slope_NK).abs() / exact_slope_NK.amax(0)).max() < SLOPE_ERROR


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_token_reads_its_own_prior(dtype: torch.dtype) -> None:
    row_N = torch.tensor([2, 0, 1, 0, 2])
    ell_NK = torch.linspace(-4, 4, 15, dtype=dtype).view(5, 3)
    mixed = BetaMarginals.from_alpha(ALPHA_RK, dtype).evaluate(ell_NK, row_N)
    for token, row in enumerate(row_N):
        alone = BetaMarginals.from_alpha(ALPHA_RK[row][None], dtype)
        single = alone.evaluate(ell_NK[token : token + 1], torch.zeros(1, dtype=torch.int64))
        for together, apart in zip(mixed, single, strict=True):
            torch.testing.assert_close(together[token], apart[0], rtol=1e-6, atol=1e-7)


def test_a_prior_table_is_read_as_it_stands() -> None:
    marginal, window = build_marginals(np.array([0.75, 2.0]), np.array([2.25, 1.0]))
    table = SimpleNamespace(marginal=marginal, window=window, pair=np.array([[0, 1]], np.int32))
    ell_NK = torch.tensor([[0.0, 0.0], [-30.0, 30.0]])
    cdf_NK, _ = BetaMarginals.from_table(table).evaluate(ell_NK, torch.zeros(2, dtype=torch.int64))
    expected = [[beta.cdf(0.5, 0.75, 2.25), 0.25], [0.0, 1.0]]
    torch.testing.assert_close(cdf_NK, torch.tensor(expected, dtype=torch.float32), atol=2e-6, rtol=0)


def test_tables_of_equal_values_are_built_once() -> None:
    first = BetaMarginals.from_alpha(ALPHA_RK, torch.float32)
    assert BetaMarginals.from_alpha(ALPHA_RK.clone(), torch.float32) is first
    assert BetaMarginals.from_alpha(ALPHA_RK + 1, torch.float32) is not first


def test_the_rest_of_a_prior_is_summed_without_cancellation() -> None:
    tiny = torch.tensor([[1e-20, 1.0]], dtype=torch.float64)
    exact = BetaMarginals.from_alpha(tiny, torch.float64)
    assert exact.shape_P2 is not None
    assert (exact.shape_P2 > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_of_the_line_are_certain(dtype: torch.dtype) -> None:
    ell_NK = torch.tensor([[-torch.inf] * 3, [torch.inf] * 3], dtype=dtype)
    marginals = BetaMarginals.from_alpha(ALPHA_RK, dtype)
    cdf_NK, slope_NK = marginals.evaluate(ell_NK, torch.tensor([0, 2]))
    torch.testing.assert_close(cdf_NK, torch.tensor([[0.0] * 3, [1.0] * 3], dtype=dtype))
    torch.testing.assert_close(slope_NK, torch.zeros(2, 3, dtype=dtype))
