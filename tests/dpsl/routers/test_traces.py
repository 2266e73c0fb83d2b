"""What shaping leaves alone, for every family: padding, the model's outputs, and the model itself once detached."""

from __future__ import annotations

import pytest
import torch
from batches import micro_batch, table_of
from explicit import is_router
from families import FAMILIES, build, top_k_of
from torch import Tensor, nn

import dpsl
from tests.dpsl.gradients import gradients


def hooks(model: nn.Module) -> list[tuple[int, int, int, int]]:
    return [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), len(m._backward_pre_hooks))
        for m in model.modules()
    ]


def logits_of(model: nn.Module) -> Tensor:
    inputs = micro_batch(0).inputs
    with torch.random.fork_rng():
        torch.manual_seed(5)
        logits: Tensor = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    return logits.detach()


@pytest.mark.parametrize("kind", FAMILIES)
def test_detach_leaves_the_model_as_it_was(kind: str) -> None:
    model, batch = build(kind), micro_batch(0)
    before = logits_of(model), list(model.state_dict()), hooks(model), [set(vars(m)) for m in model.modules()]
    shaper = dpsl.attach(model, table_of(top_k_of(kind)))
    with shaper.tokens(mask=batch.inputs["attention_mask"], modality=batch.modality):
        during = logits_of(model)
    assert torch.equal(during, before[0])
    assert list(model.state_dict()) == before[1]
    with shaper.tokens(mask=batch.inputs["attention_mask"], modality=batch.modality):
        model(**batch.inputs).loss.backward()
    shaper.detach()
    after = logits_of(model), list(model.state_dict()), hooks(model), [set(vars(m)) for m in model.modules()]
    assert torch.equal(after[0], before[0])
    assert after[1:] == before[1:]


@pytest.mark.parametrize("ranks", ["sort", "histogram"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_what_stands_in_padding_changes_nothing(kind: str, ranks: str) -> None:
    found = []
    for filler in (0, 7, 31):
        model, (inputs, modality) = build(kind), micro_batch(0)
        padding = inputs["attention_mask"] == 0
        inputs["input_ids"] = inputs["input_ids"].masked_fill(padding, filler)
        shaper = dpsl.attach(model, table_of(top_k_of(kind)), ranks=ranks)
        modality = modality.masked_fill(padding, filler % 2)
        with shaper.tokens(mask=inputs["attention_mask"], modality=modality):
            model(**inputs).loss.backward()
        routers = {name: gradient for name, gradient in gradients(model).items() if is_router(name)}
        found.append((routers, shaper.statistics(), shaper.metrics()))
    (routers, statistics, metrics), *others = found
    for other_routers, other_statistics, other_metrics in others:
        for name, gradient in routers.items():
            assert (other_routers[name] - gradient).norm() < 1e-5 * gradient.norm(), name
        assert (other_statistics.bins == statistics.bins).all()
        assert (other_statistics.load == statistics.load).all()
        assert other_metrics == pytest.approx(metrics, rel=1e-5)
