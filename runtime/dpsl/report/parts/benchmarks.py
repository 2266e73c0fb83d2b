"""The page's chapter on benchmarks: what harnesses found after training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dpsl.report.read import Row, StageRecord, number
from dpsl.text_table import number as written
from priorlang.pages.html import MISSING, Markup, section, table

HEADER = ["after stage", "harness", "task", "metric", "score", "± SE", "samples", "with"]
AS_THEY_STAND = ("harness", "tasks")
"""What was asked for and stands in columns of its own."""


def benchmarks_part(stages: Sequence[StageRecord]) -> Markup | None:
    """Every score of every stage, with what it was asked for; None without any."""
    rows = [row for stage in stages for entry in stage.benchmarks for row in _rows(stage.name, entry)]
    if not rows:
        return None
    caption = "Scores are the harness's own, ± its standard error over samples, where it gives one."
    return section("Benchmarks", table(HEADER, rows, caption=caption, texts=4))


def _rows(stage: str, entry: Row) -> Iterator[list[str]]:
    asked, scores = entry.get("asked"), entry.get("scores")
    for score in scores if isinstance(scores, list) else ():
        if not isinstance(score, dict):
            continue
        names = [str(score.get(key, MISSING)) for key in ("harness", "task", "metric")]
        numbers = [_number(score, key) for key in ("value", "stderr", "samples")]
        yield [stage, *names, *numbers, _settings(asked if isinstance(asked, dict) else {})]


def _number(score: Row, key: str) -> str:
    value = number(score, key)
    return MISSING if value != value else f"{value:,.0f}" if key == "samples" else written(value)


def _settings(asked: dict[str, Any]) -> str:
    """What differs from a full run with nothing said."""
    said = {key: value for key, value in asked.items() if key not in AS_THEY_STAND and value}
    limit = said.pop("limit", None)
    if said.get("batch_size") == 1:
        del said["batch_size"]
    first = [f"the first {limit} samples alone"] if limit is not None else []
    return "; ".join([*first, *(f"{key} {value}" for key, value in said.items())]) or MISSING
