"""Every regularizer of a router that a training file may name: its options, their defaults and their limits.

`REGULARIZERS` is the one list of them. The same objects are what `dpsl.attach_regularizers` takes, and docs/regularizers.md
describes each.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from priorlang.training.strict import Layers, NonNegativeFloat, PositiveFloat, Strict

Scope = Literal["micro", "global"]
Experts = tuple[Annotated[int, Field(ge=0)], ...]
Schedule = tuple[tuple[NonNegativeFloat, NonNegativeFloat], ...]


class Regularizer(Strict):
    """What every regularizer has."""

    elsewhere: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Keys of other types that have no meaning here, and what to write in their place."""

    layers: Layers = "all"
    """The decoder layers it is on."""

    @property
    def label(self) -> str:
        """What metrics call it."""
        return str(type(self).model_fields["type"].default)


class Scheduled(Regularizer):
    """What every regularizer has that can be weakened over a stage."""

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


class BatchShaping(Loss):
    """Each gate's values over a batch follow a Beta distribution."""

    type: Literal["batch_shaping"] = "batch_shaping"
    a: PositiveFloat = 0.6
    """The Beta's first shape; `a / (a + b)` is the mean of each gate."""
    b: PositiveFloat = 0.4
    """Its second shape."""
    scope: Scope = "micro"


class DeepseekBias(Scheduled):
    """Even load without a loss: a bias on each expert's score, for the choice alone."""

    elsewhere: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "coefficient": "it is no loss: write `update_rate`, 0.001 by default",
            "scope": "counts are always those of all ranks and of the whole optimizer step: leave it out",
        }
    )

    type: Literal["deepseek_bias"] = "deepseek_bias"
    update_rate: PositiveFloat = 1e-3
    """How far the bias of an expert moves in an optimizer step, up or down."""
    center: bool = False
    """Whether each step's change is shifted to a mean of 0."""


class ManualModality(Regularizer):
    """Which experts tokens may use at all, by a member of an attribute."""

    elsewhere: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "coefficient": "it is no loss, and bars experts wholly: leave it out",
            "schedule": "experts are barred or not: end it with the stage, and leave it out of the next",
            "scope": "it is about each token alone: leave it out",
        }
    )

    type: Literal["manual_modality"] = "manual_modality"
    attribute: str
    """The attribute of the prior that tells tokens apart."""
    allow: Annotated[dict[str, Experts], Field(min_length=1)]
    """Member → the experts that its tokens may use; tokens of other members may use all."""


PLANS: tuple[type[Regularizer], ...] = (
    LoadBalance, ZLoss, Entropy, BatchShaping, DeepseekBias, ManualModality,
)  # fmt: skip
RegularizerPlan = Annotated[
    LoadBalance | ZLoss | Entropy | BatchShaping | DeepseekBias | ManualModality, Field(discriminator="type")
]

REGULARIZERS: Mapping[str, type[Regularizer]] = MappingProxyType(
    {str(plan.model_fields["type"].default): plan for plan in PLANS}
)
"""By the name that `type:` has in a training file."""
