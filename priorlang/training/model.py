"""What a training file says of the model that its prior is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from priorlang.diagnostics.finding import PriorError
from priorlang.model_config import GivenModel, read_model
from priorlang.training.plan import StagePlan, TrainingPlan


def model_of(plan: TrainingPlan, stage: StagePlan) -> GivenModel | None:
    """The model as the stage will have it: its config, and the experts that `upcycle` gives it.

    Returns:
        None where the config is not at hand, as of a hub name: the routers are looked at later anyway.
    """
    source = plan.model.config if plan.model is not None else Path(plan.model_name_or_path or "")
    try:
        given = read_model(str(source))
    except PriorError:
        return None
    upcycle = stage.upcycle
    if given.experts is not None or upcycle is None:
        return given
    routed = _routed(upcycle.layers, given.layers)
    return replace(given, experts=upcycle.experts, top_k=upcycle.top_k, routed=routed)


def _routed(wanted: str | tuple[int, ...], layers: int | None) -> tuple[int, ...] | None:
    """The layers that will route; None for all of them."""
    if not isinstance(wanted, str):
        return tuple(sorted(set(wanted)))
    if layers is None or wanted == "all":
        return None
    return tuple(range(0, layers, 2)) if wanted == "every-other" else tuple(range((layers + 1) // 2))
