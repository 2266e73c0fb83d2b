"""Sums over ranks, where there are several."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def summed(values: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, in its place."""
    if world_size() > 1:
        if dist.get_backend() == "nccl":
            values = values.cuda()
        dist.all_reduce(values)
    return values


def world_size() -> int:
    """How many ranks train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
