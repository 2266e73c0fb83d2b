"""What came out of a benchmark, and the files that keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dpsl.text_table import format_table, number
from priorlang.training.evaluation import EvaluationPlan, metric_name

VERSION = 1


@dataclass(frozen=True)
class Score:
    """One number of one task.

    Attributes:
        harness: `questions` or `lmms-eval`.
        task: the harness's name of it.
        metric: what was measured, as `exact_match`.
        value: the score.
        stderr: its standard error over samples; None where the harness gives none.
        samples: how many samples it is of; None where the harness does not say.
    """

    harness: str
    task: str
    metric: str
    value: float
    stderr: float | None = None
    samples: int | None = None

    @property
    def name(self) -> str:
        """What metrics.jsonl and grids call it, where it is of all samples."""
        return metric_name(self.harness, self.task, self.metric)


@dataclass(frozen=True)
class Evaluation:
    """One harness's work on one model.

    Attributes:
        asked: what it was asked for.
        scores: what came out.
        seconds: how long it took, loading included.
        versions: package → version.
    """

    asked: EvaluationPlan
    scores: tuple[Score, ...]
    seconds: float
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """One entry of `evaluations` in evaluation.json."""
        return {
            "asked": self.asked.model_dump(mode="json"),
            "scores": [asdict(score) for score in self.scores],
            "seconds": round(self.seconds, 3),
            "versions": dict(self.versions),
        }

    def metrics(self) -> dict[str, float]:
        """The scores by name, and their standard errors as `NAME_stderr`; of the first samples alone, `NAME.limit-N`."""
        limited = "" if self.asked.limit is None else f".limit-{self.asked.limit}"
        values = {score.name + limited: score.value for score in self.scores}
        errors = {f"{s.name}{limited}_stderr": s.stderr for s in self.scores if s.stderr is not None}
        return values | errors


def document(model: str, evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What evaluation.json holds.

    Args:
        model: the folder that was evaluated.
        evaluations: entries, from `to_json`.
    """
    return {"version": VERSION, "model": model, "evaluations": list(evaluations)}


def lines(evaluation: Evaluation) -> list[str]:
    """The scores as a table for people."""
    rows = [
        [
            score.task,
            score.metric,
            number(score.value),
            "–" if score.stderr is None else number(score.stderr),
            "–" if score.samples is None else f"{score.samples:,}",
        ]
        for score in evaluation.scores
    ]
    return format_table([evaluation.asked.harness, "metric", "value", "± SE", "samples"], rows)
