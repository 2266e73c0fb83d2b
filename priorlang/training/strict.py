"""What every part of a training file is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Layers = Literal["all"] | tuple[Annotated[int, Field(ge=0)], ...]


class Strict(BaseModel):
    """A part of the file: immutable, and without room for unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
