"""Sums over routed tokens, on the model's device: one row for each slot, a token class of a layer or a group of them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from dpsl.ranks import summed
from dpsl.shaping.routed_tokens import RoutedTokens

LEAST_LOG_P = -10_000.0
"""Stands for −∞, of experts that are barred: a sum goes on, and what fits it is an α of next to nothing."""


@dataclass(frozen=True, eq=False)
class RoutingSums:
    """Sums over tokens, added to in place. S slots, K experts.

    Attributes:
        tokens: [S] int64.
        load: [S, K] int64, top-k slots taken.
        top: [S, K] int64, tokens with their largest p here.
        probability: [S, K] float64, Σ p.
        log_probability: [S, K] float64, Σ ln p, each at least LEAST_LOG_P.
        scores: [S, 3] float64, Σ −Σ p ln p, Σ largest p, and tokens whose logits held NaN or +∞.
    """

    tokens: Tensor
    load: Tensor
    top: Tensor
    probability: Tensor
    log_probability: Tensor
    scores: Tensor

    @classmethod
    def zeros(cls, slots: int, experts: int, device: torch.device) -> RoutingSums:
        """Nothing added yet."""

        def of(dtype: torch.dtype, *shape: int) -> Tensor:
            return torch.zeros((slots, *shape), dtype=dtype, device=device)

        return cls(
            of(torch.int64), of(torch.int64, experts), of(torch.int64, experts),
            of(torch.float64, experts), of(torch.float64, experts), of(torch.float64, 3),
        )  # fmt: skip

    def add(self, slot_N: Tensor, tokens: RoutedTokens, log_p_NK: Tensor) -> None:
        """Add tokens of any layers."""
        experts = log_p_NK.shape[1]
        p_NK = log_p_NK.exp()
        entropy_N = -(p_NK * log_p_NK).nan_to_num(0.0).sum(-1)
        top_N2 = log_p_NK.max(-1)
        # One NaN or +∞ among the logits makes every log-probability of the token NaN.
        scores_N3 = torch.stack([entropy_N, top_N2.values.exp(), log_p_NK[:, 0].isnan()], dim=1)
        one_N = torch.ones_like(slot_N)
        self.tokens.index_add_(0, slot_N, one_N)
        self.top.view(-1).index_add_(0, slot_N * experts + top_N2.indices, one_N)
        chosen = (slot_N[:, None] * experts + tokens.indices_Nk).flatten()
        self.load.view(-1).index_add_(0, chosen, torch.ones_like(chosen))
        self.probability.index_add_(0, slot_N, p_NK.double())
        self.log_probability.index_add_(0, slot_N, log_p_NK.clamp(min=LEAST_LOG_P).double())
        self.scores.index_add_(0, slot_N, scores_N3.double())

    def on(self, device: torch.device) -> RoutingSums:
        """The same on a device."""
        return RoutingSums(*(tensor.to(device) for tensor in self.tensors()))

    def minus(self, other: RoutingSums) -> RoutingSums:
        """What was added since the other."""
        return RoutingSums(*(mine - its for mine, its in zip(self.tensors(), other.tensors(), strict=True)))

    def copied(self) -> RoutingSums:
        """A copy that stays as it is."""
        return RoutingSums(*(tensor.clone() for tensor in self.tensors()))

    def first(self, slots: int) -> RoutingSums:
        """The first slots alone."""
        return RoutingSums(*(tensor[:slots] for tensor in self.tensors()))

    def joined(self, into_S: Tensor, rows: int) -> RoutingSums:
        """Slots put together: slot s into row `into_S[s]`."""
        return RoutingSums(
            *(
                tensor.new_zeros((rows, *tensor.shape[1:])).index_add_(0, into_S, tensor)
                for tensor in self.tensors()
            )
        )

    def over_ranks(self) -> RoutingSums:
        """Every rank's sums; each rank must ask."""
        return RoutingSums(*(summed(tensor) for tensor in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """The sums in the order of the attributes."""
        return tuple(getattr(self, field.name) for field in fields(self))
