"""Attached regularizers give the gradient of the plain sum of losses, at any accumulation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.regularizers import attach_regularizers
from dpsl.regularizers.terms import Term
from dpsl.routers.find import find_routers
from dpsl.routers.output import chosen_experts, read_output
from tests.dpsl.tiny_models import VOCABULARY, tiny

TERMS = (Term("z_loss", 0.3), Term("load_balance", 0.7, frozenset({1})))


def batch(seed: int) -> dict[str, Tensor]:
    ids = torch.randint(3, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[0, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plainly(model: nn.Module, data: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """The task loss plus every term, summed by hand from the routers' logits."""
    outputs: dict[int, Any] = {}
    routers = find_routers(model)
    handles = [
        r.module.register_forward_hook(
            lambda _m, _i, out, r=r: outputs.__setitem__(r.layer, read_output(r, out))
        )
        for r in routers
    ]
    loss = model(**data).loss
    for handle in handles:
        handle.remove()
    counted_N = data["attention_mask"].bool().flatten()
    values: dict[str, list[float]] = {}
    for term in TERMS:
        for layer, read in outputs.items():
            if term.covers(layer):
                value = term.value(read.recorded_NK.float(), chosen_experts(read, 2), counted_N)
                loss = loss + term.coefficient * value
                values.setdefault(term.name, []).append(value.item())
    return loss, {name: sum(v) / len(v) for name, v in values.items()}


@pytest.mark.parametrize("kind", ["upcycled", "mixtral", "qwen2-moe"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_equal_the_plain_sum(kind: str, checkpointing: bool) -> None:
    plain, attached = tiny(kind), tiny(kind)
    if checkpointing:
        attached.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    regularizers = attach_regularizers(attached, TERMS)
    for seed in (1, 2):
        expected_loss, expected = plainly(plain, batch(seed))
        (expected_loss / 2).backward()
        data = batch(seed)
        with regularizers.tokens(mask=data["attention_mask"]):
            loss = attached(**data).loss / 2
        regularizers.scale_with(loss, 0.5)
        loss.backward()
        assert regularizers.metrics() == pytest.approx(expected, rel=1e-5)
    found = gradients(attached)
    for name, gradient in gradients(plain).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-7, msg=name)
    regularizers.detach()


def test_a_layer_that_does_not_route_is_refused() -> None:
    with pytest.raises(AttachError, match="layer 7 does not route"):
        attach_regularizers(tiny("upcycled"), (Term("z_loss", 0.1, frozenset({7})),))
