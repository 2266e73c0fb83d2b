"""Which regularizers there are, all called alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from dpsl.regularizers.load_balance import load_balance
from dpsl.regularizers.z_loss import z_loss

Function = Callable[[Tensor, Tensor, Tensor], Tensor]

FUNCTIONS: Mapping[str, Function] = {
    "z_loss": lambda logits_NK, indices_Nk, counted_N: z_loss(logits_NK, counted_N),
    "load_balance": load_balance,
}
"""By name: (logits_NK, indices_Nk, counted_N) → a scalar."""


@dataclass(frozen=True)
class Term:
    """One regularizer with its coefficient; `layers` None means all that route."""

    name: str
    coefficient: float
    layers: frozenset[int] | None = None

    def covers(self, layer: int) -> bool:
        """Whether the term is on that layer."""
        return self.layers is None or layer in self.layers

    def value(self, logits_NK: Tensor, indices_Nk: Tensor, counted_N: Tensor) -> Tensor:
        """The loss before its coefficient."""
        return FUNCTIONS[self.name](logits_NK, indices_Nk, counted_N)
