"""The block that takes a dense FFN's place: a router, its experts, and the expert that sees every token.

This file travels with a saved model and imports nothing but torch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class ExpertBias(nn.Module):
    """A bias on each expert's score for the choice alone, in float32 whatever the model is cast to.

    Attributes:
        value: [E], a buffer, so saved with the model.
    """

    value: Tensor

    def __init__(self, experts: int, device: torch.device | None = None) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(experts, dtype=torch.float32, device=device))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ExpertBias:
        exact, apply = self.value, super()._apply  # type: Tensor, Any
        apply(fn, recurse)
        if self.value.dtype != torch.float32:
            self.value = exact.to(self.value.device)
        return self


class Router(nn.Module):
    """A linear router; its output has the form of transformers' TopKRouters.

    Args:
        hidden: width H of the hidden states.
        experts: E.
        top_k: experts per token.
        like: a tensor whose device and dtype the weight takes.
        renormalize: divide the gates of the chosen experts by their sum, as a softmax after the choice does.
        granularity: experts that make up one whole FFN. Above 1, equal gates are chosen in the order of experts:
            two groups that tie, as they may in bf16, are then not chosen by halves.
    """

    def __init__(
        self,
        hidden: int,
        experts: int,
        top_k: int,
        *,
        like: Tensor,
        renormalize: bool = False,
        granularity: int = 1,
    ) -> None:
        super().__init__()
        self.experts = experts
        self.top_k = top_k
        self.renormalize = renormalize
        self.granularity = granularity
        self.weight = nn.Parameter(torch.empty(experts, hidden, dtype=like.dtype, device=like.device))
        self.selection_bias: ExpertBias | None = None

    def add_selection_bias(self) -> None:
        """Choose by gates plus a bias from now on, 0 at first."""
        if self.selection_bias is None:
            self.selection_bias = ExpertBias(self.experts, self.weight.device)

    def forward(self, hidden_NH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [N, E], gates [N, k] of the chosen (of a softmax over all E), their indices."""
        logits_NE = nn.functional.linear(hidden_NH, self.weight)
        wide_NE = logits_NE if logits_NE.dtype == torch.float64 else logits_NE.float()
        gates_NE = wide_NE.softmax(-1)
        if self.selection_bias is None and self.granularity == 1:
            scores_Nk, indices_Nk = gates_NE.topk(self.top_k, dim=-1)
        else:
            bias_E = 0.0 if self.selection_bias is None else self.selection_bias.value
            indices_Nk = self._choose(gates_NE.detach() + bias_E)
            scores_Nk = gates_NE.gather(-1, indices_Nk)
        if self.renormalize:
            scores_Nk = scores_Nk / scores_Nk.sum(-1, keepdim=True)
        return logits_NE, scores_Nk.to(hidden_NH.dtype), indices_Nk

    def _choose(self, scores_NE: Tensor) -> Tensor:
        if self.granularity == 1:
            return scores_NE.topk(self.top_k, dim=-1).indices
        return scores_NE.sort(dim=-1, descending=True, stable=True).indices[:, : self.top_k]


class UpcycledMoE(nn.Module):
    """y(x) = Σ over the top k of g_i(x)·E_i(x), plus E_s(x) if shared (Eq. 5, arXiv 2510.01185).

    With `preserve` the sum is divided by the whole FFNs that its coefficients add up to, so experts equal to the
    dense FFN, or to its parts chosen in whole groups, give its output exactly.

    Args:
        router: the router.
        experts: modules of one kind, hidden states in and out.
        shared_expert: sees every token; None for none.
        preserve: divide by 1 + Σ gates / granularity (without the 1 where nothing is shared).
        granularity: experts that make up one whole FFN.
    """

    def __init__(
        self,
        router: Router,
        experts: Sequence[nn.Module],
        shared_expert: nn.Module | None,
        *,
        preserve: bool,
        granularity: int = 1,
    ) -> None:
        super().__init__()
        self.router = router
        self.experts = nn.ModuleList(experts)
        self.shared_expert = shared_expert
        self.preserve = preserve
        self.granularity = granularity

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Hidden states [..., H] to hidden states [..., H]."""
        hidden_NH = hidden_states.reshape(-1, hidden_states.shape[-1])
        _, scores_Nk, indices_Nk = self.router(hidden_NH)
        output_NH = self._routed(hidden_NH, scores_Nk, indices_Nk)
        if self.shared_expert is not None:
            output_NH = output_NH + self.shared_expert(hidden_NH)
        if self.preserve:
            shared = 0.0 if self.shared_expert is None else 1.0
            output_NH = output_NH / (shared + scores_Nk.sum(-1, keepdim=True) / self.granularity)
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


def block_like(ffn: nn.Module, upcycled: Mapping[str, Any]) -> UpcycledMoE:
    """A block with the structure that a model's `config.upcycled` states, its weights yet to be filled in.

    Args:
        ffn: the dense FFN whose place it takes: kind, widths, device and dtype of the experts.
        upcycled: `experts`, `top_k`, `granularity`, `shared_expert`, `scale`, `renormalize`.
    """
    down: Any = ffn.get_submodule("down_proj")
    width, parts = down.in_features, upcycled["granularity"]
    router = Router(
        down.out_features,
        upcycled["experts"],
        upcycled["top_k"],
        like=down.weight,
        renormalize=upcycled["renormalize"],
        granularity=parts,
    )
    experts = [narrowed(ffn, width // parts) for _ in range(upcycled["experts"])]
    shared = narrowed(ffn, width) if upcycled["shared_expert"] else None
    block = UpcycledMoE(router, experts, shared, preserve=upcycled["scale"] == "preserve", granularity=parts)
    return block.train(ffn.training)


def narrowed(ffn: nn.Module, width: int) -> nn.Module:
    """An FFN of the same kind with another inner width, its weights not initialised."""
    bare: Any = copy.copy(ffn)
    bare._modules = dict(ffn._modules)
    for name, child in ffn.named_children():
        resized = _resized(child, name, width) if isinstance(child, nn.Linear) else copy.deepcopy(child)
        setattr(bare, name, resized)
    if hasattr(bare, "intermediate_size"):
        bare.intermediate_size = width
    whole: nn.Module = bare
    return whole


def _resized(linear: nn.Linear, name: str, width: int) -> nn.Linear:
    sizes = {"down_proj": (width, linear.out_features), "gate_up_proj": (linear.in_features, 2 * width)}
    inputs, outputs = sizes.get(name, (linear.in_features, width))
    weight = linear.weight
    empty = nn.Linear(inputs, outputs, linear.bias is not None, device="meta", dtype=weight.dtype)
    return empty.to_empty(device=weight.device).requires_grad_(weight.requires_grad)
