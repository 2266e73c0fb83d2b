"""What a stage will do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dpsl.train.forecast.census import Census
from dpsl.train.forecast.memory import MemoryPerRank
from dpsl.train.forecast.tokens import TokenForecast


@dataclass(frozen=True)
class StageForecast:
    """What a stage will do.

    Attributes:
        name: of the stage.
        census: the model's parameters.
        memory: what a rank holds of them.
        zero: ZeRO's stage.
        samples: records to learn from.
        batch: samples in an optimizer step, over all processes.
        steps: optimizer steps.
        warmup: of them, those in which the learning rate rises.
        learning_rate: its peak.
        tokens: population → tokens in one pass over the data; empty where nothing is shaped.
        weights: the distinct λ that shape it.
        deepspeed: DeepSpeed's configuration, resolved.
    """

    name: str
    census: Census
    memory: MemoryPerRank
    zero: int
    samples: int
    batch: int
    steps: int
    warmup: int
    learning_rate: float
    tokens: Mapping[str, TokenForecast]
    weights: tuple[float, ...]
    deepspeed: Mapping[str, Any]
