"""The engine: a prior table in, gradients and metrics out.

Names are imported when first used, so that a part which needs no torch never waits for it. transformers' Auto
classes load upcycled models from then on.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dpsl.registration import announce

if TYPE_CHECKING:
    from dpsl.attaching import attach
    from dpsl.audit import Audit, audit_lines
    from dpsl.loss import dirichlet_prior_shaping_loss
    from dpsl.module import DirichletPriorShaping
    from dpsl.routers.blocks import moe_blocks_without_router
    from dpsl.routers.zero3 import set_leaf_modules
    from dpsl.shaper import Shaper
    from dpsl.tokens import TokenCollator, expand_codes, shard_tokens
    from dpsl.train.processes import prepare_process
    from dpsl.train.shaped_trainer import ShapingMixin
    from dpsl.upcycle.api import upcycle
    from dpsl.upcycle.storage import load_model
    from priorlang.routing.statistics import RoutingStatistics

_HOMES = {
    "Audit": "dpsl.audit",
    "audit_lines": "dpsl.audit",
    "DirichletPriorShaping": "dpsl.module",
    "RoutingStatistics": "priorlang.routing.statistics",
    "Shaper": "dpsl.shaper",
    "ShapingMixin": "dpsl.train.shaped_trainer",
    "TokenCollator": "dpsl.tokens",
    "attach": "dpsl.attaching",
    "dirichlet_prior_shaping_loss": "dpsl.loss",
    "expand_codes": "dpsl.tokens",
    "load_model": "dpsl.upcycle",
    "moe_blocks_without_router": "dpsl.routers.blocks",
    "prepare_process": "dpsl.train.processes",
    "set_leaf_modules": "dpsl.routers.zero3",
    "shard_tokens": "dpsl.tokens",
}

__all__ = [
    "Audit",
    "DirichletPriorShaping",
    "RoutingStatistics",
    "Shaper",
    "ShapingMixin",
    "TokenCollator",
    "attach",
    "audit_lines",
    "dirichlet_prior_shaping_loss",
    "expand_codes",
    "load_model",
    "moe_blocks_without_router",
    "prepare_process",
    "set_leaf_modules",
    "shard_tokens",
    "upcycle",
]


def __getattr__(name: str) -> Any:
    if name == "upcycle":
        return import_module("dpsl.upcycle")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


announce()
