"""Blocks of experts, found by their shape alone: what holds experts should have a router that was found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from torch import nn

from dpsl.routers.find import routers_of_any_kind
from dpsl.routers.found import FoundRouter

_EXPERTS = re.compile(r"experts?(_|\b|$)", re.IGNORECASE)
_UP_TO_LAYER = re.compile(r"^(?:.*?\.)?\d+(?=\.|$)")


def moe_blocks_without_router(
    model: nn.Module, routers: Sequence[FoundRouter] | None = None
) -> tuple[str, ...]:
    """Paths of the blocks that hold several experts, in a layer where no router was found.

    Experts are modules of one class in a list, or one module with their weights in three dimensions, whose name
    speaks of experts.

    Args:
        model: the model.
        routers: the routers found, None: those that adapters find.
    """
    found = routers_of_any_kind(model) if routers is None else routers
    layers = {_layer_path(router.name) for router in found}
    return tuple(sorted(name for name in set(moe_blocks(model)) if _layer_path(name) not in layers))


def moe_blocks(model: nn.Module) -> Iterator[str]:
    """Paths of the modules around experts."""
    for name, module in model.named_modules():
        if _EXPERTS.search(name.rpartition(".")[2]) and (_are_experts(module) or _are_fused(module)):
            parts = name.split(".")
            first = next(place for place, part in enumerate(parts) if _EXPERTS.search(part))
            yield ".".join(parts[:first])


def separate_experts(module: nn.Module) -> bool:
    """Whether experts below a module are modules of their own, of which a token runs some."""
    return any(
        _EXPERTS.search(name.rpartition(".")[2]) and _are_experts(below)
        for name, below in module.named_modules()
    )


def _are_experts(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList) and len(module) > 1 and len(set(map(type, module))) == 1


def _are_fused(module: nn.Module) -> bool:
    shapes = [getattr(weight, "ds_shape", weight.shape) for weight in module.parameters(recurse=False)]
    return any(len(shape) == 3 and shape[0] > 1 for shape in shapes)


def _layer_path(name: str) -> str:
    found = _UP_TO_LAYER.match(name)
    return found.group() if found else name
