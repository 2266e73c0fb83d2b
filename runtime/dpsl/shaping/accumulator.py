"""Running sums behind RoutingStatistics and metrics, on the model's device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpsl.ranks import exchange_device, summed
from dpsl.shaping.layout import TableLayout
from dpsl.shaping.routed_tokens import RoutedTokens
from dpsl.shaping.routing_sums import RoutingSums
from priorlang.routing.class_sums import ClassSums, keeps_classes
from priorlang.routing.statistics import BINS, REACH, RoutingStatistics
from priorlang.table.prior_table import PriorTable


class RoutingAccumulator:
    """Counts and sums for each group of tokens and each expert; for each token class where these are few.

    Args:
        layout: the groups.
        experts: K.

    Attributes:
        by_class: a slot is a token class of a layer, else a group.
    """

    def __init__(self, layout: TableLayout, experts: int) -> None:
        self._layout = layout
        self._experts = experts
        self._layers, self._classes = layout.group_LC.shape
        self.by_class = keeps_classes(self._layers, self._classes, experts)
        self._slots = self._layers * self._classes if self.by_class else len(layout.group_name)
        # Each has one more row, for tokens that do not count.
        self._sums: RoutingSums | None = None
        self._taken: RoutingSums | None = None
        self._bins: Tensor | None = None

    def reset(self) -> None:
        """Forget everything, for statistics; what was not taken yet can still be."""
        if self._sums is not None:
            nothing = self._zeros(self._sums.tokens.device)
            taken = self._taken if self._taken is not None else nothing
            self._sums, self._taken = nothing, taken.minus(self._sums)
        self._bins = None

    def add(self, tokens: RoutedTokens, log_p_NK: Tensor, ell_NK: Tensor) -> None:
        """Add tokens of any layers.

        Args:
            tokens: their layers, classes and choices.
            log_p_NK: log-probabilities.
            ell_NK: the one-vs-rest logits ℓ.
        """
        sums, bins = self._on(log_p_NK.device)
        groups = len(self._layout.group_name)
        # Tokens that do not count go to a slot past the last, which is never read: so none are selected, and
        # the device never waits for their number.
        group_N = tokens.looked_up(self._layout.group_LC, groups)
        own_N = torch.where(tokens.counted(), tokens.class_N + tokens.layer_N * self._classes, self._slots)
        sums.add(own_N if self.by_class else group_N, tokens, log_p_NK)

        cell_NK = group_N[:, None] * self._experts + torch.arange(self._experts, device=group_N.device)
        bin_NK = ((ell_NK.nan_to_num(0.0) + REACH) * (BINS / (2 * REACH))).long().clamp(0, BINS - 1)
        one = torch.ones((), dtype=torch.int32, device=group_N.device)
        bins.view(-1).index_add_(0, (cell_NK * BINS + bin_NK).flatten(), one.expand(cell_NK.numel()))

    def taken(self, *, across_ranks: bool, keep: bool = False) -> RoutingSums:
        """What was added since the last call, on all ranks if asked for.

        Args:
            across_ranks: every rank must then call this.
            keep: leave it to be taken by the next call.
        """
        sums = self._sums if self._sums is not None else self._zeros(exchange_device())
        recent = sums if self._taken is None else sums.minus(self._taken)
        if not keep and self._sums is not None:
            self._taken = sums.copied()
        return (recent.over_ranks() if across_ranks else recent).first(self._slots)

    def statistics(self, table: PriorTable) -> RoutingStatistics:
        """What was added since the last reset, on all ranks where torch.distributed runs: every rank must ask."""
        sums = self._sums if self._sums is not None else self._zeros(exchange_device())
        bins = self._bins if self._bins is not None else self._no_bins(sums.tokens.device)
        sums, bins = sums.over_ranks(), summed(bins)
        arrays = [tensor[:-1].cpu().numpy().copy() for tensor in sums.tensors()[:-1]]
        tokens, load, top, probability, log_probability = (
            [self._by_group(array) for array in arrays] if self.by_class else arrays
        )
        layout = self._layout
        return RoutingStatistics.of(
            table.layer, layout.group_layer, layout.group_name, layout.group_population,
            tokens=tokens, load=load, top=top, probability=probability, log_probability=log_probability,
            bins=bins[:-1].cpu().numpy().copy(), classes=self._class_sums(arrays) if self.by_class else None,
        )  # fmt: skip

    def _class_sums(self, sums: list[NDArray[np.float64]]) -> ClassSums:
        shape = (self._layers, self._classes)
        tokens, load, top, probability, log_probability = (
            array.reshape(shape + array.shape[1:]) for array in sums
        )
        return ClassSums.of(
            tokens=tokens, load=load, top=top, probability=probability, log_probability=log_probability
        )

    def _by_group(self, array: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums of classes → sums of groups."""
        summed = np.zeros((len(self._layout.group_name), *array.shape[1:]), array.dtype)
        np.add.at(summed, self._layout.group_LC.flatten().cpu().numpy(), array)
        return summed

    def _on(self, device: torch.device) -> tuple[RoutingSums, Tensor]:
        """The sums, made on a device where there are none yet."""
        if self._sums is None:
            self._sums = self._zeros(device)
        if self._bins is None:
            self._bins = self._no_bins(device)
        if self._sums.tokens.device != device or self._layout.group_LC.device != device:
            # The model was moved.
            self._sums = self._sums.on(device)
            self._taken = None if self._taken is None else self._taken.on(device)
            self._bins, self._layout = self._bins.to(device), self._layout.on(device)
        return self._sums, self._bins

    def _zeros(self, device: torch.device) -> RoutingSums:
        return RoutingSums.zeros(self._slots + 1, self._experts, device)

    def _no_bins(self, device: torch.device) -> Tensor:
        shape = (len(self._layout.group_name) + 1, self._experts, BINS)
        return torch.zeros(shape, dtype=torch.int32, device=device)


def log_scores(logits_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Ln p and ℓ = logit p of each token and expert, neither of which saturates where p does."""
    log_p_NK = logits_NK.log_softmax(-1)
    top_logit_N1, top_N1 = logits_NK.max(-1, keepdim=True)
    rest_N1 = logits_NK.scatter(-1, top_N1, -torch.inf).logsumexp(-1, keepdim=True)
    ell_NK = log_p_NK - torch.log1p(-log_p_NK.exp())
    return log_p_NK, ell_NK.scatter(-1, top_N1, top_logit_N1 - rest_N1)
