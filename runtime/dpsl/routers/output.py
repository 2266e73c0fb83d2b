"""Read a router's output: logits, the choices made, and the tensor that experts are combined with.

Models and versions of transformers differ in what they return, so nothing is taken on trust:

- rows that are not negative and sum to 1 are probabilities: their logarithm stands for the logits;
- scores that follow the logistic function of the logits, not their exponential, belong to a sigmoid router.
  Its normalised scores σ(z_k) / Σ σ(z_i) are a softmax of logsigmoid(z), which then stands for the logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.routers.found import FoundRouter, Scoring


@dataclass(frozen=True, eq=False)
class RouterOutput:
    """What one forward pass of a router gave.

    Attributes:
        recorded_NK: the recorded values, as they came.
        combined: the tensor that the experts' outputs are combined with, to which a gradient can be attached.
        combined_index: its place in the output tuple; None where the output is the logits alone.
        indices_Nk: the chosen experts, or None where the router does not return them.
    """

    recorded_NK: Tensor
    combined: Tensor
    combined_index: int | None
    indices_Nk: Tensor | None


def read_output(router: FoundRouter, output: Any) -> RouterOutput:
    """Take a router's output apart.

    Raises:
        AttachError: there are no logits [N, K] where they should be.
    """
    if isinstance(output, Tensor):
        recorded_NK = _as_logits(router, output)
        return RouterOutput(recorded_NK, output, None, None)
    if not isinstance(output, tuple) or router.logits_index >= len(output):
        raise AttachError(
            router.place,
            f"expected logits at place {router.logits_index} of a tuple, found {type(output).__name__}",
            "this router kind or version of transformers is not supported",
        )
    recorded_NK = _as_logits(router, output[router.logits_index])
    combined_index, indices_Nk = router.logits_index, None
    for index, value in enumerate(output):
        if index == router.logits_index or not isinstance(value, Tensor):
            continue
        if value.is_floating_point() and combined_index == router.logits_index:
            combined_index = index
        elif not value.is_floating_point() and value.shape[-1:] == (router.top_k,):
            indices_Nk = value.reshape(-1, value.shape[-1])
    return RouterOutput(recorded_NK, output[combined_index], combined_index, indices_Nk)


def with_combined(output: Any, read: RouterOutput, combined: Tensor) -> Any:
    """The output with another tensor in the place of `read.combined`."""
    if read.combined_index is None:
        return combined
    values = list(output)
    values[read.combined_index] = combined
    return type(output)(*values) if hasattr(output, "_fields") else tuple(values)


def effective_logits(recorded_NK: Tensor, scoring: Scoring) -> Tensor:
    """Logits, at least float32, whose softmax is the router's distribution; differentiable."""
    wide_NK = recorded_NK if recorded_NK.dtype == torch.float64 else recorded_NK.float()
    if scoring is Scoring.SIGMOID:
        return nn.functional.logsigmoid(wide_NK)
    if scoring is Scoring.PROBABILITIES:
        return wide_NK.clamp_min(torch.finfo(wide_NK.dtype).tiny).log()
    return wide_NK


def chosen_experts(read: RouterOutput, top_k: int) -> Tensor:
    """The chosen experts [N, k]: the router's own word, else the largest values."""
    if read.indices_Nk is not None:
        return read.indices_Nk
    # Detached: what autograd saved here would be missing where activation checkpointing recomputes.
    return read.recorded_NK.detach().topk(top_k, dim=-1).indices


@torch.no_grad()
def infer_scoring(read: RouterOutput, top_k: int) -> Scoring | None:
    """How the recorded values became scores, from the values themselves; None where they cannot tell.

    Scores may be renormalised over the chosen or scaled, so ratios within a row are compared: log s_i − log
    s_j is z_i − z_j for a softmax and logsigmoid(z_i) − logsigmoid(z_j) for a sigmoid. With one expert a
    token there is no ratio, and the score itself is compared.
    """
    recorded_NK = read.recorded_NK.detach().double()
    if len(recorded_NK) == 0 or not bool(recorded_NK.isfinite().all()):
        return None
    if bool((recorded_NK >= 0).all()) and bool(((recorded_NK.sum(-1) - 1).abs() < 0.02).all()):
        return Scoring.PROBABILITIES
    scores_Nk = _scores(read, top_k)
    if scores_Nk is None:
        return Scoring.SOFTMAX
    log_scores_Nk = scores_Nk.clamp_min(1e-30).log()
    indices_Nk = chosen_experts(read, top_k)
    exponential_Nk = recorded_NK.gather(-1, indices_Nk)
    logistic_Nk = nn.functional.logsigmoid(exponential_Nk)
    if top_k > 1:
        log_scores_Nk, exponential_Nk, logistic_Nk = map(
            _centred, (log_scores_Nk, exponential_Nk, logistic_Nk)
        )
    else:
        exponential_Nk = recorded_NK.log_softmax(-1).gather(-1, indices_Nk)
    from_softmax, from_sigmoid = _rms(log_scores_Nk - exponential_Nk), _rms(log_scores_Nk - logistic_Nk)
    if max(from_softmax, from_sigmoid) < 1e-6:
        return None
    # A sigmoid must fit, not merely fit better: scores that follow neither function stand for a softmax.
    fits = from_sigmoid < min(from_softmax / 4, _rms(logistic_Nk) / 4, 0.05)
    return Scoring.SIGMOID if fits else Scoring.SOFTMAX


def _scores(read: RouterOutput, top_k: int) -> Tensor | None:
    """The scores [N, k] of the chosen experts, or None where the combined tensor holds something else."""
    if read.combined_index is None or read.combined is read.recorded_NK:
        return None
    scores = read.combined.detach().double()
    scores = scores.reshape(-1, scores.shape[-1])
    if len(scores) != len(read.recorded_NK):
        return None
    if scores.shape[-1] == read.recorded_NK.shape[-1] != top_k:
        return scores.gather(-1, chosen_experts(read, top_k))
    return scores if scores.shape[-1] == top_k else None


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def _centred(values_Nk: Tensor) -> Tensor:
    return values_Nk - values_Nk.mean(-1, keepdim=True)


def _as_logits(router: FoundRouter, value: Any) -> Tensor:
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.dim() < 2:
        raise AttachError(
            router.place,
            "its output holds no logits [tokens, experts] where they are recorded",
            "this router kind or version of transformers is not supported",
        )
    return value.reshape(-1, value.shape[-1])
