"""How alike the outputs of a layer's experts are, all of them run on the same tokens (the paper's appendix D.6)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_BLOCK = 32
"""Tokens at a time: all experts' outputs for them lie in memory together."""

ExpertFn = Callable[[int, Tensor], Tensor]


@torch.no_grad()
def similarity_of_experts(block: nn.Module, inputs_NH: Tensor, experts: int) -> Tensor | None:
    """[K, K], the mean over tokens of the cosine between two experts' outputs.

    Args:
        block: the module that holds the router and `experts`.
        inputs_NH: hidden states as the router saw them.
        experts: K.

    Returns:
        None where the experts cannot be run one by one: of a kind that is not known, or sharded over ranks.
    """
    run = _expert_fn(block, experts)
    if run is None:
        return None
    weight = next(block.parameters())
    was_training = block.training
    block.eval()
    try:
        summed_KK = torch.zeros(experts, experts, dtype=torch.float64)
        for rows in torch.split(inputs_NH, _BLOCK):
            given = rows.to(weight.device, weight.dtype)
            outputs_KNH = torch.stack([run(expert, given).float() for expert in range(experts)])
            unit_KNH = nn.functional.normalize(outputs_KNH, dim=-1)
            summed_KK += torch.einsum("inh,jnh->ij", unit_KNH, unit_KNH).double().cpu()
    finally:
        block.train(was_training)
    return (summed_KK / len(inputs_NH)).float()


def _expert_fn(block: nn.Module, count: int) -> ExpertFn | None:
    experts: Any = getattr(block, "experts", None)
    parameters = list(block.parameters())
    sharded = any(hasattr(parameter, "ds_id") for parameter in parameters)
    if experts is None or sharded or not parameters:
        return None
    if isinstance(experts, nn.ModuleList) and len(experts) == count:
        return lambda expert, inputs: experts[expert](inputs)
    if isinstance(experts, nn.Module) and _takes_a_choice(experts):
        return lambda expert, inputs: _chosen_alone(experts, expert, inputs)
    return None


def _takes_a_choice(experts: nn.Module) -> bool:
    """Whether it is called as transformers' fused experts are: hidden states, chosen experts, their weights."""
    names = list(inspect.signature(experts.forward).parameters)
    return len(names) == 3 and any(word in names[1] for word in ("index", "indices")) and "weight" in names[2]


def _chosen_alone(experts: nn.Module, expert: int, inputs_NH: Tensor) -> Tensor:
    index_N1 = torch.full((len(inputs_NH), 1), expert, dtype=torch.long, device=inputs_NH.device)
    output: Tensor = experts(inputs_NH, index_N1, torch.ones_like(index_N1, dtype=inputs_NH.dtype))
    return output.reshape(len(inputs_NH), -1)
