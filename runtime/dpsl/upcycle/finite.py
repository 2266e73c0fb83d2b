"""Weights that hold NaN or infinity: a mixture of them would train to nothing, and its receipt could not be written."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dpsl.errors import UpcycleError


def check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights that are not finite, in one pass without a copy.

    Args:
        tensors: by name.
        where: what they are weights of, for the message.

    Raises:
        UpcycleError: naming the first such tensor, and how many of its values.
    """
    for name, tensor in tensors.items():
        if is_finite(tensor):
            continue
        bad = int((~tensor.isfinite()).sum())
        raise UpcycleError(
            f"{where}: {name}",
            f"{bad:,} of its {tensor.numel():,} values {'is' if bad == 1 else 'are'} NaN or infinite",
            "upcycle a checkpoint from before its training diverged, or download it again",
        )


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite; integers are."""
    if tensor.numel() == 0 or not tensor.is_floating_point() or tensor.itemsize == 1:
        return True
    return all(bool(bound.isfinite()) for bound in torch.aminmax(tensor.detach()))
