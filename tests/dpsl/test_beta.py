"""The Beta distribution as functions of tensors: against SciPy, finite differences and its own identities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betainc, betaincinv

from dpsl import beta

SHAPES = [(0.05, 0.05), (0.5, 2.0), (0.75, 5.25), (1.0, 1.0), (3.0, 0.2), (40.0, 1000.0), (1000.0, 999.0)]

shapes = st.floats(-4.6, 6.9).map(lambda log: float(np.exp(log)))


def float64(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_the_cdf_and_its_inverse_are_scipys(a: float, b: float) -> None:
    u = np.array([1e-6, 0.01, 0.3, 0.5, 0.9, 0.999])
    p = betaincinv(a, b, u)
    np.testing.assert_allclose(beta.cdf(torch.from_numpy(p), a, b), betainc(a, b, p), rtol=2e-9)
    np.testing.assert_allclose(beta.quantile(torch.from_numpy(u), a, b), p, rtol=2e-9)


@pytest.mark.parametrize(
    ("ell", "a", "b", "log_cdf"),
    [
        # mpmath with 40 digits, by the first terms of its series in p
        (-700.0, 0.5, 2.0, -349.59453489189183562),
        (-3000.0, 2.0, 3.0, -5998.2082405307720),
        (-40.0, 1e-3, 1.0, -0.04),
    ],
)
def test_the_logarithm_stands_where_the_value_underflows(
    ell: float, a: float, b: float, log_cdf: float
) -> None:
    assert float(beta.log_cdf(float64(ell), a, b)) == pytest.approx(log_cdf, rel=1e-12)


@given(shapes, shapes, st.floats(-40, 40))
def test_the_two_sides_mirror_each_other(a: float, b: float, ell: float) -> None:
    lower, upper = beta.logit_cdf(float64(ell), a, b), beta.logit_cdf(float64(-ell), b, a)
    assert float(lower + upper) == pytest.approx(1, abs=1e-12)


@given(shapes, shapes, st.floats(1e-12, 1 - 1e-9))
def test_the_quantile_undoes_the_cdf(a: float, b: float, u: float) -> None:
    assert float(beta.logit_cdf(beta.logit_quantile(float64(u), a, b), a, b)) == pytest.approx(u, rel=1e-9)


@pytest.mark.parametrize("function", [beta.logit_cdf, beta.log_cdf, beta.log_slope, beta.score])
@pytest.mark.parametrize(("a", "b"), [(0.5, 2.0), (30.0, 4.0)])
def test_gradients_to_the_place_and_both_shapes(function: object, a: float, b: float) -> None:
    ell = torch.linspace(-3, 4, 5, dtype=torch.float64)[:, None].requires_grad_()
    shape_a, shape_b = float64(a, 2 * a).requires_grad_(), float64(b, b).requires_grad_()
    assert torch.autograd.gradcheck(function, (ell, shape_a, shape_b))


@pytest.mark.parametrize("function", [beta.quantile, beta.logit_quantile])
def test_gradients_of_quantiles(function: object) -> None:
    u = float64(0.01, 0.4, 0.97).requires_grad_()
    assert torch.autograd.gradcheck(
        function, (u, float64(0.7).requires_grad_(), float64(3.0).requires_grad_())
    )


@pytest.mark.parametrize(("a", "b", "ends"), [(2.0, 3.0, [0, 0]), (1.0, 1.0, [1, 1]), (1.0, 2.0, [2, 0])])
def test_gradients_at_the_ends(a: float, b: float, ends: list[float]) -> None:
    p = float64(0, 1).requires_grad_()
    beta.cdf(p, a, b).sum().backward()
    assert p.grad is not None
    torch.testing.assert_close(p.grad, float64(*ends))
    u = float64(0, 1).requires_grad_()
    shape = float64(a).requires_grad_()
    beta.quantile(u, shape, b).sum().backward()
    assert u.grad is not None
    torch.testing.assert_close(u.grad, 1 / float64(*ends))
    assert float(shape.grad or 0) == 0


@pytest.mark.parametrize("function", [beta.cdf, beta.quantile, beta.logit_cdf, beta.logit_quantile])
def test_second_derivatives_are_refused(function: Callable[..., torch.Tensor]) -> None:
    x = float64(0.3).requires_grad_()
    (slope,) = torch.autograd.grad(function(x, 2.0, 3.0), x, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(slope, x)


def test_the_score_is_the_derivative_of_the_log_slope() -> None:
    ell = torch.linspace(-9, 9, 7, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(beta.log_slope(ell, 0.4, 5.0).sum(), ell)
    torch.testing.assert_close(slope, beta.score(ell.detach(), 0.4, 5.0))


def test_ends_and_nonsense() -> None:
    inf, nan = float("inf"), float("nan")
    assert beta.logit_cdf(float64(-inf, -1e308, 1e308, inf), 0.5, 2).tolist() == [0, 0, 1, 1]
    assert beta.cdf(float64(-1, 0, 1, 2), 0.5, 2).tolist() == [0, 0, 1, 1]
    assert beta.log_cdf(float64(-inf, inf), 0.5, 2).tolist() == [-inf, 0]
    assert beta.logit_quantile(float64(0, 1), 0.5, 2).tolist() == [-inf, inf]
    assert beta.logit_quantile(float64(-0.1, 1.1, nan), 0.5, 2).isnan().all()
    assert beta.logit_cdf(float64(nan), 0.5, 2).isnan().all()
    assert beta.cdf(float64(0.3), float64(-1, 0, inf, nan), 2.0).isnan().all()
    assert beta.cdf(torch.zeros(0, 3), 0.5, 2).shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_values_have_the_dtype_of_the_place(dtype: torch.dtype) -> None:
    p = torch.tensor([0.25, 0.5], dtype=dtype)
    assert beta.cdf(p, 1.0, 1.0).dtype == beta.quantile(p, 1.0, 1.0).dtype == dtype
    torch.testing.assert_close(beta.cdf(p, 1.0, 1.0), p)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    ell = torch.linspace(-5, 5, 10, dtype=torch.float64).view(2, 5)
    whole = beta.logit_cdf(ell, 0.7, 2.0)
    monkeypatch.setattr(beta, "_BLOCK", 3)
    assert torch.equal(beta.logit_cdf(ell, 0.7, 2.0), whole)
