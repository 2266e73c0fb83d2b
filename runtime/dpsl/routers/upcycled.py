"""Routers of the blocks that dpsl.upcycle builds."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from dpsl.routers.found import FoundRouter, Scoring, layer_of
from dpsl.upcycle.block import Router


def find(model: nn.Module) -> Iterator[FoundRouter]:
    """Every `Router` below `model`."""
    for name, module in model.named_modules():
        layer = layer_of(name)
        if isinstance(module, Router) and layer is not None:
            yield FoundRouter(
                name, module, layer, module.experts, module.top_k, 0, "upcycled", Scoring.SOFTMAX
            )
