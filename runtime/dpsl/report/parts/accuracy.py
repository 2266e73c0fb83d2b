"""The page's chapters on held-out answers, one for each held-out set."""

from __future__ import annotations

import math

from dpsl.report.accuracy import OVERALL, Accuracy, HeldOut
from dpsl.report.figures.accuracy import MOST_TASKS, accuracy_figure
from priorlang.pages.figure import identifiers
from priorlang.pages.html import MISSING, Markup, figure, section, table


def accuracy_parts(sets: tuple[HeldOut, ...]) -> list[Markup]:
    """Accuracy after each stage and of each task, with its standard error where it is known."""
    parts = []
    keys = identifiers(f"{held_out.stages[0]}-to-{held_out.stages[-1]}" for held_out in sets)
    for place, held_out in enumerate(sets):
        title = "Held-out accuracy"
        if held_out.objective != "language":
            title += ", image labels (linear heads, no language model)"
        elif sum(other.objective == "language" for other in sets) > 1:
            title += f" after {', '.join(held_out.stages)}"
        header = ["after stage", *("all questions" if task == OVERALL else task for task in held_out.tasks)]
        rows = [
            [stage, *(_percent(held_out.of(stage, task)) for task in held_out.tasks)]
            for stage in held_out.stages
        ]
        asked = [f"{count:,}" if (count := _count(held_out, task)) else MISSING for task in held_out.tasks]
        if any(text != MISSING for text in asked):
            rows.append(["questions", *asked])
        drawn = figure(accuracy_figure(held_out, f"accuracy-{keys[place]}"), _accuracy_caption(held_out))
        parts.append(section(title, table(header, rows), drawn))
    return parts


def _accuracy_caption(held_out: HeldOut) -> str:
    known = any(accuracy.count for accuracy in held_out.accuracies.values())
    bars = (
        "Bars reach one standard error up and down, from the number of questions alone; another seed may move the points "
        "further. Stages answer the same questions, so a difference between two is known no worse than stated."
        if known
        else "The number of questions is not recorded, so there are no standard errors."
    )
    capped = (
        f" The first {MOST_TASKS} of {len(held_out.tasks)} are drawn."
        if len(held_out.tasks) > MOST_TASKS
        else ""
    )
    return f"An answer counts if every token of it is right. {bars}{capped}"


def _percent(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return MISSING
    error = 100 * accuracy.standard_error
    return f"{100 * accuracy.value:.1f} %" + (f" ± {error:.1f}" if math.isfinite(error) else "")


def _count(held_out: HeldOut, task: str) -> int | None:
    found = [held_out.of(stage, task) for stage in held_out.stages]
    return next((accuracy.count for accuracy in found if accuracy is not None), None)
