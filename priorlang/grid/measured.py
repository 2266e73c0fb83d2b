"""On which data a grid's metrics are measured: held-out, the same in every cell or not, or what was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from priorlang.grid.cells import Cell
from priorlang.grid.plan import Metric
from priorlang.grid.results import ROUTING
from priorlang.training.evaluation import PREFIX as BENCHMARK

HELD_OUT = ("eval_", f"{BENCHMARK}.")
"""What metrics of held-out data begin with; others of metrics.jsonl are of training steps."""


@dataclass(frozen=True)
class Measured:
    """Titles of metrics by the data that they are measured on.

    Attributes:
        held_out: the same held-out data in every cell.
        trained_on: training data.
        various: not the same in every cell.
    """

    held_out: tuple[str, ...]
    trained_on: tuple[str, ...]
    various: tuple[str, ...]


def measured_on(metrics: Sequence[Metric], cells: Sequence[Cell]) -> Measured:
    """Sort metrics by their data, as the plans of the cells have it.

    The routing of a stage is that of its held-out tokens, or of records that it was trained on where it holds none out. Before there are cells nothing is measured.
    """
    found: dict[str, list[str]] = {"held_out": [], "trained_on": [], "various": []}
    for metric in metrics if cells else ():
        found[_data(metric, cells)].append(metric.title)
    return Measured(**{data: tuple(titles) for data, titles in found.items()})


def _data(metric: Metric, cells: Sequence[Cell]) -> str:
    held_out = metric.metric.startswith(HELD_OUT)
    if not held_out and not metric.metric.startswith(ROUTING):
        return "trained_on"
    sources = {
        tuple(source.model_dump_json() for source in stage.eval_data)
        for cell in cells
        for stage in cell.plan.stages
        if stage.name == (metric.stage or cell.plan.stages[-1].name)
    }
    if len(sources) > 1:
        return "various"
    return "held_out" if held_out or any(sources) else "trained_on"
