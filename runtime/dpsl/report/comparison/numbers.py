"""What a comparison draws, from the cells' runs: loads and scores of a stage, losses over the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

import numpy as np
from numpy.typing import NDArray

from dpsl.report.comparison.read import GridRecord, VariantRecord
from dpsl.report.figures.scores import REACHED, axis_end, marginal_end
from dpsl.report.read import RunRecord, StageRecord, number
from dpsl.report.routing import coefficient_of_variation, layer_load
from priorlang.routing.samples import mean_similarity
from priorlang.routing.statistics import RoutingStatistics, group_alpha, score_quantile

BARS = 40
"""Intervals of p in a panel."""


@dataclass(frozen=True, eq=False)
class ByLayer:
    """A number of a variant, by seed and layer: `value_SL`, NaN where there is none."""

    variant: str
    layers: tuple[int, ...]
    value_SL: NDArray[np.float64]

    @property
    def mean_by_layer(self) -> NDArray[np.float64]:
        """Mean over seeds."""
        return np.array([_mean(column) for column in self.value_SL.T.tolist()])

    def text(self, place: int) -> str:
        """Mean ± sample standard deviation over seeds of the layer at a place."""
        found = [value for value in self.value_SL[:, place].tolist() if math.isfinite(value)]
        if not found:
            return "–"
        return f"{fmean(found):.3f}" + (f" ± {stdev(found):.3f}" if len(found) > 1 else "")


@dataclass(frozen=True, eq=False)
class LayerScores:
    """A variant's routing scores in one layer, all its tokens together.

    Attributes:
        variant: its name.
        density_SKE: density of p by seed, expert and interval of `edges`.
        alphas: for each population of that layer its share of the tokens and its α [K]; empty unless the prior was on.
    """

    variant: str
    density_SKE: NDArray[np.float64]
    alphas: tuple[tuple[float, NDArray[np.float64]], ...]


@dataclass(frozen=True, eq=False)
class Curve:
    """One cell's training loss: steps in a row over the stages that seeds do not share."""

    seed: int
    steps: NDArray[np.float64]
    losses: NDArray[np.float64]


def measured_stage(grid: GridRecord, run: RunRecord) -> StageRecord | None:
    """The stage of a run whose routing the grid looks at, if it was measured."""
    wanted = grid.routing_stage or (run.stages[-1].name if run.stages else "")
    return next((s for s in run.stages if s.name == wanted and s.routing is not None), None)


def measured_stages(grid: GridRecord) -> list[StageRecord]:
    """Of all cells, those whose routing the grid looks at."""
    return [stage for variant in grid.variants for stage in _stages(grid, variant)]


def load_by_layer(grid: GridRecord) -> list[ByLayer]:
    """Of every variant whose routing was measured."""
    found = []
    for variant in grid.variants:
        loads = [
            (s.routing.layer.tolist(), layer_load(s.routing)) for s in _stages(grid, variant) if s.routing
        ]
        layers = loads[0][0] if loads else []
        rows = [[coefficient_of_variation(k) for k in load_LK] for own, load_LK in loads if own == layers]
        if rows:
            found.append(ByLayer(variant.name, tuple(layers), np.array(rows)))
    return found


def similarity_by_layer(grid: GridRecord) -> list[ByLayer]:
    """The mean cosine between experts' outputs, of every variant whose experts were compared."""
    found = []
    for variant in grid.variants:
        samples = [
            s.samples for s in _stages(grid, variant) if s.samples is not None and len(s.samples.layer)
        ]
        layers = samples[0].layer.tolist() if samples else []
        rows = [[mean_similarity(of) for of in s.similarity] for s in samples if s.layer.tolist() == layers]
        if rows:
            found.append(ByLayer(variant.name, tuple(layers), np.array(rows)))
    return found


def sampled_tokens(
    grid: GridRecord, variant: VariantRecord, layer: int, count: int
) -> NDArray[np.float64] | None:
    """[n, K], p of some tokens of a layer, of its first seed that kept any, groups in proportion to their tokens."""
    for stage in _stages(grid, variant):
        samples, routing = stage.samples, stage.routing
        groups = routing.groups_of(layer) if routing is not None else np.array([], int)
        if samples is None or routing is None or not np.isin(samples.group, groups).any():
            continue
        share_G = routing.tokens[groups] / max(routing.tokens[groups].sum(), 1)
        rooms = np.round(count * share_G).astype(int).tolist()
        return np.concatenate(
            [samples.tokens_of(g)[:room] for g, room in zip(groups.tolist(), rooms, strict=True)]
        )
    return None


def scored_layer(grid: GridRecord) -> int | None:
    """The decoder layer whose scores are drawn, three quarters of the way up as in the paper; None without any."""
    layers = [
        s.routing.layer.tolist() for v in grid.variants for s in _stages(grid, v) if s.routing is not None
    ]
    return layers[0][min(len(layers[0]) * 3 // 4, len(layers[0]) - 1)] if layers and layers[0] else None


def scored_experts(grid: GridRecord) -> int:
    """K of the first cell that was measured, which scores are drawn for; 0 without any."""
    return next((s.routing.load.shape[1] for s in measured_stages(grid) if s.routing is not None), 0)


def score_edges(grid: GridRecord, layer: int, experts: Sequence[int]) -> NDArray[np.float64]:
    """Edges of intervals of p in a layer, from 0 to beyond 99.5 % of these experts' scores in half of the cells, and of the prior.

    Not in all of them: one cell whose router has settled on an expert would squeeze the others.
    """
    ends, asked = [], []
    for variant in grid.variants:
        for stage, routing, groups in _scored(grid, variant, layer):
            ends.append(float(np.nanmax(score_quantile(routing, REACHED)[np.ix_(groups, np.array(experts))])))
            if stage.shaped and stage.table is not None:
                known = group_alpha(routing, stage.table)
                asked += [marginal_end(alpha) for g in groups.tolist() if (alpha := known[g]) is not None]
    return np.linspace(0.0, axis_end(max([median(ends or [1.0]), *asked])), BARS + 1)


def share_beyond(found: Sequence[LayerScores], edges: NDArray[np.float64], experts: Sequence[int]) -> float:
    """The largest share of a variant's scores of one of these experts that lies beyond the last edge, mean over seeds."""
    inside = [(scores.density_SKE[:, list(experts)] * np.diff(edges)).sum(-1).mean(0) for scores in found]
    return max(0.0, 1.0 - float(np.min(inside)))


def scores_in_layer(grid: GridRecord, layer: int, edges: NDArray[np.float64]) -> list[LayerScores]:
    """Of every variant whose routing was measured and has that layer, and as many experts as the first."""
    found = []
    for variant in grid.variants:
        densities: list[NDArray[np.float64]] = []
        alphas: tuple[tuple[float, NDArray[np.float64]], ...] = ()
        for stage, routing, groups in _scored(grid, variant, layer):
            tokens = int(routing.tokens[groups].sum())
            counts_KE = routing.score_histogram(edges)[groups].sum(0)
            densities.append(counts_KE / tokens / np.diff(edges))
            if stage.shaped and stage.table is not None:
                every = group_alpha(routing, stage.table)
                alphas = tuple(
                    (float(routing.tokens[g]) / tokens, alpha)
                    for g in groups.tolist()
                    if (alpha := every[g]) is not None and routing.tokens[g]
                )
        if densities:
            found.append(LayerScores(variant.name, np.array(densities), alphas))
    return found


def learning_curves(grid: GridRecord) -> dict[str, list[Curve]]:
    """Variant → its cells' training losses, over the stages that differ between seeds."""
    return {
        variant.name: curves
        for variant in grid.variants
        if (curves := [curve for cell in variant.cells if (curve := _curve(cell.seed, cell.run, grid.once))])
    }


def _curve(seed: int, run: RunRecord | None, once: Sequence[str]) -> Curve | None:
    points, start = [], 0
    for stage in run.stages if run is not None else ():
        if stage.name in once:
            continue
        points += [(start + number(row, "step"), number(row, "loss")) for row in stage.training]
        start += stage.steps
    finite = [(step, loss) for step, loss in points if math.isfinite(step) and math.isfinite(loss)]
    if not finite:
        return None
    steps, losses = np.array(finite, np.float64).T
    return Curve(seed, steps, losses)


def _stages(grid: GridRecord, variant: VariantRecord) -> list[StageRecord]:
    return [stage for run in variant.runs if (stage := measured_stage(grid, run)) is not None]


def _scored(
    grid: GridRecord, variant: VariantRecord, layer: int
) -> list[tuple[StageRecord, RoutingStatistics, NDArray[np.int64]]]:
    """A variant's stages with tokens in a layer, their groups there; only where experts are as many as everywhere."""
    experts = scored_experts(grid)
    found = []
    for stage in _stages(grid, variant):
        routing = stage.routing
        if routing is not None and routing.load.shape[1] == experts:
            groups = routing.groups_of(layer)
            if routing.tokens[groups].sum():
                found.append((stage, routing, groups))
    return found


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return fmean(finite) if finite else math.nan
