"""What each term weighs in an optimizer step, after accumulation and whatever scales the loss."""

from __future__ import annotations

from typing import Any

from dpsl.regularizers import Regularizers
from dpsl.shaper import Shaper
from priorlang.table.prior_table import PriorTable


def coefficients(
    shaper: Shaper | None, regularizers: Regularizers | None, micro_steps: float, total: int
) -> dict[str, Any]:
    """The effective coefficients.

    Args:
        shaper: of the prior.
        regularizers: the other terms.
        micro_steps: in an optimizer step, over the factor by which the loss is scaled on purpose.
        total: shaped optimizer steps of the run.

    Returns:
        `weights` of the prior at its schedule's peak, `scale`, by which the training loop multiplies them (1 where it
        is right), `schedule`, and `regularizers`, before their schedules, with `regularizer_scale`.
    """
    found: dict[str, Any] = {"weights": []}
    if shaper is not None and shaper.shapes:
        table: PriorTable = shaper.table
        factor, step = peak_of_schedule(table, total)
        scales = [arrival.scale for arrival in shaper.arrivals() if arrival.scale is not None]
        scale = float(scales[0]) * micro_steps if scales else 0.0
        found = {
            "schedule": {"largest": factor, "at_step": step, "of": total},
            "scale": scale,
            "weights": sorted({float(weight) * factor * scale for weight in table.weight}),
        }
    if regularizers is not None:
        scale = (regularizers.scale() or 0.0) * micro_steps
        found["regularizer_scale"] = scale
        found["regularizers"] = {
            term.name: term.plan.coefficient * scale
            for term in regularizers.terms
            if hasattr(term.plan, "coefficient")
        }
    return found


def peak_of_schedule(table: PriorTable, total: int) -> tuple[float, int]:
    """The largest factor of the prior's schedule, and a step where it holds."""
    if not table.header.schedule:
        return 1.0, 0
    place, factor = max(table.header.schedule, key=lambda point: point[1])
    return factor, round(place * total) if table.header.schedule_unit == "fraction" else int(place)
