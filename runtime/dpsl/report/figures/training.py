"""What moved with the optimizer steps: the loss over the whole run, the routers' metrics since there were experts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dpsl.report.read import StageRecord, number
from priorlang.pages.figure import ABOVE, FAINT, GRID, INK, SHAPED, WIDTH, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOG_RANGE = 20.0
"""Losses that differ by more than this factor are drawn on a logarithmic axis."""
_ROUTING = (
    ("dpsl", "shaping loss (dpsl)"),
    ("load_cov", "load CoV"),
    ("top1_score", "mean top-1 score"),
)
_PANEL = 1.15


@dataclass(frozen=True)
class _Span:
    """A stage's stretch of the common axis of steps."""

    stage: StageRecord
    start: int

    @property
    def end(self) -> int:
        return self.start + self.stage.steps


def loss_figure(stages: Sequence[StageRecord]) -> str | None:
    """Training loss over all steps, one line a stage, and the held-out loss where it was measured.

    None where no loss was recorded.
    """
    spans = _spans(stages)
    values = [number(row, "loss") for span in spans for row in span.stage.training]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    held_out = [number(row, "eval_loss") for span in spans for row in span.stage.evaluations]
    both = finite + [value for value in held_out if math.isfinite(value)]
    logarithmic = min(both) > 0 and max(both) > _LOG_RANGE * min(both)

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.075, 0.16, 0.905, 0.62))
        for span in spans:
            steps, losses = _series(span, "loss")
            marker = "o" if len(steps) == 1 else ""
            axes.plot(steps, losses, color=ABOVE, marker=marker, markersize=3)
            steps, losses = _evaluated(span, "eval_loss")
            axes.plot(steps, losses, "o", color="none", markeredgecolor=INK, markersize=4, clip_on=False)
        if logarithmic:
            axes.set_yscale("log")
            plain_logarithms(axes)
        _frame(axes, spans)
        _name_stages(axes, spans)
        axes.set_xlabel("optimizer step, all stages in a row")
        axes.set_ylabel("loss (log scale)" if logarithmic else "loss")

    last = [f"{span.stage.name} {span.stage.last_loss:.3g}" for span in spans if span.stage.training]
    return draw(
        2.7,
        paint,
        name="loss",
        title="Training loss over the steps of all stages",
        description=f"Last training loss of each stage: {', '.join(last)}.",
    )


def routing_figure(stages: Sequence[StageRecord]) -> str | None:
    """The routers' metrics over the steps of the stages with experts: grey lines layers, blue the whole.

    None where no router was watched.
    """
    spans = _spans([stage for stage in stages if stage.moe and stage.training])
    panels = [(key, label) for key, label in _ROUTING if _recorded(spans, key)]
    if not panels:
        return None
    height = 0.42 + _PANEL * len(panels) + 0.28

    def paint(figure: Figure) -> None:
        top, bottom = 1 - 0.42 / height, 0.28 / height
        step = (top - bottom) / len(panels)
        for place, (key, label) in enumerate(panels):
            low = top - (place + 1) * step
            axes = figure.add_axes((0.075, low + 0.18 * step, 0.905, 0.70 * step))
            _metric(axes, spans, key)
            _frame(axes, spans)
            axes.set_ylim(bottom=0 if axes.get_ylim()[0] >= 0 else None)
            axes.text(0, 1.04, label, transform=axes.transAxes, ha="left", va="bottom", color=INK)
            if place == 0:
                _name_stages(axes, spans, lift=1.22)
            if place < len(panels) - 1:
                axes.tick_params(labelbottom=False)
            else:
                axes.set_xlabel("optimizer step, stages with experts in a row")

    return draw(
        height,
        paint,
        name="routing",
        title="Routing over the steps of the stages with experts",
        description="; ".join(_from_to(spans, key, label) for key, label in panels) + ".",
    )


def _metric(axes: Axes, spans: Sequence[_Span], key: str) -> None:
    layers = dict.fromkeys(
        name for span in spans for row in span.stage.training for name in row if _is_layer(name, key)
    )
    faint = max(0.25, min(0.9, 6 / max(len(layers), 1)))
    for span in spans:
        for layer in layers:
            axes.plot(*_series(span, layer), color=FAINT, linewidth=0.6, alpha=faint)
        axes.plot(*_series(span, key), color=SHAPED, linewidth=1.6)


def _is_layer(name: str, key: str) -> bool:
    # The shaping loss is a sum over layers, so one layer's is on another scale than the whole.
    return key != "dpsl" and name.startswith("layer.") and name.endswith(f".{key}")


def _spans(stages: Sequence[StageRecord]) -> list[_Span]:
    spans: list[_Span] = []
    for stage in stages:
        if stage.steps:
            spans.append(_Span(stage, spans[-1].end if spans else 0))
    return spans


def _series(span: _Span, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the stage's rows; whatever is no finite number is a gap."""
    return _points(span, span.stage.training, key)


def _evaluated(span: _Span, key: str) -> tuple[np.ndarray, np.ndarray]:
    return _points(span, span.stage.evaluations, key)


def _points(span: _Span, rows: Sequence[object], key: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(span.start + number(row, "step"), number(row, key)) for row in rows]  # type: ignore[arg-type]
    steps, values = np.array(pairs, np.float64).reshape(-1, 2).T
    values[~np.isfinite(values)] = np.nan
    return steps, values


def _recorded(spans: Sequence[_Span], key: str) -> bool:
    return any(math.isfinite(number(row, key)) for span in spans for row in span.stage.training)


def _frame(axes: Axes, spans: Sequence[_Span]) -> None:
    """Boundaries between stages, a tint under shaped ones, light horizontal lines."""
    axes.set_xlim(0, max(spans[-1].end, 1))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, which="both")
    axes.locator_params(axis="x", nbins=8, integer=True)
    if axes.get_yscale() == "linear":
        axes.locator_params(axis="y", nbins=4)
    for span in spans:
        if span.stage.shaped:
            axes.axvspan(span.start, span.end, color=SHAPED, alpha=0.10, linewidth=0)
    for span in spans[1:]:
        axes.axvline(span.start, color=GRID, linewidth=1.0)


def _name_stages(axes: Axes, spans: Sequence[_Span], lift: float = 1.03) -> None:
    """Names above the stages: level where all fit, slanted else."""
    width = WIDTH * 72 * axes.get_position().width
    total = spans[-1].end
    tight = any(len(_caption(span)) * 4.3 > width * span.stage.steps / total for span in spans)
    for span in spans:
        place = span.start + (0 if tight else span.stage.steps / 2)
        axes.text(
            place,
            lift,
            _caption(span),
            transform=axes.get_xaxis_transform(),
            fontsize=7,
            color=SHAPED if span.stage.shaped else FAINT,
            rotation=22 if tight else 0,
            rotation_mode="anchor",
            ha="left" if tight else "center",
            va="bottom",
        )


def _caption(span: _Span) -> str:
    return f"{span.stage.name} (shaped)" if span.stage.shaped else span.stage.name


def plain_logarithms(axes: Axes) -> None:
    """Ticks of a logarithmic axis as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _from_to(spans: Sequence[_Span], key: str, label: str) -> str:
    values = [number(row, key) for span in spans for row in span.stage.training]
    finite = [value for value in values if math.isfinite(value)]
    return f"{label} from {finite[0]:.3g} to {finite[-1]:.3g}"
