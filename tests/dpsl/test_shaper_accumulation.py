"""Gradient accumulation and data parallelism, together, give the gradient of one big batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bare_routers import EXPERTS, LAYERS, WIDTH, BareRouters, run_ranks
from tables import modality_table
from torch import Tensor

import dpsl
from dpsl.errors import AttachError
from dpsl.shaper import Shaper


def micro_batch(rank: int, place: int) -> tuple[Tensor, Tensor]:
    """Hidden states and modalities: uneven in number, rank 0 without language, one micro-batch empty."""
    generator = torch.Generator().manual_seed(100 * rank + place)
    tokens = 0 if (rank, place) == (1, 2) else 20 + 7 * rank + 11 * place
    hidden_NH = torch.randn(tokens, WIDTH, generator=generator) * (1 + place)
    modality = torch.randint(0, 2, (1, tokens), generator=generator)
    return hidden_NH, modality if rank else torch.zeros_like(modality)


def shaped(model: BareRouters, window: int = 1) -> Shaper:
    return dpsl.attach(model, modality_table(LAYERS, EXPERTS, 2), window=window)


def run(shaper: Shaper, model: BareRouters, batch: tuple[Tensor, Tensor]) -> Tensor:
    hidden_NH, modality = batch
    with shaper.tokens(modality=modality):
        loss: Tensor = model(hidden_NH.clone().requires_grad_())["loss"]
    return loss


def train(shaper: Shaper, model: BareRouters, batches: list[tuple[Tensor, Tensor]]) -> None:
    for batch in batches:
        (run(shaper, model, batch) / len(batches)).backward()


def looked_ahead(model: BareRouters, batches: list[tuple[Tensor, Tensor]]) -> None:
    shaper = shaped(model)
    with shaper.look_ahead():
        for batch in batches:
            run(shaper, model, batch)
    assert shaper.metrics() == {}
    train(shaper, model, batches)


def looked_back(model: BareRouters, batches: list[tuple[Tensor, Tensor]]) -> None:
    """The second of two equal steps: the window then holds the other micro-batches."""
    shaper = shaped(model, window=len(batches))
    train(shaper, model, batches)
    model.zero_grad()
    train(shaper, model, batches)


ACCUMULATIONS = (1, 4)
WAYS = {"ahead": looked_ahead, "back": looked_back}


def _work(rank: int, folder: Path) -> None:
    found = {}
    for micro_batches in ACCUMULATIONS:
        for name, way in WAYS.items():
            model = BareRouters()
            way(model, [micro_batch(rank, place) for place in range(micro_batches)])
            found[name, micro_batches] = model.averaged_gradients()
    if rank == 0:
        torch.save(found, folder / "found.pt")


def big_batch(ranks: int, micro_batches: int) -> list[Tensor]:
    parts = [micro_batch(rank, place) for rank in range(ranks) for place in range(micro_batches)]
    model = BareRouters()
    train(shaped(model), model, [(torch.cat([h for h, _ in parts]), torch.cat([m for _, m in parts], 1))])
    return [layer.weight.grad for layer in model.layers]


@pytest.mark.parametrize("ranks", [2, 4])
def test_all_micro_batches_of_all_ranks_are_one_batch(tmp_path: Path, ranks: int) -> None:
    run_ranks(_work, ranks, tmp_path)
    found = torch.load(tmp_path / "found.pt")
    for micro_batches in ACCUMULATIONS:
        expected = big_batch(ranks, micro_batches)
        for name in WAYS:
            for got, want in zip(found[name, micro_batches], expected, strict=True):
                largest = float(want.abs().max())
                torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6 * largest)


@pytest.mark.parametrize("way", WAYS)
def test_one_process_accumulates_the_gradient_of_one_batch(way: str) -> None:
    model = BareRouters()
    WAYS[way](model, [micro_batch(1, place) for place in range(4)])
    expected = BareRouters()
    parts = [micro_batch(1, place) for place in range(4)]
    train(
        shaped(expected), expected, [(torch.cat([h for h, _ in parts]), torch.cat([m for _, m in parts], 1))]
    )
    alone = BareRouters()
    train(shaped(alone), alone, parts)
    for layer, want, each in zip(model.layers, expected.layers, alone.layers, strict=True):
        largest = float(want.weight.grad.abs().max())
        torch.testing.assert_close(layer.weight.grad, want.weight.grad, rtol=1e-4, atol=1e-6 * largest)
        # Micro-batches that stand alone do not add up to it.
        assert (each.weight.grad - want.weight.grad).abs().max() > 0.05 * largest


def test_a_resumed_run_remembers_the_tokens_of_its_window() -> None:
    before, after = [micro_batch(1, 0), micro_batch(1, 1)], [micro_batch(1, 3)]
    gradients = []
    for resumed in (False, True):
        model = BareRouters()
        shaper = shaped(model, window=3)
        train(shaper, model, before)
        model.zero_grad()
        if resumed:
            state = {name: values.clone() for name, values in shaper.state_dict().items()}
            shaper.detach()
            shaper = shaped(model, window=3)
            shaper.load_state_dict(state)
        train(shaper, model, after)
        gradients.append([layer.weight.grad for layer in model.layers])
    for straight, resumed_gradient in zip(*gradients, strict=True):
        assert torch.equal(straight, resumed_gradient)


def test_one_more_pass_than_looked_ahead_over_is_refused() -> None:
    model = BareRouters()
    shaper = shaped(model)
    with shaper.look_ahead():
        run(shaper, model, micro_batch(1, 0))
    run(shaper, model, micro_batch(1, 0))
    with pytest.raises(AttachError, match="saw 1 forward passes, and this is one more"):
        run(shaper, model, micro_batch(1, 1))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"window": 2, "ranks": "sort"}, "exact ranks cannot be carried"),
        ({"window": 2, "scope": "micro"}, "every forward pass stands alone"),
        ({"window": 0}, "at least 1"),
        ({"ranks": "exact"}, "'sort', 'histogram'"),
        ({"target": "z"}, "'eq4', 'mid', 'ustat'"),
        ({"scope": "x"}, "'global', 'micro'"),
        ({"min_population": 0}, "min_population"),
    ],
)
def test_windows_that_cannot_be(options: dict[str, object], told: str) -> None:
    with pytest.raises(AttachError, match=told):
        dpsl.attach(BareRouters(), modality_table(LAYERS, EXPERTS, 2), **options)


def test_looking_ahead_needs_histograms() -> None:
    shaper = dpsl.attach(BareRouters(), modality_table(LAYERS, EXPERTS, 2), ranks="sort")
    with pytest.raises(AttachError, match="histograms"), shaper.look_ahead():
        pass
