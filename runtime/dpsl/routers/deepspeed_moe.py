"""Native DeepSpeed MoE (`deepspeed.moe.layer.MoE`): its TopKGate keeps the logits to itself.

They are computed again from the gate's input as the gate computes them, bit by bit. Noise that DeepSpeed adds for its
choice (RSample, Jitter, the Gumbel noise of the second expert) is not in them: the prior shapes what the router
learns. `gate.wg` itself is never called, so that a hook on it would never run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.routers.found import Form, FoundRouter, Scoring, layer_of

_COMBINED = {7: 5, 4: 1}
"""Place of the gates [k, N], or of combine_weights [N, K, C], by the length of the gate's output."""


def find(model: nn.Module) -> Iterator[FoundRouter]:
    """Every TopKGate below `model`."""
    sharded_moe: Any = sys.modules.get("deepspeed.moe.sharded_moe")
    if sharded_moe is None:
        return
    for name, gate in model.named_modules():
        layer = layer_of(name)
        if layer is not None and isinstance(gate, sharded_moe.TopKGate):
            experts, form = gate.wg.out_features, Form(_show, _put)
            yield FoundRouter(name, gate, layer, experts, gate.k, 0, "deepspeed-moe", Scoring.SOFTMAX, form)


def _show(gate: Any, arguments: tuple[Any, ...], output: Any) -> tuple[Tensor, Tensor, Tensor]:
    if not arguments or not isinstance(output, tuple) or len(output) not in _COMBINED:
        raise AttachError(
            type(gate).__name__,
            "it was not called as DeepSpeed 0.19 calls it",
            "use that version of DeepSpeed",
        )
    logits_NK = nn.functional.linear(arguments[0].float(), gate.wg.weight.float())
    indices_Nk = logits_NK.detach().topk(gate.k, dim=-1).indices
    if len(output) == 7:
        # Tokens beyond an expert's capacity are marked by -1; the router did choose.
        chosen_Nk = output[3].t().to(torch.int64)
        indices_Nk = torch.where(chosen_Nk < 0, indices_Nk, chosen_Nk)
    return logits_NK, output[_COMBINED[len(output)]], indices_Nk


def _put(output: Any, combined: Any) -> tuple[Any, ...]:
    values = list(output)
    values[_COMBINED[len(output)]] = combined
    return tuple(values)
