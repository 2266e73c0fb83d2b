"""Populations, priors, micro-batches and layers of one call to the loss add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betainc
from torch import Tensor

from dpsl.loss import observe, shaping_loss_and_gradient
from dpsl.marginals import BetaMarginals
from tests.dpsl.gradients import assert_same_gradient
from tests.dpsl.plain_loss import ALPHA_PK, TARGETS, draw, ours


def separately(logits: Tensor, population: Tensor, **options: Any) -> tuple[list[float], list[int], Tensor]:
    """Value, size and gradient of each population on its own."""
    values, sizes, gradient = [], [], torch.zeros_like(logits)
    for row in range(len(ALPHA_PK)):
        members = population == row
        value, own = ours(logits[members], ALPHA_PK[row], **options)
        values.append(value)
        sizes.append(int(members.sum()))
        gradient[members] = torch.from_numpy(own).to(logits.dtype)
    return values, sizes, gradient


@given(
    sizes=st.tuples(*[st.integers(0, 30)] * 4),
    ranks=st.sampled_from(["sort", "histogram"]),
    target=st.sampled_from(list(TARGETS)),
    reduction=st.sampled_from(["tokens", "sum", "mean"]),
    least=st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_populations_add_up(
    sizes: tuple[int, ...], ranks: str, target: str, reduction: str, least: int
) -> None:
    population = torch.cat([torch.full((size,), row - 1) for row, size in enumerate(sizes)])
    population = population[torch.randperm(len(population), generator=torch.Generator().manual_seed(0))]
    logits = draw(len(population), 3)
    logits[population < 0] = torch.nan
    options = {"ranks": ranks, "target": target}
    value, gradient = ours(logits, ALPHA_PK, population, reduction=reduction, min_population=least, **options)
    smallest = max(least, 2 if target == "ustat" else 1)
    values, counts, own = separately(logits, population, **options)
    kept = [row for row in range(3) if counts[row] >= smallest]
    total = sum(counts[row] for row in kept)
    share = {
        row: {"tokens": counts[row] / total, "sum": 1.0, "mean": 1 / len(kept)}[reduction] for row in kept
    }
    assert value == pytest.approx(sum(share[row] * values[row] for row in kept), abs=1e-12)
    expected = torch.zeros_like(logits)
    for row in kept:
        expected[population == row] = own[population == row] * share[row]
    np.testing.assert_allclose(gradient, expected.numpy(), atol=1e-12)


def test_one_prior_serves_any_populations() -> None:
    logits, population = draw(30, 3), torch.arange(30) % 3
    repeated = ours(logits, ALPHA_PK[:1].expand(3, 3), population)
    far_apart = torch.tensor([-7, 5, 10**12])[population]
    shared = ours(logits, ALPHA_PK[0], far_apart)
    ignoring = ours(logits, ALPHA_PK[:1].expand(3, 3), torch.where(population == 0, -1, population))
    assert shared[0] == pytest.approx(ignoring[0], abs=1e-12)
    np.testing.assert_allclose(shared[1], ignoring[1], atol=1e-12)
    assert shared[0] != repeated[0]


@pytest.mark.parametrize("ranks", ["sort", "histogram"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("population", [[], [-1, -1], [1]])
def test_nothing_and_single_tokens(population: list[int], target: str, ranks: str) -> None:
    logits = draw(len(population), 3)
    codes = torch.tensor(population, dtype=torch.int64)
    value, gradient = ours(logits, ALPHA_PK, codes, target=target, ranks=ranks)
    if 1 in population and target != "ustat":
        place = {"eq4": 1.0, "mid": 0.5}[target]
        p = logits.softmax(1).numpy()
        assert value == pytest.approx(((place - betainc(1.0, 2.0, p)) ** 2).sum(), abs=1e-9)
    else:
        assert value == 0
        assert not gradient.any()


def test_the_core_weighs_priors_and_reports_populations() -> None:
    logits, population = draw(50, 3), torch.arange(50) % 4 - 1
    weight_R = torch.tensor([0.1, 0.0, 2.0], dtype=torch.float64)
    marginals = BetaMarginals.from_alpha(ALPHA_PK, torch.float64)
    result = shaping_loss_and_gradient(
        logits, population, population, marginals, populations=3, weight_R=weight_R, reduction="sum"
    )
    values, sizes, gradient = separately(logits, population)
    assert result.tokens_P.tolist() == sizes
    torch.testing.assert_close(result.value_P, torch.tensor(values, dtype=torch.float64))
    torch.testing.assert_close(result.value, (weight_R * torch.tensor(values, dtype=torch.float64)).sum())
    weight_N1 = torch.where(population < 0, 0.0, weight_R[population])[:, None]
    torch.testing.assert_close(result.gradient_NK, gradient * weight_N1)


def test_carried_histograms_make_micro_batches_the_whole() -> None:
    logits, population = draw(600, 3).float(), torch.arange(600) % 4 - 1
    marginals = BetaMarginals.from_alpha(ALPHA_PK, torch.float32)
    options: dict[str, Any] = {"populations": 3, "ranks": "histogram"}
    whole = shaping_loss_and_gradient(logits, population, population, marginals, **options)
    pieces = [slice(0, 250), slice(250, 251), slice(251, 600)]
    seen = [observe(logits[piece], population[piece], 3) for piece in pieces]
    value, gradients = 0.0, []
    for own, piece in enumerate(pieces):
        others = [part for place, part in enumerate(seen) if place != own]
        part = shaping_loss_and_gradient(
            logits[piece], population[piece], population[piece], marginals,
            carried=others[0].merged(others[1]), **options,
        )  # fmt: skip
        value += part.value.item()
        gradients.append(part.gradient_NK)
        assert part.tokens_P.tolist() == whole.tokens_P.tolist()
        assert part.histogram is not None
        assert torch.equal(part.histogram.counts_KQB, seen[own].counts_KQB)
    assert value == pytest.approx(whole.value.item(), rel=1e-5)
    assert_same_gradient(torch.cat(gradients), whole.gradient_NK)


@pytest.mark.parametrize("reduction", ["tokens", "sum", "mean"])
def test_layers_of_one_call_are_as_many_calls(reduction: str) -> None:
    logits, population = draw(90, 3).float(), torch.arange(90) % 3 - 1
    marginals = BetaMarginals.from_alpha(ALPHA_PK, torch.float32)
    options: dict[str, Any] = {"ranks": "histogram", "reduction": reduction}
    apart = [
        shaping_loss_and_gradient(logits[part], population[part], population[part], marginals, populations=2, **options)
        for part in (slice(0, 50), slice(50, 90))
    ]  # fmt: skip
    shifted = torch.where((torch.arange(90) < 50) | (population < 0), population, population + 2)
    joined = shaping_loss_and_gradient(
        logits, population, shifted, marginals, populations=4, layers=2, **options
    )
    torch.testing.assert_close(joined.value, apart[0].value + apart[1].value)
    torch.testing.assert_close(joined.gradient_NK, torch.cat([part.gradient_NK for part in apart]))
    torch.testing.assert_close(joined.value_P, torch.cat([part.value_P for part in apart]))
