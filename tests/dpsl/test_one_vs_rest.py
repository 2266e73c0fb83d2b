"""One-vs-rest logits and the way back, against autograd through their definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dpsl.one_vs_rest import gradient_to_logits, one_vs_rest


def by_definition(logits_KN: Tensor) -> Tensor:
    """ℓ_k = z_k − logsumexp over the other experts."""
    off_diagonal = torch.zeros(len(logits_KN), len(logits_KN), dtype=logits_KN.dtype)
    off_diagonal.fill_diagonal_(-torch.inf)
    return logits_KN - torch.logsumexp(logits_KN[None] + off_diagonal[..., None], dim=1)


def draw(experts: int, tokens: int, scale: float) -> Tensor:
    return (
        torch.randn(experts, tokens, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * scale
    )


@pytest.mark.parametrize("experts", [2, 3, 16, 100])
@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 10.0, 300.0])
def test_forward_and_backward_equal_autograd(experts: int, scale: float) -> None:
    logits_KN = draw(experts, 64, scale).requires_grad_()
    upstream_KN = draw(experts, 64, 1.0)
    ell_KN = by_definition(logits_KN)
    (expected_KN,) = torch.autograd.grad(ell_KN, logits_KN, upstream_KN)
    routing = one_vs_rest(logits_KN.detach())
    torch.testing.assert_close(routing.ell_KN, ell_KN.detach(), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(gradient_to_logits(upstream_KN, routing), expected_KN, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("gap", [20.0, 100.0, 3000.0])
def test_float32_keeps_the_logit_and_the_share_of_the_rest_at_large_gaps(gap: float) -> None:
    logits_KN = torch.tensor([[gap], [1.0], [0.0], [-gap]])
    routing = one_vs_rest(logits_KN)
    exact = by_definition(logits_KN.double())
    torch.testing.assert_close(routing.ell_KN, exact.float(), rtol=1e-6, atol=1e-6)
    only_top = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    expected = torch.tensor([[1.0], [-0.7310586], [-0.2689414], [0.0]])
    torch.testing.assert_close(gradient_to_logits(only_top, routing), expected, rtol=1e-5, atol=1e-6)


def test_minus_infinity_counts_as_a_very_low_logit() -> None:
    logits_KN = torch.tensor([[0.5, 0.0], [0.0, -torch.inf], [-torch.inf, -torch.inf]])
    routing = one_vs_rest(logits_KN)
    torch.testing.assert_close(routing.ell_KN[:2, 0], torch.tensor([0.5, -0.5]))
    assert routing.ell_KN.isfinite().all()
    assert gradient_to_logits(torch.ones(3, 2), routing).isfinite().all()


def test_input_is_left_as_it_was() -> None:
    logits_KN = draw(4, 1, 1.0)
    before = logits_KN.clone()
    one_vs_rest(logits_KN)
    assert torch.equal(logits_KN, before)
