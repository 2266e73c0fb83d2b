"""Find the routers of a live model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from dpsl.errors import AttachError
from dpsl.routers import recorded, upcycled
from dpsl.routers.found import FoundRouter
from priorlang.diagnostics.suggest import closest, listing

ADAPTERS = (upcycled.find, recorded.find)


def find_routers(
    model: nn.Module, only: Sequence[str | FoundRouter] | None = None
) -> tuple[FoundRouter, ...]:
    """The routers of a model in the order of its layers.

    Args:
        model: any module; models nested in it (multimodal wrappers, engines) are searched as well.
        only: names of the routers to take, of those found, or routers described by the caller.

    Raises:
        AttachError: no router, a name that is none, or two routers in one layer.
    """
    found = {id(router.module): router for adapter in ADAPTERS for router in adapter(model)}
    routers = list(found.values()) if only is None else _chosen(list(found.values()), only)
    if not routers:
        raise AttachError(
            type(model).__name__,
            "no router found",
            "upcycle it (`upcycle: {experts: 4, top_k: 2}` in a training file, dpsl.upcycle in Python), "
            "or use a transformers model that records router_logits",
        )
    routers.sort(key=lambda router: router.layer)
    for one, other in pairwise(routers):
        if one.layer == other.layer:
            raise AttachError(
                f"layer {one.layer}",
                f"two routers, {one.name} and {other.name}",
                "name the ones to shape: dpsl.attach(model, table, routers=[…])",
            )
    return tuple(routers)


def _chosen(found: list[FoundRouter], only: Sequence[str | FoundRouter]) -> list[FoundRouter]:
    by_name = {router.name: router for router in found}
    chosen: list[FoundRouter] = []
    for wanted in only:
        if isinstance(wanted, FoundRouter):
            chosen.append(wanted)
        elif wanted in by_name:
            chosen.append(by_name[wanted])
        else:
            near = closest(wanted, by_name)
            raise AttachError(
                f"routers: {wanted!r}",
                "no router of this name was found",
                f"did you mean {near!r}?" if near else f"found: {listing(by_name) or 'none'}",
            )
    return chosen
