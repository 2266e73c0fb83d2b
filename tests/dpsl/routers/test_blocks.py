"""Blocks of experts: those without a router are told, and ZeRO-3 gathers each as one."""

from __future__ import annotations

import pytest
import torch
from families import FAMILIES, build
from torch import nn

import dpsl
from dpsl.routers.blocks import moe_blocks, moe_blocks_without_router
from dpsl.routers.find import find_routers
from dpsl.routers.zero3 import set_leaf_modules

BLOCKS = {
    "upcycled": "UpcycledMoE",
    "mixtral": "MixtralSparseMoeBlock",
    "mixtral-top-1": "MixtralSparseMoeBlock",
    "qwen2-moe": "Qwen2MoeSparseMoeBlock",
    "qwen3-moe": "Qwen3MoeSparseMoeBlock",
    "olmoe": "OlmoeSparseMoeBlock",
    "granite-moe": "GraniteMoeMoE",
    "deepseek-v3": "DeepseekV3MoE",
    "gpt-oss": "GptOssMLP",
    "phimoe": "PhimoeSparseMoeBlock",
    "llama4": "Llama4TextMoe",
    "qwen3-vl-moe": "Qwen3VLMoeTextSparseMoeBlock",
}


class Unknown(nn.Module):
    """A mixture of a kind that no adapter knows: one layer of separate experts, one of fused ones, one dense."""

    def __init__(self) -> None:
        super().__init__()
        separate, fused = nn.Module(), nn.Module()
        separate.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        separate.gate = nn.Linear(4, 3)
        fused.fused_experts = nn.Module()
        fused.fused_experts.weight = nn.Parameter(torch.zeros(3, 4, 4))
        self.layers = nn.ModuleList([separate, fused, nn.Linear(4, 4)])


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_has_a_router_for_each_block(kind: str) -> None:
    model = build(kind)
    names = sorted(set(moe_blocks(model)))
    assert [router.name.rpartition(".")[0] for router in find_routers(model)] == names
    assert moe_blocks_without_router(model) == ()


def test_blocks_without_router_are_told() -> None:
    assert moe_blocks_without_router(Unknown()) == ("layers.0", "layers.1")
    named = find_routers(Unknown(), "layers.*.gate")
    assert moe_blocks_without_router(Unknown(), named) == ("layers.1",)


def test_a_vision_tower_of_experts_is_not_covered_by_the_routers_of_the_decoder() -> None:
    model = nn.ModuleDict({"decoder": build("mixtral"), "vision": Unknown()})
    assert moe_blocks_without_router(model) == ("vision.layers.0", "vision.layers.1")


def test_dense_layers_are_no_blocks() -> None:
    from tiny_models import dense

    assert moe_blocks_without_router(dense()) == ()


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_block_around_each_router_becomes_a_leaf(kind: str) -> None:
    model = build(kind)
    keys = list(model.state_dict())
    assert set_leaf_modules(model) == (BLOCKS[kind],)
    marked = [name for name, module in model.named_modules() if getattr(module, "_z3_leaf", False)]
    assert marked == [router.name.rpartition(".")[0] for router in find_routers(model)]
    assert list(model.state_dict()) == keys


def test_leaves_of_named_routers() -> None:
    model = Unknown()
    assert dpsl.set_leaf_modules(model, "layers.*.gate") == ("Module",)
    assert [bool(getattr(layer, "_z3_leaf", False)) for layer in model.layers] == [True, False, False]
