"""The paper's training (Appendix B.2), paired: one warm-up per seed, from which every row continues.

Dimensions: S seeds, N points, K clusters.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from mixtures import MISSPECIFIED, MIXTURES, Mixture, Samples, sample
from network import CLUSTERS, Networks
from secu import SeCu
from swav import Swav
from torch import Tensor

from dpsl import DirichletPriorShaping

EPOCHS = 50
WARM_UP = 40
LEARNING_RATE = 0.01
VIEW_NOISE = 0.5
"""Standard deviation of what sets a view apart from its point, in standardised coordinates."""

METHODS = (Swav, SeCu)
Method = Swav | SeCu
Order = Literal["fixed", "by size", "reversed"]


@dataclass(frozen=True)
class Row:
    """What the last epochs add to the clustering loss.

    Attributes:
        name: in the tables.
        weight: λ; 0 for the baseline.
        order: the prior's components belong to prototypes as they come ("fixed"), to clusters from the largest to
            the smallest as the warm-up left them ("by size"), or the other way round ("reversed").
        alpha: the prior; None: the mixture's own.
    """

    name: str
    weight: float
    order: Order = "by size"
    alpha: tuple[float, float, float] | None = None


BASELINE = Row("baseline", 0.0)
LITERAL = Row("as printed: λ .01, fixed order", 0.01, "fixed")
TUNED = Row("λ .3, attached by size", 0.3)
REVERSED = Row("λ .3, reversed order", 0.3, "reversed")
SYMMETRIC = Row("λ .3, symmetric (1, 1, 1)", 0.3, alpha=(1.0, 1.0, 1.0))
LITERAL_MISSPECIFIED = Row("as printed, (1.5, 1, 1)", 0.01, "fixed", MISSPECIFIED)
TUNED_MISSPECIFIED = Row("λ .3, by size, (1.5, 1, 1)", 0.3, alpha=MISSPECIFIED)
ROWS = (BASELINE, LITERAL, TUNED, REVERSED, SYMMETRIC, LITERAL_MISSPECIFIED, TUNED_MISSPECIFIED)


@dataclass(frozen=True, eq=False)
class Study:
    """One mixture under one method: the clusters that each row assigns.

    Attributes:
        mixture: which.
        method: name of the method.
        samples: the points.
        clusters: by name of the row, int64 [S, N].
    """

    mixture: Mixture
    method: str
    samples: Samples
    clusters: dict[str, Tensor]


def run_mixture(
    mixture: Mixture,
    seeds: Sequence[int],
    rows: Sequence[Row] = ROWS,
    epochs: int = EPOCHS,
    warm_up: int = WARM_UP,
) -> list[Study]:
    """Train every method and row on one mixture; the same data, initial weights and noise for all of them."""
    generators = [np.random.default_rng([seed, MIXTURES.index(mixture)]) for seed in seeds]
    samples = sample(mixture, generators)
    initial = Networks(generators)
    views = _views(samples.points_SN2, generators, epochs)
    studies = []
    for method in METHODS:
        start = _Training(copy.deepcopy(initial), method())
        for views_S2M in views[:warm_up]:
            start.step(views_S2M)
        points_S2N = samples.points_SN2.transpose(1, 2)
        sizes_SK = cluster_sizes(start.networks.assign(points_S2N))
        clusters = {}
        for row in rows:
            training = start.branch()
            shaping = _shaping(prior(row, mixture, sizes_SK)) if row.weight else None
            for views_S2M in views[warm_up:]:
                training.step(views_S2M, shaping, row.weight)
            clusters[row.name] = training.networks.assign(points_S2N)
        studies.append(Study(mixture, method.name, samples, clusters))
    return studies


def cluster_sizes(clusters_SN: Tensor) -> Tensor:
    """Points of each cluster, int64 [S, K]."""
    return torch.nn.functional.one_hot(clusters_SN, CLUSTERS).sum(dim=1)


def prior(row: Row, mixture: Mixture, sizes_SK: Tensor) -> Tensor:
    """α [S, K] of a row, in the order of each seed's prototypes."""
    alpha_K = torch.tensor(row.alpha or mixture.alpha, dtype=torch.float64)
    if row.order == "fixed":
        return alpha_K.expand(len(sizes_SK), -1)
    alpha_K = alpha_K.sort(descending=row.order == "by size").values
    rank_SK = sizes_SK.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return alpha_K[rank_SK]


class _Training:
    """The networks of all seeds, their method and their optimizer."""

    def __init__(self, networks: Networks, method: Method) -> None:
        self.networks = networks
        self.method = method
        self.optimizer = torch.optim.Adam(networks.parameters(), lr=LEARNING_RATE)

    def branch(self) -> _Training:
        """The same state, going its own way."""
        twin = _Training(copy.deepcopy(self.networks), self.method.branch())
        twin.optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        return twin

    def step(
        self, views_S2M: Tensor, shaping: DirichletPriorShaping | None = None, weight: float = 0.0
    ) -> None:
        loss, cosine_SKM = self.method.loss(self.networks, views_S2M)
        if shaping is not None:
            loss = loss + weight * _shaping_loss(shaping, cosine_SKM / self.method.temperature)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def _shaping(alpha_SK: Tensor) -> DirichletPriorShaping:
    """The prior of every seed's two views."""
    return DirichletPriorShaping(alpha_SK.repeat_interleave(2, dim=0), reduction="sum")


def _shaping_loss(shaping: DirichletPriorShaping, logits_SKM: Tensor) -> Tensor:
    """Eq. 4 of each view, summed over views and seeds: each view of each seed is a population."""
    seeds, clusters, points = logits_SKM.shape
    population = torch.arange(2 * seeds).repeat_interleave(points // 2)
    return shaping(logits_SKM.transpose(1, 2).reshape(-1, clusters), population)


def _views(points_SN2: Tensor, generators: Sequence[np.random.Generator], epochs: int) -> list[Tensor]:
    """Two noisy views of the points per epoch, one after the other: [S, 2, 2N] each."""
    shape = (epochs, 2, 2, points_SN2.shape[1])
    noise_SEV2N = torch.from_numpy(np.stack([g.standard_normal(shape, dtype=np.float32) for g in generators]))
    views_SEV2N = points_SN2.transpose(1, 2)[:, None, None] + VIEW_NOISE * noise_SEV2N
    return list(views_SEV2N.transpose(2, 3).flatten(3).unbind(1))
