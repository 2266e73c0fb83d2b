"""Hand a router its shaping gradient from inside the model's own backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dpsl.shaping.micro_step import MicroStep


def attach_gradient(combined: Tensor, logits_NK: Tensor, step: MicroStep, layer: int, place: str) -> Tensor:
    """`combined`, unchanged in value, whose backward pass adds the step's gradient to `logits_NK`.

    The result depends on the logits even where `combined` itself does not (one expert, renormalised).
    Whatever the experts' outputs are combined with lies on the path of every backward pass, so the gradient
    comes exactly once for each, under either kind of checkpointing.
    """
    if torch.is_grad_enabled() and logits_NK.requires_grad:
        step.expected.add(layer)
    function: Any = _Attachment
    attached: Tensor = function.apply(combined, logits_NK, step, layer, place)
    return attached


class _Attachment(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, combined: Tensor, logits_NK: Tensor, step: MicroStep, layer: int, place: str
    ) -> Tensor:
        ctx.waiting = (step, layer, place)
        return combined.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        step, layer, place = ctx.waiting
        shaping_NK = step.scaled(layer, place) if ctx.needs_input_grad[1] else None
        return gradients[0], shaping_NK, None, None, None
