"""What the shaping loss is where nothing is left to shape: ranks of a sample of the prior itself scatter.

The expectation per expert of (1/B) Σ (t_j − U_(j))² over B sorted uniforms U:

    eq4    (B + 1) / (6 B²)
    mid    1 / (6 B) − 1 / (12 B²)
    ustat  1 / (6 (B − 1))

It is subtracted from logged values only: it has no gradient.
"""

from __future__ import annotations

from torch import Tensor

from dpsl.ecdf import Target


def null_floor(tokens_P: Tensor, target: Target) -> Tensor:
    """The floor of one expert for populations of so many tokens, float64; 0 for empty ones."""
    size_P = tokens_P.double().clamp(min=2 if target == "ustat" else 1)
    if target == "ustat":
        floor_P = 1 / (6 * (size_P - 1))
    elif target == "mid":
        floor_P = 1 / (6 * size_P) - 1 / (12 * size_P.square())
    else:
        floor_P = (size_P + 1) / (6 * size_P.square())
    return floor_P * (tokens_P > 0)
