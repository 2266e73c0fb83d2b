"""The block that takes a dense FFN's place: a router, its experts, and the expert that sees every token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Router(nn.Module):
    """A linear router; its output has the form of transformers' TopKRouters.

    Args:
        hidden: width H of the hidden states.
        experts: E.
        top_k: experts per token.
    """

    def __init__(self, hidden: int, experts: int, top_k: int, *, like: Tensor) -> None:
        super().__init__()
        self.experts = experts
        self.top_k = top_k
        self.weight = nn.Parameter(torch.empty(experts, hidden, dtype=like.dtype, device=like.device))

    def forward(self, hidden_NH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [N, E], probabilities [N, k] of the chosen (of a softmax over all E), their indices."""
        logits_NE = nn.functional.linear(hidden_NH, self.weight)
        wide_NE = logits_NE if logits_NE.dtype == torch.float64 else logits_NE.float()
        scores_Nk, indices_Nk = wide_NE.softmax(-1).topk(self.top_k, dim=-1)
        return logits_NE, scores_Nk.to(hidden_NH.dtype), indices_Nk


class UpcycledMoE(nn.Module):
    """y(x) = Σ over the top k of g_i(x)·E_i(x), plus E_s(x) if shared (Eq. 5, arXiv 2510.01185).

    The gates g are probabilities over all experts and are not renormalised. With `preserve` the sum is
    divided by the total of its coefficients, so experts equal to the dense FFN give its output exactly.

    Args:
        router: the router.
        experts: modules of one kind, hidden states in and out.
        shared_expert: sees every token; None for none.
        preserve: divide by 1 + Σ gates (by Σ gates where nothing is shared).
    """

    def __init__(
        self, router: Router, experts: Sequence[nn.Module], shared_expert: nn.Module | None, *, preserve: bool
    ) -> None:
        super().__init__()
        self.router = router
        self.experts = nn.ModuleList(experts)
        self.shared_expert = shared_expert
        self.preserve = preserve

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Hidden states [..., H] to hidden states [..., H]."""
        hidden_NH = hidden_states.reshape(-1, hidden_states.shape[-1])
        _, scores_Nk, indices_Nk = self.router(hidden_NH)
        output_NH = self._routed(hidden_NH, scores_Nk, indices_Nk)
        if self.shared_expert is not None:
            output_NH = output_NH + self.shared_expert(hidden_NH)
        if self.preserve:
            shared = 0.0 if self.shared_expert is None else 1.0
            output_NH = output_NH / (shared + scores_Nk.sum(-1, keepdim=True))
        return output_NH.reshape(hidden_states.shape)

    def _routed(self, hidden_NH: Tensor, scores_Nk: Tensor, indices_Nk: Tensor) -> Tensor:
        """Σ of gate · expert, each expert on its own tokens gathered.

        An expert without tokens still runs, on none: its parameters then have a gradient of zeros on every
        rank, without which ranks would reduce different parameters.
        """
        slots = indices_Nk.flatten()
        by_expert = slots.argsort(stable=True)
        counts = slots.bincount(minlength=len(self.experts)).tolist()
        tokens = by_expert // indices_Nk.shape[-1]
        gathered = torch.split(hidden_NH[tokens], counts)
        outputs = torch.cat([expert(inputs) for expert, inputs in zip(self.experts, gathered, strict=True)])
        weighted = outputs * scores_Nk.flatten()[by_expert, None]
        return torch.zeros_like(hidden_NH).index_add(0, tokens, weighted.to(hidden_NH.dtype))
