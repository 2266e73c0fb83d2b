"""DeepSpeed's AutoEP: it swaps the model's MoE blocks, so attach after `deepspeed.initialize`.

Its TokenChoiceTopKRouter returns scores alone; the logits are the output of the linear layer within. Load is counted
from their largest values, which is what the router chooses unless it limits groups or adds a bias.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from torch import nn

from dpsl.routers.found import FoundRouter, Scoring, layer_of


def find(model: nn.Module) -> Iterator[FoundRouter]:
    """The linear layer of every TokenChoiceTopKRouter below `model`."""
    ep_router: Any = sys.modules.get("deepspeed.moe.ep_router")
    if ep_router is None:
        return
    for name, router in model.named_modules():
        layer = layer_of(name)
        if layer is not None and isinstance(router, ep_router.TokenChoiceTopKRouter):
            scoring = Scoring(router.score_func)
            yield FoundRouter(
                f"{name}.gate", router.gate, layer, router.num_experts, router.top_k, 0, "autoep", scoring
            )
