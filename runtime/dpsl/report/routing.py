"""Routing statistics and a prior table → the numbers that a reader compares: asked for, and attained."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpsl.report.read import StageRecord
from priorlang.routing.statistics import (
    RoutingStatistics,
    group_alpha,
    ks_distance,
    load_share,
    mean_probability,
    score_spread,
)
from priorlang.table.prior_table import PriorTable


@dataclass(frozen=True, eq=False)
class GroupRouting:
    """The tokens of one layer that share a prior.

    Attributes:
        layer: decoder-layer index.
        kind: which tokens, the population's name without its layer: `vision`.
        tokens: how many.
        alpha: [K], their prior; None unshaped.
        preferred: experts whose α is above the mean; empty for a symmetric prior or none.
        asked: the prior's mean probability of all preferred experts together; NaN where none is preferred.
        attained: the tokens' own.
        distances: [K], KS: distance between the scores' CDF and the Beta marginal; NaN without prior or tokens.
        spread: mean over experts of the scores' 90th minus 10th percentile.
        load_K: [K], fraction of the top-k slots.
    """

    layer: int
    kind: str
    tokens: int
    alpha: NDArray[np.float64] | None
    preferred: tuple[int, ...]
    asked: float
    attained: float
    distances: NDArray[np.float64]
    spread: float
    loads: NDArray[np.float64]

    @property
    def ks(self) -> float:
        """The largest KS distance over experts."""
        return float(np.max(self.distances)) if np.isfinite(self.distances).all() else float("nan")

    @property
    def load_cov(self) -> float:
        """Coefficient of variation of the load over experts."""
        return coefficient_of_variation(self.loads)


@dataclass(frozen=True)
class KindRouting:
    """All layers' groups of one kind of tokens, summed up.

    `tokens` is those of the layer that saw most; `asked`, `attained` and `spread` are means over layers, `ks` is
    the largest and `ks_median` the median over layers of the largest over experts.
    """

    kind: str
    layers: int
    tokens: int
    asked: float
    attained: float
    ks: float
    ks_median: float
    spread: float


@dataclass(frozen=True, eq=False)
class MeasuredStage:
    """A stage whose routing was measured, of held-out tokens or of some it was trained on.

    Attributes:
        record: the stage.
        statistics: as they were recorded.
        groups: what they say of each group.
        layer_loads: [L, K], the fraction of each layer's top-k slots that each expert took.
    """

    record: StageRecord
    statistics: RoutingStatistics
    groups: tuple[GroupRouting, ...]
    layer_loads: NDArray[np.float64]

    @property
    def name(self) -> str:
        """Of the stage."""
        return self.record.name

    @property
    def load_cov(self) -> float:
        """Coefficient of variation of all tokens' load, mean over layers."""
        return _mean([coefficient_of_variation(load_K) for load_K in self.layer_loads])


def measured_stages(stages: Iterable[StageRecord]) -> tuple[MeasuredStage, ...]:
    """Those with statistics, in order."""
    return tuple(
        MeasuredStage(stage, statistics, group_routing(statistics, stage.table), layer_load(statistics))
        for stage in stages
        if (statistics := stage.routing) is not None
    )


def group_routing(statistics: RoutingStatistics, table: PriorTable | None) -> tuple[GroupRouting, ...]:
    """One for each group of the statistics, in their order."""
    experts = statistics.load.shape[1]
    alphas = group_alpha(statistics, table) if table is not None else [None] * len(statistics.tokens)
    ks_GK = ks_distance(statistics, table) if table is not None else np.full(statistics.load.shape, np.nan)
    mean_GK, load_GK = mean_probability(statistics), load_share(statistics)
    spread_G = score_spread(statistics).mean(-1)
    groups = []
    for group, alpha in enumerate(alphas):
        preferred = preferred_experts(alpha)
        chosen = list(preferred)
        asked = float(alpha[chosen].sum() / alpha.sum()) if alpha is not None and chosen else np.nan
        groups.append(
            GroupRouting(
                layer=int(statistics.layer[statistics.group_layer[group]]),
                kind=kind_of(statistics.group_name[group]),
                tokens=int(statistics.tokens[group]),
                alpha=alpha,
                preferred=preferred,
                asked=asked,
                attained=float(mean_GK[group, chosen].sum()) if chosen else np.nan,
                distances=ks_GK[group],
                spread=float(spread_G[group]),
                loads=load_GK[group] if statistics.tokens[group] else np.full(experts, np.nan),
            )
        )
    return tuple(groups)


def kind_routing(groups: tuple[GroupRouting, ...]) -> tuple[KindRouting, ...]:
    """The groups of each kind together; groups without tokens count for nothing."""
    summed = []
    for kind in dict.fromkeys(group.kind for group in groups):
        seen = [group for group in groups if group.kind == kind and group.tokens]
        ks = [group.ks for group in seen if np.isfinite(group.ks)]
        summed.append(
            KindRouting(
                kind=kind,
                layers=len(seen),
                tokens=max((group.tokens for group in seen), default=0),
                asked=_mean([group.asked for group in seen]),
                attained=_mean([group.attained for group in seen]),
                ks=max(ks, default=np.nan),
                ks_median=float(np.median(ks)) if ks else np.nan,
                spread=_mean([group.spread for group in seen]),
            )
        )
    return tuple(summed)


def layer_load(statistics: RoutingStatistics) -> NDArray[np.float64]:
    """[L, K], the fraction of each layer's top-k slots that each expert took; NaN for a layer without tokens."""
    load_LK = np.zeros((len(statistics.layer), statistics.load.shape[1]))
    np.add.at(load_LK, statistics.group_layer, statistics.load)
    slots_L1 = load_LK.sum(-1, keepdims=True)
    share_LK: NDArray[np.float64] = np.divide(
        load_LK, slots_L1, out=np.full_like(load_LK, np.nan), where=slots_L1 > 0
    )
    return share_LK


def coefficient_of_variation(load_K: NDArray[np.float64]) -> float:
    """Standard deviation over mean."""
    return float(load_K.std() / load_K.mean())


def preferred_experts(alpha: NDArray[np.float64] | None) -> tuple[int, ...]:
    """Experts whose α is above the mean by more than rounding."""
    if alpha is None:
        return ()
    return tuple(np.flatnonzero(alpha > alpha.mean() * (1 + 1e-9)).tolist())


def kind_of(name: str) -> str:
    """A group's name without its layer: groups of the same kind stand side by side."""
    return re.sub(r"^layer \d+ · ", "", name)


def _mean(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
