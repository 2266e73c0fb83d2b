"""Change which experts a router chooses, from outside, and combine them by the router's own rule.

Families differ in how chosen experts are weighted. The rule is told from a router's own output: of a softmax or a sigmoid
over all experts, renormalised over the chosen or not, times a factor, the one that gives its weights and its choice. (A
softmax over the chosen logits is a softmax over all, renormalised.) A router that follows none is refused.

Then, with scores s and a bias b of each expert,

    selection     the k largest of s + b among the experts allowed
    combination   s of the chosen, renormalised and scaled as the family does, without b
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.routers.found import FoundRouter, Scoring
from dpsl.routers.output import RouterOutput
from dpsl.upcycle.block import Router

OWN_BIAS = "e_score_correction_bias"
"""The buffer of routers that have a selection bias of their own (DeepSeek-V3 and its descendants)."""


@dataclass(frozen=True)
class CombinationRule:
    """How scores of chosen experts become the weights of their outputs.

    Attributes:
        scoring: softmax or sigmoid.
        renormalised: divided by their sum.
        scale: the factor after that.
        top_k: experts per token.
        dense: weights are laid out over all experts, 0 where not chosen.
    """

    scoring: Scoring
    renormalised: bool
    scale: float
    top_k: int
    dense: bool

    def weights(self, scores_NK: Tensor, indices_Nk: Tensor) -> Tensor:
        """The weights [N, k] of chosen experts."""
        weights_Nk = scores_NK.gather(-1, indices_Nk)
        if self.renormalised:
            weights_Nk = weights_Nk / weights_Nk.sum(-1, keepdim=True).clamp(min=_TINY)
        return weights_Nk * self.scale


def scores(logits_NK: Tensor, scoring: Scoring) -> Tensor:
    """Each expert's score, at least float32; 0 at a logit of −∞."""
    wide_NK = logits_NK if logits_NK.dtype == torch.float64 else logits_NK.float()
    return wide_NK.sigmoid() if scoring is Scoring.SIGMOID else wide_NK.softmax(-1)


def selected(
    output: Any,
    router: FoundRouter,
    read: RouterOutput,
    rule: CombinationRule,
    *,
    allowed_NK: Tensor | None = None,
    bias_K: Tensor | None = None,
) -> Any:
    """A router's output, with the choice made anew.

    Args:
        output: as the router returned it.
        router: which.
        read: the same, taken apart.
        rule: of `combination_rule`.
        allowed_NK: False where a token may not use an expert: its logit becomes −∞, in what is returned too.
        bias_K: added to scores for the choice alone.
    """
    logits_NK = read.recorded_NK
    if allowed_NK is not None:
        logits_NK = logits_NK.masked_fill(~allowed_NK, -torch.inf)
    scores_NK = scores(logits_NK, rule.scoring)
    chosen_by_NK = scores_NK.detach() if bias_K is None else scores_NK.detach() + bias_K
    if allowed_NK is not None:
        chosen_by_NK = chosen_by_NK.masked_fill(~allowed_NK, -torch.inf)
    indices_Nk = chosen_by_NK.topk(rule.top_k, dim=-1).indices
    weights = rule.weights(scores_NK, indices_Nk)
    if rule.dense:
        weights = torch.zeros_like(scores_NK).scatter(-1, indices_Nk, weights)
    return _with_choice(output, router, read, logits_NK, weights.to(read.combined.dtype), indices_Nk)


@torch.no_grad()
def combination_rule(router: FoundRouter, read: RouterOutput) -> CombinationRule:
    """The rule that gives a router's own output.

    Args:
        router: whose output it is; unchanged by anything.
        read: taken apart; at least one token.

    Raises:
        AttachError: none does.
    """
    logits_NK = read.recorded_NK.detach()
    weights = read.combined.detach().reshape(len(logits_NK), -1).to(torch.float64)
    dense = read.indices_Nk is None
    top_k = router.top_k
    if (
        router.form is not None
        or top_k is None
        or weights.shape[-1] != (logits_NK.shape[-1] if dense else top_k)
    ):
        raise _refused(router, "its choice is made where it cannot be reached")
    if getattr(router.module, "num_group", None) not in (None, 1):
        raise _refused(router, "it chooses groups of experts first")
    indices_Nk = weights.topk(top_k, dim=-1).indices if read.indices_Nk is None else read.indices_Nk
    weights_Nk = weights.gather(-1, indices_Nk) if dense else weights
    bias_K = _own_bias(router.module)
    tolerance = 1e-3 if read.combined.dtype in (torch.float32, torch.float64) else 0.03
    fitting: list[tuple[float, bool, CombinationRule]] = []
    for scoring in (Scoring.SOFTMAX, Scoring.SIGMOID):
        scores_NK = scores(logits_NK, scoring).double()
        if not _chooses(scores_NK if bias_K is None else scores_NK + bias_K, indices_Nk, tolerance):
            continue
        for renormalised in (False, True):
            rule = CombinationRule(scoring, renormalised, 1.0, top_k, dense)
            candidate_Nk = rule.weights(scores_NK, indices_Nk)
            scale = float((weights_Nk * candidate_Nk).sum() / candidate_Nk.square().sum().clamp(min=_TINY))
            if abs(scale - 1) < tolerance:
                scale = 1.0
            off_Nk = (weights_Nk - scale * candidate_Nk).abs() / weights_Nk.amax(-1, keepdim=True).clamp(
                min=_TINY
            )
            if float(off_Nk.max()) < tolerance:
                rule = CombinationRule(scoring, renormalised, scale, top_k, dense)
                fitting.append((float(off_Nk.max()), scale != 1.0, rule))
    if not fitting:
        raise _refused(router, "its weights follow no rule known here")
    # Of rules that fit as well as rounding tells, the plainer.
    return min(fitting, key=lambda found: (found[1], round(found[0] / tolerance, 1)))[2]


def _own_bias(module: nn.Module) -> Tensor | None:
    """The bias that the router itself chooses with."""
    if isinstance(module, Router):
        return None if module.selection_bias is None else module.selection_bias.value
    found: Tensor | None = getattr(module, OWN_BIAS, None)
    return found


def _chooses(chosen_by_NK: Tensor, indices_Nk: Tensor, tolerance: float) -> bool:
    """Whether the chosen are the largest, but for rounding."""
    if chosen_by_NK.shape[-1] == indices_Nk.shape[-1]:
        return True
    least_N = chosen_by_NK.gather(-1, indices_Nk).amin(-1)
    rest_N = chosen_by_NK.scatter(-1, indices_Nk, -torch.inf).amax(-1)
    return bool((least_N >= rest_N - tolerance * rest_N.abs()).all())


def _with_choice(
    output: Any,
    router: FoundRouter,
    read: RouterOutput,
    logits_NK: Tensor,
    combined: Tensor,
    indices_Nk: Tensor,
) -> Any:
    """The output with these in the places of the router's own."""
    values = list(output)
    for place, value in enumerate(output):
        if place == router.logits_index:
            values[place] = logits_NK.view_as(value)
        elif place == read.combined_index:
            values[place] = combined.view_as(value)
        elif isinstance(value, Tensor) and read.indices_Nk is not None and not value.is_floating_point():
            values[place] = indices_Nk.to(value.dtype).view_as(value)
    return type(output)(*values) if hasattr(output, "_fields") else tuple(values)


def _refused(router: FoundRouter, why: str) -> AttachError:
    module: nn.Module = router.module
    return AttachError(
        router.place,
        f"the choice of {type(module).__name__} cannot be changed from outside: {why}",
        "leave its layer out of `deepseek_bias` and `manual_modality` with `layers:`",
    )


_TINY = 1e-20
