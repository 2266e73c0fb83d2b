"""All layers of a forward pass are one call of the loss, whatever each of them shapes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import transformers
from tables import MODALITY, make_table, symmetric_table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import dpsl
from dpsl.loss import dirichlet_prior_shaping_loss
from dpsl.routers.find import find_routers
from priorlang.table.prior_table import UNSHAPED, PriorTable
from tests.dpsl.gradients import assert_same_gradient

EXPERTS, TOP_K, VOCABULARY = 4, 2, 48


def upcycled(layers: int) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    model = transformers.Qwen2ForCausalLM(config)
    dpsl.upcycle(model, experts=EXPERTS, top_k=TOP_K, noise=0.05)
    return model


def uneven_table() -> PriorTable:
    """Layer 0 unshaped, 1 with two priors, 2 with one for both, 3 with one for vision alone."""
    alpha = [[1.25, 1.25, 0.75, 0.75], [0.75, 0.75, 1.25, 1.25], [0.8, 0.8, 0.8, 0.8]]
    row_LC = np.array([[UNSHAPED, UNSHAPED], [0, 1], [2, 2], [1, UNSHAPED]], np.int32)
    return make_table(4, TOP_K, alpha, [3.0, 0.7, 1.5], row_LC, attributes=(MODALITY,))


def tokens(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randint(0, VOCABULARY, (3, 20), generator=generator),
        torch.randint(0, 2, (3, 20), generator=generator),
    )


def router_gradients(model: nn.Module) -> Iterator[Tensor]:
    for router in find_routers(model):
        for parameter in router.module.parameters():
            assert parameter.grad is not None
            yield parameter.grad.clone()
    model.zero_grad()


@pytest.mark.parametrize("ranks", ["sort", "histogram"])
def test_layers_that_shape_different_things(ranks: str) -> None:
    model, table = upcycled(4), uneven_table()
    input_ids, modality = tokens(0)
    captured: list[Tensor] = []
    handles = [
        router.module.register_forward_hook(lambda _m, _a, output: captured.append(output[0]))
        for router in find_routers(model)
    ]
    total = model(input_ids=input_ids, labels=input_ids).loss
    value: dict[int, float] = {}
    for layer, logits_NK in enumerate(captured):
        row_N = torch.from_numpy(table.row[layer]).long()[modality.flatten()]
        for row in set(row_N[row_N >= 0].tolist()):
            share = (row_N == row).sum() / (row_N >= 0).sum()
            alpha_K = torch.from_numpy(table.alpha[row])
            population_N = (row_N == row).long() - 1
            loss = dirichlet_prior_shaping_loss(logits_NK.float(), alpha_K, population_N, ranks=ranks)
            value[layer] = value.get(layer, 0.0) + float(share * table.weight[row] * loss.detach())
            total = total + share * table.weight[row] * loss
    total.backward()
    for handle in handles:
        handle.remove()
    expected = list(router_gradients(model))

    shaper = dpsl.attach(model, table, ranks=ranks)
    with shaper.tokens(modality=modality):
        model(input_ids=input_ids, labels=input_ids).loss.backward()
    for one, other in zip(router_gradients(model), expected, strict=True):
        assert_same_gradient(one, other, within=1e-4)
    metrics = shaper.metrics()
    assert metrics["layer.0.dpsl"] == 0
    for layer, loss in value.items():
        assert metrics[f"layer.{layer}.dpsl"] == pytest.approx(loss, rel=1e-4)
    assert metrics["dpsl"] == pytest.approx(sum(value.values()), rel=1e-4)


class _Operations(TorchDispatchMode):
    """Counts operations that do work; on a GPU each is at least one launch."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if not any(word in str(function) for word in ("view", "detach", "slice", "split", "expand")):
            self.count += 1
        return function(*args, **(kwargs or {}))


def operations(layers: int, *, shaped: bool) -> int:
    model, (input_ids, _) = upcycled(layers), tokens(0)
    shaper = dpsl.attach(model, symmetric_table(layers)) if shaped else None
    for _ in range(2):  # the first pass builds tables
        with shaper.tokens() if shaper is not None else nullcontext(), _Operations() as counting:
            model(input_ids=input_ids, labels=input_ids).loss.backward()
    return counting.count


def test_more_layers_add_hardly_any_operation() -> None:
    """One call of the loss takes some three hundred operations: they come once, not once a layer."""
    added = {layers: operations(layers, shaped=True) - operations(layers, shaped=False) for layers in (2, 10)}
    assert added[2] > 100
    assert added[10] - added[2] <= 8 * 10


class _InPlace(nn.Module):
    """Spoils its router's logits in place after the router has run, as some gates do."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, EXPERTS, bias=False)

    def forward(self, hidden_NH: Tensor, *, spoil: bool) -> Tensor:
        logits_NK = self.gate(hidden_NH)
        weights_NK = logits_NK.softmax(-1)
        if spoil:
            with torch.no_grad():
                logits_NK.fill_(7.0)
        return weights_NK


class _InPlaceModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_InPlace(), _InPlace()])

    def forward(self, hidden_NH: Tensor, *, spoil: bool) -> dict[str, Tensor]:
        return {"loss": sum(layer(hidden_NH, spoil=spoil).square().mean() for layer in self.layers)}


def test_logits_changed_in_place_after_the_router() -> None:
    from dpsl.routers.found import FoundRouter

    torch.manual_seed(0)
    model, hidden_NH = _InPlaceModel(), torch.randn(30, 8)
    routers = [
        FoundRouter(f"layers.{i}.gate", layer.gate, i, EXPERTS, TOP_K, 0, "own")
        for i, layer in enumerate(model.layers)
    ]
    shaper = dpsl.attach(model, symmetric_table(2), routers=routers)
    found = []
    for spoil in (False, True):
        with shaper.tokens():
            model(hidden_NH, spoil=spoil)
        found.append(shaper.metrics()["dpsl"])
    assert found[0] == found[1] > 0


def test_metrics_of_members_against_a_loop() -> None:
    model, table = upcycled(4), uneven_table()
    input_ids, modality = tokens(0)
    captured: list[tuple[Tensor, Tensor]] = []
    for router in find_routers(model):
        router.module.register_forward_hook(lambda _m, _a, output: captured.append((output[0], output[2])))
    shaper = dpsl.attach(model, table)
    with torch.no_grad(), shaper.tokens(modality=modality):
        model(input_ids=input_ids)
    metrics = shaper.metrics()
    for code, member in enumerate(("vision", "language")):
        own = modality.flatten() == code
        expected: dict[str, list[float]] = {
            name: [] for name in ("load_cov", "mass_cov", "mass_max", "top1_score")
        }
        for logits_NK, indices_Nk in captured:
            p_NK = logits_NK.detach()[own].double().softmax(-1)
            load_K = indices_Nk[own].flatten().bincount(minlength=EXPERTS).double()
            mass_K = p_NK.sum(0)
            expected["load_cov"].append(float(load_K.std(correction=0) / load_K.mean()))
            expected["mass_cov"].append(float(mass_K.std(correction=0) / mass_K.mean()))
            expected["mass_max"].append(float(mass_K.max() / mass_K.mean()))
            expected["top1_score"].append(float(p_NK.amax(-1).mean()))
        for name, values in expected.items():
            assert metrics[f"modality.{member}.{name}"] == pytest.approx(sum(values) / 4, rel=1e-5), name


def test_metrics_and_statistics_start_anew_apart() -> None:
    model, table = upcycled(2), symmetric_table(2)
    shaper = dpsl.attach(model, table)
    assert shaper.metrics() == {}
    for seed in range(2):
        shaper.reset_statistics()
        with torch.no_grad(), shaper.tokens():
            model(input_ids=tokens(seed)[0])
    both = shaper.metrics()
    assert shaper.statistics().tokens.tolist() == [60, 60]
    assert shaper.metrics() == {}
    for seed in range(2):
        with torch.no_grad(), shaper.tokens():
            model(input_ids=tokens(seed)[0])
    assert shaper.metrics() == pytest.approx(both)
    assert shaper.statistics().tokens.tolist() == [180, 180]
