"""What tests of training share: the small digits data as objects, and a prior table that fits it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from priorlang.table.prior_table import PriorTable, TableAttribute, TableHeader


@pytest.fixture(scope="session")
def digits_processor(digits_data: Path) -> Any:
    """The example's processor."""
    return AutoProcessor.from_pretrained(digits_data / "model")


@pytest.fixture(scope="session")
def digits_model(digits_data: Path) -> Callable[[int], torch.nn.Module]:
    """Builds the example's dense model from a seed."""
    config = AutoConfig.from_pretrained(digits_data / "model")

    def build(seed: int = 0) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return AutoModelForImageTextToText.from_config(config)

    return build


def unshaped_table(*attributes: TableAttribute) -> PriorTable:
    """A table that shapes nothing, for tests of what the data says about its attributes."""
    classes = int(np.prod([len(attribute.members) for attribute in attributes]))
    header = TableHeader(
        language="1",
        layers=4,
        experts=4,
        top_k=2,
        attributes=attributes,
        schedule=(),
        schedule_unit="fraction",
        populations=(),
        sources=(),
        normal_form="",
    )
    nothing = np.full((4, classes), -1, np.int32)
    return PriorTable(
        header=header,
        layer=np.arange(4, dtype=np.int32),
        row=nothing,
        population=nothing,
        alpha=np.zeros((0, 4)),
        weight=np.zeros(0),
        pair=np.zeros((0, 4), np.int32),
        marginal=np.zeros((0, 128, 3), np.float32),
        window=np.zeros((0, 2), np.float32),
    )


@pytest.fixture(scope="session")
def make_table() -> Callable[..., PriorTable]:
    """Builds a table that shapes nothing from its attributes."""
    return unshaped_table


@pytest.fixture(scope="session")
def digits_table() -> PriorTable:
    """The attributes that the digits data carries; `task` takes whatever else comes as unknown."""
    return unshaped_table(
        TableAttribute("modality", ("vision", "language")),
        TableAttribute("dataset", ("digits", "questions", "descriptions")),
        TableAttribute("task", ("digit", "larger", "caption", "unknown")),
    )
