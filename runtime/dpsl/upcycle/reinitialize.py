"""Drop-Upcycling (Nakamura et al., 2502.19261): part of each expert's width begins anew."""

from __future__ import annotations

import torch
from torch import Tensor

from dpsl.upcycle.ffn import GatedWeights


def reinitialize(
    expert: GatedWeights, ratio: float, generator: torch.Generator, *, shared: bool = True
) -> None:
    """Replace ⌊ratio · F⌋ of the inner dimensions by N(μ, σ²), μ and σ those of the values replaced.

    Gate and up are replaced by rows (with their biases), down by columns.

    Args:
        expert: written in place.
        ratio: share of the inner width F, between 0 and 1.
        generator: draws on the CPU in float32.
        shared: one set of inner dimensions for the three matrices, as in the paper; otherwise one for each, as
            in the released code.
    """
    count = int(ratio * expert.width)
    if count == 0:
        return
    drawn = [_some(expert.width, count, generator) for _ in range(1 if shared else 3)]
    gate_rows, up_rows, down_columns = drawn * 3 if shared else drawn
    _redraw(expert.gate_FH, gate_rows, generator)
    _redraw(expert.up_FH, up_rows, generator)
    _redraw(expert.down_HF.T, down_columns, generator)
    for bias, rows in ((expert.gate_F, gate_rows), (expert.up_F, up_rows)):
        if bias is not None:
            _redraw(bias, rows, generator)


def _some(width: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(width, generator=generator)[:count]


def _redraw(tensor: Tensor, rows: Tensor, generator: torch.Generator) -> None:
    """Replace rows of a tensor, or entries of a vector."""
    there = rows.to(tensor.device)
    old = tensor[there].double()
    fresh = torch.randn(old.shape, generator=generator).to(old) * old.std(correction=0) + old.mean()
    tensor[there] = fresh.to(tensor.dtype)
