"""A few numbers about routing since the last time they were asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from dpsl.loss import ShapingResult
from dpsl.shaping.accumulator import RoutingAccumulator
from dpsl.shaping.prior_loss import PriorLoss
from dpsl.shaping.routing_sums import RoutingSums
from dpsl.shaping.shaping_values import ShapingValues
from priorlang.table.prior_table import PriorTable


class RoutingMetrics:
    """Means over all tokens that count: of all, of each layer, and of each member of the prior's attributes.

    Args:
        accumulator: what routing added up to.
        loss: of the prior.
    """

    def __init__(self, accumulator: RoutingAccumulator, loss: PriorLoss) -> None:
        self._accumulator = accumulator
        self._table = loss.table
        self._values = ShapingValues(loss)
        layout = loss.layout
        self._layers = table_layers = len(loss.table.layer)
        classes = layout.group_LC.shape[1]
        self._layer_S = (
            torch.arange(table_layers).repeat_interleave(classes)
            if accumulator.by_class
            else torch.tensor(layout.group_layer)
        )
        self._members = tuple(_members(loss.table)) if accumulator.by_class else ()

    def add_shaping(self, result: ShapingResult, factor: float, passes: int, ran: Collection[int]) -> None:
        """Add the shaping loss of one pass; see `ShapingValues.add`."""
        self._values.add(result, factor, passes, ran)

    def nonfinite(self, *, across_ranks: bool) -> dict[int, int]:
        """Tokens whose logits held NaN or +∞, of each layer that saw any since the last `take`."""
        sums = self._accumulator.taken(across_ranks=across_ranks, keep=True)
        spoilt_L = self._of_layers(sums).scores[:, 2].tolist()
        layers = self._table.layer.tolist()
        return {layer: int(count) for layer, count in zip(layers, spoilt_L, strict=True) if count}

    def take(self, *, shaped: bool, across_ranks: bool) -> dict[str, float]:
        """The metrics since the last call, and a fresh start; empty where no token was seen."""
        sums = self._accumulator.taken(across_ranks=across_ranks)
        loss_L, floor_L = self._values.take(self._layers, across_ranks=across_ranks)
        of_layers = _rows(self._of_layers(sums))
        seen_L = of_layers["tokens"] > 0
        if not seen_L.any():
            return {}
        metrics = {name: float(values_L[seen_L].mean()) for name, values_L in _measured(of_layers).items()}
        if shaped:
            metrics |= {"dpsl": loss_L.sum(), "dpsl_above_floor": (loss_L - floor_L).sum()}
        for name, values_L in self._measured_by_member(sums):
            metrics[name] = values_L
        by_layer = _measured(of_layers)
        if shaped:
            by_layer = {"dpsl": loss_L, "dpsl_above_floor": loss_L - floor_L, **by_layer}
        for place in np.flatnonzero(seen_L):
            layer = self._table.layer[place]
            metrics |= {
                f"layer.{layer}.{name}": float(values_L[place]) for name, values_L in by_layer.items()
            }
        return {name: float(value) for name, value in metrics.items()}

    def _measured_by_member(self, sums: RoutingSums) -> Iterator[tuple[str, float]]:
        """Measures of the tokens of each member of each attribute, means over the layers."""
        for name, class_C in self._members:
            slot_LC = torch.arange(len(self._layer_S)).view(self._layers, -1)[:, class_C]
            rows = _rows(
                RoutingSums(*(tensor[slot_LC.to(tensor.device)].sum(1) for tensor in sums.tensors()))
            )
            seen_L = rows["tokens"] > 0
            if seen_L.any():
                for measure, values_L in _measured(rows).items():
                    yield f"{name}.{measure}", float(values_L[seen_L].mean())

    def _of_layers(self, sums: RoutingSums) -> RoutingSums:
        return sums.joined(self._layer_S.to(sums.tokens.device), self._layers)


def _members(table: PriorTable) -> Iterator[tuple[str, list[int]]]:
    """For each member of each attribute, its name in metrics and its token classes."""
    sizes = [len(attribute.members) for attribute in table.header.attributes]
    if not sizes:
        return
    code_C = np.indices(sizes).reshape(len(sizes), -1)
    for attribute, own_C in zip(table.header.attributes, code_C, strict=True):
        for code, member in enumerate(attribute.members):
            yield f"{attribute.name}.{member}", np.flatnonzero(own_C == code).tolist()


Rows = dict[str, NDArray[np.float64]]


def _rows(sums: RoutingSums) -> Rows:
    """The sums on the host, in one copy for each."""
    return {
        "tokens": sums.tokens.cpu().numpy().astype(np.float64),
        "load": sums.load.cpu().numpy().astype(np.float64),
        "mass": sums.probability.cpu().numpy(),
        "scores": sums.scores.cpu().numpy(),
    }


def _measured(rows: Rows) -> Rows:
    """The measures of each row; NaN where it has no tokens."""
    tokens = np.where(rows["tokens"] > 0, rows["tokens"], np.nan)
    experts = rows["load"].shape[1]
    measured: Rows = {}
    for kind in ("load", "mass"):
        share = rows[kind] / np.where(rows["tokens"] > 0, rows[kind].mean(1), np.nan)[:, None]
        measured[f"{kind}_cov"] = share.std(1)
        measured[f"{kind}_max"] = share.max(1)
    measured["routing_entropy"] = np.exp(rows["scores"][:, 0] / tokens) / experts
    measured["dead_fraction"] = (rows["load"] == 0).mean(1)
    measured["top1_score"] = rows["scores"][:, 1] / tokens
    return measured
