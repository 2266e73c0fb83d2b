"""Blocks of tokens: on the CPU the work goes in pieces whose temporaries stay in the cache.

Whole-batch temporaries of tens of megabytes would be mapped and unmapped at every operation, which costs ten
times the arithmetic. Compiled loops have few temporaries, so their blocks only bound the memory. Accelerators
take everything at once.
"""

from __future__ import annotations

import torch

from dpsl.kernels import Kernels

BLOCK_ELEMENTS = 2**16
"""Tokens × experts of one block on the CPU."""

COMPILED_BLOCK_ELEMENTS = 2**18
"""The same for compiled loops."""


def token_blocks(tokens: int, experts: int, device: torch.device, kernels: Kernels = "torch") -> list[slice]:
    """Slices that cover the tokens in order; none where there are none."""
    elements = COMPILED_BLOCK_ELEMENTS if kernels == "compile" else BLOCK_ELEMENTS
    size = max(elements // experts, 1) if device.type == "cpu" else max(tokens, 1)
    return [slice(start, min(start + size, tokens)) for start in range(0, tokens, size)]
