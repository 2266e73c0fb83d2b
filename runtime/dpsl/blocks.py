"""Blocks of tokens: on the CPU the work goes in pieces whose temporaries stay in the cache.

Whole-batch temporaries of tens of megabytes would be mapped and unmapped at every operation, which costs ten
times the arithmetic. Accelerators take everything at once.
"""

from __future__ import annotations

import torch

BLOCK_ELEMENTS = 2**16
"""Tokens × experts of one block on the CPU."""


def token_blocks(tokens: int, experts: int, device: torch.device) -> list[slice]:
    """Slices that cover the tokens in order; none where there are none."""
    size = max(BLOCK_ELEMENTS // experts, 1) if device.type == "cpu" else max(tokens, 1)
    return [slice(start, min(start + size, tokens)) for start in range(0, tokens, size)]
