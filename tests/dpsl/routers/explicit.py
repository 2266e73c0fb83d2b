"""Explicit summation: the model's loss plus Σ over layers of weight · loss, by plain autograd.

Nothing here uses the engine's own ways to a router: logits are caught by the class names of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from families import SIGMOID
from torch import Tensor, nn

import dpsl
from priorlang.table.prior_table import UNSHAPED, PriorTable

LOGITS_INDEX = {"llama4": 1}


class MicroBatch(NamedTuple):
    """What a model sees at once: its inputs, and the modality of each token."""

    inputs: dict[str, Tensor]
    modality: Tensor


LossOf = Callable[[nn.Module, MicroBatch], Tensor]


def own_loss(model: nn.Module, batch: MicroBatch) -> Tensor:
    """The loss that the model itself returns."""
    loss: Tensor = model(**batch.inputs).loss
    return loss


@contextmanager
def caught_logits(model: nn.Module, kind: str) -> Iterator[list[Tensor]]:
    """The logits of every router, in the order of layers."""
    caught: list[Tensor] = []
    index = LOGITS_INDEX.get(kind, 0)
    handles = [
        module.register_forward_hook(lambda _m, _a, output: caught.append(output[index]))
        for module in model.modules()
        if type(module).__name__.endswith("Router")
    ]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def explicit_loss(
    replicas: Sequence[nn.Module],
    table: PriorTable,
    ranks: Sequence[MicroBatch],
    kind: str,
    loss_of: LossOf = own_loss,
) -> Tensor:
    """Mean of the ranks' losses plus the shaping term over the tokens of all of them.

    Args:
        replicas: the model of each rank; its parameters get its part of the gradient.
        table: the prior table.
        ranks: the micro-batch of each rank.
        kind: family of the model.
        loss_of: the task loss.
    """
    losses, by_rank = [], []
    for model, batch in zip(replicas, ranks, strict=True):
        with caught_logits(model, kind) as caught:
            losses.append(loss_of(model, batch))
        by_rank.append(caught)
    total = torch.stack(losses).mean()
    for place, of_layer in enumerate(zip(*by_rank, strict=True)):
        logits_NK = torch.cat(list(of_layer)).float()
        if kind in SIGMOID:
            logits_NK = nn.functional.logsigmoid(logits_NK)
        total = total + population_terms(table, place, logits_NK, ranks)
    return total


def population_terms(table: PriorTable, place: int, logits_NK: Tensor, ranks: Sequence[MicroBatch]) -> Tensor:
    """One layer's Σ over populations of share · weight · loss, for the tokens of all ranks."""
    modality_N = torch.cat([batch.modality.flatten() for batch in ranks])
    mask_N = torch.cat([batch.inputs["attention_mask"].flatten().bool() for batch in ranks])
    row_N = torch.from_numpy(table.row[place]).long()[modality_N].masked_fill(~mask_N, UNSHAPED)
    total = logits_NK.new_zeros(())
    for row in sorted(set(row_N[row_N >= 0].tolist())):
        share = (row_N == row).sum() / (row_N >= 0).sum()
        population_N = (row_N == row).long() - 1
        loss = dpsl.dirichlet_prior_shaping_loss(logits_NK, torch.from_numpy(table.alpha[row]), population_N)
        total = total + share * table.weight[row] * loss
    return total


def is_router(name: str) -> bool:
    """Whether a parameter is a router's."""
    return name.endswith(("gate.weight", "router.weight", "router.bias", "gate.wg.weight"))


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest relative difference ‖a − b‖ / ‖b‖ over the routers' parameters; all must be there."""
    names = [name for name in other if is_router(name)]
    assert names
    assert names == [name for name in one if is_router(name)]
    return max(float((one[name] - other[name]).norm() / other[name].norm()) for name in names)
