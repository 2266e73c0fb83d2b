"""Which parameters of a model learn: `train: [projector]`, `[all-but-vision_tower]`, `[routers]`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from dpsl.errors import AttachError, DpslError
from dpsl.routers.find import find_routers
from priorlang.diagnostics.suggest import closest, listing

VISION_TOWER, PROJECTOR, LANGUAGE_MODEL, ROUTERS, ALL = (
    "vision_tower",
    "projector",
    "language_model",
    "routers",
    "all",
)

MODULE_NAMES = {
    "vision_tower": VISION_TOWER,
    "vision_model": VISION_TOWER,
    "visual": VISION_TOWER,
    "multi_modal_projector": PROJECTOR,
    "mm_projector": PROJECTOR,
    "projector": PROJECTOR,
    "connector": PROJECTOR,
}
"""What models call their parts. Everything else is the language model, its output head included."""

ALL_BUT = "all-but-"


class PartsError(DpslError):
    """`train:` names a part that the model does not have."""


def parts_of(model: nn.Module) -> dict[str, frozenset[str]]:
    """The parameter names of each part. Routers are a part of their own, and of the language model too."""
    members: dict[str, set[str]] = {}
    for name, _ in model.named_parameters():
        members.setdefault(_part_of(name), set()).add(name)
    routers = router_parameters(model)
    if routers:
        members[ROUTERS] = set(routers)
    return {part: frozenset(names) for part, names in members.items()}


def router_parameters(model: nn.Module) -> frozenset[str]:
    """Names of the parameters of the model's routers; none for a dense model."""
    try:
        routers = find_routers(model)
    except AttachError:
        return frozenset()
    return frozenset(f"{r.name}.{name}" for r in routers for name, _ in r.module.named_parameters())


def train_only(model: nn.Module, parts: Sequence[str]) -> frozenset[str]:
    """Let the named parts learn and freeze the rest; tied parameters go with the first part they are in.

    Args:
        model: its parameters' `requires_grad` is set.
        parts: names, `all`, or `all-but-NAME`. Exclusions come last; with exclusions alone all the rest learns.

    Returns:
        The names of the parameters that learn.

    Raises:
        PartsError: a part the model does not have, or nothing left to learn.
    """
    known = parts_of(model)
    everything = frozenset().union(*known.values())
    included = [_members(part, known, everything) for part in parts if not part.startswith(ALL_BUT)]
    excluded = [
        _members(part.removeprefix(ALL_BUT), known, everything) for part in parts if part.startswith(ALL_BUT)
    ]
    learning = (frozenset().union(*included) if included else everything) - frozenset().union(*excluded)
    if not learning:
        raise PartsError(
            f"train: [{', '.join(parts)}]", "nothing is left to learn", f"name one of {listing(known)}"
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learning)
    return learning


def _part_of(parameter: str) -> str:
    return next((MODULE_NAMES[step] for step in parameter.split(".") if step in MODULE_NAMES), LANGUAGE_MODEL)


def _members(part: str, known: dict[str, frozenset[str]], everything: frozenset[str]) -> frozenset[str]:
    if part == ALL:
        return everything
    if part not in known:
        near = closest(part, known)
        parts = f"this model has {listing(known)}, and `all`, `all-but-PART`"
        raise PartsError(f"train: {part}", parts, f"did you mean `{near}`?" if near else "name one of those")
    return known[part]
