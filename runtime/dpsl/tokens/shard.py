"""Cut codes and masks as sequence parallelism cuts the sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from dpsl.errors import DpslError

Layout = Literal["contiguous", "zigzag"]


def shard_tokens(
    attributes: Mapping[str, Any], rank: int, ranks: int, *, layout: Layout = "contiguous"
) -> dict[str, Any]:
    """A rank's part of what `Shaper.tokens` takes.

    Populations of the global scope are those of all ranks, so each token is to be seen on one of them alone.

    Args:
        attributes: `batch["token_attributes"]`; what has no sequence dimension stays as it is.
        rank: of this process among those that share a sequence.
        ranks: processes that share a sequence.
        layout: `contiguous` (DeepSpeed's Ulysses): rank r has the r-th of equal parts; `zigzag` (ring attention with
            balanced load): parts r and 2·ranks − 1 − r of twice as many.

    Raises:
        DpslError: sequences that cannot be cut so, or an unknown layout.
    """
    if layout not in ("contiguous", "zigzag"):
        raise DpslError(
            "shard_tokens(layout=…)", f"{layout!r} is no layout", 'it is "contiguous" or "zigzag"'
        )
    if not 0 <= rank < ranks:
        raise DpslError("shard_tokens(…)", f"rank {rank} of {ranks}", "ranks count from 0")
    parts = ranks if layout == "contiguous" else 2 * ranks
    own = [rank] if layout == "contiguous" else [rank, parts - 1 - rank]
    return {name: _cut(name, value, parts, own) for name, value in attributes.items()}


def _cut(name: str, value: Any, parts: int, own: list[int]) -> Any:
    if not isinstance(value, Tensor) or value.dim() < 2:
        return value
    if value.shape[1] % parts:
        raise DpslError(
            f"shard_tokens(…): {name}",
            f"{value.shape[1]} tokens are not {parts} equal parts",
            "pad sequences to a multiple, with mask 0",
        )
    chunks = value.chunk(parts, dim=1)
    return torch.cat([chunks[place] for place in own], dim=1)
