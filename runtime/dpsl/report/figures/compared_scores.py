"""Routing scores of variants side by side in one layer, a panel for each expert (after the paper's Figure 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dpsl.report.comparison.numbers import LayerScores
from dpsl.report.figures.scores import beta_density, curve_peak, label_ends, name_cut
from priorlang.pages.figure import (
    FAINT,
    GRID,
    INK,
    bare,
    draw,
    evenly_spaced,
    expert_colours,
    label_width,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_EXPERTS = 4
_ROW = 0.58
_LETTERS = 22


def compared_scores_figure(
    found: Sequence[LayerScores], edges: NDArray[np.float64], layer: int, name: str
) -> str | None:
    """Densities of p: filled the mean over seeds, thin lines the seeds. All panels share both scales. None without any."""
    if not found:
        return None
    experts = found[0].density_SKE.shape[1]
    shown = evenly_spaced(experts, MOST_EXPERTS)
    ceiling = _ceiling(found, shown, edges)
    names = [shortened(scores.variant, _LETTERS) for scores in found]
    left = label_width(names, 7.5)
    height = 0.76 + _ROW * len(found)
    colours = expert_colours(experts)

    def paint(figure: Figure) -> None:
        slot = (0.98 - left) / len(shown)
        for row, scores in enumerate(found):
            low = (0.46 + _ROW * (len(found) - 1 - row)) / height
            for column, expert in enumerate(shown):
                axes = figure.add_axes((left + slot * column, low, slot * 0.93, 0.76 * _ROW / height))
                _panel(axes, scores, expert, edges, colours[expert], ceiling)
                axes.axvline(1 / experts, color=GRID, linewidth=1.0, zorder=0)
                last = row == len(found) - 1
                label_ends(axes, edges, said=last)
                if last:
                    axes.set_xlabel("score p", color=FAINT, labelpad=-4)
                if row == 0:
                    axes.set_title(f"expert {expert}", color=colours[expert], fontweight="bold", pad=12)
                if column == 0:
                    axes.text(
                        -0.06,
                        0.4,
                        names[row],
                        transform=axes.transAxes,
                        ha="right",
                        va="center",
                        fontsize=7.5,
                        color=INK,
                    )

    return draw(
        height,
        paint,
        name=name,
        title=f"Routing scores in layer {layer}, by variant and expert",
        description=" ".join(_in_words(scores, edges, shown) for scores in found),
    )


def _panel(
    axes: Axes, scores: LayerScores, expert: int, edges: NDArray[np.float64], colour: str, ceiling: float
) -> None:
    bare(axes)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, ceiling)
    mean_E = scores.density_SKE[:, expert].mean(0)
    axes.stairs(np.minimum(mean_E, ceiling), edges, fill=True, color=colour, alpha=0.4, linewidth=0)
    for density_E in scores.density_SKE[:, expert]:
        axes.stairs(np.minimum(density_E, ceiling), edges, color=colour, linewidth=0.6, baseline=None)
    if scores.alphas:
        inside = np.linspace(edges[0], edges[-1], 300)[1:-1]
        curve = _prior_density(scores, expert, inside)
        curve[curve > ceiling] = np.nan
        axes.plot(inside, curve, color=INK, linewidth=1.0)
    name_cut(axes, scores.density_SKE[:, expert].max(0), edges, ceiling)


def _prior_density(scores: LayerScores, expert: int, p_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the prior asks of an expert's scores, over the populations of the tokens."""
    density_N = np.zeros_like(p_N)
    for share, alpha in scores.alphas:
        density_N += share * beta_density(p_N, alpha[expert], alpha.sum() - alpha[expert])
    return density_N


def _ceiling(found: Sequence[LayerScores], shown: Sequence[int], edges: NDArray[np.float64]) -> float:
    """The top of all panels: above half of the peaks, and so that the priors' curves, but for their rise at 0, fill half of it."""
    peaks = [float(scores.density_SKE[:, expert].max()) for scores in found for expert in shown]
    middles = (edges[1:] + edges[:-1]) / 2
    curves = [
        curve_peak(_prior_density(scores, expert, middles))
        for scores in found
        if scores.alphas
        for expert in shown
    ]
    wanted = 1.08 * float(np.median(peaks))
    if curves:
        wanted = min(max(wanted, 1.3 * max(curves)), 2 * max(curves))
    return max(min(wanted, 1.02 * max(peaks)), 1e-9)


def _in_words(scores: LayerScores, edges: NDArray[np.float64], shown: Sequence[int]) -> str:
    middles = (edges[1:] + edges[:-1]) / 2
    peaks = [f"expert {e} near {middles[scores.density_SKE[:, e].mean(0).argmax()]:.2f}" for e in shown]
    return f"{scores.variant}: most scores of {', '.join(peaks)}."
