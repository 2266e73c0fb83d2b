"""What the public loss accepts: each check raises one ValueError that names what was given and what fits."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from dpsl.ecdf import RANK_METHODS, TARGETS
from dpsl.transforms import transformed

Reduction = Literal["tokens", "sum", "mean"]
Inputs = Literal["logits", "probabilities"]
INPUTS: tuple[str, ...] = get_args(Inputs)
REDUCTIONS: tuple[str, ...] = get_args(Reduction)


def check_options(target: str, ranks: str, reduction: str, min_population: int, inputs: str) -> None:
    """Reject options that are not among those offered."""
    offered = {
        "target": (target, TARGETS),
        "ranks": (ranks, RANK_METHODS),
        "reduction": (reduction, REDUCTIONS),
        "inputs": (inputs, INPUTS),
    }
    for option, (given, choices) in offered.items():
        if given not in choices:
            raise ValueError(f"{option} must be one of {', '.join(map(repr, choices))}, not {given!r}")
    if isinstance(min_population, bool) or not isinstance(min_population, int) or min_population < 1:
        raise ValueError(f"min_population must be an integer of at least 1, not {min_population!r}")


def check_logits(logits: Tensor) -> None:
    """Reject anything but floating-point [N, K] with at least two experts."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise ValueError(f"logits must be a floating-point tensor [N, K], not {_described(logits)}")
    if logits.ndim != 2:
        raise ValueError(
            f"logits must have shape [N, K], not {list(logits.shape)}: flatten the token dimensions into N"
        )
    if logits.shape[1] < 2:
        raise ValueError(f"logits of shape {list(logits.shape)} have too few experts: K must be at least 2")


def check_transforms() -> None:
    """Reject vmap, torch.func.grad and their kin, which do not know the loss's own gradient."""
    if transformed():
        raise ValueError(
            "dirichlet_prior_shaping_loss does not run under vmap, torch.func.grad or other transformations: take "
            "loss.backward() or torch.autograd.grad, and in the place of vmap one call with a population for each batch"
        )


def log_probabilities(probabilities: Tensor) -> Tensor:
    """Logits of rows that are probabilities, in float32 at least."""
    p_NK = probabilities if probabilities.dtype == torch.float64 else probabilities.float()
    return p_NK.clamp(min=torch.finfo(p_NK.dtype).tiny).log()


def check_probabilities(probabilities: Tensor, population_N: Tensor) -> None:
    """Reject rows that hold a negative number or do not sum to 1, ignored tokens aside."""
    p_NK = probabilities if probabilities.dtype == torch.float64 else probabilities.float()
    right_N = ((p_NK.sum(1) - 1).abs() <= _OFF[probabilities.dtype]) & (p_NK >= 0).all(1)
    if wrong := int((~right_N & (population_N >= 0)).sum()):
        raise ValueError(
            f"{wrong} of {len(p_NK)} rows are no probabilities, which sum to 1 and are not negative: "
            'pass logits with inputs="logits"'
        )


_OFF = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 5e-2}
"""How far a row of probabilities may sum from 1, by rounding."""


def check_finite(logits: Tensor, population_N: Tensor) -> None:
    """Reject NaN, +∞ and rows of nothing but −∞, ignored tokens aside; a single −∞ masks an expert."""
    largest_N = logits.detach().amax(1) if len(logits) else logits.new_empty(0)
    spoilt = (~largest_N.isfinite() & (population_N >= 0)).nonzero().flatten().tolist()
    if spoilt:
        raise ValueError(
            f"logits hold NaN or infinite values in {len(spoilt):,} of {len(logits):,} tokens, first in token "
            f"{spoilt[0]}: {logits[spoilt[0]].tolist()[:8]}; −inf alone may mask an expert"
        )


def warn_if_all_equal(
    logits: Tensor, population_N: Tensor, place: str = "", names: Sequence[str] | None = None
) -> None:
    """Warn of populations whose logits favour no expert at any token: as a router has whose weights are all 0.

    Args:
        logits: [N, K].
        population_N: of each token, below 0 where it is ignored.
        place: the router, as messages name it.
        names: of the populations; None: their numbers.
    """
    flat_N = (logits[:, 0] == logits[:, 1]) & (population_N >= 0)
    if not bool(flat_N.any()):
        return
    flat_N = flat_N & (logits == logits[:, :1]).all(1)
    tokens_P = torch.bincount(population_N[population_N >= 0])
    flat_P = torch.bincount(population_N[flat_N], minlength=len(tokens_P))
    spoilt = ((flat_P == tokens_P) & (tokens_P > 1)).nonzero().flatten().tolist()
    if not spoilt:
        return
    whole = len(spoilt) == int((tokens_P > 0).sum())
    of = "" if whole else f" of population {spoilt[0] if names is None else names[spoilt[0]]}"
    others = f" (and of {len(spoilt) - 1} more)" if len(spoilt) > 1 and not whole else ""
    warnings.warn(
        f"{place + ': ' if place else ''}every token{of}{others} has equal logits for all experts, as with a router "
        "whose weights are all 0: the loss has a saddle there, which it leaves by ranking ties at random; random "
        "initial weights learn faster",
        stacklevel=3,
    )


def check_alpha(alpha: Tensor, experts: int | None = None) -> Tensor:
    """α as [R, K] float64, with its gradient where it has one.

    Args:
        alpha: [K] or [P, K].
        experts: the K it must have, where that is known.
    """
    if not isinstance(alpha, Tensor) or alpha.dtype == torch.bool or alpha.is_complex():
        raise ValueError(f"alpha must be a tensor of real numbers, [K] or [P, K], not {_described(alpha)}")
    if alpha.ndim not in (1, 2) or 0 in alpha.shape or alpha.shape[-1] < 2:
        raise ValueError(f"alpha must have shape [K] or [P, K] with K of at least 2, not {list(alpha.shape)}")
    if experts is not None and alpha.shape[-1] != experts:
        raise ValueError(
            f"alpha of shape {list(alpha.shape)} is for {alpha.shape[-1]} experts, but logits have {experts}"
        )
    alpha_RK = alpha.double().reshape(-1, alpha.shape[-1])
    if not bool((torch.isfinite(alpha_RK) & (alpha_RK > 0)).all()):
        raise ValueError("alpha must be positive and finite everywhere")
    return alpha_RK


def check_population(
    population: Tensor | None, logits: Tensor, alpha_RK: Tensor, *, shared: bool
) -> tuple[Tensor, int]:
    """Populations of the tokens, int64 on the device of the logits, and their number.

    Args:
        population: [N] or None.
        logits: [N, K].
        alpha_RK: the priors.
        shared: one prior serves all populations, which are then renumbered without gaps.
    """
    tokens, priors = len(logits), len(alpha_RK)
    if population is None:
        if priors > 1:
            raise ValueError(f"alpha holds {priors} priors, so population must tell which one a token has")
        return torch.zeros(tokens, dtype=torch.int64, device=logits.device), 1
    if not isinstance(population, Tensor) or population.dtype not in _INTEGERS:
        raise ValueError(f"population must be an int64 tensor [N], not {_described(population)}")
    if population.shape != (tokens,):
        raise ValueError(
            f"population must have shape [{tokens}] as logits are {list(logits.shape)}, "
            f"not {list(population.shape)}"
        )
    population_N = population.to(logits.device, torch.int64)
    if shared:
        present_P, code_N = torch.unique(population_N, return_inverse=True)
        ignored = int((present_P < 0).sum())
        return code_N - ignored, len(present_P) - ignored
    largest = int(population_N.max()) if tokens else -1
    if largest >= priors:
        raise ValueError(
            f"population {largest} has no prior: alpha of shape {list(alpha_RK.shape)} has {priors}"
        )
    return population_N, priors


_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {list(value.shape)}"
    return f"a {type(value).__name__}"
