"""A run folder as it stands on disk → a RunRecord, however far the run has come.

A part that is not there yet is None or empty. A part that is there but cannot be read is left out, and a remark
says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dpsl.errors import DpslError
from dpsl.train.run_folder import RunFolder, read_metrics
from priorlang.diagnostics.finding import PriorError
from priorlang.routing.samples import RoutingSamples
from priorlang.routing.statistics import RoutingStatistics
from priorlang.table.prior_table import PriorTable

Row = Mapping[str, Any]
Part = TypeVar("Part")
LARGEST = 1e30
"""Numbers beyond this count as not finite: no metric is as large, and no axis is drawn to it."""
MOST_STEPS = 10**12


@dataclass(frozen=True, eq=False)
class StageRecord:
    """One stage of a run.

    Attributes:
        name: as the training file has it.
        settings: its part of the plan; empty where the run has no plan.
        done: whether it came to its end.
        training: rows of metrics from training steps, by step.
        evaluations: rows of held-out metrics, by step.
        table: the prior of its routers, None without one.
        routing: how tokens were routed at its end, see `held_out`; None without experts or prior.
        samples: some of those tokens, and the experts compared; None where that was not kept.
        benchmarks: entries of its evaluation.json.
    """

    name: str
    settings: Row = field(default_factory=dict)
    done: bool = False
    training: tuple[Row, ...] = ()
    evaluations: tuple[Row, ...] = ()
    table: PriorTable | None = None
    routing: RoutingStatistics | None = None
    samples: RoutingSamples | None = None
    benchmarks: tuple[Row, ...] = ()

    @property
    def moe(self) -> bool:
        """Whether its feed-forward layers are experts."""
        return bool(self.settings.get("moe")) or self.routing is not None

    @property
    def shaped(self) -> bool:
        """Whether the prior shaped its routers."""
        return bool(self.settings.get("shape"))

    @property
    def held_out(self) -> bool | None:
        """Whether routing is that of held-out tokens; False: of records that it was trained on; None: nothing says."""
        if "eval_data" in self.settings:
            return bool(self.settings["eval_data"])
        return True if self.evaluations else None

    @property
    def steps(self) -> int:
        """Optimizer steps made, as far as rows tell."""
        return max((int(number(row, "step", 0.0)) for row in (*self.training, *self.evaluations)), default=0)

    @property
    def last_loss(self) -> float:
        """Training loss in the last row; NaN without one."""
        return number(self.training[-1], "loss") if self.training else math.nan


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A whole run, finished or not.

    Attributes:
        name: of its folder.
        stages: in order.
        audit: what audit.json holds.
        environment: what environment.json holds.
        plan: what plan.json holds.
        train_text: the resolved training file.
        prior_text: the prior's source.
        remarks: what could not be read, a sentence each.
    """

    name: str
    stages: tuple[StageRecord, ...]
    audit: Row
    environment: Row
    plan: Row
    train_text: str
    prior_text: str
    remarks: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether every stage came to its end."""
        return bool(self.stages) and all(stage.done for stage in self.stages)

    @property
    def table(self) -> PriorTable | None:
        """The first prior that a stage uses."""
        return next((stage.table for stage in self.stages if stage.table is not None), None)


def read_run(path: Path) -> RunRecord:
    """Read a run folder.

    Raises:
        DpslError: there is no run in it.
    """
    folder = RunFolder(path)
    if path.is_file():
        raise DpslError(str(path), "it is a file", "name the folder of a run or of a grid")
    if not path.is_dir():
        raise DpslError(str(path), "there is no such folder", "name the folder of a run")
    if not folder.plan.is_file() and not folder.metrics.is_file():
        raise DpslError(
            str(path),
            "no run is here: it has neither plan.json nor metrics.jsonl",
            "name the folder of a run or of a grid",
        )
    reading = _Reading()
    plan = reading.json(folder.plan)
    rows = reading.rows(folder)
    planned = {str(stage["name"]): stage for stage in _rows(plan.get("stages")) if "name" in stage}
    names = dict.fromkeys([*planned, *(str(row["stage"]) for row in rows)])
    table = reading.part(folder.prior_table, PriorTable.load, None)
    stages = [_read_stage(folder, name, planned.get(name, {}), rows, table, reading) for name in names]
    prior = next(
        (p for p in (path / "prior.prior", path / "prior.yaml", path / "prior.yml") if p.is_file()), None
    )
    return RunRecord(
        name=path.resolve().name,
        stages=tuple(stages),
        audit=reading.json(folder.audit),
        environment=reading.json(folder.environment),
        plan=plan,
        train_text=reading.text(folder.train_yaml),
        prior_text=reading.text(prior) if prior is not None else "",
        remarks=tuple(reading.remarks),
    )


def number(row: Row, name: str, otherwise: float = math.nan) -> float:
    """A number of a row of metrics; `otherwise` where it has no finite one of that name."""
    value = row.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= LARGEST:
        return otherwise
    return float(value)


def _read_stage(
    run: RunFolder, name: str, settings: Row, rows: list[Row], table: PriorTable | None, reading: _Reading
) -> StageRecord:
    folder = run.stage(name)
    own = [row for row in rows if str(row["stage"]) == name]
    routing = reading.part(folder.routing, RoutingStatistics.read, None)
    prior = reading.part(folder.prior_table, PriorTable.load, table) if settings.get("prior", True) else None
    if routing is not None and prior is not None and routing.load.shape[1] != prior.header.experts:
        reading.remarks.append(
            f"The routing of stage {name} belongs to another prior than the one in this run."
        )
        routing = None
    samples = reading.part(folder.samples, RoutingSamples.read, None) if routing is not None else None
    if samples is not None and routing is not None and not _belong(samples, routing):
        reading.remarks.append(
            f"{folder.samples.name} of stage {name} belongs to other routing; it is left out."
        )
        samples = None
    return StageRecord(
        name=name,
        settings=settings,
        done=reading.part(folder.path / "done.json", lambda _: True, False),
        training=tuple(row for row in own if "loss" in row),
        evaluations=tuple(row for row in own if any(key.startswith("eval_") for key in row)),
        table=prior,
        routing=routing,
        samples=samples,
        benchmarks=tuple(_rows(reading.json(folder.evaluation).get("evaluations"))),
    )


def _belong(samples: RoutingSamples, routing: RoutingStatistics) -> bool:
    groups, experts = routing.load.shape
    return samples.probability.shape[1] == experts and bool((samples.group < groups).all())


class _Reading:
    """Reads files that may be missing or spoilt, and keeps remarks on the latter."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def part(self, path: Path, read: Callable[[Path], Part], otherwise: Part) -> Part:
        try:
            return read(path) if path.is_file() else otherwise
        except (OSError, ValueError, PriorError):
            self.remarks.append(f"{path.name} cannot be read, so what it holds is left out.")
            return otherwise

    def text(self, path: Path) -> str:
        return self.part(path, lambda place: place.read_text(encoding="utf-8", errors="replace"), "")

    def rows(self, folder: RunFolder) -> list[Row]:
        none: list[dict[str, Any]] = []
        found = [
            row for row in self.part(folder.metrics, lambda _: read_metrics(folder), none) if _is_row(row)
        ]
        rows: list[Row] = [row for row in found if _has_step(row)]
        odd = len(found) - len(rows)
        if odd:
            what = "a row whose step is" if odd == 1 else f"{odd:,} rows whose steps are"
            self.remarks.append(f"{folder.metrics.name} has {what} no whole number; left out.")
        return rows

    def json(self, path: Path) -> Row:
        value: Any = self.part(path, lambda place: json.loads(place.read_text(encoding="utf-8")), {})
        return value if isinstance(value, dict) else {}


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and "stage" in row


def _has_step(row: Row) -> bool:
    step = number(row, "step")
    return 0 <= step <= MOST_STEPS and step.is_integer()


def _rows(value: Any) -> list[Row]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
