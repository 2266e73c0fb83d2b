"""How routing scores are spread, panel by panel, with the prior's Beta curve over them (after the paper's Figure 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, betaln

from dpsl.report.routing import GroupRouting
from priorlang.pages.figure import FAINT, GRID, INK, bare, draw, evenly_spaced, expert_colours
from priorlang.routing.statistics import RoutingStatistics, score_quantile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LAYERS, MOST_KINDS, MOST_EXPERTS = 4, 4, 8
REACHED = 0.995
"""The part of the scores that an axis of p has room for."""
_BARS = 32
_ROW = 0.82


@dataclass(frozen=True)
class ScoreChoice:
    """Which panels are shown: places of groups in the statistics, and experts."""

    groups: tuple[int, ...]
    layers: tuple[int, ...]
    experts: tuple[int, ...]


def choose_panels(statistics: RoutingStatistics, groups: Sequence[GroupRouting]) -> ScoreChoice:
    """Evenly spaced layers and experts where all would be too many; of each layer the groups with most tokens."""
    layers = [int(statistics.layer[place]) for place in evenly_spaced(len(statistics.layer), MOST_LAYERS)]
    chosen: list[int] = []
    for layer in layers:
        here = [place for place, group in enumerate(groups) if group.layer == layer and group.tokens]
        largest = sorted(here, key=lambda place: -groups[place].tokens)[:MOST_KINDS]
        chosen += sorted(largest)
    experts = evenly_spaced(statistics.load.shape[1], MOST_EXPERTS)
    return ScoreChoice(tuple(chosen), tuple(layers), tuple(experts))


def score_figure(
    statistics: RoutingStatistics, groups: Sequence[GroupRouting], choice: ScoreChoice, name: str
) -> str | None:
    """Densities of p for each chosen group and expert. All panels share both scales.

    None where no chosen group has tokens.
    """
    if not choice.groups:
        return None
    edges = np.linspace(0.0, _reach(statistics, groups, choice), _BARS + 1)
    counts_GKE = statistics.score_histogram(edges)
    density_GKE = counts_GKE / np.maximum(statistics.tokens, 1)[:, None, None] / np.diff(edges)
    ceiling = _ceiling(density_GKE, groups, choice, edges)
    height = _ROW * len(choice.groups) + 0.75

    def paint(figure: Figure) -> None:
        colours = expert_colours(statistics.load.shape[1])
        slot = 0.86 / len(choice.experts)
        for row, group in enumerate(choice.groups):
            low = (0.42 + _ROW * (len(choice.groups) - 1 - row)) / height
            for column, expert in enumerate(choice.experts):
                box = (0.13 + slot * column, low, slot * 0.92, 0.66 * _ROW / height)
                axes = figure.add_axes(box)
                _bars(axes, density_GKE[group, expert], edges, colours[expert], ceiling)
                _prior_curve(axes, groups[group].alpha, expert, edges, ceiling)
                _dress(axes, edges, ceiling, 1 / len(colours), last=row == len(choice.groups) - 1)
                _distance(axes, float(groups[group].distances[expert]))
                if row == 0:
                    heading = f"expert {expert}"
                    axes.set_title(heading, color=colours[expert], fontweight="bold", pad=12)
                if column == 0:
                    _name_row(axes, groups, choice.groups, row)

    return draw(
        height,
        paint,
        name=name,
        title="Routing scores by layer, kind of tokens and expert",
        description=" ".join(_in_words(groups[group]) for group in choice.groups),
    )


def _reach(statistics: RoutingStatistics, groups: Sequence[GroupRouting], choice: ScoreChoice) -> float:
    """Where the axis of p ends: beyond 99.5 % of the scores and of the prior, 1 if that is near."""
    rows, columns = np.array(choice.groups), np.array(choice.experts)
    ends = [float(np.nanmax(score_quantile(statistics, REACHED)[np.ix_(rows, columns)]))]
    ends += [marginal_end(alpha) for group in choice.groups if (alpha := groups[group].alpha) is not None]
    return axis_end(max(ends))


def marginal_end(alpha_K: NDArray[np.float64]) -> float:
    """What 99.5 % of the scores that a prior asks for lie below, of the expert with the highest."""
    return float(np.max(betaincinv(alpha_K, alpha_K.sum() - alpha_K, REACHED)))


def axis_end(highest: float) -> float:
    """A round number just above what has to be seen; 1 if that is near."""
    if highest > 0.6:
        return 1.0
    step = 10.0 ** math.floor(math.log10(highest)) / 2
    return math.ceil(highest / step) * step


def _ceiling(
    density_GKE: NDArray[np.float64],
    groups: Sequence[GroupRouting],
    choice: ScoreChoice,
    edges: NDArray[np.float64],
) -> float:
    """The top of all panels: above the priors' curves but for their rise at 0; bars that go beyond say how far."""
    rows, columns = np.array(choice.groups), np.array(choice.experts)
    highest = float(density_GKE[np.ix_(rows, columns)].max())
    middles = (edges[1:] + edges[:-1]) / 2
    curves = [
        curve_peak(beta_density(middles[:, None], alpha, alpha.sum() - alpha))
        for group in choice.groups
        if (alpha := groups[group].alpha) is not None
    ]
    return min(highest, 1.3 * max(curves)) if curves else highest


def curve_peak(density_EK: NDArray[np.float64]) -> float:
    """The highest that a prior's curve has to be seen, at the middles of intervals: its rise at 0, without end for α < 1, apart."""
    return float(np.max(density_EK[2:]))


def name_cut(axes: Axes, density_E: NDArray[np.float64], edges: NDArray[np.float64], ceiling: float) -> None:
    """Over a panel whose highest bar is cut off at the top, its height, within the panel's width."""
    peak = int(density_E.argmax())
    if density_E[peak] <= ceiling:
        return
    share = ((edges[peak] + edges[peak + 1]) / 2 - edges[0]) / (edges[-1] - edges[0])
    side: Literal["left", "center", "right"] = "left" if share < 0.2 else "right" if share > 0.8 else "center"
    place = {"left": 0.0, "center": share, "right": 1.0}[side]
    axes.text(
        place, 1.0, f"↑ {density_E[peak]:.3g}", transform=axes.transAxes, fontsize=6.5, ha=side, va="bottom", color=FAINT,
    )  # fmt: skip


def _bars(
    axes: Axes, density_E: NDArray[np.float64], edges: NDArray[np.float64], colour: str, ceiling: float
) -> None:
    shown = np.minimum(density_E, ceiling)
    axes.stairs(shown, edges, fill=True, color=colour, alpha=0.45, linewidth=0)
    axes.stairs(shown, edges, color=colour, linewidth=0.9, baseline=None)
    name_cut(axes, density_E, edges, ceiling)


def _prior_curve(
    axes: Axes, alpha: NDArray[np.float64] | None, expert: int, edges: NDArray[np.float64], ceiling: float
) -> None:
    if alpha is None:
        return
    inside = np.linspace(edges[0], edges[-1], 400)[1:-1]
    curve = beta_density(inside, alpha[expert], alpha.sum() - alpha[expert])
    curve[curve > ceiling] = np.nan
    axes.plot(inside, curve, color=INK, linewidth=1.1)


def beta_density(p: ArrayLike, a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Of Beta(a, b) at p inside (0, 1)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    density: NDArray[np.float64] = np.exp(
        (a - 1) * np.log(p) + (b - 1) * np.log1p(np.negative(p)) - betaln(a, b)
    )
    return density


def _dress(axes: Axes, edges: NDArray[np.float64], ceiling: float, even: float, *, last: bool) -> None:
    bare(axes)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, ceiling)
    axes.axvline(even, color=GRID, linewidth=1.0, zorder=0)
    label_ends(axes, edges, said=last)


def label_ends(axes: Axes, edges: NDArray[np.float64], *, said: bool) -> None:
    """Ticks at both ends of the scores alone, with their numbers inside the panel's width or without."""
    ends = [edges[0], edges[-1]]
    axes.set_xticks(ends, [f"{end:g}" for end in ends] if said else ["", ""])
    first, final = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    final.set_horizontalalignment("right")
    axes.tick_params(length=2)


def _distance(axes: Axes, ks: float) -> None:
    if math.isfinite(ks):
        axes.text(
            0.98, 0.96, f"KS {ks:.2f}", transform=axes.transAxes, ha="right", va="top", fontsize=7, color=INK
        )


def _name_row(axes: Axes, groups: Sequence[GroupRouting], rows: Sequence[int], row: int) -> None:
    group = groups[rows[row]]
    if row == 0 or groups[rows[row - 1]].layer != group.layer:
        axes.text(
            -0.12,
            0.94,
            f"layer {group.layer}",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontweight="bold",
        )
    kind = group.kind if len(group.kind) <= 16 else group.kind[:15] + "…"
    axes.text(-0.12, 0.42, kind, transform=axes.transAxes, ha="right", va="center", fontsize=7, color=FAINT)


def _in_words(group: GroupRouting) -> str:
    known = f"KS at most {group.ks:.2f}" if math.isfinite(group.ks) else "no prior to compare with"
    return f"Layer {group.layer}, {group.kind}: {known}, spread {group.spread:.2f}."
