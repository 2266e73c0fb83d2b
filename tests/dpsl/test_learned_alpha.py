"""α that is learned or computed, and probabilities in the place of logits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dpsl import DirichletPriorShaping, beta, dirichlet_prior_shaping_loss
from tests.dpsl.gradients import assert_same_gradient


def logits(tokens: int = 40, experts: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(tokens, experts, generator=torch.Generator().manual_seed(0)).to(dtype)


def explicit(logits_NK: Tensor, alpha_K: Tensor) -> Tensor:
    """Eq. 4 by autograd through sorting and the exact Beta CDF."""
    ell_NK = logits_NK.softmax(1).logit().sort(0).values
    rank_N1 = torch.arange(1, len(ell_NK) + 1, dtype=torch.float64)[:, None] / len(ell_NK)
    cdf_NK = beta.logit_cdf(ell_NK, alpha_K, alpha_K.sum() - alpha_K)
    return (rank_N1 - cdf_NK).square().mean(0).sum()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_gradient_to_alpha_is_that_of_the_formula(dtype: torch.dtype) -> None:
    alpha_K = torch.tensor([0.3, 1.0, 2.5, 40.0], dtype=torch.float64, requires_grad=True)
    expected = explicit(logits(), alpha_K)
    (by_alpha,) = torch.autograd.grad(expected, alpha_K)
    given = logits(dtype=dtype).requires_grad_()
    loss = dirichlet_prior_shaping_loss(given, alpha_K)
    found_logits, found_alpha = torch.autograd.grad(loss, (given, alpha_K))
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(found_alpha, by_alpha, rtol=1e-4, atol=1e-6)
    fixed = logits(dtype=dtype).requires_grad_()
    dirichlet_prior_shaping_loss(fixed, alpha_K.detach()).backward()
    assert_same_gradient(found_logits, fixed.grad, within=1e-4)


@pytest.mark.parametrize("ranks", ["sort", "histogram"])
def test_each_population_teaches_its_own_prior(ranks: str) -> None:
    alpha_PK = torch.tensor([[0.5, 1.0, 1.5, 2.0], [1.0, 1.0, 1.0, 1.0]], requires_grad=True)
    population_N = torch.arange(40) % 3 - 1
    loss = dirichlet_prior_shaping_loss(
        logits(dtype=torch.float32), alpha_PK, population_N, reduction="sum", ranks=ranks
    )
    loss.backward()
    for population in (0, 1):
        alone = alpha_PK.detach()[population].clone().requires_grad_()
        members = logits(dtype=torch.float32)[population_N == population]
        dirichlet_prior_shaping_loss(members, alone, ranks=ranks).backward()
        torch.testing.assert_close(alpha_PK.grad[population], alone.grad, rtol=1e-4, atol=1e-6)


def test_a_learned_prior_finds_the_one_that_made_the_samples() -> None:
    true_K = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    torch.manual_seed(0)
    p_NK = torch.distributions.Dirichlet(true_K).sample((4000,))
    module = DirichletPriorShaping(torch.ones(3), inputs="probabilities", learnable=True)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        module(p_NK).backward()
        optimizer.step()
    torch.testing.assert_close(module.concentration().detach(), true_K, rtol=0.1, atol=0)


def test_a_prior_may_come_from_another_network() -> None:
    network = torch.nn.Linear(2, 4)
    module = DirichletPriorShaping(torch.ones(4))
    module(logits(dtype=torch.float32), alpha=network(torch.ones(2)).exp()).backward()
    assert network.weight.grad is not None
    assert network.weight.grad.abs().max() > 0


def test_a_cast_module_keeps_its_prior_exact() -> None:
    for learnable in (False, True):
        module = DirichletPriorShaping(torch.tensor([0.1, 0.7], dtype=torch.float64), learnable=learnable)
        before = module.concentration().detach().clone()
        module.half()
        assert torch.equal(module.concentration().detach(), before)
    assert "learnable" in repr(module)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_probabilities_give_the_loss_and_gradient_of_their_logits(dtype: torch.dtype) -> None:
    alpha_K = torch.tensor([0.5, 1.0, 2.0, 4.0])
    by_logits, by_probabilities = (logits(dtype=dtype).requires_grad_() for _ in range(2))
    expected = dirichlet_prior_shaping_loss(by_logits, alpha_K)
    found = dirichlet_prior_shaping_loss(by_probabilities.softmax(1), alpha_K, inputs="probabilities")
    expected.backward()
    found.backward()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(by_probabilities.grad, by_logits.grad, rtol=1e-3, atol=1e-6)


def test_probabilities_keep_no_more_than_their_gradient() -> None:
    kept: list[int] = []
    p_NK = logits(dtype=torch.float32).softmax(1).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        loss = dirichlet_prior_shaping_loss(p_NK, torch.ones(4), inputs="probabilities")
    assert kept == [p_NK.numel()]
    (gradient,) = torch.autograd.grad(loss, p_NK, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(gradient.sum(), p_NK)


def test_certain_probabilities_are_finite() -> None:
    p_NK = torch.eye(4, dtype=torch.bfloat16).repeat(5, 1).requires_grad_()
    loss = dirichlet_prior_shaping_loss(p_NK, torch.ones(4), inputs="probabilities")
    loss.backward()
    assert torch.isfinite(loss)
    assert p_NK.grad is not None
    assert torch.isfinite(p_NK.grad).all()


def test_rows_that_are_no_probabilities_are_named() -> None:
    given = torch.cat([torch.full((1, 4), 0.25), logits(39, dtype=torch.float32)])
    with pytest.raises(ValueError, match=r'39 of 40 rows are no probabilities.*inputs="logits"'):
        dirichlet_prior_shaping_loss(given, torch.ones(4), inputs="probabilities")
    with pytest.raises(ValueError, match="inputs must be one of"):
        dirichlet_prior_shaping_loss(logits(), torch.ones(4), inputs="scores")
