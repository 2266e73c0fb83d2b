"""Attached regularizers give the gradient of the plain sum of losses, at any accumulation and scope."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.regularizers import (
    Entropy,
    LoadBalance,
    ZLoss,
    attach_regularizers,
    router_sums,
)
from dpsl.regularizers.router_sums import stacked
from dpsl.regularizers.terms import LOSSES, named_terms
from dpsl.routers.find import find_routers
from dpsl.routers.output import chosen_experts, read_output
from priorlang.training.regularizers import Loss
from tests.dpsl.gradients import assert_same_gradients, gradients
from tests.dpsl.tiny_models import VOCABULARY, tiny

SCHEDULE = ((0.0, 0.0), (1.0, 1.0))
TERMS = (
    ZLoss(coefficient=0.3),
    LoadBalance(coefficient=0.7, layers=(1,)),
    LoadBalance(coefficient=0.2, reference="hf", schedule=SCHEDULE),
    LoadBalance(coefficient=0.4, scope="seq"),
    Entropy(coefficient=0.5, part="confidence"),
    Entropy(coefficient=0.1, part="balance"),
)
QUARTER = 0.25


def batch(seed: int) -> dict[str, Tensor]:
    ids = torch.randint(3, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[0, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def plainly(model: nn.Module, data: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """The task loss plus every term, summed by hand from the routers' logits."""
    outputs: dict[int, Any] = {}
    handles = [
        r.module.register_forward_hook(
            lambda _m, _i, out, r=r: outputs.__setitem__(r.layer, read_output(r, out))
        )
        for r in find_routers(model)
    ]
    loss = model(**data).loss
    for handle in handles:
        handle.remove()
    counted_N = data["attention_mask"].bool().flatten()
    values: dict[str, float] = {}
    for term in named_terms(TERMS):
        sums = [
            router_sums(
                read.recorded_NK.float(), chosen_experts(read, 2), counted_N,
                groups=3 if term.plan.scope == "seq" else 1,
            )
            for layer, read in outputs.items() if term.covers(layer)
        ]  # fmt: skip
        value_L = LOSSES[type(term.plan)](stacked(sums), term.plan)
        loss = loss + term.plan.coefficient * (QUARTER if term.plan.schedule else 1.0) * value_L.sum()
        values[term.name] = float(value_L.detach().mean())
    return loss, values


@pytest.mark.parametrize("kind", ["upcycled", "mixtral", "qwen2-moe"])
@pytest.mark.parametrize("reentrant", [None, False, True])
def test_gradients_equal_the_plain_sum(kind: str, reentrant: bool | None) -> None:
    plain, attached = tiny(kind), tiny(kind)
    if reentrant is not None:
        attached.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    regularizers = attach_regularizers(attached, TERMS)
    regularizers.set_progress(1, 4)
    for seed in (1, 2):
        expected_loss, expected = plainly(plain, batch(seed))
        (expected_loss / 2).backward()
        data = batch(seed)
        with regularizers.tokens(mask=data["attention_mask"]):
            loss = attached(**data).loss / 2
        regularizers.scale_with(loss, 0.5)
        loss.backward()
        assert regularizers.metrics() == pytest.approx(expected, rel=1e-5)
    assert_same_gradients(gradients(attached), gradients(plain))
    regularizers.detach()


def test_a_backward_pass_within_the_description_of_its_tokens() -> None:
    model = tiny("mixtral")
    regularizers = attach_regularizers(model, [ZLoss(coefficient=1.0)])
    with regularizers.tokens(mask=batch(1)["attention_mask"]):
        model(**batch(1)).loss.backward()
    assert all(norms["z_loss"] > 0 for norms in regularizers.arrivals().values())


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([ZLoss(coefficient=0.1, layers=(7,))], "layer 7 does not route"),
        ([LoadBalance(coefficient=0.1, reference="switch")], "defined for one expert a token"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(terms: list[Loss], message: str) -> None:
    with pytest.raises(AttachError, match=message):
        attach_regularizers(tiny("upcycled"), terms)


def test_training_without_a_description_of_its_tokens_is_refused() -> None:
    model = tiny("mixtral")
    attach_regularizers(model, [ZLoss(coefficient=0.1)])
    with pytest.raises(AttachError, match="without a description of its tokens"):
        model(**batch(1))


def test_sequences_that_nobody_described_are_refused() -> None:
    model = tiny("mixtral")
    regularizers = attach_regularizers(model, [LoadBalance(coefficient=0.1, scope="seq")])
    with pytest.raises(AttachError, match="which tokens are one sequence"), regularizers.tokens():
        model(**batch(1))


def test_a_schedule_wants_to_know_where_training_is() -> None:
    model = tiny("mixtral")
    regularizers = attach_regularizers(model, [ZLoss(coefficient=0.1, schedule=SCHEDULE)])
    with pytest.raises(AttachError, match="set_progress"), regularizers.tokens():
        model(**batch(1))
