"""A forgotten `end_step()` is told when the second step begins, and accumulation is never taken for a step."""

from __future__ import annotations

import pytest
import torch
from bare_routers import WIDTH, BareRouters

from dpsl.errors import AttachError
from dpsl.regularizers import DeepseekBias, LoadBalance, Regularizers, ZLoss, attach_regularizers

GLOBAL = LoadBalance(coefficient=0.1, scope="global")


def learn(model: BareRouters, regularizers: Regularizers, passes: int = 1) -> None:
    for seed in range(passes):
        hidden_NH = torch.randn(6, WIDTH, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        with regularizers.tokens():
            model(hidden_NH)["loss"].backward()


@pytest.mark.parametrize("term", [DeepseekBias(), GLOBAL], ids=["bias", "global scope"])
def test_a_second_step_without_an_end_is_told(term: object) -> None:
    model = BareRouters()
    regularizers = attach_regularizers(model, [term])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    learn(model, regularizers, passes=8)
    optimizer.step()
    with pytest.raises(AttachError, match=r"end_step\(\) after each optimizer.step\(\)"):
        learn(model, regularizers)


def test_an_engine_that_writes_past_autograd_is_seen_by_the_values() -> None:
    model = BareRouters()
    regularizers = attach_regularizers(model, [GLOBAL])
    learn(model, regularizers)
    for layer in model.layers:
        layer.weight.data.add_(0.1)
    with pytest.raises(AttachError, match="nobody said that an optimizer step was done"):
        learn(model, regularizers)


def test_steps_that_end_are_not_told() -> None:
    model = BareRouters()
    regularizers = attach_regularizers(model, [GLOBAL, DeepseekBias()])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for place in range(4):
        learn(model, regularizers, passes=3)
        # Either order of the two.
        steps = [optimizer.step, regularizers.end_step]
        for step in steps if place % 2 else reversed(steps):
            step()
        with torch.no_grad(), regularizers.tokens():
            model.eval()(torch.randn(2, WIDTH))
        model.train()
    model.to(torch.bfloat16)
    learn_in_half = torch.randn(6, WIDTH, dtype=torch.bfloat16, requires_grad=True)
    with regularizers.tokens():
        model(learn_in_half)["loss"].backward()


def test_losses_of_one_pass_need_no_end() -> None:
    model = BareRouters()
    regularizers = attach_regularizers(model, [ZLoss(coefficient=0.1)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        learn(model, regularizers)
        optimizer.step()
