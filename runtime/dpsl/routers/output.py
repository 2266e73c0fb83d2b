"""Read a router's output: logits, the choices made, and the tensor that experts are combined with.

Models and versions of transformers differ in what they return, so nothing is taken on trust:

- rows that are not negative and sum to 1 are probabilities: their logarithm stands for the logits, so that none is
  ever normalised twice; so it does for positive scores that experts are combined with as they are;
- weights that are zero for all but the chosen experts say nothing of the others, and are refused;
- scores that follow the logistic function of the logits, not their exponential, belong to a sigmoid router.
  Its normalised scores σ(z_k) / Σ σ(z_i) are a softmax of logsigmoid(z), which then stands for the logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.routers.found import NAMED, FoundRouter, Scoring

_ENOUGH = 64
"""Numbers of which not all lie within 0 and 1 by chance."""


@dataclass(frozen=True, eq=False)
class RouterOutput:
    """What one forward pass of a router gave.

    Attributes:
        recorded_NK: the recorded values, as they came.
        combined: the tensor that the experts' outputs are combined with.
        combined_index: its place in the output tuple; None where the output is the logits alone.
        indices_Nk: the chosen experts, or None where the router does not return them.
        place: the router, as messages name it.
        carrier: what a gradient is attached to: `combined`, or all tensors of numbers in one piece where it is not
            known with which of them the experts are combined.
        packed: the places of those tensors in the output tuple.
    """

    recorded_NK: Tensor
    combined: Tensor
    combined_index: int | None
    indices_Nk: Tensor | None
    place: str
    carrier: Tensor
    packed: tuple[int, ...] = ()


def read_output(router: FoundRouter, output: Any) -> RouterOutput:
    """Take a router's output apart.

    Raises:
        AttachError: there are no logits [N, K] where they should be.
    """
    if isinstance(output, Tensor):
        recorded_NK = _as_logits(router, output)
        return RouterOutput(recorded_NK, output, None, None, router.place, output)
    logits_index = _place_of_logits(router, output)
    recorded_NK = _as_logits(router, output[logits_index])
    combined_index, indices_Nk = logits_index, None
    for index, value in enumerate(output):
        if index == logits_index or not isinstance(value, Tensor):
            continue
        if value.is_floating_point() and combined_index == logits_index:
            combined_index = index
        elif not value.is_floating_point() and value.shape[-1:] == (router.top_k,):
            indices_Nk = value.reshape(-1, value.shape[-1])
    combined = carrier = output[combined_index]
    packed: tuple[int, ...] = ()
    if router.kind == NAMED:
        packed = tuple(index for index, value in enumerate(output) if _is_per_token(value))
        carrier = torch.cat([output[index].flatten() for index in packed])
    return RouterOutput(recorded_NK, combined, combined_index, indices_Nk, router.place, carrier, packed)


def recorded_logits(router: FoundRouter, output: Any) -> Tensor:
    """The tensor of a router's output that its logits are read from, as it came.

    Raises:
        AttachError: there is none where it should be.
    """
    recorded: Any = output if isinstance(output, Tensor) else output[_place_of_logits(router, output)]
    _as_logits(router, recorded)
    tensor: Tensor = recorded
    return tensor


def with_carrier(output: Any, read: RouterOutput, carrier: Tensor) -> Any:
    """The output with another tensor in the place of `read.carrier`."""
    if read.combined_index is None:
        return carrier
    values = list(output)
    if read.packed:
        parts = torch.split(carrier, [output[index].numel() for index in read.packed])
        for index, part in zip(read.packed, parts, strict=True):
            values[index] = part.view_as(output[index]).to(output[index].dtype)
    else:
        values[read.combined_index] = carrier
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

    Raises:
        AttachError: they are the weights of the chosen experts alone.
    """
    recorded_NK = read.recorded_NK.detach().double()
    if len(recorded_NK) == 0 or not bool(recorded_NK.isfinite().all()):
        return None
    _refuse_weights_of_the_chosen(read.place, recorded_NK, top_k)
    if _are_normalised(recorded_NK) or _are_scores(read, recorded_NK):
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


def _refuse_weights_of_the_chosen(place: str, recorded_NK: Tensor, top_k: int) -> None:
    if top_k >= recorded_NK.shape[-1] or not bool((recorded_NK >= 0).all()):
        return
    given_N = (recorded_NK > 0).sum(-1)
    if bool(((given_N > 0) & (given_N <= top_k)).all()):
        raise AttachError(
            place,
            "where its logits should be, it returns weights that are zero for all but the chosen experts",
            "say where the logits are: routers={'blocks.*.gate': 1}, or name the module that computes them",
        )


def _are_normalised(recorded_NK: Tensor) -> bool:
    return bool((recorded_NK >= 0).all()) and bool(((recorded_NK.sum(-1) - 1).abs() < 0.02).all())


def _are_scores(read: RouterOutput, recorded_NK: Tensor) -> bool:
    """Whether the router's one tensor holds logistic scores: many numbers, all within 0 and 1."""
    alone = read.combined_index is None or read.combined is read.recorded_NK
    within = bool((recorded_NK > 0).all()) and bool((recorded_NK < 1).all())
    return alone and within and recorded_NK.numel() >= _ENOUGH


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


def _place_of_logits(router: FoundRouter, output: Any) -> int:
    """Where in its output the router's logits are: where its adapter or the user says, else the widest tensor.

    Raises:
        AttachError: there is no such place, or several are as wide.
    """
    if not isinstance(output, tuple):
        raise AttachError(
            router.place,
            f"expected logits in a tensor or a tuple, found {type(output).__name__}",
            "name the module within that computes logits, or write an adapter (docs/routers.md)",
        )
    if router.logits_index is not None:
        if router.logits_index >= len(output):
            raise AttachError(
                router.place,
                f"expected logits at place {router.logits_index}, found a tuple of {len(output)}",
                "this router kind or version of transformers is not supported",
            )
        return router.logits_index
    width = {index: value.shape[-1] for index, value in enumerate(output) if _is_per_token(value)}
    widest = [index for index, columns in width.items() if columns == max(width.values())]
    if len(widest) != 1:
        found = "none" if not widest else " and ".join(map(str, widest))
        raise AttachError(
            router.place,
            f"which tensor of its output holds logits [tokens, experts] is not clear: {found} could",
            f"say the place: routers={{'{router.name}': {widest[0] if widest else 0}}}",
        )
    return widest[0]


def _is_per_token(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 1


def _as_logits(router: FoundRouter, value: Any) -> Tensor:
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.dim() < 2:
        raise AttachError(
            router.place,
            "its output holds no logits [tokens, experts] where they should be",
            "name the module that computes them, or write an adapter (docs/routers.md)",
        )
    return value.reshape(-1, value.shape[-1])
