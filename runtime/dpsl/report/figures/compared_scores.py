"""Routing scores of variants side by side in one layer, a panel for each expert (after the paper's Figure 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dpsl.report.comparison.numbers import LayerScores
from dpsl.report.figures.scores import beta_density, label_ends
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
_ROW = 0.5
_LETTERS = 22


def compared_scores_figure(
    found: Sequence[LayerScores], edges: NDArray[np.float64], layer: int, name: str
) -> str | None:
    """Densities of p: filled the mean over seeds, thin lines the seeds. All panels share both scales. None without any."""
    if not found:
        return None
    experts = found[0].density_SKE.shape[1]
    shown = evenly_spaced(experts, MOST_EXPERTS)
    ceiling = _ceiling(found, shown)
    names = [shortened(scores.variant, _LETTERS) for scores in found]
    left = label_width(names, 7.5)
    height = 0.72 + _ROW * len(found)
    colours = expert_colours(experts)

    def paint(figure: Figure) -> None:
        slot = (0.98 - left) / len(shown)
        for row, scores in enumerate(found):
            low = (0.46 + _ROW * (len(found) - 1 - row)) / height
            for column, expert in enumerate(shown):
                axes = figure.add_axes((left + slot * column, low, slot * 0.93, 0.82 * _ROW / height))
                _panel(axes, scores, expert, edges, colours[expert], ceiling)
                axes.axvline(1 / experts, color=GRID, linewidth=1.0, zorder=0)
                last = row == len(found) - 1
                label_ends(axes, edges, said=last)
                if last:
                    axes.set_xlabel("score p", color=FAINT, labelpad=-4)
                if row == 0:
                    axes.set_title(f"expert {expert}", color=colours[expert], fontweight="bold", pad=8)
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
        title=f"Densities of routing scores in layer {layer}, by variant and expert",
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
        curve = np.zeros_like(inside)
        for share, alpha in scores.alphas:
            curve += share * beta_density(inside, alpha[expert], alpha.sum() - alpha[expert])
        curve[curve > ceiling] = np.nan
        axes.plot(inside, curve, color=INK, linewidth=1.0)
    peak = float(mean_E.max())
    if peak > 1.02 * ceiling:
        axes.text(
            0.98,
            0.98,
            f"peak {peak:.0f}",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=6.5,
            color=FAINT,
        )


def _ceiling(found: Sequence[LayerScores], shown: Sequence[int]) -> float:
    """Above nine in ten of the panels' peaks, so that one narrow peak does not flatten all the others."""
    peaks = [float(scores.density_SKE[:, expert].mean(0).max()) for scores in found for expert in shown]
    return 1.08 * max(float(np.quantile(peaks, 0.9)), 1e-9)


def _in_words(scores: LayerScores, edges: NDArray[np.float64], shown: Sequence[int]) -> str:
    middles = (edges[1:] + edges[:-1]) / 2
    peaks = [f"expert {e} near {middles[scores.density_SKE[:, e].mean(0).argmax()]:.2f}" for e in shown]
    return f"{scores.variant}: most scores of {', '.join(peaks)}."
