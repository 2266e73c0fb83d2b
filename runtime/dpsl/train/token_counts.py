"""How many tokens of each class the data of a stage holds, counted without a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpsl.train.console import Console
from dpsl.train.data import count_tokens
from dpsl.train.models import load_processor
from dpsl.train.stage_data import DataRoom
from priorlang.table.prior_table import PriorTable
from priorlang.training.plan import StagePlan, TrainingPlan


@dataclass(frozen=True)
class TokenCounts:
    """One pass over the data of a stage.

    Attributes:
        per_class: [C] int64, tokens of each token class, without padding.
        samples: records.
    """

    per_class: NDArray[np.int64]
    samples: int


class TokenCounter:
    """Counts the stages of one training file, each source once.

    Args:
        plan: the resolved training file.
        quiet: no word of how far reading is.

    Raises:
        DpslError: the processor cannot be loaded.
    """

    def __init__(self, plan: TrainingPlan, *, quiet: bool) -> None:
        self._room = DataRoom(load_processor(plan), tell=Console(quiet=quiet).reading)

    def count(self, stage: StagePlan, table: PriorTable) -> TokenCounts:
        """The tokens of one pass over a stage's data, in the classes of its prior.

        Raises:
            DpslError: the data cannot be read, or does not fit the prior.
        """
        train = self._room.load(stage, table).train
        return TokenCounts(count_tokens(train, table), len(train))
