"""The global scope: two ranks are one process with the tokens of both, and counts are of the optimizer step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bare_routers import EXPERTS, WIDTH, BareRouters, run_ranks
from torch import Tensor

from dpsl.regularizers import (
    BatchShaping,
    DeepseekBias,
    Entropy,
    LoadBalance,
    Regularizers,
    ZLoss,
    attach_regularizers,
)
from tests.dpsl.gradients import assert_same_gradient

GLOBAL = (
    LoadBalance(coefficient=0.7, scope="global"),
    LoadBalance(coefficient=0.3, reference="hf", scope="global"),
    ZLoss(coefficient=0.2, scope="global"),
    Entropy(coefficient=0.5, part="balance", scope="global"),
    BatchShaping(coefficient=0.3, scope="global"),
    DeepseekBias(update_rate=0.01),
)
TOKENS = (24, 40)


def hidden_of(rank: int) -> Tensor:
    return torch.randn(TOKENS[rank], WIDTH, generator=torch.Generator().manual_seed(rank))


def regularized(hidden_NH: Tensor) -> tuple[BareRouters, Regularizers]:
    model = BareRouters()
    regularizers = attach_regularizers(model, GLOBAL)
    with regularizers.tokens():
        model(hidden_NH.requires_grad_())["loss"].backward()
    regularizers.end_step()
    return model, regularizers


def biases(model: BareRouters) -> list[Tensor]:
    return [layer.selection_bias.value for layer in model.layers]


def on_a_rank(rank: int, folder: Path) -> None:
    model, regularizers = regularized(hidden_of(rank))
    found = {"gradients": model.averaged_gradients(), "metrics": regularizers.metrics(across_ranks=True)}
    found["biases"] = biases(model)
    if rank == 0:
        torch.save(found, folder / "found.pt")


def test_two_ranks_of_the_global_scope_are_one_batch(tmp_path: Path) -> None:
    run_ranks(on_a_rank, 2, tmp_path)
    found = torch.load(tmp_path / "found.pt")
    model, regularizers = regularized(torch.cat([hidden_of(0), hidden_of(1)]))
    for gradient, layer in zip(found["gradients"], model.layers, strict=True):
        assert layer.weight.grad.abs().max() > 1e-4
        assert_same_gradient(gradient, layer.weight.grad)
    assert found["metrics"] == pytest.approx(regularizers.metrics(), rel=1e-5)
    assert all(torch.equal(a, b) and a.any() for a, b in zip(found["biases"], biases(model), strict=True))


def test_counts_of_the_global_scope_are_of_the_optimizer_step() -> None:
    model = BareRouters()
    regularizers = attach_regularizers(model, [LoadBalance(coefficient=1.0, scope="global")])
    one_NH, two_NH = hidden_of(0), hidden_of(1)

    def value(hidden_NH: Tensor) -> float:
        with regularizers.tokens():
            model(hidden_NH)
        return regularizers.metrics()["load_balance"]

    value(one_NH)
    among_both = value(two_NH)
    regularizers.end_step()
    alone = value(two_NH)
    regularizers.detach()

    def slots(hidden_NH: Tensor, layer: int) -> Tensor:
        chosen = model.layers[layer](hidden_NH)[2]
        return torch.bincount(chosen.flatten(), minlength=EXPERTS)

    def by_hand(carried: int) -> float:
        total = 0.0
        for layer, router in enumerate(model.layers):
            mean_K = router(two_NH)[0].detach().softmax(-1).mean(0)
            both = slots(two_NH, layer) + carried * slots(one_NH, layer)
            total += float(EXPERTS / 2 * (both / both.sum() * 2 * mean_K).sum()) / len(model.layers)
        return total

    assert among_both == pytest.approx(by_hand(1), rel=1e-5)
    assert alone == pytest.approx(by_hand(0), rel=1e-5)
    assert abs(among_both - alone) > 1e-3
