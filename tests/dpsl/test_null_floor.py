"""The floor is what samples of the prior itself lose."""

from __future__ import annotations

import pytest
import torch

from dpsl import dirichlet_prior_shaping_loss
from dpsl.shaping.null_floor import null_floor


@pytest.mark.parametrize("target", ["eq4", "mid", "ustat"])
@pytest.mark.parametrize("tokens", [2, 5, 64])
def test_it_is_the_mean_loss_of_samples_of_the_prior(target: str, tokens: int) -> None:
    samples = 4000
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(samples * tokens, generator=generator, dtype=torch.float64)
    # Of two experts with α = 1 the probabilities are u and 1 − u, uniform.
    logits_NK = torch.stack([u.log(), (1 - u).log()], 1).float()
    population_N = torch.arange(samples).repeat_interleave(tokens)
    alpha_K = torch.ones(2)
    loss = dirichlet_prior_shaping_loss(logits_NK, alpha_K, population_N, target=target, reduction="mean")
    floor = null_floor(torch.tensor([tokens]), target)
    assert float(loss) == pytest.approx(2 * float(floor), rel=0.05)


def test_an_empty_population_has_none() -> None:
    assert null_floor(torch.tensor([0, 1]), "eq4").tolist() == [0.0, pytest.approx(1 / 3)]
