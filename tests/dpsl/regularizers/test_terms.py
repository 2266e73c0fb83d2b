"""The normalised definitions, and padding that counts nowhere."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from dpsl.regularizers import load_balance, z_loss


def random_case(seed: int, tokens: int, experts: int, top_k: int) -> tuple[torch.Tensor, torch.Tensor]:
    logits_NK = torch.randn(
        tokens, experts, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return logits_NK, logits_NK.topk(top_k, dim=-1).indices


def test_z_loss_is_the_mean_square_of_logsumexp() -> None:
    logits_NK = torch.tensor([[0.0, 0.0], [3.0, 3.0]])
    expected = (torch.log(torch.tensor(2.0)) ** 2 + (3 + torch.log(torch.tensor(2.0))) ** 2) / 2
    torch.testing.assert_close(z_loss(logits_NK, torch.tensor([True, True])), expected)


def test_balanced_routing_has_load_balance_one() -> None:
    logits_NK = torch.zeros(8, 4)
    indices_Nk = torch.tensor([[i % 4, (i + 1) % 4] for i in range(8)])
    assert float(load_balance(logits_NK, indices_Nk, torch.ones(8, dtype=torch.bool))) == 1.0


def test_collapse_has_load_balance_experts_over_top_k() -> None:
    logits_NK = torch.tensor([[50.0, 50.0, 0.0, 0.0]]).repeat(8, 1)
    indices_Nk = torch.tensor([[0, 1]]).repeat(8, 1)
    torch.testing.assert_close(
        load_balance(logits_NK, indices_Nk, torch.ones(8, dtype=torch.bool)), torch.tensor(2.0)
    )


@given(st.integers(0, 1000), st.integers(1, 20), st.integers(2, 6), st.integers(0, 7))
def test_padding_counts_nowhere(seed: int, tokens: int, experts: int, padding: int) -> None:
    logits_NK, indices_Nk = random_case(seed, tokens, experts, 2)
    noise_NK, noise_Nk = random_case(seed + 1, padding, experts, 2)
    padded_NK = torch.cat([logits_NK, 100 * noise_NK]).requires_grad_()
    padded_Nk = torch.cat([indices_Nk, noise_Nk])
    counted_N = torch.arange(tokens + padding) < tokens
    all_N = torch.ones(tokens, dtype=torch.bool)
    alone_NK = logits_NK.clone().requires_grad_()
    for padded, alone in (
        (z_loss(padded_NK, counted_N), z_loss(alone_NK, all_N)),
        (load_balance(padded_NK, padded_Nk, counted_N), load_balance(alone_NK, indices_Nk, all_N)),
    ):
        torch.testing.assert_close(padded, alone)
        (padded_gradient,) = torch.autograd.grad(padded, padded_NK)
        (alone_gradient,) = torch.autograd.grad(alone, alone_NK)
        torch.testing.assert_close(padded_gradient[:tokens], alone_gradient)
        assert not padded_gradient[tokens:].any()


def test_nothing_that_counts_is_zero() -> None:
    logits_NK, indices_Nk = random_case(0, 3, 4, 2)
    none_N = torch.zeros(3, dtype=torch.bool)
    assert float(z_loss(logits_NK, none_N)) == 0.0
    assert float(load_balance(logits_NK, indices_Nk, none_N)) == 0.0
