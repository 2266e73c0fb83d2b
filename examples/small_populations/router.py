"""A linear router trained by the shaping loss alone, on populations of n tokens.

Dimensions: R seeds, B tokens a step, D input features, K experts, G populations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betainc
from torch import Tensor

from dpsl import dirichlet_prior_shaping_loss
from dpsl.ecdf import RankMethod, Target

EXPERTS, FEATURES = 4, 16
ALPHA = 2.0
BATCH = 512
STEPS = 200
LEARNING_RATE = 0.05
"""Of Adam at the first step; it falls to 0 at the last."""
HELD_OUT = 8192


@dataclass(frozen=True)
class Setting:
    """What the loss is told."""

    tokens: int
    """Of each population, n."""
    target: Target
    ranks: RankMethod


@dataclass(frozen=True, eq=False)
class Outcome:
    """Of each seed, on held-out tokens as one population [R].

    Attributes:
        loss: Eq. 4.
        variance: of u = F(p), averaged over experts; 1/12 under the prior, where u is uniform.
    """

    loss: NDArray[np.float64]
    variance: NDArray[np.float64]


def train(setting: Setting, seeds: Sequence[int], steps: int = STEPS) -> Outcome:
    """Train a router per seed, all at once: 512 tokens a step, in populations of n."""
    generators = [np.random.default_rng(seed) for seed in seeds]
    weight_RDK = _normal(generators, FEATURES, EXPERTS).mul_(FEATURES**-0.5).requires_grad_()
    alpha_K = torch.full((EXPERTS,), ALPHA, dtype=torch.float64)
    populations = BATCH // setting.tokens
    tokens = populations * setting.tokens
    population = torch.arange(len(seeds) * populations).repeat_interleave(setting.tokens)
    optimizer = torch.optim.Adam([weight_RDK], lr=LEARNING_RATE)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    for _ in range(steps):
        logits_RBK = _normal(generators, tokens, FEATURES) @ weight_RDK
        loss = dirichlet_prior_shaping_loss(
            logits_RBK.flatten(0, 1), alpha_K, population, target=setting.target, ranks=setting.ranks
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    return measured(weight_RDK.detach(), generators)


def measured(weight_RDK: Tensor, generators: Sequence[np.random.Generator]) -> Outcome:
    """How a router of each seed does on held-out tokens."""
    alpha_K = torch.full((EXPERTS,), ALPHA, dtype=torch.float64)
    held_out_RBK = (_normal(generators, HELD_OUT, FEATURES) @ weight_RDK).double()
    return Outcome(
        loss=np.array(
            [dirichlet_prior_shaping_loss(logits_BK, alpha_K).item() for logits_BK in held_out_RBK]
        ),
        variance=_uniform(held_out_RBK).var(axis=1).mean(axis=1),
    )


def _normal(generators: Sequence[np.random.Generator], rows: int, columns: int) -> Tensor:
    values = [generator.standard_normal((rows, columns), dtype=np.float32) for generator in generators]
    return torch.from_numpy(np.stack(values))


def _uniform(logits_RBK: Tensor) -> NDArray[np.float64]:
    """U = F(p) of the prior's Beta marginal."""
    others = (EXPERTS - 1) * ALPHA
    return np.asarray(betainc(ALPHA, others, logits_RBK.softmax(-1).numpy()))
