"""In one process: the gradient at every router is that of explicit summation, whatever surrounds it."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from batches import micro_batch, table_of
from explicit import distance, explicit_loss
from families import FAMILIES, build, top_k_of
from torch import Tensor, nn

import dpsl
from tests.dpsl.gradients import gradients

TOLERANCE = 1e-3
ACCUMULATIONS = (1, 2, 4, 8)
CHECKPOINTING = {
    "plain": None,
    "non-reentrant": {"use_reentrant": False},
    "reentrant": {"use_reentrant": True},
}
EVERY_ACCUMULATION = ("upcycled", "mixtral", "deepseek-v3")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@cache
def expected_gradients(kind: str, dtype: torch.dtype, accumulation: int) -> dict[str, Tensor]:
    model, table = build(kind, dtype=dtype), table_of(top_k_of(kind))
    for seed in range(accumulation):
        (explicit_loss([model], table, [micro_batch(seed)], kind) / accumulation).backward()
    return gradients(model)


def injected_gradients(model: nn.Module, kind: str, accumulation: int) -> dict[str, Tensor]:
    shaper = dpsl.attach(model, table_of(top_k_of(kind)), ranks="sort")
    for seed in range(accumulation):
        inputs, modality = micro_batch(seed)
        with shaper.tokens(mask=inputs["attention_mask"], modality=modality):
            loss = model(**inputs).loss
        (loss / accumulation).backward()
    counted = sum(int(micro_batch(seed).inputs["attention_mask"].sum()) for seed in range(accumulation))
    statistics = shaper.statistics()
    assert statistics.tokens.sum() == counted * len(shaper.routers)
    assert statistics.load.sum() == counted * len(shaper.routers) * top_k_of(kind)
    shaper.detach()
    return gradients(model)


def set_checkpointing(model: nn.Module, options: dict[str, bool] | None) -> None:
    if options is not None:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
        if options["use_reentrant"]:
            model.enable_input_require_grads()


MATRIX = [
    (kind, dtype, checkpointing, accumulation)
    for kind in FAMILIES
    for dtype in DTYPES
    for checkpointing in CHECKPOINTING
    for accumulation in (ACCUMULATIONS if kind in EVERY_ACCUMULATION else (2,))
]


@pytest.mark.parametrize(("kind", "dtype", "checkpointing", "accumulation"), MATRIX)
def test_gradients_are_those_of_explicit_summation(
    kind: str, dtype: str, checkpointing: str, accumulation: int
) -> None:
    model = build(kind, dtype=DTYPES[dtype])
    set_checkpointing(model, CHECKPOINTING[checkpointing])
    found = injected_gradients(model, kind, accumulation)
    assert distance(found, expected_gradients(kind, DTYPES[dtype], accumulation)) < TOLERANCE
