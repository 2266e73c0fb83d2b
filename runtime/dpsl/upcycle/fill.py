"""What the experts and routers of a block begin with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dpsl.upcycle.block import Router, UpcycledMoE
from dpsl.upcycle.ffn import copy_part, weights_of
from dpsl.upcycle.plan import UpcyclePlan
from dpsl.upcycle.reinitialize import reinitialize
from dpsl.upcycle.scaling import scale_weights


def layer_generator(plan: UpcyclePlan, layer: int) -> torch.Generator:
    """Where all that is random in one layer comes from, whichever other layers are upcycled."""
    return torch.Generator().manual_seed(plan.seed * 1_000_003 + layer)


@torch.no_grad()
def fill_replica(
    block: UpcycledMoE, replica: int, source: nn.Module, plan: UpcyclePlan, generator: torch.Generator
) -> None:
    """Give the experts of one replica their first weights: the parts of a dense FFN, 0 … G−1.

    They are scaled where asked, then get the method's variety: noise, or values drawn anew.

    Args:
        block: of the structure that `plan` states; its experts are ordered replica by replica.
        replica: 0 … R−1.
        source: the dense FFN that is cut.
        plan: a resolved plan.
        generator: of the layer.
    """
    for part in range(plan.granularity):
        expert = block.experts[replica * plan.granularity + part]
        target = weights_of(expert)
        copy_part(weights_of(source), target, part)
        scale_weights(target, plan)
        if plan.method == "drop":
            assert plan.drop_ratio is not None
            reinitialize(target, plan.drop_ratio, generator, shared=plan.drop_indices == "shared")
        for weight in expert.parameters():
            _add_noise(weight, plan.noise or 0.0, generator)


@torch.no_grad()
def fill_shared(block: UpcycledMoE, source: nn.Module) -> None:
    """Make the shared expert, where there is one, a copy of a dense FFN."""
    if block.shared_expert is not None:
        copy_part(weights_of(source), weights_of(block.shared_expert))


@torch.no_grad()
def start_router(
    router: Router, plan: UpcyclePlan, generator: torch.Generator, copied_EH: Tensor | None = None
) -> None:
    """N(0, σ²), zeros, a copy, or virtual groups: one random row for each whole FFN, the same for all its parts."""
    weight_EH = router.weight.zero_()
    if copied_EH is not None:
        weight_EH.copy_(copied_EH)
        return
    if plan.router == "zeros":
        return
    parts = plan.granularity if plan.router == "virtual-group" else 1
    rows_RH = torch.randn(plan.experts // parts, weight_EH.shape[1], generator=generator) * plan.router_std
    weight_EH.copy_(rows_RH.repeat_interleave(parts, dim=0))


def _add_noise(weight: Tensor, std: float, generator: torch.Generator) -> None:
    """Add N(0, std²), drawn on the CPU in float32 so that a seed means the same everywhere, and rounded once."""
    if std > 0:
        noise = (torch.randn(weight.shape, generator=generator) * std).to(weight.device)
        weight.copy_(weight + noise)
