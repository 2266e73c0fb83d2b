"""One router of a live model, as every adapter describes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torch import nn

_FIRST_NUMBER = re.compile(r"(?:^|\.)(\d+)(?:\.|$)")


class Scoring(StrEnum):
    """How a router's recorded values become probabilities."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    PROBABILITIES = "probabilities"


@dataclass(frozen=True, eq=False)
class FoundRouter:
    """A router and where its logits are.

    Attributes:
        name: path of the module within the model.
        module: the module to hook: its output holds the logits, and what the experts are combined with.
        layer: decoder-layer index.
        experts: K, or None where only a forward pass can tell.
        top_k: experts per token, or None likewise.
        logits_index: place of the logits in the module's output tuple.
        kind: the adapter that found it.
        scoring: how logits become probabilities, or None to tell it from the first output.
    """

    name: str
    module: nn.Module
    layer: int
    experts: int | None
    top_k: int | None
    logits_index: int
    kind: str
    scoring: Scoring | None = None

    @property
    def place(self) -> str:
        """The router as messages name it."""
        return f"layer {self.layer} ({self.name})"


def layer_of(name: str) -> int | None:
    """The decoder-layer index in a module path: its first number (`model.layers.3.mlp.gate` → 3)."""
    found = _FIRST_NUMBER.search(name)
    return int(found.group(1)) if found else None


def first_int(owners: tuple[Any, ...], names: tuple[str, ...]) -> int | None:
    """The first integer attribute among `names` that any of `owners` has."""
    for owner in owners:
        for name in names:
            value = getattr(owner, name, None)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
    return None
