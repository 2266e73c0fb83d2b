"""The ranks that train together: how many there are, and sums over them."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """How many ranks there are; 1 where torch.distributed does not run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_ranks() -> dist.ProcessGroup | None:
    """The group of all ranks; None where there is one."""
    return dist.group.WORLD if world_size() > 1 else None


def summed(values: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, each of which must ask: on its own device, and a copy where there are several."""
    if world_size() == 1:
        return values
    total = values.to(exchange_device(values.device), copy=True)
    dist.all_reduce(total)
    return total.to(values.device)


def exchange_device(own: torch.device | None = None) -> torch.device:
    """Where tensors lie that ranks exchange: on this device, the CPU if None, unless the back end knows GPUs alone."""
    if world_size() > 1 and dist.get_backend() == "nccl" and (own is None or own.type != "cuda"):
        return torch.device("cuda")
    return torch.device("cpu") if own is None else own
