"""Put a table's layers and a model's routers side by side, or say what does not fit."""

from __future__ import annotations

from typing import Any

from torch import nn

from dpsl.errors import AttachError
from dpsl.routers.found import FoundRouter
from priorlang.table.prior_table import PriorTable


def match_routers(
    model: nn.Module, found: tuple[FoundRouter, ...], table: PriorTable
) -> tuple[FoundRouter, ...]:
    """The router of each routed layer of the table, in the table's order.

    Raises:
        AttachError: decoder layers, routed layers, experts or top_k of the model are not those of the prior.
    """
    layers = _decoder_layers(model)
    if layers is not None and layers != table.header.layers:
        raise AttachError(
            "layers",
            f"the prior is written for {table.header.layers}, the model has {layers}",
            f"state layers = {layers} in the prior's model block",
        )
    by_layer = {router.layer: router for router in found}
    wanted = table.layer.tolist()
    if missing := [layer for layer in wanted if layer not in by_layer]:
        raise AttachError(
            f"layer {missing[0]}",
            f"the prior routes {len(wanted)} layers; the model has {len(by_layer)} routers, and none here",
            f"state routed = {_listing(sorted(by_layer))} in the prior's model block",
        )
    if spare := sorted(set(by_layer) - set(wanted)):
        raise AttachError(
            by_layer[spare[0]].place,
            f"the model routes {len(by_layer)} layers, the prior {len(wanted)} and not this one",
            f"state routed = {_listing(sorted(by_layer))} in the prior's model block",
        )
    matched = tuple(by_layer[layer] for layer in wanted)
    for router in matched:
        check_count(router, "experts", router.experts, table.header.experts)
        check_count(router, "top_k", router.top_k, table.header.top_k)
    return matched


def check_count(router: FoundRouter, name: str, has: int | None, stated: int) -> None:
    """Compare a count of a router, where it is known, with the prior's.

    Raises:
        AttachError: they differ.
    """
    if has is not None and has != stated:
        raise AttachError(
            router.place,
            f"the prior is written for {name} = {stated}, this router has {has}",
            f"state {name} = {has} in the prior's model block",
        )


def _decoder_layers(model: nn.Module) -> int | None:
    config: Any = getattr(model, "config", None)
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else None
    layers = getattr(text_config, "num_hidden_layers", None)
    return layers if isinstance(layers, int) else None


def _listing(layers: list[int]) -> str:
    """Layers in the language's own notation."""
    if layers == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}..{layers[-1]}"
    return " | ".join(map(str, layers))
