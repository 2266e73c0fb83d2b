"""Held-out accuracy after each stage, one panel a task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dpsl.report.accuracy import OVERALL, HeldOut
from priorlang.pages.figure import ABOVE, FAINT, INK, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
MOST_TASKS = 12


def accuracy_figure(held_out: HeldOut, name: str) -> str | None:
    """Accuracy of each task, in percent, with one standard error up and down where it is known.

    None for fewer than two stages: a table says it better.
    """
    if len(held_out.stages) < 2:
        return None
    tasks = held_out.tasks[:MOST_TASKS]
    rows = math.ceil(len(tasks) / COLUMNS)
    height = 1.25 * rows + 0.75
    shown = [100 * a.value for (_, task), a in held_out.accuracies.items() if task in tasks]
    lowest = max(0.0, 10 * math.floor(min(shown) / 10 - 0.5))

    def paint(figure: Figure) -> None:
        for place, task in enumerate(tasks):
            row, column = divmod(place, COLUMNS)
            low = (0.72 + 1.25 * (rows - 1 - row) + 0.1) / height
            axes = figure.add_axes((0.06 + 0.325 * column, low, 0.265, 0.85 / height))
            _panel(axes, held_out, task, lowest)
            last_in_column = place + COLUMNS >= len(tasks)
            _name_stages(axes, held_out.stages, visible=last_in_column)

    return draw(
        height,
        paint,
        name=name,
        title="Held-out accuracy after each stage, by task",
        description=" ".join(_in_words(held_out, task) for task in tasks),
    )


def _panel(axes: Axes, held_out: HeldOut, task: str, lowest: float) -> None:
    span = 100 - lowest
    found = [held_out.of(stage, task) for stage in held_out.stages]
    values = [100 * accuracy.value if accuracy is not None else math.nan for accuracy in found]
    errors = [100 * accuracy.standard_error if accuracy is not None else math.nan for accuracy in found]
    places = list(range(len(values)))
    axes.plot(places, values, color=ABOVE, linewidth=1.0, alpha=0.5)
    axes.errorbar(
        places, values, yerr=errors, fmt="o", color=ABOVE, markersize=3.5, elinewidth=1.0, clip_on=False
    )
    for place, value, error in zip(places, values, errors, strict=True):
        if math.isfinite(value):
            above = value + (error if math.isfinite(error) else 0) + 0.05 * span
            axes.text(place, above, f"{value:.1f}", ha="center", va="bottom", fontsize=7, color=INK)
    axes.set_ylim(lowest, 100 + 0.2 * span)
    axes.set_yticks([lowest, lowest + span / 2, 100], [f"{lowest:g}", f"{lowest + span / 2:g}", "100 %"])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(-0.4, len(values) - 0.6)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    label = "all questions" if task == OVERALL else task
    axes.text(0, 1.02, label, transform=axes.transAxes, fontweight="bold", va="bottom")


def _name_stages(axes: Axes, stages: tuple[str, ...], *, visible: bool) -> None:
    axes.set_xticks(range(len(stages)), stages if visible else [""] * len(stages))
    if visible:
        for label in axes.get_xticklabels():
            label.set(rotation=28, ha="right", rotation_mode="anchor", color=FAINT)


def _in_words(held_out: HeldOut, task: str) -> str:
    values = [
        f"{stage} {100 * accuracy.value:.1f} %"
        for stage in held_out.stages
        if (accuracy := held_out.of(stage, task)) is not None
    ]
    return f"{'All questions' if task == OVERALL else task}: {', '.join(values)}."
