"""Samplers that sort samples by length, and with them by what the prior asks about."""

from __future__ import annotations

import warnings
from typing import Any

from priorlang.table.prior_table import PriorTable

GROUPED = "group_by_length"


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
    for name in (GROUPED, "group_by_modality_length"):
        if getattr(arguments, name, False) or getattr(arguments, "train_sampling_strategy", None) == name:
            warnings.warn(grouping_message(name), stacklevel=3)


def grouping_message(name: str) -> str:
    """What is wrong with a grouped sampler, and the fix."""
    return (
        f"{name}: batches of one length are mostly of one modality, so most steps leave populations of the prior "
        "empty and do not shape them; leave it out, or pack sequences instead"
    )
