"""Samplers that sort samples by length, and with them by what the prior asks about."""

from __future__ import annotations

import warnings
from typing import Any

from priorlang.table.prior_table import PriorTable
from priorlang.training.checks import grouping, grouping_message


def warn_of_grouped_samples(arguments: Any, table: PriorTable) -> None:
    """Warn where micro-batches are made of samples of one length: they hold tokens of few populations.

    Images make sequences long, so that batches of one length are of one modality: the populations of the others are
    empty in that step, and their routers are not shaped.

    Args:
        arguments: transformers' TrainingArguments, of any version.
        table: the prior.
    """
    if table.population_count == 0 or not table.header.attributes:
        return
    name = grouping(lambda name: getattr(arguments, name, None))
    if name is not None:
        warnings.warn(grouping_message(name), stacklevel=3)
