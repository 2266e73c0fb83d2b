"""Every regularizer of a router that a training file may name: its options, their defaults and their limits.

`REGULARIZERS` is the one list of them. The same objects are what `dpsl.attach_regularizers` takes, and docs/regularizers.md
describes each.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from priorlang.training.strict import Layers, NonNegativeFloat, PositiveFloat, Strict

Scope = Literal["micro", "global"]
Schedule = tuple[tuple[NonNegativeFloat, NonNegativeFloat], ...]


class Scheduled(Strict):
    """What every regularizer has that can be weakened over a stage."""

    layers: Layers = "all"
    """The decoder layers it is on."""
    schedule: Schedule = ()
    """Points [place, factor], linear between: places are fractions of the stage, or optimizer steps where one is above 1."""

    @field_validator("schedule")
    @classmethod
    def _rises(cls, points: Schedule) -> Schedule:
        places = [place for place, _ in points]
        if any(later <= earlier for earlier, later in pairwise(places)):
            raise ValueError("needs places that rise from point to point: `[[0, 0], [0.1, 1]]`")
        if places and max(places) > 1 and any(place != int(place) for place in places):
            raise ValueError(
                "counts in fractions of the stage (0 to 1) or in whole optimizer steps, not in both"
            )
        return points

    @property
    def label(self) -> str:
        """What metrics call it."""
        return str(type(self).model_fields["type"].default)

    @property
    def schedule_unit(self) -> Literal["fraction", "step"]:
        """What the places of the schedule count."""
        return "step" if any(place > 1 for place, _ in self.schedule) else "fraction"


class Loss(Scheduled):
    """A term of the loss."""

    coefficient: PositiveFloat
    """What the loss is multiplied by."""


class LoadBalance(Loss):
    """Even load: E/(k·T) Σ c·P, 1 where balanced."""

    type: Literal["load_balance"] = "load_balance"
    scope: Literal["micro", "seq", "global"] = "micro"
    """A forward pass on one rank, each sequence alone, or all ranks with counts of the whole optimizer step."""
    reference: Literal["hf", "switch", "deepspeed", "megatron"] | None = None
    """Whose definition is reproduced; none: the normalised one."""

    @model_validator(mode="after")
    def _pooled_is_no_sequence(self) -> LoadBalance:
        if self.reference == "hf" and self.scope == "seq":
            raise PydanticCustomError(
                "invalid-value",
                "`reference: hf` pools the tokens of all sequences and layers: leave out `scope: seq`, or the reference",
            )
        return self


class ZLoss(Loss):
    """Small logits: the mean of logsumexp(z)²."""

    type: Literal["z_loss"] = "z_loss"
    scope: Scope = "micro"


class Entropy(Loss):
    """Sure tokens, or an even average."""

    type: Literal["entropy"] = "entropy"
    part: Literal["confidence", "balance"]
    """`confidence`: the mean entropy of a token; `balance`: minus the entropy of the mean."""
    scope: Scope = "micro"

    @property
    def label(self) -> str:
        """What metrics call it."""
        return f"entropy_{self.part}"


RegularizerPlan = Annotated[LoadBalance | ZLoss | Entropy, Field(discriminator="type")]

REGULARIZERS: Mapping[str, type[Scheduled]] = MappingProxyType(
    {str(plan.model_fields["type"].default): plan for plan in (LoadBalance, ZLoss, Entropy)}
)
"""By the name that `type:` has in a training file."""
