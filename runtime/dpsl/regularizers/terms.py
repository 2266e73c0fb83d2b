"""From what a training file names to the function that is meant: `priorlang.training.regularizers` lists the options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dpsl.regularizers.entropy import balance, confidence
from dpsl.regularizers.load_balance import load_balance
from dpsl.regularizers.router_sums import RouterSums
from dpsl.regularizers.z_loss import z_loss
from dpsl.shaping.schedule import schedule_factor
from priorlang.training.regularizers import Entropy, LoadBalance, Loss, Regularizer, Scheduled, ZLoss

LOSSES: Mapping[type[Loss], Callable[[RouterSums, Any], Tensor]] = {
    LoadBalance: lambda sums, plan: load_balance(sums, plan.reference),
    ZLoss: lambda sums, plan: z_loss(sums),
    Entropy: lambda sums, plan: {"confidence": confidence, "balance": balance}[plan.part](sums),
}
"""Losses that are functions of sums alone: (sums, options) → [layers], or [1] where layers are pooled."""


@dataclass(frozen=True)
class Term:
    """One regularizer as it is attached.

    Attributes:
        name: of its metrics: its type, numbered where there are several.
        plan: its options.
    """

    name: str
    plan: Any

    def covers(self, layer: int) -> bool:
        """Whether the term is on that layer."""
        return self.plan.layers == "all" or layer in self.plan.layers

    def factor(self, progress: tuple[int, int]) -> float:
        """The schedule's factor after so many optimizer steps of so many."""
        plan: Scheduled = self.plan
        return schedule_factor(plan.schedule, plan.schedule_unit, *progress)


def named_terms(plans: Sequence[Regularizer]) -> tuple[Term, ...]:
    """Each with a name of its own: `z_loss`, `entropy_balance`, and `z_loss_2` for the next of its kind."""
    seen: dict[str, int] = {}
    terms: list[Term] = []
    for plan in plans:
        seen[plan.label] = seen.get(plan.label, 0) + 1
        number = f"_{seen[plan.label]}" if seen[plan.label] > 1 else ""
        terms.append(Term(plan.label + number, plan))
    return tuple(terms)
