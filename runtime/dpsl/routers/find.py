"""Find a model's routers: every adapter is asked, and the answers are put in the order of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

from torch import nn

from dpsl.errors import AttachError
from dpsl.routers import autoep, deepspeed_moe, recorded, upcycled
from dpsl.routers.found import FoundRouter
from dpsl.routers.named import find_named

ADAPTERS = (upcycled.find, recorded.find, deepspeed_moe.find, autoep.find)

Routers: TypeAlias = str | Sequence[str | FoundRouter] | Mapping[str, int]
"""What a caller may say of routers: paths of modules with wildcards, descriptions, or, for each path, the place of
the logits in the module's output tuple."""


def find_routers(model: nn.Module, only: Routers | None = None) -> tuple[FoundRouter, ...]:
    """The routers of a model in the order of its layers.

    Args:
        model: any module; models nested in it (multimodal wrappers, engines) are searched as well.
        only: the routers to take: paths of modules, with `*` for one part and `**` for any number of them, found by
            an adapter or not; or routers described by the caller; or a mapping from paths to the place of the
            logits in the module's output. None: those that adapters find.

    Raises:
        AttachError: no router, a path that matches none, or two routers in one layer.
    """
    found = routers_of_any_kind(model)
    routers = list(found) if only is None else _chosen(model, found, only)
    if not routers:
        raise AttachError(
            type(model).__name__,
            "no router found",
            "upcycle it (`upcycle: {experts: 4, top_k: 2}` in a training file, dpsl.upcycle in Python), "
            "use a transformers model that records router_logits, or name the modules: routers='blocks.*.gate'",
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


def routers_of_any_kind(model: nn.Module) -> tuple[FoundRouter, ...]:
    """What the adapters find, each module once; may be nothing."""
    return tuple({id(router.module): router for adapter in ADAPTERS for router in adapter(model)}.values())


def _chosen(model: nn.Module, found: Sequence[FoundRouter], only: Routers) -> list[FoundRouter]:
    places = only if isinstance(only, Mapping) else {}
    wanted = [only] if isinstance(only, str) or not isinstance(only, Iterable) else list(only)
    for one in wanted:
        place = places.get(one, 0) if isinstance(one, str) else 0
        if not isinstance(one, str | FoundRouter) or type(place) is not int or place < 0:
            said = f"{one!r}: {place!r}" if one in places else repr(one)
            raise AttachError(
                "routers",
                f"{said} names no router",
                "give paths of modules ('blocks.*.gate'), FoundRouters, or a mapping from paths to places from 0",
            )
    described = [router for router in wanted if isinstance(router, FoundRouter)]
    patterns = [pattern for pattern in wanted if isinstance(pattern, str)]
    return described + find_named(model, patterns, places, found)
