"""The parameters of a model: of each part, how many a token uses, how many learn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from dpsl.train.parts import parts_of
from dpsl.upcycle.block import UpcycledMoE


@dataclass(frozen=True)
class PartCensus:
    """Numbers of parameters, tied ones counted once."""

    total: int
    active: int
    learning: int


@dataclass(frozen=True)
class Census:
    """A model's parameters.

    Attributes:
        whole: of the model.
        parts: by the names that `train:` knows. Routers are a part of the language model, and listed on their own too.
        experts: whether some layers have experts of ours; of other mixtures every parameter counts as active.
    """

    whole: PartCensus
    parts: Mapping[str, PartCensus]
    experts: bool


def census_of(model: nn.Module, learning: Iterable[str]) -> Census:
    """Count a model's parameters, on any device.

    Args:
        model: dense or upcycled.
        learning: names of the parameters that learn.
    """
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    idle = _idle_experts(model)
    learning = frozenset(learning)

    def count(names: Iterable[str]) -> PartCensus:
        names = tuple(names)
        return PartCensus(
            total=sum(sizes[name] for name in names),
            active=sum(sizes[name] for name in names if name not in idle),
            learning=sum(sizes[name] for name in names if name in learning),
        )

    parts = {part: count(names) for part, names in sorted(parts_of(model).items())}
    return Census(count(sizes), parts, bool(idle))


def _idle_experts(model: nn.Module) -> frozenset[str]:
    """The parameters of as many experts as a token does not visit: the last ones, as all are alike in size."""
    return frozenset(
        f"{name}.experts.{index}.{inner}"
        for name, block in model.named_modules()
        if isinstance(block, UpcycledMoE)
        for index in range(block.router.top_k, len(block.experts))
        for inner, _ in block.experts[index].named_parameters()
    )
