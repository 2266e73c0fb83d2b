"""One-vs-rest logits ℓ_k = z_k − logsumexp_{i≠k} z_i = logit p_k, and the way back from them.

ℓ does not saturate where p does, so what is computed from it stays finite at any logit gap.

Dimensions: K experts, N tokens. Experts come first: reductions over them, and look-ups per expert, then run
along contiguous memory.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_NOTHING = -80.0
"""Exponents end here: e^−80 changes no sum with a 1 in it, and smaller ones take a slow path in libm."""


class OneVsRest(NamedTuple):
    """One-vs-rest logits [K, N], and the expert with the largest logit [1, N] of each token."""

    ell_KN: Tensor
    top_1N: Tensor


def one_vs_rest(logits_KN: Tensor) -> OneVsRest:
    """The one-vs-rest logits of at least two experts; a logit of −∞ is read as a very low one."""
    logits_KN = logits_KN.clamp(min=torch.finfo(logits_KN.dtype).min / 4)
    largest_1N, top_1N = _largest(logits_KN)
    below_KN = logits_KN.sub_(largest_1N)
    second_1N = _with_top(below_KN, top_1N, -torch.inf).amax(0, keepdim=True)
    # Masses of all but the top expert, relative to the second: at least one of them is 1.
    mass_KN = _with_top((below_KN - second_1N).clamp_(_NOTHING, 0).exp_(), top_1N, 0.0)
    mass_1N = mass_KN.sum(0, keepdim=True)
    # The top expert's mass is 1 relative to itself, so that no logarithm cancels.
    others_KN = (mass_1N - mass_KN).mul_(second_1N.clamp(min=_NOTHING).exp_()).add_(1.0)
    ell_KN = _with_top(below_KN.sub_(others_KN.log_()), top_1N, -(second_1N + mass_1N.log()))
    return OneVsRest(ell_KN, top_1N)


def gradient_to_logits(gradient_KN: Tensor, routing: OneVsRest) -> Tensor:
    """Carry a gradient r with respect to ℓ back to the logits.

    With s_k = r_k / (1 − p_k) and S = Σ_{k≠k*} s_k over all but the top expert k*,

        g_{k*} = r_{k*} − p_{k*} S
        g_k    = s_k − p_k S − r_{k*} q_k,   q the softmax over all experts but k*.
    """
    ell_KN, top_1N = routing
    top_gradient_1N, top_ell_1N = _at_top(gradient_KN, top_1N), _at_top(ell_KN, top_1N)
    second_1N = _with_top(ell_KN, top_1N, -torch.inf).amax(0, keepdim=True)
    # Odds p / (1 − p) of all but the top expert, relative to the second's.
    odds_KN = _with_top((ell_KN - second_1N).clamp_(_NOTHING, 0).exp_(), top_1N, 0.0)
    second_odds_1N = second_1N.clamp(min=_NOTHING).exp_()
    over_complement_KN = (odds_KN * second_odds_1N).add_(1.0)  # 1 / (1 − p)
    share_KN = odds_KN.div_(over_complement_KN)  # p, relative to the second's odds
    through_KN = _with_top(over_complement_KN.mul_(gradient_KN), top_1N, 0.0)
    through_1N = through_KN.sum(0, keepdim=True)
    per_share_1N = second_odds_1N * through_1N + top_gradient_1N / share_KN.sum(0, keepdim=True)
    top_result_1N = top_gradient_1N - top_ell_1N.sigmoid() * through_1N
    return _with_top(through_KN.addcmul_(share_KN, per_share_1N, value=-1), top_1N, top_result_1N)


# What concerns the top expert alone: by its index where operations run one by one, by comparison with every
# expert where they are compiled into loops, which indices would keep from being vectorised.


def _largest(values_KN: Tensor) -> tuple[Tensor, Tensor]:
    if not torch.compiler.is_compiling():
        return values_KN.max(0, keepdim=True)
    largest_1N = values_KN.amax(0, keepdim=True)
    experts = len(values_KN)
    expert_K1 = torch.arange(experts, dtype=torch.int32, device=values_KN.device)[:, None]
    return largest_1N, torch.where(values_KN == largest_1N, expert_K1, experts - 1).amin(0, keepdim=True)


def _with_top(values_KN: Tensor, top_1N: Tensor, replacement: Tensor | float) -> Tensor:
    if not torch.compiler.is_compiling():
        return values_KN.scatter(0, top_1N, replacement)
    return torch.where(_is_top(values_KN, top_1N), replacement, values_KN)


def _at_top(values_KN: Tensor, top_1N: Tensor) -> Tensor:
    if not torch.compiler.is_compiling():
        return values_KN.gather(0, top_1N)
    return torch.where(_is_top(values_KN, top_1N), values_KN, 0.0).sum(0, keepdim=True)


def _is_top(values_KN: Tensor, top_1N: Tensor) -> Tensor:
    expert_K1 = torch.arange(len(values_KN), dtype=torch.int32, device=values_KN.device)[:, None]
    return expert_K1 == top_1N
