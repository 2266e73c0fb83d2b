"""What the routers of one forward pass saw, all layers in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class SeenLayer(NamedTuple):
    """One router's tokens in one forward pass.

    Attributes:
        place: its layer's place among the routed.
        logits_NK: its logits, without gradient, in memory of their own: models change theirs in place.
        indices_Nk: the chosen experts.
        class_N: the token's class, -1 where it does not count.
    """

    place: int
    logits_NK: Tensor
    indices_Nk: Tensor
    class_N: Tensor


@dataclass(frozen=True, eq=False)
class RoutedTokens:
    """The tokens of all routers, one layer after another, on the first layer's device.

    Attributes:
        logits_NK: logits.
        indices_Nk: the chosen experts.
        class_N: the token's class, -1 where it does not count.
        layer_N: the place of its layer among the routed.
    """

    logits_NK: Tensor
    indices_Nk: Tensor
    class_N: Tensor
    layer_N: Tensor

    @classmethod
    def joined(cls, layers: Sequence[SeenLayer]) -> RoutedTokens:
        """Layers put together; at least one."""
        device = layers[0].logits_NK.device
        return cls(
            _joined([seen.logits_NK for seen in layers], device),
            _joined([seen.indices_Nk for seen in layers], device),
            _joined([seen.class_N for seen in layers], device),
            _places(tuple((seen.place, len(seen.class_N)) for seen in layers), device),
        )

    def __getitem__(self, some: slice) -> RoutedTokens:
        return RoutedTokens(
            self.logits_NK[some], self.indices_Nk[some], self.class_N[some], self.layer_N[some]
        )

    def __len__(self) -> int:
        return len(self.class_N)

    def counted(self) -> Tensor:
        """[N] bool, False for padding."""
        return self.class_N >= 0

    def looked_up(self, values_LC: Tensor, otherwise: int) -> Tensor:
        """[N], each token's value by layer and class; `otherwise` where it does not count."""
        return torch.where(self.counted(), values_LC[self.layer_N, self.class_N.clamp(min=0)], otherwise)


def _joined(parts: Sequence[Tensor], device: torch.device) -> Tensor:
    return torch.cat([part.to(device) for part in parts])


@lru_cache(maxsize=4)
def _places(layers: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """The place of each token's layer, of layers given by place and tokens; passes are mostly alike."""
    place_L, tokens_L = torch.tensor(layers).T
    place_N: Tensor = place_L.repeat_interleave(tokens_L)
    return place_N.to(device)


@lru_cache(maxsize=4)
def first_rows(tokens_L: tuple[int, ...], most: int, device: torch.device) -> Tensor:
    """Where the first tokens of each layer stand, up to so many of each."""
    start_L = torch.tensor((0, *tokens_L)).cumsum(0).tolist()
    rows = [
        torch.arange(start, start + min(most, tokens))
        for start, tokens in zip(start_L, tokens_L, strict=False)
    ]
    return torch.cat(rows).to(device)
