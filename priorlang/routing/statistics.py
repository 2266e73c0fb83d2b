"""How a model routed: sums and histograms for each layer, population and expert, and what follows from them.

Statistics add: every array but the names is a sum over tokens. Scores are binned in ℓ = logit p on one
fixed grid, so that two runs, two ranks or two stages can be compared and added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, expit

from priorlang.routing.class_sums import ClassSums
from priorlang.table.prior_table import UNSHAPED, PriorTable

BINS = 1024
REACH = 30.0
"""The grid's bins divide [-REACH, REACH] in ℓ evenly; scores beyond are counted in the outermost."""
GRID_P: NDArray[np.float64] = expit(np.linspace(-REACH, REACH, BINS + 1))
"""[1025], the grid's edges as probabilities; the outermost are 0 and 1."""
GRID_P[[0, -1]] = 0.0, 1.0


@dataclass(frozen=True, eq=False)
class RoutingStatistics:
    """Routing over some stretch of tokens. L routed layers, G groups of tokens, K experts.

    A group is the tokens of one layer and one population of the prior; each layer with unshaped classes has
    one more.

    Attributes:
        layer: [L] int32, decoder-layer indices.
        group_layer: [G] int32, place in `layer`.
        group_population: [G] int32, population of the prior table, -1 unshaped.
        group_name: G readable names.
        tokens: [G] int64.
        load: [G, K] int64, top-k slots taken.
        top: [G, K] int64, tokens with their largest p here.
        probability: [G, K] float64, Σ p over tokens.
        log_probability: [G, K] float64, Σ ln p; an expert that is barred counts as −10⁴.
        bins: [G, K, 1024] int32, histogram of ℓ.
        classes: the same sums for each token class; None where there are too many of them.
    """

    layer: NDArray[np.int32]
    group_layer: NDArray[np.int32]
    group_population: NDArray[np.int32]
    group_name: tuple[str, ...]
    tokens: NDArray[np.int64]
    load: NDArray[np.int64]
    top: NDArray[np.int64]
    probability: NDArray[np.float64]
    log_probability: NDArray[np.float64]
    bins: NDArray[np.int32]
    classes: ClassSums | None = None

    @classmethod
    def of(
        cls,
        layer: ArrayLike,
        group_layer: ArrayLike,
        group_name: Sequence[str],
        group_population: ArrayLike,
        *,
        tokens: ArrayLike,
        load: ArrayLike,
        top: ArrayLike,
        probability: ArrayLike,
        log_probability: ArrayLike,
        bins: ArrayLike,
        classes: ClassSums | None = None,
    ) -> RoutingStatistics:
        """From anything array-like, in the dtypes of this class."""
        return cls(
            np.asarray(layer, np.int32),
            np.asarray(group_layer, np.int32),
            np.asarray(group_population, np.int32),
            tuple(group_name),
            np.asarray(tokens, np.int64),
            np.asarray(load, np.int64),
            np.asarray(top, np.int64),
            np.asarray(probability, np.float64),
            np.asarray(log_probability, np.float64),
            np.asarray(bins, np.int32),
            classes,
        )

    @classmethod
    def read(cls, path: str | PathLike[str]) -> RoutingStatistics:
        """Read what `save` wrote.

        Raises:
            PriorError: the file is missing or holds no routing statistics.
        """
        from priorlang.routing.storage import read_statistics

        return read_statistics(Path(path))

    def save(self, path: str | PathLike[str]) -> None:
        """Write a safetensors file; a kill leaves the old file or the new one."""
        from priorlang.routing.storage import write_statistics

        write_statistics(self, Path(path))

    def groups_of(self, layer: int) -> NDArray[np.intp]:
        """The groups of a decoder layer."""
        return np.flatnonzero(self.layer[self.group_layer] == layer)

    def merged(self, groups: Sequence[NDArray[np.intp]], names: Sequence[str]) -> RoutingStatistics:
        """New groups, each the sum of some of these (as: every vision population of a layer).

        A merged group keeps its population where all its parts share it, else it has none (-1). Sums of token
        classes are left out.
        """

        def summed(array: NDArray[Any]) -> NDArray[Any]:
            return np.stack([array[group].sum(0, dtype=array.dtype) for group in groups])

        def shared(array: NDArray[np.int32], otherwise: int) -> list[int]:
            return [
                int(array[group][0]) if len(set(array[group].tolist())) == 1 else otherwise
                for group in groups
            ]

        return RoutingStatistics.of(
            self.layer, shared(self.group_layer, -1), names, shared(self.group_population, UNSHAPED),
            tokens=summed(self.tokens), load=summed(self.load), top=summed(self.top),
            probability=summed(self.probability), log_probability=summed(self.log_probability),
            bins=summed(self.bins),
        )  # fmt: skip

    def score_histogram(self, edges: ArrayLike) -> NDArray[np.float64]:
        """[G, K, len(edges) − 1], scores p between edges in [0, 1], to the grid's resolution."""
        return np.diff(_cumulative(self, np.asarray(edges, np.float64)), axis=-1)


def load_share(statistics: RoutingStatistics) -> NDArray[np.float64]:
    """[G, K], the fraction of a group's top-k slots that each expert took; NaN for a group without tokens."""
    return _ratio(statistics.load, statistics.load.sum(-1, keepdims=True))


def mean_probability(statistics: RoutingStatistics) -> NDArray[np.float64]:
    """[G, K], the mean of p; NaN for a group without tokens."""
    return _ratio(statistics.probability, statistics.tokens[:, None])


def score_quantile(statistics: RoutingStatistics, quantile: float) -> NDArray[np.float64]:
    """[G, K], a quantile of p, to the grid's resolution; NaN for a group without tokens."""
    result = np.full(statistics.bins.shape[:2], np.nan)
    for group, expert in np.argwhere(statistics.bins.sum(-1) > 0):
        cumulative = np.concatenate([[0], statistics.bins[group, expert].cumsum(dtype=np.int64)])
        result[group, expert] = np.interp(quantile * cumulative[-1], cumulative, GRID_P)
    return result


def score_spread(statistics: RoutingStatistics) -> NDArray[np.float64]:
    """[G, K], the 90th minus the 10th percentile of p: near 0 where a router treats all tokens alike."""
    return score_quantile(statistics, 0.9) - score_quantile(statistics, 0.1)


def ks_distance(statistics: RoutingStatistics, table: PriorTable) -> NDArray[np.float64]:
    """[G, K], the largest distance between the CDF of p and its Beta marginal, at the grid's edges.

    NaN for a group without tokens or prior. The table must be the one the statistics were gathered with.
    """
    distance = np.full(statistics.bins.shape[:2], np.nan)
    for group, alpha in enumerate(group_alpha(statistics, table)):
        if alpha is not None and statistics.tokens[group]:
            distance[group] = cdf_gaps(statistics.bins[group], alpha)[0]
    return distance


def cdf_gaps(
    bins: NDArray[np.int64], alpha: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest gap between the CDF of each expert's scores and its Beta marginal, and the RMS over tokens.

    Args:
        bins: [K, 1024], histograms of ℓ with at least one token each.
        alpha: [K].

    Returns:
        [K] and [K], at the resolution of the grid.
    """
    counts = bins / bins.sum(-1, keepdims=True)
    values, which = np.unique(alpha, return_inverse=True)
    edges = betainc(values[:, None], alpha.sum() - values[:, None], GRID_P[None, :])[which]
    gap = np.concatenate([np.zeros((len(bins), 1)), counts.cumsum(-1)], axis=-1) - edges
    inside = 0.5 * (gap[:, 1:] + gap[:, :-1])
    return np.abs(gap).max(-1), np.sqrt((counts * inside**2).sum(-1))


def group_alpha(statistics: RoutingStatistics, table: PriorTable) -> list[NDArray[np.float64] | None]:
    """For each group the α [K] of its population's prior; None where it has none."""
    alphas: list[NDArray[np.float64] | None] = []
    for population in statistics.group_population:
        rows = table.row[table.population == population]
        alphas.append(table.alpha[rows[0]] if population != UNSHAPED and len(rows) else None)
    return alphas


def _cumulative(statistics: RoutingStatistics, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """[G, K, E], scores up to each edge: counts are even in p within a bin of the grid."""
    below = np.concatenate(
        [np.zeros((*statistics.bins.shape[:2], 1)), statistics.bins.cumsum(-1, dtype=np.int64)], axis=-1
    )
    inside = np.clip(edges, 0.0, 1.0)
    right = np.clip(np.searchsorted(GRID_P, inside, side="right"), 1, BINS)
    part = (inside - GRID_P[right - 1]) / (GRID_P[right] - GRID_P[right - 1])
    counts: NDArray[np.float64] = below[..., right - 1] + part * (below[..., right] - below[..., right - 1])
    return counts


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(numerator / denominator, np.float64)
