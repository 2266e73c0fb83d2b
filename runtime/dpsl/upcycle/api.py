"""`dpsl.upcycle`: a dense model becomes a mixture of experts, in place, with a receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dpsl.errors import UpcycleError
from dpsl.upcycle.block import UpcycledMoE
from dpsl.upcycle.decoder import decoder_layers, dense_ffns
from dpsl.upcycle.plan import UpcyclePlan, check_plan, resolve_layers
from dpsl.upcycle.sparse import sparse_block

_PROBE_TOKENS = 64


@dataclass(frozen=True)
class Receipt:
    """What upcycling did.

    Attributes:
        layers: decoder layers that now route.
        parameters_before: parameters of the dense model.
        parameters_after: parameters of the mixture.
        active_parameters: of those, how many one token uses.
        largest_difference: over the blocks, the largest |mixture − dense| of an output entry on random hidden
            states of unit variance. Without scale "preserve" it is not small: gates and the shared expert
            add up to more than the dense FFN.
        largest_output: the largest |dense| entry among them, to compare with.
    """

    layers: tuple[int, ...]
    parameters_before: int
    parameters_after: int
    active_parameters: int
    largest_difference: float
    largest_output: float


def upcycle(
    model: nn.Module,
    method: str = "sparse",
    experts: int = 4,
    top_k: int = 2,
    granularity: int = 1,
    shared_expert: bool = True,
    noise: float = 0.01,
    scale: str | None = None,
    layers: str | Sequence[int] = "all",
    seed: int = 0,
) -> Receipt:
    """Replace dense FFNs by mixtures of experts, in place.

    The model's config keeps the plan under `upcycled`: `model.save_pretrained(folder)` saves all there is,
    and `dpsl.upcycle.load_model(folder)` reads it back.

    Args:
        model: a transformers model with a Llama or Qwen2 decoder, alone or inside a multimodal model.
        method: how experts come from the dense FFN; `sparse`: copies plus noise.
        experts: experts in a layer.
        top_k: experts a token uses.
        granularity: parts an FFN is cut into; 1 so far.
        shared_expert: keep the dense FFN as an expert that sees every token.
        noise: standard deviation of the noise on the copies.
        scale: None, the paper's unnormalised sum (Eq. 5), or "preserve": divided by 1 + Σ gates, which
            keeps the dense model's function.
        layers: `all`, `every-other`, `first-half`, or decoder-layer indices.
        seed: of noise and routers; the global random state is neither used nor changed.

    Raises:
        UpcycleError: an argument or the model cannot be used; it is then unchanged.
    """
    ffns = dense_ffns(model)
    plan = UpcyclePlan(
        method, experts, top_k, granularity, bool(shared_expert), float(noise), scale,
        resolve_layers(layers, sorted(ffns)), seed,
    )  # fmt: skip
    check_plan(plan)
    _check_whole(model)

    before = _count(model)
    decoder = decoder_layers(model)
    inactive, differences, outputs = 0, [0.0], [0.0]
    for index in plan.layers:
        with torch.no_grad():
            block = sparse_block(ffns[index], plan, torch.Generator().manual_seed(seed * 1_000_003 + index))
            difference, output = _compare(ffns[index], block, seed)
        decoder[index].mlp = block
        inactive += (plan.experts - plan.top_k) * _count(block.experts[0])
        differences.append(difference)
        outputs.append(output)
    config: Any = model.config
    config.upcycled = plan.to_config()
    after = _count(model)
    return Receipt(plan.layers, before, after, after - inactive, max(differences), max(outputs))


def _compare(dense: nn.Module, block: UpcycledMoE, seed: int) -> tuple[float, float]:
    """The largest difference of outputs on random hidden states, and the largest dense output."""
    weight = block.router.weight
    hidden_NH = torch.randn(_PROBE_TOKENS, weight.shape[1], generator=torch.Generator().manual_seed(seed))
    hidden_NH = hidden_NH.to(weight.device, weight.dtype)
    dense_NH = dense(hidden_NH)
    return float((block(hidden_NH) - dense_NH).abs().max()), float(dense_NH.abs().max())


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _check_whole(model: nn.Module) -> None:
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        raise UpcycleError(
            type(model).__name__,
            "its parameters are already partitioned by ZeRO-3",
            "upcycle before DeepSpeed takes the model over",
        )
