"""The priors that a plan names, compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from priorlang.diagnostics.finding import PriorError
from priorlang.diagnostics.span import Span
from priorlang.phases import Prior
from priorlang.training.model import model_of
from priorlang.training.plan import TrainingPlan

if TYPE_CHECKING:
    from priorlang.table.prior_table import PriorTable

Tables = Mapping[Path, "PriorTable"]


def compiled_priors(plan: TrainingPlan, span: Callable[..., Span] | None = None) -> Tables:
    """The table of each prior file that a plan names, for the model as the stages with experts have it.

    Args:
        plan: the training.
        span: `span(index, *keys)` says where stage `index` has a value, for findings; as of a `LoadedPlan`.

    Raises:
        PriorError: a prior is wrong, does not fit the model, or fails its own expectations.
    """
    tables: dict[Path, PriorTable] = {}
    for index, stage in enumerate(plan.stages):
        if stage.prior is None or not stage.moe or stage.prior in tables:
            continue
        place = partial(span, index) if span is not None else None
        prior = Prior.read(stage.prior, model=model_of(plan, stage, place))
        tables[stage.prior] = prior.table
        if failed := [finding for finding in prior.findings if finding.name == "expectation-failed"]:
            raise PriorError(failed)
    for stage in plan.stages:
        if stage.prior is not None and stage.prior not in tables:
            tables[stage.prior] = Prior.read(stage.prior).table
    return tables
