"""The routing of a run folder, with the prior it was gathered under, and whether that prior had been on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file
from priorlang.routing.statistics import RoutingStatistics
from priorlang.table.prior_table import UNSHAPED, PriorTable

_ROUTING, _TABLE, _PLAN = "routing.safetensors", "prior.safetensors", "plan.json"


@dataclass(frozen=True, eq=False)
class RunRouting:
    """How tokens were routed at the end of a stage: held-out ones, or some it was trained on where none are.

    Attributes:
        place: where it was read, for messages.
        stage: name of the stage; empty where no plan lies beside the statistics.
        shaped: whether a prior shaped this stage or one before it; taken as so where no plan says.
        on: whether a prior shaped this stage.
        balanced: whether a regularizer sought balanced load up to then.
        statistics: its numbers.
        table: the prior whose populations and token classes they count.
    """

    place: str
    stage: str
    shaped: bool
    on: bool
    balanced: bool
    statistics: RoutingStatistics
    table: PriorTable

    def cell_groups(self) -> NDArray[np.int64]:
        """[L, C], the group of the statistics that holds each cell's tokens."""
        groups = np.empty(self.table.row.shape, np.int64)
        for position in range(len(self.table.layer)):
            here = np.flatnonzero(self.statistics.group_layer == position)
            group_of = dict(zip(self.statistics.group_population[here].tolist(), here.tolist(), strict=True))
            groups[position] = [
                group_of[population] for population in self.table.population[position].tolist()
            ]
        return groups


def read_run_routing(path: str | Path) -> RunRouting:
    """Read the routing of a run folder (of its last stage that has any), or of the folder of one stage.

    Raises:
        PriorError: there is no run, it has no routing statistics, or they do not belong to its prior.
    """
    folder = Path(path)
    if not folder.is_dir():
        what = "is a file; name the folder of a run" if folder.exists() else "is no folder"
        raise routing_error(f"{path} {what}", path)
    run = folder.parent.parent if folder.parent.name == "stages" else folder
    stages = _planned_stages(run)
    names = [str(stage["name"]) for stage in stages]
    if run != folder:
        stage = folder.name
    else:
        measured = [name for name in names if (run / "stages" / name / _ROUTING).is_file()]
        stage = measured[-1] if measured else ""
    statistics = _statistics_in(folder)
    places = (run / "stages" / stage / _TABLE, run / _TABLE, folder / _TABLE)
    table_file = next((place for place in places if place.is_file()), None)
    if table_file is None:
        raise routing_error(f"{path} has no {_TABLE}: the prior that its routing was counted by", path)
    before = stages[: names.index(stage) + 1] if stage in names else ()
    routing = RunRouting(
        str(path),
        stage,
        any(bool(item.get("shape")) for item in before) if before else True,
        bool(before[-1].get("shape")) if before else True,
        any(_balances(item) for item in before),
        statistics,
        PriorTable.load(table_file),
    )
    _check_belongs(routing)
    return routing


def routing_error(message: str, place: str | Path = "--routing") -> PriorError:
    """The error of a run that cannot be read, or not be compared."""
    return PriorError([Finding("invalid-routing", Severity.ERROR, message, whole_file(str(place)))])


def _statistics_in(folder: Path) -> RoutingStatistics:
    file = folder / _ROUTING
    if not file.is_file():
        if (folder / _PLAN).is_file() or folder.parent.name == "stages":
            why = "it is written at the end of a stage with experts, a prior and `eval_data`"
        else:
            why = "this is no folder of a run"
        raise routing_error(f"{folder} has no {_ROUTING}: {why}", folder)
    return RoutingStatistics.read(file)


def _planned_stages(run: Path) -> tuple[dict[str, Any], ...]:
    """The stages of plan.json; none where it is not there or cannot be read."""
    try:
        plan = json.loads((run / _PLAN).read_text(encoding="utf-8"))
        stages = plan["stages"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple(stage for stage in stages if isinstance(stage, dict) and "name" in stage)


def _balances(stage: dict[str, Any]) -> bool:
    kinds = [str(item.get("type")) for item in stage.get("regularizers") or () if isinstance(item, dict)]
    return "load_balance" in kinds


def _check_belongs(routing: RunRouting) -> None:
    """Hold the statistics to the table that names their groups."""
    statistics, table = routing.statistics, routing.table
    named = {
        (position, population): "" if population == UNSHAPED else table.header.populations[population]
        for position, row in enumerate(table.population.tolist())
        for population in row
    }
    counted = {
        (position, population): "" if population == UNSHAPED else name
        for position, population, name in zip(
            statistics.group_layer.tolist(),
            statistics.group_population.tolist(),
            statistics.group_name,
            strict=True,
        )
    }
    classes = statistics.classes
    belongs = (
        statistics.load.shape[1] == table.header.experts
        and np.array_equal(statistics.layer, table.layer)
        and counted == named
        and len(counted) == len(statistics.group_name)
        and (classes is None or classes.tokens.shape[1] == table.class_count)
    )
    if not belongs:
        raise routing_error(
            f"the {_ROUTING} of {routing.place} belongs to another prior than the {_TABLE} beside it",
            routing.place,
        )
