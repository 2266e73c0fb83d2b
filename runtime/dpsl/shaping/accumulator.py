"""Running sums behind RoutingStatistics, on the model's device."""

from __future__ import annotations

import torch
from torch import Tensor

from dpsl.shaping.layout import TableLayout
from dpsl.statistics import BINS, REACH, RoutingStatistics
from priorlang.table.prior_table import PriorTable


class RoutingAccumulator:
    """Counts and sums for each group of tokens and each expert.

    Args:
        layout: the groups.
        experts: K.
    """

    def __init__(self, layout: TableLayout, experts: int) -> None:
        self._layout = layout
        self._experts = experts
        self._totals: _Totals | None = None

    def reset(self) -> None:
        """Forget everything."""
        self._totals = None

    def add(
        self, position: int, log_p_NK: Tensor, ell_NK: Tensor, indices_Nk: Tensor, group_N: Tensor
    ) -> Tensor:
        """Add one pass of a layer; returns the top-k slots each expert took there.

        Args:
            position: the layer's place among the routed.
            log_p_NK: log-probabilities.
            ell_NK: the one-vs-rest logits ℓ.
            indices_Nk: chosen experts.
            group_N: the token's group within the layer, -1 where it does not count.
        """
        totals = self._on(log_p_NK.device)
        layer, experts = self._layout.layers[position], self._experts
        # Tokens that do not count go to a group past the last, which is never read: so none are selected,
        # and the device never waits for their number.
        spare = len(self._layout.group_name)
        slot_N = torch.where(group_N < 0, spare, group_N + layer.first_group)
        wide_NK = log_p_NK.double()
        totals.tokens.index_add_(0, slot_N, torch.ones_like(slot_N))
        totals.probability.index_add_(0, slot_N, wide_NK.exp())
        totals.log_probability.index_add_(0, slot_N, wide_NK)

        cell_NK = slot_N[:, None] * experts + torch.arange(experts, device=slot_N.device)
        bin_NK = ((ell_NK.nan_to_num(0.0) + REACH) * (BINS / (2 * REACH))).long().clamp(0, BINS - 1)
        one = torch.ones((), dtype=torch.int32, device=slot_N.device)
        totals.bins.view(-1).index_add_(0, (cell_NK * BINS + bin_NK).flatten(), one.expand(cell_NK.numel()))

        load = torch.zeros((spare + 1) * experts, dtype=torch.int64, device=slot_N.device)
        chosen = (slot_N[:, None] * experts + indices_Nk).flatten()
        load = load.index_add_(0, chosen, torch.ones_like(chosen)).view(spare + 1, experts)
        totals.load.add_(load)
        return load[:spare].sum(0)

    def statistics(self, table: PriorTable) -> RoutingStatistics:
        """What was added, on all ranks where torch.distributed runs: every rank must ask."""
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        nccl = distributed and torch.distributed.get_backend() == "nccl"
        totals = self._totals or _Totals.zeros(
            self._slots, self._experts, torch.device("cuda" if nccl else "cpu")
        )
        if distributed and torch.distributed.get_world_size() > 1:
            totals = totals.summed_over_ranks()
        arrays = [tensor[: len(self._layout.group_name)].cpu().numpy().copy() for tensor in totals.tensors()]
        tokens, load, probability, log_probability, bins = arrays
        return RoutingStatistics.of(
            table.layer, self._layout.group_layer, self._layout.group_name, self._layout.group_population,
            tokens=tokens, load=load, probability=probability, log_probability=log_probability, bins=bins,
        )  # fmt: skip

    @property
    def _slots(self) -> int:
        return len(self._layout.group_name) + 1

    def _on(self, device: torch.device) -> _Totals:
        if self._totals is None:
            self._totals = _Totals.zeros(self._slots, self._experts, device)
        return self._totals


def log_scores(logits_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Ln p and ℓ = logit p of each token and expert, neither of which saturates where p does."""
    log_p_NK = logits_NK.log_softmax(-1)
    top_logit_N1, top_N1 = logits_NK.max(-1, keepdim=True)
    rest_N1 = logits_NK.scatter(-1, top_N1, -torch.inf).logsumexp(-1, keepdim=True)
    ell_NK = log_p_NK - torch.log1p(-log_p_NK.exp())
    return log_p_NK, ell_NK.scatter(-1, top_N1, top_logit_N1 - rest_N1)


class _Totals:
    """The sums, one row for each group."""

    def __init__(
        self, tokens: Tensor, load: Tensor, probability: Tensor, log_probability: Tensor, bins: Tensor
    ) -> None:
        self.tokens = tokens
        self.load = load
        self.probability = probability
        self.log_probability = log_probability
        self.bins = bins

    @classmethod
    def zeros(cls, slots: int, experts: int, device: torch.device) -> _Totals:
        def of(dtype: torch.dtype, *shape: int) -> Tensor:
            return torch.zeros(slots, *shape, dtype=dtype, device=device)

        return cls(
            of(torch.int64),
            of(torch.int64, experts),
            of(torch.float64, experts),
            of(torch.float64, experts),
            of(torch.int32, experts, BINS),
        )

    def tensors(self) -> tuple[Tensor, ...]:
        return self.tokens, self.load, self.probability, self.log_probability, self.bins

    def summed_over_ranks(self) -> _Totals:
        """A copy with every rank's sums; the ranks' own stay as they are."""
        copies = [tensor.clone() for tensor in self.tensors()]
        for tensor in copies:
            torch.distributed.all_reduce(tensor)
        return _Totals(*copies)
