"""Manual modality routing: barred experts get no token and no probability, in training and in evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dpsl
from dpsl.errors import AttachError
from dpsl.regularizers import (
    DeepseekBias,
    Entropy,
    LoadBalance,
    ManualModality,
    Regularizers,
    ZLoss,
    attach_regularizers,
)
from dpsl.regularizers.manual_modality import allowed_experts
from dpsl.regularizers.selection_hook import bias_of
from dpsl.routers.find import find_routers
from priorlang.table.prior_table import TableAttribute
from tests.dpsl.tables import modality_table
from tests.dpsl.tiny_models import EXPERTS, LAYERS, TOP_K, batch, tiny

MODALITY = TableAttribute("modality", ("language", "vision", "unknown"), (("seen", ("vision",)),))
TASK = TableAttribute("task", ("vqa", "caption"))
ALLOW = {"vision": (0, 1), "language": (2, 3)}
PLAN = ManualModality(attribute="modality", allow=ALLOW)
DATA = batch(1, sequences=3, length=8, padding=3)
MODALITIES = torch.randint(0, 3, (3, 8), generator=torch.Generator().manual_seed(0))
FAMILIES = ("upcycled", "mixtral", "qwen2-moe", "granite-moe", "gpt-oss", "deepseek-v3")


def watch(model: nn.Module) -> dict[int, Any]:
    """The latest output of each router, as what comes after all hooks sees it."""
    found: dict[int, Any] = {}
    for router in find_routers(model):
        router.module.register_forward_hook(
            lambda _m, _i, out, layer=router.layer: found.__setitem__(layer, out)
        )
    return found


def run(model: nn.Module, regularizers: Regularizers) -> Tensor:
    with regularizers.tokens(mask=DATA["attention_mask"], modality=MODALITIES):
        loss: Tensor = model(**DATA).loss
    return loss


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("training", [True, False])
def test_tokens_visit_only_what_they_may(family: str, training: bool) -> None:
    model = tiny(family).train(training)
    regularizers = attach_regularizers(model, [PLAN], attributes=[MODALITY])
    found = watch(model)
    with torch.set_grad_enabled(training):
        run(model, regularizers)
    counted_N = DATA["attention_mask"].flatten().bool()
    codes_N = MODALITIES.flatten()
    for logits_NK, scores_Nk, indices_Nk in found.values():
        assert set(indices_Nk[(codes_N == 0) & counted_N].flatten().tolist()) == {2, 3}
        assert set(indices_Nk[(codes_N == 1) & counted_N].flatten().tolist()) == {0, 1}
        assert (logits_NK[(codes_N == 0) & counted_N][:, :2] == -torch.inf).all()
        assert logits_NK[codes_N == 2].isfinite().all()
        assert scores_Nk.isfinite().all()
    free = torch.cat([found[layer][2][codes_N == 2] for layer in found])
    assert len(set(free.flatten().tolist())) > 2


@pytest.mark.parametrize("reentrant", [None, False, True])
def test_gradients_are_those_of_logits_that_were_masked_by_hand(reentrant: bool | None) -> None:
    attached, by_hand = tiny("mixtral"), tiny("mixtral")
    if reentrant is not None:
        attached.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    terms = [
        PLAN,
        ZLoss(coefficient=0.3),
        Entropy(coefficient=0.2, part="confidence"),
        LoadBalance(coefficient=0.5),
    ]
    regularizers = attach_regularizers(attached, terms, attributes=[MODALITY])
    run(attached, regularizers).backward()

    barred_NK = torch.zeros(24, EXPERTS, dtype=torch.bool)
    counted_N = DATA["attention_mask"].flatten().bool()
    barred_NK[(MODALITIES.flatten() == 0) & counted_N, :2] = True
    barred_NK[(MODALITIES.flatten() == 1) & counted_N, 2:] = True
    losses: list[Tensor] = []
    for router in find_routers(by_hand):
        router.module.forward = masked_forward(router.module, barred_NK, counted_N, losses)
    loss = by_hand(**DATA).loss
    (loss + sum(losses)).backward()
    expected = dict(by_hand.named_parameters())
    for name, parameter in attached.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-4, atol=1e-5, msg=name)


def masked_forward(module: Any, barred_NK: Tensor, counted_N: Tensor, losses: list[Tensor]) -> Any:
    """Mixtral's router with a mask, and the terms written out."""

    def forward(hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits_NK = nn.functional.linear(hidden.reshape(-1, hidden.shape[-1]), module.weight)
        logits_NK = logits_NK.masked_fill(barred_NK, -torch.inf)
        p_NK = logits_NK.softmax(-1)
        weights_Nk, indices_Nk = p_NK.topk(TOP_K)
        own_NK, own_p_NK = logits_NK[counted_N], p_NK[counted_N]
        tokens = int(counted_N.sum())
        slots_K = torch.bincount(indices_Nk[counted_N].flatten(), minlength=EXPERTS)
        log_p_NK = (own_NK - own_NK.logsumexp(-1, keepdim=True)).masked_fill(barred_NK[counted_N], 0.0)
        entropy = -(own_p_NK * log_p_NK).sum(-1).mean()
        balance = EXPERTS / (TOP_K * tokens) * (slots_K * own_p_NK.mean(0)).sum()
        losses.append(0.3 * own_NK.logsumexp(-1).square().mean() + 0.2 * entropy + 0.5 * balance)
        return logits_NK, weights_Nk / weights_Nk.sum(-1, keepdim=True), indices_Nk

    return forward


def test_two_passes_that_wait_for_their_backward_passes_keep_their_tokens() -> None:
    model = tiny("mixtral")
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    regularizers = attach_regularizers(model, [PLAN], attributes=[MODALITY])
    losses = []
    for codes, seed in ((torch.zeros(3, 8, dtype=torch.long), 1), (torch.ones(3, 8, dtype=torch.long), 2)):
        with regularizers.tokens(modality=codes):
            losses.append(model(**batch(seed, sequences=3, length=8, padding=0)).loss)
    found = watch(model)
    losses[0].backward()
    assert set(found[0][2].flatten().tolist()) <= {2, 3}
    losses[1].backward()
    assert set(found[0][2].flatten().tolist()) <= {0, 1}


def test_barred_experts_stay_barred_whatever_their_bias() -> None:
    model = tiny("mixtral")
    regularizers = attach_regularizers(model, [DeepseekBias(), PLAN], attributes=[MODALITY])
    for router in find_routers(model):
        bias_of(router).copy_(torch.tensor([5.0, 4.0, 0.0, 0.0]))
    found = watch(model)
    run(model, regularizers)
    language_N = (MODALITIES.flatten() == 0) & DATA["attention_mask"].flatten().bool()
    assert set(found[0][2][language_N].flatten().tolist()) == {2, 3}
    assert set(found[0][2][MODALITIES.flatten() == 2].flatten().tolist()) == {0, 1}


@pytest.mark.parametrize("first", ["shaper", "regularizers"])
def test_shaping_and_statistics_see_the_logits_that_route(first: str) -> None:
    model = tiny("mixtral")
    table = modality_table(LAYERS, EXPERTS, TOP_K)
    plan = ManualModality(attribute="modality", allow={"vision": (0, 1)})

    def attach() -> Regularizers:
        return attach_regularizers(model, [plan], attributes=table.header.attributes)

    regularizers = attach() if first == "regularizers" else None
    shaper = dpsl.attach(model, table)
    regularizers = regularizers or attach()
    codes = torch.full((3, 8), table.header.attributes[0].members.index("vision"))
    with (
        shaper.tokens(mask=DATA["attention_mask"], modality=codes),
        regularizers.tokens(mask=DATA["attention_mask"], modality=codes),
    ):
        model(**DATA).loss.backward()
    statistics = shaper.statistics()
    assert not statistics.load[..., 2:].any()
    assert statistics.load[..., :2].sum() > 0
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_detached_the_model_is_as_it_was() -> None:
    model = tiny("mixtral")
    before = model(**DATA).loss
    regularizers = attach_regularizers(model, [PLAN], attributes=[MODALITY])
    assert not torch.equal(run(model, regularizers), before)
    regularizers.detach()
    assert torch.equal(model(**DATA).loss, before)
    assert not any(router.module._forward_hooks for router in find_routers(model))


def test_evaluation_without_a_description_of_its_tokens_is_refused() -> None:
    model = tiny("mixtral").eval()
    attach_regularizers(model, [PLAN], attributes=[MODALITY])
    with pytest.raises(AttachError, match="in evaluation too"):
        model(**DATA)


def test_plans_of_several_attributes_hold_together() -> None:
    plans = [PLAN, ManualModality(attribute="task", allow={"vqa": (0, 2, 3)})]
    allowed_CK = allowed_experts(plans, (MODALITY, TASK), 4, 1)
    assert allowed_CK.int().tolist() == [
        [0, 0, 1, 1], [0, 0, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1],
    ]  # fmt: skip
    seen = allowed_experts([ManualModality(attribute="modality", allow={"seen": (1,)})], (MODALITY,), 2, 1)
    assert seen.int().tolist() == [[1, 1], [0, 1], [1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (ManualModality(attribute="modalty", allow=ALLOW), "did you mean 'modality'"),
        (ManualModality(attribute="colour", allow=ALLOW), r"attributes=table.header.attributes"),
        (ManualModality(attribute="modality", allow={"visoin": (0, 1)}), "did you mean 'vision'"),
        (ManualModality(attribute="modality", allow={"vision": (0, 4)}), "numbered 0 to 3"),
        (
            ManualModality(attribute="modality", allow={"vision": (0,)}),
            r"may use 1 expert\(s\), and goes to 2",
        ),
    ],
)
def test_a_mistake_is_told(plan: ManualModality, message: str) -> None:
    with pytest.raises(AttachError, match=message):
        attach_regularizers(tiny("mixtral"), [plan], attributes=[MODALITY])
