"""`reference:` gives the numbers of the code base it names, from that code base where it is installed."""

from __future__ import annotations

import pytest
import torch
from deepspeed.moe.sharded_moe import top1gating, top2gating, topkgating
from torch import Tensor
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func
from transformers.models.switch_transformers import modeling_switch_transformers as switch

from dpsl.regularizers import load_balance, router_sums
from dpsl.regularizers.router_sums import stacked
from tests.dpsl.regularizers.router_cases import random_case, sums_of

EXPERTS = 6


@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_hf_is_transformers_own_over_all_layers(top_k: int, masked: bool) -> None:
    mask_BS = torch.ones(3, 5, dtype=torch.long)
    if masked:
        mask_BS[0, 2:] = 0
        mask_BS[2, 4:] = 0
    layers = [random_case(seed, 15, EXPERTS, top_k)[0].float().requires_grad_() for seed in range(3)]
    expected = load_balancing_loss_func(tuple(layers), EXPERTS, top_k, mask_BS if masked else None)
    counted_N = mask_BS.flatten().bool()
    sums = [router_sums(z_NK, z_NK.topk(top_k, dim=-1).indices, counted_N) for z_NK in layers]
    found = load_balance(stacked(sums), "hf")
    torch.testing.assert_close(found, expected.reshape(1))
    for own, other in zip(
        torch.autograd.grad(found.sum(), layers), torch.autograd.grad(expected, layers), strict=True
    ):
        torch.testing.assert_close(own, other)


def test_switch_is_transformers_own() -> None:
    logits_NK, indices_Nk = random_case(0, 20, EXPERTS, 1)
    probability_1NK, choice_1NK = (
        logits_NK.softmax(-1)[None],
        torch.nn.functional.one_hot(indices_Nk[:, 0], EXPERTS),
    )
    expected = switch.load_balancing_loss_func(probability_1NK, choice_1NK.argmax(-1, keepdim=True)[None])
    torch.testing.assert_close(
        load_balance(sums_of(logits_NK, 1), "switch").float(), expected.reshape(1).float()
    )


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_deepspeed_is_deepspeeds_own(top_k: int) -> None:
    logits_NK = random_case(top_k, 40, EXPERTS, top_k)[0].float()
    expected = {
        1: lambda z: top1gating(z, 1.0, 1),
        2: lambda z: top2gating(z, 1.0, 1),
        3: lambda z: topkgating(z, 3, 1.0, 1),
    }[top_k](logits_NK.clone())[0]  # fmt: skip
    torch.testing.assert_close(load_balance(sums_of(logits_NK, top_k), "deepspeed"), expected.reshape(1))


def switch_load_balancing_loss_func(
    probs: Tensor, tokens_per_expert: Tensor, total_num_tokens: int, topk: int, num_experts: int
) -> Tensor:
    """Megatron-LM's function of this name, with a coefficient of 1: E / (k·T²) · Σ (Σp)·c."""
    aggregated = probs.sum(0)
    return torch.sum(aggregated * tokens_per_expert) * (num_experts / (topk * total_num_tokens**2))


@pytest.mark.parametrize("groups", [1, 4])
def test_megatron_is_its_formula_for_a_micro_batch_and_for_each_sequence(groups: int) -> None:
    top_k = 2
    logits_NK, indices_Nk = random_case(7, 20, EXPERTS, top_k)
    length = 20 // groups
    expected = [
        switch_load_balancing_loss_func(
            z_SK.softmax(-1), torch.bincount(i_Sk.flatten(), minlength=EXPERTS), length, top_k, EXPERTS
        )
        for z_SK, i_Sk in zip(logits_NK.split(length), indices_Nk.split(length), strict=True)
    ]
    found = load_balance(sums_of(logits_NK, top_k, groups=groups), "megatron")
    torch.testing.assert_close(found, torch.stack(expected).mean().reshape(1))
