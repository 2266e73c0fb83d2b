"""A row for each prior: the Beta marginal of each group of experts (after the paper's Figure 4), and its strength."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, betaln

from priorlang.pages.figure import FAINT, INK, bare, evenly_spaced, expert_colours
from priorlang.pages.picture import Drawing
from priorlang.preview.view import NEAR_NOTHING, AskedPrior, ExpertGroup, View, expert_groups
from priorlang.preview.words import experts_in_words, percent, shortened
from priorlang.semantics.describe import index_set

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

MOST_PRIORS = 12
MOST_GROUPS = 6
_TOGETHER = 4
_BY_EXPERT = 8
"""Experts up to which each has a colour of its own."""
_LINE = 0.15
"""Inches between lines of text."""
_HEAD = 0.36
_LEFT, _RIGHT = 0.035, 0.44
"""Where curves stand, as fractions of the width."""
_NAME, _ALPHA, _MEAN, _ENTERS, _BAR, _HIDDEN = 0.475, 0.60, 0.655, 0.80, 0.095, 0.985
_POINTS = 240


def marginal_drawings(view: View) -> list[Drawing]:
    """The priors of a view, evenly spaced ones where there are too many, a few to a drawing so that pages can break."""
    shown = [view.priors[place] for place in evenly_spaced(len(view.priors), MOST_PRIORS)]
    parts = [shown[start : start + _TOGETHER] for start in range(0, len(shown), _TOGETHER)]
    return [
        _drawing(view, part, f"priors-{place}", _caption(view, shown) if part is parts[-1] else "")
        for place, part in enumerate(parts)
    ]


def _drawing(view: View, priors: Sequence[AskedPrior], name: str, caption: str) -> Drawing:
    groups = [expert_groups(prior.alpha, view.top_k) for prior in priors]
    rows = [_row_height(len(_chosen(found))) for found in groups]
    height = sum(rows) + 0.1

    def paint(figure: Figure) -> None:
        top = height
        for prior, found, row in zip(priors, groups, rows, strict=True):
            _paint_row(figure, prior, found, view, (top, row, height))
            top -= row

    return Drawing(
        height,
        paint,
        name=name,
        title="What each prior asks for",
        description=" ".join(map(_in_words, priors, groups)),
        caption=caption,
    )


def _caption(view: View, shown: Sequence[AskedPrior]) -> str:
    words = [
        "Left, the density of an expert's routing probability p over the tokens, a curve for all experts of one α; a "
        "curve that leaves through the top grows without bound, and the last column says how much of it lies below "
        f"{NEAR_NOTHING:g}. Ticks below mark the means. Right, the mean and the chance of being among a token's top "
        f"{view.top_k}; the lines mark an even share."
    ]
    if len(shown) < len(view.priors):
        numbers = ", ".join(str(prior.number) for prior in shown)
        words.append(f"Of {len(view.priors):,} distinct priors, {numbers} are shown; --at picks others.")
    return " ".join(words)


def _in_words(prior: AskedPrior, groups: Sequence[ExpertGroup]) -> str:
    parts = [
        f"{experts_in_words(group.experts)} with α {group.alpha:.4g}, mean {group.mean:.3f} and a chance of "
        f"{group.enters:.3f} to be among the top"
        for group in _chosen(groups)
    ]
    return f"Prior {prior.number} ({prior.where}): {'; '.join(parts)}."


def _chosen(groups: Sequence[ExpertGroup]) -> list[ExpertGroup]:
    return [groups[place] for place in evenly_spaced(len(groups), MOST_GROUPS)]


def _row_height(groups: int) -> float:
    return _HEAD + max(0.95, _LINE * (groups + 1) + 0.1) + 0.28


def _paint_row(
    figure: Figure,
    prior: AskedPrior,
    groups: Sequence[ExpertGroup],
    view: View,
    place: tuple[float, float, float],
) -> None:
    """One prior; `place` is the top of its row, the row's height and the figure's, in inches."""
    top, row, height = place
    chosen = _chosen(groups)
    colours = _colours(chosen, view.experts)
    total = float(prior.alpha.sum())
    y = (top - 0.14) / height
    figure.text(_LEFT, y, f"{prior.number}", fontweight="bold", va="center")
    figure.text(
        _LEFT + 0.012 + 0.013 * len(str(prior.number)),
        y,
        shortened(prior.where, 76),
        fontweight="bold",
        va="center",
    )
    weights = f"{prior.weights[0]:.4g}" + (f" to {prior.weights[-1]:.4g}" if len(prior.weights) > 1 else "")
    scale = f"λ {weights} · Σα = {total:.5g}"
    figure.text(0.985, y, scale, color=FAINT, fontsize=7, va="center", ha="right")
    box = (_LEFT, (top - row + 0.26) / height, _RIGHT - _LEFT, (row - _HEAD - 0.22) / height)
    _paint_curves(figure.add_axes(box), chosen, total, colours)
    _paint_strength(figure, chosen, len(groups), view, colours, (top - _HEAD, height))


def _paint_curves(axes: Axes, groups: Sequence[ExpertGroup], total: float, colours: Sequence[str]) -> None:
    low, high = _reach(groups, total)
    # Denser towards both ends, where curves bend.
    p = low + (high - low) * (1 - np.cos(np.linspace(0, np.pi, _POINTS + 2)[1:-1])) / 2
    curves = [_density(p, group.alpha, total - group.alpha) for group in groups]
    ceiling = _ceiling(p, curves)
    for curve, group, colour in zip(curves, groups, colours, strict=True):
        if curve is None:
            axes.plot([group.mean] * 2, [0, 0.94 * ceiling], color=colour)
        else:
            axes.plot(p, np.where(curve > ceiling, np.nan, curve), color=colour, clip_on=True)
        if low <= group.mean <= high:
            axes.plot(
                [group.mean] * 2,
                [-0.07 * ceiling, -0.005 * ceiling],
                color=colour,
                clip_on=False,
                linewidth=2,
            )
    bare(axes)
    axes.set_xlim(low, high)
    axes.set_ylim(0, ceiling)
    axes.xaxis.set_major_locator(_ticks())
    axes.ticklabel_format(axis="x", useOffset=False, style="plain")
    axes.tick_params(length=5, pad=2)
    axes.text(
        1.03, 0.0, "p", transform=axes.transAxes, color=FAINT, ha="left", va="center", fontstyle="italic"
    )


def _ticks() -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4, min_n_ticks=2)


def _paint_strength(
    figure: Figure,
    groups: Sequence[ExpertGroup],
    count: int,
    view: View,
    colours: Sequence[str],
    place: tuple[float, float],
) -> None:
    """A line for each group of experts; `place` is the first line and the figure's height, in inches."""
    top, height = place
    heads = [
        (_NAME, "experts", "left"), (_ALPHA + 0.035, "α", "right"), (_MEAN, "mean", "left"),
        (_ENTERS, f"P(in top {view.top_k})", "left"), (_HIDDEN, f"below {NEAR_NOTHING:g}", "right"),
    ]  # fmt: skip
    for x, text, side in heads:
        figure.text(x, top / height, text, color=FAINT, fontsize=6.5, ha=side, va="center")
    for line, (group, colour) in enumerate(zip(groups, colours, strict=True), 1):
        y = (top - _LINE * line) / height
        name = shortened(index_set(group.experts), 15)
        figure.text(_NAME, y, name, color=colour, fontsize=7, fontweight="bold", va="center")
        figure.text(_ALPHA + 0.035, y, f"{group.alpha:.4g}", fontsize=7, ha="right", va="center", color=INK)
        hidden = percent(group.hidden) if group.hidden >= 0.005 else "–"
        figure.text(_HIDDEN, y, hidden, fontsize=7, ha="right", va="center", color=FAINT)
    even = 1 / view.experts
    span = (top - _LINE * (len(groups) + 0.5), _LINE * len(groups), height)
    _paint_bars(figure, _MEAN, span, [group.mean for group in groups], even, colours)
    _paint_bars(figure, _ENTERS, span, [group.enters for group in groups], view.top_k * even, colours)
    if len(groups) < count:
        text = f"{len(groups)} of {count} different α"
        y = (top - _LINE * (len(groups) + 1)) / height
        figure.text(_NAME, y, text, color=FAINT, fontsize=6.5, va="center")


def _paint_bars(
    figure: Figure,
    left: float,
    span: tuple[float, float, float],
    values: Sequence[float],
    even: float,
    colours: Sequence[str],
) -> None:
    """Horizontal bars with their numbers; `span` is the lowest edge, the height of all and the figure's, in inches."""
    low, tall, height = span
    axes = figure.add_axes((left, low / height, _BAR, tall / height))
    longest = max(*values, even)
    places = np.arange(len(values))[::-1]
    axes.barh(places, values, height=0.62, color=list(colours), alpha=0.75, linewidth=0)
    axes.axvline(even, color=FAINT, linewidth=0.8)
    for place, value in zip(places, values, strict=True):
        axes.text(longest * 1.06, place, f"{value:.3f}", fontsize=7, va="center", color=INK)
    axes.set_xlim(0, longest)
    axes.set_ylim(-0.5, len(values) - 0.5)
    axes.set_axis_off()


def _colours(groups: Sequence[ExpertGroup], experts: int) -> list[str]:
    """Those of the experts where each has its own, else one for each group."""
    if experts <= _BY_EXPERT:
        own = expert_colours(experts)
        return [own[group.experts[0]] for group in groups]
    return expert_colours(max(2, len(groups)))[: len(groups)]


def _reach(groups: Sequence[ExpertGroup], total: float) -> tuple[float, float]:
    """Where the axis of p begins and ends: around 99 % of every curve; from 0 unless that would hide the curves."""
    alpha = np.array([group.alpha for group in groups])
    with np.errstate(all="ignore"):
        ends = betaincinv(alpha, total - alpha, 0.995)
        starts = betaincinv(alpha, total - alpha, 0.005)
    mean = alpha / total
    end = float(np.max(np.where(np.isfinite(ends), ends, mean)))
    start = float(np.min(np.where(np.isfinite(starts), starts, mean)))
    if start > 0.6 * end:
        margin = max(0.15 * (end - start), 1e-3 * end)
        return max(0.0, start - margin), min(1.0, end + margin)
    if end > 0.6 or end <= 0.0:
        return 0.0, 1.0
    step = 10.0 ** math.floor(math.log10(end)) / 2
    return 0.0, math.ceil(end / step) * step


def _density(p: NDArray[np.float64], a: float, b: float) -> NDArray[np.float64] | None:
    """Of Beta(a, b) at p inside (0, 1); None where a 64-bit number cannot tell it."""
    with np.errstate(all="ignore"):
        density: NDArray[np.float64] = np.exp((a - 1) * np.log(p) + (b - 1) * np.log1p(-p) - betaln(a, b))
    # Beyond, the terms of the exponent cancel to noise.
    return density if np.isfinite(density).all() and a + b < 1e12 else None


def _ceiling(p: NDArray[np.float64], curves: Sequence[NDArray[np.float64] | None]) -> float:
    """The top of a panel: above the curves but for where they grow without bound."""
    edge = 0.03 * (p[-1] - p[0])
    inside = (p > p[0] + edge) & (p < p[-1] - edge)
    highest = [0.0]
    for curve in curves:
        if curve is not None:
            bounded = 0 < int(curve.argmax()) < len(curve) - 1
            highest.append(float(curve.max() if bounded else curve[inside].max()))
    return 1.12 * max(highest) if max(highest) > 1e-6 else 1.0
