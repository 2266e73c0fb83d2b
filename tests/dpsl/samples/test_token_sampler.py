"""Tokens that are drawn at routers are those that count, and experts are compared on their own outputs."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from tables import modality_table
from tiny_models import EXPERTS, LAYERS, VOCABULARY, tiny
from torch import Tensor, nn

from dpsl.attaching import attach
from dpsl.samples import sampling
from dpsl.samples.experts import similarity_of_experts
from dpsl.samples.reservoir import Reservoir

IDS = torch.randint(3, VOCABULARY - 1, (3, 16), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["upcycled", "mixtral", "gpt-oss", "deepseek-v3"])
def test_tokens_are_those_that_count_with_the_routers_own_probabilities(kind: str) -> None:
    model = tiny(kind).eval()
    shaper = attach(model, modality_table())
    mask = torch.ones_like(IDS)
    mask[0, 10:] = 0
    modality = torch.zeros_like(IDS)
    modality[:, 8:] = 1
    with sampling(model, shaper) as sampler, torch.no_grad(), shaper.tokens(mask, modality=modality):
        model(input_ids=IDS, attention_mask=mask)
    assert sampler is not None
    samples, statistics = sampler.taken(), shaper.statistics()
    assert Counter(samples.group.tolist()) == dict(enumerate(statistics.tokens.tolist()))
    for group, tokens in enumerate(statistics.tokens.tolist()):
        means_K = samples.tokens_of(group).mean(0)
        assert means_K == pytest.approx(statistics.probability[group] / tokens, abs=2e-3)
    assert samples.similarity.shape == (LAYERS, EXPERTS, EXPERTS)
    assert samples.compared == int(mask.sum())
    shaper.detach()
    assert not any(module._forward_hooks for module in model.modules())


def test_nothing_is_drawn_without_a_shaper_or_without_tokens() -> None:
    with sampling(nn.Linear(2, 2), None) as sampler:
        assert sampler is None
    model = tiny("mixtral")
    shaper = attach(model, modality_table())
    with sampling(model, shaper) as sampler:
        pass
    assert sampler is not None
    samples = sampler.taken()
    assert samples.probability.shape == (0, EXPERTS)
    assert samples.similarity.shape == (0, EXPERTS, EXPERTS)
    shaper.detach()


def test_experts_that_fail_cost_a_warning_and_no_run() -> None:
    model = tiny("upcycled").eval()
    shaper = attach(model, modality_table())
    with sampling(model, shaper) as sampler, torch.no_grad(), shaper.tokens(modality=torch.zeros_like(IDS)):
        model(input_ids=IDS)
    assert sampler is not None
    block = model.get_submodule(shaper.routers[1].name.rpartition(".")[0])
    block.experts[0].register_forward_pre_hook(_refuse)  # type: ignore[index, union-attr]
    with pytest.warns(UserWarning, match="layer 1 .* cannot be compared .no memory"):
        samples = sampler.taken()
    assert samples.layer.tolist() == [0]
    assert len(samples.probability)
    shaper.detach()


def _refuse(*_arguments: object) -> None:
    raise torch.OutOfMemoryError("no memory\nat all")


class _Block(nn.Module):
    """Experts that are given multiples of one matrix."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        one = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
        self.experts = nn.ModuleList(nn.Linear(6, 6, bias=False) for _ in factors)
        with torch.no_grad():
            for expert, factor in zip(self.experts, factors, strict=True):
                expert.weight.copy_(factor * one)  # type: ignore[operator]


def test_the_cosine_of_known_experts() -> None:
    inputs_NH = torch.randn(50, 6, generator=torch.Generator().manual_seed(2))
    found = similarity_of_experts(_Block(1.0, 3.0, -0.5), inputs_NH, 3)
    assert found is not None
    torch.testing.assert_close(found, torch.tensor([[1.0, 1, -1], [1, 1, -1], [-1, -1, 1]]))


@pytest.mark.parametrize("block", [nn.Linear(2, 2), _Block(1.0, 1.0)])
def test_experts_of_an_unknown_kind_are_not_compared(block: nn.Module) -> None:
    assert similarity_of_experts(block, torch.zeros(3, 6), 3) is None


@pytest.mark.parametrize("pieces", [1, 7, 30])
def test_a_reservoir_keeps_every_row_with_the_same_chance(pieces: int) -> None:
    rows, room, rounds = torch.arange(100), 20, 100
    generator = torch.Generator().manual_seed(3)
    kept = torch.zeros(100)
    for _ in range(rounds):
        reservoir = Reservoir(room, generator)
        for piece in rows.tensor_split(pieces):
            reservoir.add(piece)
        found: Tensor | None = reservoir.rows()
        assert found is not None
        assert len(found.unique()) == len(reservoir) == room
        kept[found] += 1
    # Binomial with mean 20 and standard deviation 4.
    assert kept.min() > 4
    assert kept.max() < 38


def test_a_reservoir_without_room_or_rows_is_empty() -> None:
    generator = torch.Generator()
    for reservoir, rows in (
        (Reservoir(0, generator), torch.ones(3)),
        (Reservoir(3, generator), torch.ones(0)),
    ):
        reservoir.add(rows)
        assert len(reservoir) == 0
        assert reservoir.rows() is None
