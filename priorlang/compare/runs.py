"""How two runs differ in their results: the last value of every evaluated metric of every stage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file


@dataclass(frozen=True)
class MetricChange:
    """A metric at the end of a stage, in either run; None where a run lacks it."""

    stage: str
    metric: str
    before: float | None
    after: float | None


def compare_runs(before: Path, after: Path) -> tuple[MetricChange, ...]:
    """Every `loss`, `dpsl`, load and `eval_…` metric at the end of each stage, side by side.

    Raises:
        PriorError: the metrics of a run cannot be read.
    """
    old, new = _last_metrics(before), _last_metrics(after)
    keys = [*old, *(key for key in new if key not in old)]
    return tuple(MetricChange(*key, old.get(key), new.get(key)) for key in keys)


_KEPT = ("loss", "dpsl", "load_cov", "load_max", "routing_entropy", "dead_fraction", "top1_score")


def _last_metrics(run: Path) -> dict[tuple[str, str], float]:
    last: dict[tuple[str, str], float] = {}
    file = run / "metrics.jsonl"
    if not file.is_file():
        return last
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        raise PriorError(
            [Finding("unreadable-file", Severity.ERROR, message, whole_file(str(file)))]
        ) from None
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            # The line that a killed process was writing.
            continue
        if not isinstance(row, dict):
            continue
        for name, value in row.items():
            wanted = name in _KEPT or (name.startswith("eval_") and not name.endswith("_count"))
            if wanted and isinstance(value, int | float):
                last[str(row.get("stage", "")), name] = float(value)
    return last
