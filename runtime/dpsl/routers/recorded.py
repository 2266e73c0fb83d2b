"""Routers that transformers itself records: `_can_record_outputs["router_logits"]` of a model class.

The class attribute names the module class and the place of the logits in its output. Multimodal wrappers
seldom repeat the attribute of the text model they hold, so every PreTrainedModel in the tree is asked.

Scoring differs (softmax over all experts, softmax over the chosen, sigmoid): what came is checked in
output.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from torch import nn

from dpsl.routers.found import FoundRouter, first_int, layer_of

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_TOP_K = ("top_k", "num_experts_per_tok", "moe_top_k", "moe_k")


def find(model: nn.Module) -> Iterator[FoundRouter]:
    """Every module below `model` that a transformers recorder names."""
    if "transformers" not in sys.modules:
        return
    for prefix, owner in model.named_modules():
        for recorder in _recorders(owner):
            for name, module in owner.named_modules(prefix=prefix):
                layer = layer_of(name)
                if layer is not None and _is_target(recorder, name, module):
                    yield _describe(name, module, layer, int(recorder.index), owner)


def _recorders(owner: nn.Module) -> list[Any]:
    declared = getattr(type(owner), "_can_record_outputs", None)
    recorders = declared.get("router_logits", []) if isinstance(declared, dict) else []
    listed = recorders if isinstance(recorders, list) else [recorders]
    return [recorder for recorder in listed if hasattr(recorder, "target_class")]


def _is_target(recorder: Any, name: str, module: nn.Module) -> bool:
    if recorder.target_class is None or not isinstance(module, recorder.target_class):
        return False
    return recorder.layer_name is None or f".{recorder.layer_name.strip('.')}." in f".{name}."


def _describe(name: str, module: nn.Module, layer: int, index: int, owner: nn.Module) -> FoundRouter:
    config: Any = getattr(owner, "config", None)
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    owners = (module, text_config)
    experts, top_k = first_int(owners, _EXPERTS), first_int(owners, _TOP_K)
    return FoundRouter(name, module, layer, experts, top_k, index, "recorded")
