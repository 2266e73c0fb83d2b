"""Running sums behind RoutingStatistics, on the model's device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpsl.shaping.layout import TableLayout
from dpsl.shaping.routed_tokens import RoutedTokens
from priorlang.routing.class_sums import ClassSums, keeps_classes
from priorlang.routing.statistics import BINS, REACH, RoutingStatistics
from priorlang.table.prior_table import PriorTable


class RoutingAccumulator:
    """Counts and sums for each group of tokens and each expert; for each token class where these are few.

    Args:
        layout: the groups.
        experts: K.
    """

    def __init__(self, layout: TableLayout, experts: int) -> None:
        self._layout = layout
        self._experts = experts
        self._layers, self._classes = layout.group_LC.shape
        self._by_class = keeps_classes(self._layers, self._classes, experts)
        self._totals: _Totals | None = None

    def reset(self) -> None:
        """Forget everything."""
        self._totals = None

    def add(self, tokens: RoutedTokens, log_p_NK: Tensor, ell_NK: Tensor) -> None:
        """Add tokens of any layers.

        Args:
            tokens: their layers, classes and choices.
            log_p_NK: log-probabilities.
            ell_NK: the one-vs-rest logits ℓ.
        """
        totals = self._on(log_p_NK.device)
        experts = self._experts
        groups, slots = len(self._layout.group_name), self._slots
        # Tokens that do not count go to a slot past the last, which is never read: so none are selected, and
        # the device never waits for their number.
        group_N = tokens.looked_up(self._layout.group_LC, groups)
        own_N = torch.where(tokens.counted(), tokens.class_N + tokens.layer_N * self._classes, slots)
        slot_N = own_N if self._by_class else group_N
        wide_NK = log_p_NK.double()
        one_N = torch.ones_like(slot_N)
        totals.tokens.index_add_(0, slot_N, one_N)
        totals.probability.index_add_(0, slot_N, wide_NK.exp())
        totals.log_probability.index_add_(0, slot_N, wide_NK)
        totals.top.view(-1).index_add_(0, slot_N * experts + log_p_NK.argmax(-1), one_N)

        cell_NK = group_N[:, None] * experts + torch.arange(experts, device=slot_N.device)
        bin_NK = ((ell_NK.nan_to_num(0.0) + REACH) * (BINS / (2 * REACH))).long().clamp(0, BINS - 1)
        one = torch.ones((), dtype=torch.int32, device=slot_N.device)
        totals.bins.view(-1).index_add_(0, (cell_NK * BINS + bin_NK).flatten(), one.expand(cell_NK.numel()))

        chosen = (slot_N[:, None] * experts + tokens.indices_Nk).flatten()
        totals.load.view(-1).index_add_(0, chosen, torch.ones_like(chosen))

    def statistics(self, table: PriorTable) -> RoutingStatistics:
        """What was added, on all ranks where torch.distributed runs: every rank must ask."""
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        nccl = distributed and torch.distributed.get_backend() == "nccl"
        totals = self._totals or self._zeros(torch.device("cuda" if nccl else "cpu"))
        if distributed and torch.distributed.get_world_size() > 1:
            totals = totals.summed_over_ranks()
        layout = self._layout
        *sums, bins = (tensor[:-1].cpu().numpy().copy() for tensor in totals.tensors())
        grouped = [self._by_group(array) for array in sums] if self._by_class else sums
        tokens, load, top, probability, log_probability = grouped
        return RoutingStatistics.of(
            table.layer, layout.group_layer, layout.group_name, layout.group_population,
            tokens=tokens, load=load, top=top, probability=probability, log_probability=log_probability,
            bins=bins, classes=self._class_sums(sums) if self._by_class else None,
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

    @property
    def _slots(self) -> int:
        return self._layers * self._classes if self._by_class else len(self._layout.group_name)

    def _zeros(self, device: torch.device) -> _Totals:
        return _Totals.zeros(self._slots + 1, len(self._layout.group_name) + 1, self._experts, device)

    def _on(self, device: torch.device) -> _Totals:
        if self._totals is None:
            self._totals = self._zeros(device)
            self._layout = self._layout.on(device)
        return self._totals


def log_scores(logits_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Ln p and ℓ = logit p of each token and expert, neither of which saturates where p does."""
    log_p_NK = logits_NK.log_softmax(-1)
    top_logit_N1, top_N1 = logits_NK.max(-1, keepdim=True)
    rest_N1 = logits_NK.scatter(-1, top_N1, -torch.inf).logsumexp(-1, keepdim=True)
    ell_NK = log_p_NK - torch.log1p(-log_p_NK.exp())
    return log_p_NK, ell_NK.scatter(-1, top_N1, top_logit_N1 - rest_N1)


class _Totals:
    """The sums, one row for each slot (of `bins`: for each group), and a last one for what does not count."""

    def __init__(
        self, tokens: Tensor, load: Tensor, top: Tensor, probability: Tensor, log_probability: Tensor,
        bins: Tensor,
    ) -> None:  # fmt: skip
        self.tokens = tokens
        self.load = load
        self.top = top
        self.probability = probability
        self.log_probability = log_probability
        self.bins = bins

    @classmethod
    def zeros(cls, slots: int, groups: int, experts: int, device: torch.device) -> _Totals:
        def of(dtype: torch.dtype, *shape: int) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        return cls(
            of(torch.int64, slots),
            of(torch.int64, slots, experts),
            of(torch.int64, slots, experts),
            of(torch.float64, slots, experts),
            of(torch.float64, slots, experts),
            of(torch.int32, groups, experts, BINS),
        )

    def tensors(self) -> tuple[Tensor, ...]:
        return self.tokens, self.load, self.top, self.probability, self.log_probability, self.bins

    def summed_over_ranks(self) -> _Totals:
        """A copy with every rank's sums; the ranks' own stay as they are."""
        copies = [tensor.clone() for tensor in self.tensors()]
        for tensor in copies:
            torch.distributed.all_reduce(tensor)
        return _Totals(*copies)
