"""The module, what the loss refuses and warns of, and what it keeps."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dpsl
from dpsl.loss import shaping_loss_and_gradient
from dpsl.marginals import BetaMarginals
from tests.dpsl.plain_loss import ALPHA_PK, draw, ours

GOOD = {
    "logits": torch.zeros(4, 3),
    "alpha": torch.ones(2, 3),
    "population": torch.zeros(4, dtype=torch.int64),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(2, 2, 3)}, r"shape \[N, K\], not \[2, 2, 3\]"),
        ({"logits": torch.zeros(4, 3, dtype=torch.int64)}, "floating-point tensor .* not a int64 tensor"),
        ({"logits": torch.zeros(4, 1), "alpha": torch.ones(2, 1)}, "at least 2"),
        ({"logits": [[0.0, 1.0]]}, "not a list"),
        ({"alpha": torch.ones(2, 4)}, r"\[2, 4\] is for 4 experts, but logits have 3"),
        ({"alpha": torch.ones(1, 2, 3)}, r"\[K\] or \[P, K\]"),
        ({"alpha": torch.tensor([1.0, 0.0, 1.0])}, "positive and finite"),
        ({"alpha": torch.tensor([1.0, torch.nan, 1.0])}, "positive and finite"),
        ({"alpha": torch.tensor([1.0, torch.inf, 1.0])}, "positive and finite"),
        ({"alpha": [1.0, 1.0, 1.0]}, "not a list"),
        ({"population": None}, "alpha holds 2 priors"),
        ({"population": torch.zeros(4)}, "int64 tensor"),
        ({"population": torch.zeros(5, dtype=torch.int64)}, r"shape \[4\]"),
        ({"population": torch.tensor([0, 1, 2, 0])}, "population 2 has no prior"),
        (
            {"logits": torch.tensor([[0.0, 1.0, torch.nan]] * 4)},
            "NaN or infinite values in 4 of 4 tokens, first in token 0",
        ),
        (
            {"logits": torch.tensor([[0.0, 1.0, 2.0]] * 3 + [[0.0, torch.inf, 1.0]])},
            "in 1 of 4 tokens, first in token 3",
        ),
        ({"logits": torch.full((4, 3), -torch.inf)}, "−inf alone may mask an expert"),
        ({"target": "eq5"}, "'eq4', 'mid', 'ustat'"),
        ({"ranks": "bins"}, "'sort', 'histogram'"),
        ({"reduction": "none"}, "'tokens', 'sum', 'mean'"),
        ({"min_population": 0}, "at least 1"),
        ({"min_population": 2.5}, "integer"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dpsl.dirichlet_prior_shaping_loss(**{**GOOD, **change})


def test_the_module_refuses_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="learnable=True"):
        dpsl.DirichletPriorShaping(torch.nn.Parameter(torch.ones(3)))
    with pytest.raises(ValueError, match="target must be one of"):
        dpsl.DirichletPriorShaping(torch.ones(3), target="other")


def test_the_module_is_the_function() -> None:
    logits, population = draw(30, 3).float(), torch.arange(30) % 3
    layer = dpsl.DirichletPriorShaping(ALPHA_PK, target="mid", ranks="histogram", reduction="sum")
    expected = dpsl.dirichlet_prior_shaping_loss(
        logits, ALPHA_PK, population, target="mid", ranks="histogram", reduction="sum"
    )
    assert torch.equal(layer(logits, population), expected)
    assert torch.equal(layer.half()(logits, population), expected)
    assert "target='mid'" in repr(layer)
    restored = dpsl.DirichletPriorShaping(torch.ones(3, 3))
    restored.load_state_dict(layer.state_dict())
    assert torch.equal(restored.alpha, ALPHA_PK)


def test_no_gradient_is_asked_of_logits_without_one() -> None:
    value = dpsl.dirichlet_prior_shaping_loss(draw(5, 3), ALPHA_PK[0])
    assert not value.requires_grad


@pytest.mark.parametrize("ranks", ["sort", "histogram"])
def test_what_is_not_finite_is_counted(ranks: str) -> None:
    logits, population = draw(20, 3).float(), torch.arange(20) % 4 - 1
    logits[0] = torch.nan  # ignored
    logits[1, 0], logits[2, 1] = torch.nan, torch.inf
    logits[3, 2] = -torch.inf  # a masked expert
    marginals = BetaMarginals.from_alpha(ALPHA_PK, torch.float32)
    result = shaping_loss_and_gradient(logits, population, population, marginals, populations=3, ranks=ranks)
    assert result.nonfinite == 2
    assert result.value.isnan()
    logits[1:3] = 0
    result = shaping_loss_and_gradient(logits, population, population, marginals, populations=3, ranks=ranks)
    assert result.nonfinite == 0
    assert result.gradient_NK.isfinite().all()


def test_masked_experts_and_ignored_tokens_may_be_infinite() -> None:
    logits = draw(6, 3)
    logits[::2, 1] = -torch.inf
    logits[1] = torch.nan
    population = torch.tensor([0, -1, 0, 0, 0, 0])
    value, gradient = ours(logits, ALPHA_PK[:1], population)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    unchecked = dpsl.dirichlet_prior_shaping_loss(logits, ALPHA_PK[0], check_values=False)
    assert unchecked.isnan()


def test_equal_logits_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="every token has equal logits for all experts"):
        dpsl.dirichlet_prior_shaping_loss(torch.full((4, 3), 2.0), ALPHA_PK[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dpsl.dirichlet_prior_shaping_loss(torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 1.1]]), ALPHA_PK[0])


@pytest.mark.parametrize("ranks", ["sort", "histogram"])
def test_only_the_gradient_is_kept_for_the_backward_pass(ranks: str) -> None:
    logits = draw(500, 4).half().requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor) or tensor, lambda kept: kept
    ):
        dpsl.dirichlet_prior_shaping_loss(
            logits, ALPHA_PK[:1, :1].expand(1, 4), torch.arange(500) % 3 - 2, ranks=ranks
        )
    assert [tensor.shape for tensor in kept if tensor is not None] == [logits.shape]
