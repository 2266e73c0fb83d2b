"""Sparse upcycling: every expert is a copy of the dense FFN plus noise (Komatsuzaki et al., 2212.05055)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from dpsl.upcycle.block import Router, UpcycledMoE
from dpsl.upcycle.plan import UpcyclePlan

ROUTER_STD = 0.02


def sparse_block(dense: nn.Module, plan: UpcyclePlan, generator: torch.Generator) -> UpcycledMoE:
    """The block that takes `dense`'s place.

    Experts are copies plus N(0, noise²), the shared expert is a plain copy, and the router starts at N(0,
    0.02²). Everything random comes from `generator`.
    """
    block = block_of_copies(dense, plan)
    _add_noise(block.router.weight.zero_(), ROUTER_STD, generator)
    for weight in block.experts.parameters():
        _add_noise(weight, plan.noise, generator)
    return block


@torch.no_grad()
def block_of_copies(dense: nn.Module, plan: UpcyclePlan) -> UpcycledMoE:
    """A block whose experts are copies of the dense FFN, with the router's weight yet to be filled in."""
    like = dense.get_parameter("gate_proj.weight")
    router = Router(like.shape[1], plan.experts, plan.top_k, like=like)
    experts = [copy.deepcopy(dense) for _ in range(plan.experts)]
    shared = copy.deepcopy(dense) if plan.shared_expert else None
    block = UpcycledMoE(router, experts, shared, preserve=plan.scale == "preserve")
    return block.train(dense.training)


def _add_noise(weight: Tensor, std: float, generator: torch.Generator) -> None:
    """Add N(0, std²), drawn on the CPU in float32 so that a seed means the same everywhere."""
    if std > 0:
        noise = torch.randn(weight.shape, generator=generator) * std
        weight.add_(noise.to(weight.device, weight.dtype))
