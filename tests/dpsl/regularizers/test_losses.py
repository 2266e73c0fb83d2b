"""Each loss as a function of sums: its value, its gradient, and what it does not depend on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dpsl.regularizers import RouterSums, balance, confidence, load_balance, router_sums, z_loss
from dpsl.regularizers.router_sums import tokens_of
from tests.dpsl.regularizers.router_cases import random_case, sums_of

LOSSES: dict[str, Callable[[RouterSums], Tensor]] = {
    "load_balance": load_balance,
    "hf": lambda sums: load_balance(sums, "hf"),
    "deepspeed": lambda sums: load_balance(sums, "deepspeed"),
    "z_loss": z_loss,
    "confidence": confidence,
    "balance": balance,
}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
BARRED = [[0.3, -math.inf, 2.0], [1.0, -0.5, 0.1], [-math.inf, 0.0, -math.inf]]


def closed_form(
    loss: Callable[[RouterSums], Tensor], logits_NK: Tensor, counted_N: Tensor, groups: int
) -> Tensor:
    """The gradient by way of the sums."""
    tokens = tokens_of(logits_NK, logits_NK.topk(2, dim=-1).indices, counted_N)
    sums = tokens.sums(groups)
    names = ("probability_LGK", "square_LG", "entropy_LG")
    leaves = [getattr(sums, name).detach().requires_grad_() for name in names]
    value = loss(RouterSums(**{**vars(sums), **dict(zip(names, leaves, strict=True))})).sum()
    gradients = torch.autograd.grad(value, leaves, allow_unused=True)
    return tokens.gradient(*(None if g is None else g[0] for g in gradients))


@each_loss
@pytest.mark.parametrize("groups", [1, 3])
def test_the_gradient_in_closed_form_is_that_of_autograd(
    loss: Callable[[RouterSums], Tensor], groups: int
) -> None:
    logits_NK, indices_Nk = random_case(3, 12, 5, 2)
    counted_N = torch.arange(12) % 4 != 3
    leaf_NK = logits_NK.requires_grad_()
    value = loss(router_sums(leaf_NK, indices_Nk, counted_N, groups=groups)).sum()
    (expected_NK,) = torch.autograd.grad(value, leaf_NK)
    found_NK = closed_form(loss, logits_NK.detach(), counted_N, groups)
    torch.testing.assert_close(found_NK, expected_NK, rtol=1e-10, atol=1e-14)
    assert torch.autograd.gradcheck(
        lambda z_NK: loss(router_sums(z_NK, indices_Nk, counted_N, groups=groups)), leaf_NK
    )


@each_loss
def test_barred_experts_have_no_gradient(loss: Callable[[RouterSums], Tensor]) -> None:
    logits_NK = torch.tensor(BARRED, dtype=torch.float64)
    gradient_NK = closed_form(loss, logits_NK, torch.ones(3, dtype=torch.bool), 1)
    assert gradient_NK.isfinite().all()
    assert not gradient_NK[logits_NK == -math.inf].any()


@each_loss
@settings(deadline=None)
@given(st.integers(0, 1000), st.permutations(range(5)))
def test_experts_have_no_order(loss: Callable[[RouterSums], Tensor], seed: int, order: Sequence[int]) -> None:
    logits_NK, _ = random_case(seed, 9, 5, 2)
    counted_N = torch.ones(9, dtype=torch.bool)
    torch.testing.assert_close(loss(sums_of(logits_NK)), loss(sums_of(logits_NK[:, list(order)])))
    torch.testing.assert_close(
        closed_form(loss, logits_NK, counted_N, 1)[:, list(order)],
        closed_form(loss, logits_NK[:, list(order)], counted_N, 1),
    )


@each_loss
@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 20), st.integers(2, 6), st.integers(0, 7))
def test_padding_counts_nowhere(
    loss: Callable[[RouterSums], Tensor], seed: int, tokens: int, experts: int, padding: int
) -> None:
    logits_NK, _ = random_case(seed, tokens, experts, 2)
    noise_NK = random_case(seed + 1, padding, experts, 2)[0].masked_fill(
        torch.tensor(padding % 2 == 0), math.nan
    )
    padded_NK = torch.cat([logits_NK, 100 * noise_NK])
    counted_N = torch.arange(tokens + padding) < tokens
    indices_Nk = padded_NK.topk(2, dim=-1).indices
    torch.testing.assert_close(loss(router_sums(padded_NK, indices_Nk, counted_N)), loss(sums_of(logits_NK)))
    gradient_NK = closed_form(loss, padded_NK, counted_N, 1)
    torch.testing.assert_close(
        gradient_NK[:tokens], closed_form(loss, logits_NK, torch.ones(tokens, dtype=torch.bool), 1)
    )
    assert not gradient_NK[tokens:].any()


@each_loss
def test_nothing_that_counts_is_zero(loss: Callable[[RouterSums], Tensor]) -> None:
    logits_NK, indices_Nk = random_case(0, 3, 4, 2)
    assert float(loss(router_sums(logits_NK, indices_Nk, torch.zeros(3, dtype=torch.bool)))) == 0.0


def test_z_loss_is_the_mean_square_of_logsumexp() -> None:
    logits_NK = torch.tensor([[0.0, 0.0], [3.0, 3.0]])
    expected = (math.log(2) ** 2 + (3 + math.log(2)) ** 2) / 2
    torch.testing.assert_close(z_loss(sums_of(logits_NK, 1)), torch.tensor([expected]))


@pytest.mark.parametrize(("reference", "balanced"), [(None, 1), ("hf", 2), ("megatron", 1), ("deepspeed", 1)])
def test_balanced_routing(reference: str | None, balanced: float) -> None:
    indices_Nk = torch.tensor([[i % 4, (i + 1) % 4] for i in range(8)])
    logits_NK = torch.zeros(8, 4).scatter(1, indices_Nk[:, :1], 1e-6)
    sums = router_sums(logits_NK, indices_Nk, torch.ones(8, dtype=torch.bool))
    torch.testing.assert_close(load_balance(sums, reference), torch.tensor([float(balanced)]))  # type: ignore[arg-type]


def test_collapse_has_load_balance_experts_over_top_k() -> None:
    logits_NK = torch.tensor([[50.0, 50.0, 0.0, 0.0]]).repeat(8, 1)
    torch.testing.assert_close(load_balance(sums_of(logits_NK)), torch.tensor([2.0]))


def test_entropies_of_sure_tokens_and_of_even_ones() -> None:
    sure_NK = 80 * torch.eye(4, dtype=torch.float64)
    even_NK = torch.zeros(4, 4, dtype=torch.float64)
    one_NK = sure_NK[:1].repeat(4, 1)
    assert float(confidence(sums_of(sure_NK))) == pytest.approx(0, abs=1e-12)
    assert float(confidence(sums_of(even_NK))) == pytest.approx(math.log(4))
    assert float(balance(sums_of(sure_NK))) == pytest.approx(-math.log(4))
    assert float(balance(sums_of(one_NK))) == pytest.approx(0, abs=1e-12)


def test_sequences_count_alike() -> None:
    logits_NK, _ = random_case(1, 12, 4, 2)
    alone = [load_balance(sums_of(part_NK)) for part_NK in logits_NK.split(4)]
    torch.testing.assert_close(load_balance(sums_of(logits_NK, groups=3)), sum(alone) / 3)
