"""Held-out rows → accuracies that may be compared: of the same questions, with their standard errors."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise

from dpsl.proportion import standard_error
from dpsl.report.read import Row, RunRecord, StageRecord, number

OVERALL = "all"
_PREFIX, _ACCURACY, _COUNT = "eval_", "accuracy", "count"


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers, and of how many where that is known."""

    value: float
    count: int | None = None

    @property
    def standard_error(self) -> float:
        """NaN where the number of questions is not known."""
        return standard_error(self.value, self.count) if self.count else math.nan


@dataclass(frozen=True, eq=False)
class HeldOut:
    """One held-out set, and the stages that were measured on it.

    Attributes:
        objective: `language`, or `image-labels` where linear heads and no language model answered.
        stages: names in order.
        tasks: names; OVERALL comes first where it was measured.
        accuracies: by stage and task.
    """

    objective: str
    stages: tuple[str, ...]
    tasks: tuple[str, ...]
    accuracies: dict[tuple[str, str], Accuracy]

    def of(self, stage: str, task: str) -> Accuracy | None:
        """The accuracy of a task after a stage, where it was measured."""
        return self.accuracies.get((stage, task))


@dataclass(frozen=True)
class Move:
    """How an accuracy changed from one stage to the next on the same questions, in points."""

    before: str
    after: str
    points: float
    standard_error: float
    """As if the answers of the two stages were independent, which is no less than it is; NaN if not known."""
    count: int | None


def held_out_sets(run: RunRecord) -> tuple[HeldOut, ...]:
    """The accuracies of a run by held-out set, in the order of the stages."""
    grouped: dict[tuple[str, str], dict[str, dict[str, Accuracy]]] = {}
    for stage in run.stages:
        found = stage_accuracies(stage)
        if found:
            grouped.setdefault(_questions(stage), {})[stage.name] = found
    sets = []
    for (objective, _), by_stage in grouped.items():
        named = sorted({task for found in by_stage.values() for task in found} - {OVERALL})
        overall = [OVERALL] if any(OVERALL in found for found in by_stage.values()) else []
        # With a single task the overall accuracy is the same number twice.
        tasks = named if len(named) == 1 else [*overall, *named]
        cells = {(s, t): accuracy for s, found in by_stage.items() for t, accuracy in found.items()}
        sets.append(HeldOut(objective, tuple(by_stage), tuple(tasks), cells))
    return tuple(sets)


def stage_accuracies(stage: StageRecord) -> dict[str, Accuracy]:
    """The last accuracies of a stage, by task; what is no share, outside [0, 1], is left out."""
    if not stage.evaluations:
        return {}
    row = stage.evaluations[-1]
    names = [key for key in row if key.startswith(_PREFIX) and key.endswith(_ACCURACY)]
    return {_task(name): _accuracy(row, name) for name in names if 0 <= number(row, name) <= 1}


def moves(held_out: HeldOut) -> list[Move]:
    """From each stage to the next that was asked the same questions, over all of them (or the only task)."""
    task = held_out.tasks[0]
    known = [(s, a) for s in held_out.stages if (a := held_out.of(s, task)) is not None]
    changes = []
    for (before, old), (after, new) in pairwise(known):
        error = math.hypot(old.standard_error, new.standard_error)
        changes.append(Move(before, after, 100 * (new.value - old.value), 100 * error, new.count))
    return changes


def _questions(stage: StageRecord) -> tuple[str, str]:
    """What tells held-out sets apart: who answers, and from which files."""
    sources = stage.settings.get("eval_data", [])
    objective = str(stage.settings.get("objective", "language"))
    return objective, json.dumps(sources, sort_keys=True)


def _task(name: str) -> str:
    """`eval_digit_accuracy` → `digit`."""
    return name.removeprefix(_PREFIX).removesuffix(_ACCURACY).removesuffix("_") or OVERALL


def _accuracy(row: Row, name: str) -> Accuracy:
    count = number(row, name.removesuffix(_ACCURACY) + _COUNT)
    return Accuracy(number(row, name), int(count) if math.isfinite(count) and count > 0 else None)
