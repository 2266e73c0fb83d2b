"""A choice made anew from outside is the choice of the family's own router with that bias or those experts alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers.models.llama4.modeling_llama4 import Llama4Router

from dpsl.errors import AttachError
from dpsl.routers.find import find_routers
from dpsl.routers.found import FoundRouter
from dpsl.routers.output import read_output
from dpsl.routers.selection import combination_rule, selected
from tests.dpsl.tiny_models import EXPERTS, tiny

BIAS = torch.tensor([0.3, -0.2, 0.0, 0.15])


def by_hand(kind: str, logits_NK: Tensor, bias_K: Tensor) -> tuple[Tensor, Tensor]:
    """What each family's source says, with the bias added where experts are chosen."""
    if kind == "deepseek-v3":
        scores_NK = logits_NK.sigmoid()
        indices_Nk = (scores_NK + bias_K).topk(2).indices
        weights_Nk = scores_NK.gather(1, indices_Nk)
        return weights_Nk / (weights_Nk.sum(-1, keepdim=True) + 1e-20) * 2.5, indices_Nk
    if kind == "llama4":
        indices_Nk = (logits_NK.sigmoid() + bias_K).topk(2).indices
        chosen_NK = torch.full_like(logits_NK, -torch.inf).scatter(
            1, indices_Nk, logits_NK.gather(1, indices_Nk)
        )
        return chosen_NK.sigmoid(), indices_Nk
    p_NK = logits_NK.softmax(-1)
    indices_Nk = (p_NK + bias_K).topk(2).indices
    if kind in ("gpt-oss", "granite-moe"):
        return logits_NK.gather(1, indices_Nk).softmax(-1), indices_Nk
    weights_Nk = p_NK.gather(1, indices_Nk)
    renormalised = kind in ("mixtral", "qwen3-moe-normalised")
    return weights_Nk / weights_Nk.sum(-1, keepdim=True) if renormalised else weights_Nk, indices_Nk


def a_router(kind: str) -> tuple[FoundRouter, tuple[Any, ...]]:
    torch.manual_seed(0)
    if kind == "llama4":
        config = transformers.Llama4TextConfig(
            hidden_size=32, num_local_experts=EXPERTS, num_experts_per_tok=2
        )
        module: nn.Module = Llama4Router(config)
        router = FoundRouter("router", module, 0, EXPERTS, 2, 1, "recorded")
    else:
        model = tiny("qwen3-moe" if kind == "qwen3-moe-normalised" else kind)
        router = find_routers(model)[0]
        if kind == "qwen3-moe-normalised":
            router.module.norm_topk_prob = True
    hidden_NH = torch.randn(40, 32)
    with torch.no_grad():
        output: tuple[Any, ...] = router.module(hidden_NH)
    return router, output


KINDS = (
    "upcycled", "mixtral", "qwen2-moe", "qwen3-moe-normalised", "olmoe", "granite-moe", "gpt-oss", "deepseek-v3", "llama4",
)  # fmt: skip


def dense(weights: Tensor, indices_Nk: Tensor) -> Tensor:
    if weights.shape[-1] == EXPERTS:
        return weights
    return torch.zeros(len(weights), EXPERTS).scatter(1, indices_Nk, weights)


@pytest.mark.parametrize("kind", KINDS)
def test_a_biased_choice(kind: str) -> None:
    router, output = a_router(kind)
    read = read_output(router, output)
    rule = combination_rule(router, read)
    changed = selected(output, router, read, rule, bias_K=BIAS)
    weights, indices_Nk = by_hand(kind, read.recorded_NK, BIAS)
    again = read_output(router, changed)
    found_Nk = weights.topk(2).indices if again.indices_Nk is None else again.indices_Nk
    torch.testing.assert_close(dense(again.combined, found_Nk), dense(weights, indices_Nk))
    assert not torch.equal(again.combined.sort().values, read.combined.sort().values)
    assert torch.equal(again.recorded_NK, read.recorded_NK)


@pytest.mark.parametrize("kind", KINDS)
def test_barred_experts_are_as_if_their_logits_were_minus_infinity(kind: str) -> None:
    router, output = a_router(kind)
    read = read_output(router, output)
    allowed_NK = torch.ones(40, EXPERTS, dtype=torch.bool)
    allowed_NK[:20, 1] = False
    allowed_NK[10:30, 3] = False
    changed = selected(output, router, read, combination_rule(router, read), allowed_NK=allowed_NK)
    masked_NK = read.recorded_NK.masked_fill(~allowed_NK, -torch.inf)
    weights, indices_Nk = by_hand(kind, masked_NK, torch.zeros(EXPERTS))
    again = read_output(router, changed)
    found_Nk = weights.topk(2).indices if again.indices_Nk is None else again.indices_Nk
    torch.testing.assert_close(dense(again.combined, found_Nk), dense(weights, indices_Nk))
    assert torch.equal(again.recorded_NK, masked_NK)
    assert not dense(again.combined, found_Nk)[~allowed_NK].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_rule_survives_rounding(dtype: torch.dtype) -> None:
    for kind in ("mixtral", "gpt-oss", "upcycled"):
        router, _ = a_router(kind)
        router.module.to(dtype)
        read = read_output(router, router.module(torch.randn(64, 32, dtype=dtype)))
        rule = combination_rule(router, read)
        assert (rule.scoring, rule.renormalised, rule.scale) == ("softmax", kind != "upcycled", 1.0)


def test_routers_of_other_rules_are_refused() -> None:
    router, output = a_router("phimoe")
    with pytest.raises(AttachError, match=r"layer 0 .*PhimoeTopKRouter cannot be changed from outside"):
        combination_rule(router, read_output(router, output))


def test_groups_of_experts_are_refused() -> None:
    router, output = a_router("deepseek-v3")
    router.module.num_group = 2
    with pytest.raises(AttachError, match="groups of experts first"):
        combination_rule(router, read_output(router, output))


def test_gradients_flow_through_the_chosen_scores() -> None:
    router, _ = a_router("mixtral")
    hidden_NH = torch.randn(6, 32)
    logits_NK = nn.functional.linear(hidden_NH, router.module.weight)
    output = router.module(hidden_NH)
    read = read_output(router, output)
    changed = selected(output, router, read, combination_rule(router, read), bias_K=BIAS)
    weight_Nk = torch.randn(6, 2)
    (found,) = torch.autograd.grad((changed[1] * weight_Nk).sum(), router.module.weight, retain_graph=True)
    chosen_Nk = logits_NK.gather(1, changed[2]).softmax(-1)
    (expected,) = torch.autograd.grad((chosen_Nk * weight_Nk).sum(), router.module.weight)
    torch.testing.assert_close(found, expected)
