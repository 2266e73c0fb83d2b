"""The `evaluate:` list of a training file: benchmarks that a stage's model takes when the run is trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from priorlang.training.strict import PositiveInt, Strict

QUESTIONS, LMMS_EVAL = "questions", "lmms-eval"
PREFIX = "evaluation"


class EvaluationPlan(Strict):
    """One harness and the tasks that it is asked for."""

    harness: Literal["questions", "lmms-eval"]
    """`questions`: the stage's `eval_data` by exact match, built in; `lmms-eval`: the package of that name."""
    tasks: tuple[str, ...] = ()
    """The harness's own names of tasks, as `mme` or `gqa`; without them `questions` takes all there are."""
    limit: PositiveInt | None = None
    """Only the first so many samples of each task, to try it out."""
    batch_size: PositiveInt = 1
    include_path: Path | None = None
    """For lmms-eval: a folder with tasks of your own."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """For lmms-eval: further arguments of its `simple_evaluate`, passed through."""

    @field_validator("tasks", mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given


OWN_ARGUMENTS = ("model", "tasks", "limit", "batch_size", "task_manager", "log_samples")
"""Arguments of `simple_evaluate` that the entry itself gives."""


class Wrong(NamedTuple):
    """A key of an entry that cannot be, and why."""

    key: str
    message: str


def problems(plan: EvaluationPlan, *, held_out: bool) -> Iterator[Wrong]:
    """What is wrong with an entry.

    Args:
        plan: the entry.
        held_out: whether there is data for `questions` to ask about.
    """
    if plan.harness == LMMS_EVAL and not plan.tasks:
        yield Wrong("tasks", "`lmms-eval` needs `tasks`: its own names, as `tasks: [mme, gqa]`")
    if plan.harness == QUESTIONS and not held_out:
        yield Wrong("harness", "`questions` asks about `eval_data`, and there is none")
    if plan.harness == QUESTIONS:
        for key in ("include_path", "arguments"):
            if getattr(plan, key):
                yield Wrong(key, f"`{key}` is for `lmms-eval`: leave it out")
    for key in plan.arguments:
        if key in OWN_ARGUMENTS:
            yield Wrong("arguments", f"`{key}` is given by the entry itself: move it out of `arguments`")
    if plan.include_path is not None and not plan.include_path.is_dir():
        yield Wrong("include_path", f"there is no folder `{plan.include_path}`")


def metric_name(harness: str, task: str, metric: str) -> str:
    """What metrics.jsonl and grids call a score: `evaluation.lmms-eval.gqa.exact_match`."""
    return f"{PREFIX}.{harness}.{task}.{metric}"
