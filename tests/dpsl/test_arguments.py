"""What the loss on its own refuses, and what it leaves alone."""

from __future__ import annotations

import warnings

import pytest
import torch

import dpsl

ALPHA = torch.tensor([0.5, 0.75, 1.0])


def probabilities() -> torch.Tensor:
    return torch.rand(8, 3, generator=torch.Generator().manual_seed(0)).softmax(1)


def test_ignored_rows_may_be_no_probabilities() -> None:
    given = probabilities()
    population = torch.tensor([0] * 6 + [-1] * 2)
    kept = dpsl.dirichlet_prior_shaping_loss(given[:6], ALPHA, inputs="probabilities")
    given[6], given[7] = 0.0, torch.nan
    leaf = given.requires_grad_()
    loss = dpsl.dirichlet_prior_shaping_loss(leaf, ALPHA, population, inputs="probabilities")
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(kept))
    assert leaf.grad is not None
    assert not leaf.grad[6:].any()


def test_rows_are_looked_at_where_values_are() -> None:
    given = probabilities()
    given[3] = torch.nan
    with pytest.raises(ValueError, match="1 of 8 rows are no probabilities"):
        dpsl.dirichlet_prior_shaping_loss(given, ALPHA, inputs="probabilities")
    dpsl.dirichlet_prior_shaping_loss(given * 2, ALPHA, inputs="probabilities", check_values=False)


@pytest.mark.parametrize("transform", [torch.vmap, torch.func.grad])
def test_transformations_are_refused(transform: object) -> None:
    assert callable(transform)
    logits = torch.randn(8, 3) if transform is torch.func.grad else torch.randn(2, 8, 3)
    with pytest.raises(ValueError, match="a population for each batch"):
        transform(lambda given: dpsl.dirichlet_prior_shaping_loss(given, ALPHA))(logits)


def test_one_population_of_equal_logits_is_warned_of() -> None:
    logits = torch.randn(9, 3, generator=torch.Generator().manual_seed(1))
    population = torch.tensor([0, 0, 0, 1, 1, 1, 2, -1, -1])
    logits[3:7] = 0.5
    logits[7:] = 0.0
    with pytest.warns(UserWarning, match="every token of population 1 has equal logits"):
        dpsl.dirichlet_prior_shaping_loss(logits, ALPHA, population)
    logits[5, 0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dpsl.dirichlet_prior_shaping_loss(logits, ALPHA, population)
