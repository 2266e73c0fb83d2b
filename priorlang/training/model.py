"""What a training file says of the model that its prior is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from priorlang.diagnostics.finding import PriorError, Related
from priorlang.diagnostics.span import Span
from priorlang.model_config import GivenModel, read_model
from priorlang.training.plan import StagePlan, TrainingPlan
from priorlang.training.upcycle import UpcyclePlan


def model_of(
    plan: TrainingPlan, stage: StagePlan, span: Callable[..., Span] | None = None
) -> GivenModel | None:
    """The model as the stage will have it: its config, and the experts that `upcycle` gives it.

    Args:
        plan: the training.
        stage: one of its stages.
        span: `span(*keys)` says where the stage has the value at `keys`, for findings.

    Returns:
        None where the config is not at hand, as of a hub name: the routers are looked at later anyway.
    """
    given = next((found for found in map(_read, _sources(plan)) if found is not None), None)
    if given is None:
        return None
    upcycle = stage.upcycle
    if given.experts is not None or upcycle is None:
        return given
    routed = _routed(upcycle.layers, given.layers)
    places = () if span is None else tuple(_places(upcycle, span))
    return replace(given, experts=upcycle.experts, top_k=upcycle.top_k, routed=routed, places=places)


def _places(upcycle: UpcyclePlan, span: Callable[..., Span]) -> Iterator[tuple[str, Related]]:
    for key in ("experts", "top_k"):
        message = f"`upcycle` gives the model {key} = {getattr(upcycle, key)}: change one of the two"
        yield key, Related(message, span("upcycle", key))


def _sources(plan: TrainingPlan) -> tuple[str, ...]:
    """Where the config may be, the best first."""
    if plan.scratch is not None:
        return (str(plan.scratch.config),)
    if plan.composed is None:
        return (plan.model_name_or_path or "",)
    configs = plan.composed.configs
    return (plan.composed.language_model, *([str(configs.language_model)] if configs is not None else []))


def _read(source: str) -> GivenModel | None:
    try:
        return read_model(source)
    except PriorError:
        return None


def _routed(wanted: str | tuple[int, ...], layers: int | None) -> tuple[int, ...] | None:
    """The layers that will route; None for all of them."""
    if not isinstance(wanted, str):
        return tuple(sorted(set(wanted)))
    if layers is None or wanted == "all":
        return None
    return tuple(range(0, layers, 2)) if wanted == "every-other" else tuple(range((layers + 1) // 2))
