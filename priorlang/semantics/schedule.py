"""`schedule { 0%: 0.0, 5%: 1.0 }` → points in order."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from priorlang.diagnostics.finding import Finding, Severity
from priorlang.diagnostics.span import Span
from priorlang.semantics.spec import ScheduleSpec
from priorlang.semantics.values import Values
from priorlang.syntax import tree as t


def resolve_schedule(
    statement: t.Schedule | None, values: Values, findings: list[Finding]
) -> ScheduleSpec | None:
    """The points of a schedule; places must rise, and are all percentages or all steps."""
    if statement is None:
        return None

    def error(name: str, message: str, span: Span) -> None:
        findings.append(Finding(name, Severity.ERROR, message, span))

    if len({point.percent for point in statement.points}) > 1:
        error("invalid-value", "a schedule counts in percent or in steps, not in both", statement.span)
        return None
    unit: Literal["fraction", "step"] = "fraction" if statement.points[0].percent else "step"
    points: list[tuple[Fraction, Fraction]] = []
    for point in statement.points:
        place, factor = values.number(point.place), values.number(point.factor)
        if place is None or factor is None:
            return None
        place = place / 100 if point.percent else place
        if point.percent and place > 1:
            error("out-of-range", "a schedule ends at 100%", point.place.span)
            return None
        if points and place <= points[-1][0]:
            error("out-of-range", "the places of a schedule rise from point to point", point.place.span)
            return None
        points.append((place, factor))
    return ScheduleSpec(tuple(points), unit, statement.span)
