"""Live tables against SciPy, and the gradient by α against autograd through the exact Beta functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsl import beta
from dpsl.concentration import ShapeSlopes
from dpsl.live_tables import INTERVALS, tabulate
from priorlang.table.marginals import beta_in_logit, build_marginals

shapes = st.floats(-4.6, 6.9).map(lambda log: float(np.exp(log)))


@settings(max_examples=40)
@given(st.lists(st.tuples(shapes, shapes), min_size=1, max_size=5))
def test_nodes_are_scipys(pairs: list[tuple[float, float]]) -> None:
    a_P, b_P = torch.tensor(pairs, dtype=torch.float64).t()
    tables = tabulate(a_P, b_P)
    lo_P1, hi_P1 = tables.window_P2.unsqueeze(-1).unbind(1)
    ell_PN = lo_P1 + (hi_P1 - lo_P1) / INTERVALS * torch.arange(INTERVALS + 1)
    expected = beta_in_logit(ell_PN.numpy(), a_P.numpy()[:, None], b_P.numpy()[:, None])
    for got, want in zip(tables.nodes_PN3.unbind(-1), expected, strict=True):
        np.testing.assert_allclose(got, want, atol=4e-8 * np.abs(want).max())


def test_the_window_is_that_of_a_compiled_table() -> None:
    a, b = np.array([0.05, 0.75, 40.0, 1000.0]), np.array([0.05, 5.25, 3.0, 0.2])
    _, window = build_marginals(a, b)
    live = tabulate(torch.from_numpy(a), torch.from_numpy(b)).window_P2.numpy()
    np.testing.assert_allclose(live, window, atol=(window[:, 1] - window[:, 0]).max() / INTERVALS)


@pytest.mark.parametrize("alpha", [[0.05, 0.75, 3.0], [1.0, 1.0, 1.0], [1000.0, 0.2, 50.0]])
def test_the_gradient_by_alpha_is_that_of_the_exact_functions(alpha: list[float]) -> None:
    # Beyond every window as well.
    ell_KN = torch.linspace(-70, 70, 1401, dtype=torch.float64).expand(3, -1)
    generator = torch.Generator().manual_seed(0)
    upstream_KN = torch.rand(ell_KN.shape, dtype=torch.float64, generator=generator)
    alpha_K = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
    a_K1 = alpha_K[:, None]
    (beta.logit_cdf(ell_KN, a_K1, alpha_K.sum() - a_K1) * upstream_KN).sum().backward()

    rest_K = alpha_K.detach().sum() - alpha_K.detach()
    slopes = ShapeSlopes(torch.tensor([[0, 1, 2]]), tabulate(alpha_K.detach(), rest_K))
    row_N = torch.zeros(ell_KN.shape[1], dtype=torch.int64)
    (got_K,) = slopes.gradient_to_alpha(ell_KN, upstream_KN, row_N)
    assert alpha_K.grad is not None
    torch.testing.assert_close(got_K, alpha_K.grad, rtol=1e-5, atol=1e-6 * float(alpha_K.grad.abs().max()))


def test_each_prior_gets_the_gradient_of_its_own_tokens() -> None:
    alpha_RK = torch.tensor([[0.5, 2.0], [3.0, 1.0]], dtype=torch.float64)
    tables = tabulate(alpha_RK.flatten(), alpha_RK.flip(1).flatten())
    slopes = ShapeSlopes(torch.arange(4).view(2, 2), tables)
    ell_KN = torch.linspace(-3, 3, 10, dtype=torch.float64).view(2, 5)
    row_N = torch.tensor([0, 1, 1, 0, 1])
    together_RK = slopes.gradient_to_alpha(ell_KN, torch.ones(2, 5), row_N)
    for row in (0, 1):
        alone = slopes.gradient_to_alpha(ell_KN, (row_N == row).expand(2, 5).double(), row_N)
        torch.testing.assert_close(together_RK[row], alone[row])
        assert not alone[1 - row].any()
