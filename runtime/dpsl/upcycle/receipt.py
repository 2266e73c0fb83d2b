"""What upcycling did, and whether the mixture is the dense model where theory says that it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.errors import UpcycleError
from dpsl.upcycle.block import UpcycledMoE
from dpsl.upcycle.ffn import weights_of
from dpsl.upcycle.finite import is_finite
from dpsl.upcycle.plan import UpcyclePlan
from dpsl.upcycle.scaling import scale_factor
from priorlang.training.upcycle import ROUTER_STD, SPARSE_NOISE

PROBE_TOKENS = 64
TOLERANCE = 8
"""Root-mean-square errors that rounding explains, in units of the dtype's epsilon."""


@dataclass(frozen=True)
class Receipt:
    """What upcycling did.

    Differences are those of a block's output entries on 64 random hidden states of unit variance.

    Attributes:
        layers: decoder layers that now route.
        parameters_before: parameters of the dense model.
        parameters_after: parameters of the mixture.
        active_parameters: of those, how many one token uses.
        largest_difference: over the blocks, the largest |mixture − dense|.
        largest_output: the largest |dense| among them, to compare with.
        theory: what the mixture's output is to the dense one's, in words.
        theory_error: the largest root-mean-square error of a block against that, relative to what it should be;
            None where theory says nothing.
        holds: whether rounding explains it; None where theory says nothing.
        noise_share: the noise's standard deviation in root mean squares of a dense weight matrix, the largest of all
            matrices; None without noise.
    """

    layers: tuple[int, ...]
    parameters_before: int
    parameters_after: int
    active_parameters: int
    largest_difference: float
    largest_output: float
    theory: str
    theory_error: float | None
    holds: bool | None
    noise_share: float | None = None

    def to_json(self) -> str:
        """The receipt as `receipt.json` keeps it."""
        return (
            json.dumps({"version": 1, **asdict(self)}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        )

    def lines(self) -> list[str]:
        """The receipt for people."""
        lines = [
            f"upcycled layer{'s' if len(self.layers) != 1 else ''} {_ranges(self.layers)}: {self.parameters_before:,} parameters became "
            f"{self.parameters_after:,}, {self.active_parameters:,} of them active for a token",
            f"largest difference from the dense output: {self.largest_difference:.3g}, "
            f"where the largest output is {self.largest_output:.3g}",
        ]
        if self.noise_share is not None:
            lines.append(f"noise: up to {self.noise_share:.2g} of a weight matrix's root mean square")
        if self.theory_error is None:
            return [*lines, f"theory: {self.theory}"]
        found = "holds" if self.holds else "DOES NOT HOLD"
        return [*lines, f"theory: {self.theory}; {found}, relative error {self.theory_error:.2g}"]


@dataclass(frozen=True)
class BlockCheck:
    """How one block compares with the dense FFN whose place it takes."""

    difference: float
    output: float
    theory_error: float | None
    tolerance: float
    noise_share: float | None = None


def theory_of(plan: UpcyclePlan) -> str:
    """What the mixture's output is to the dense one's, for a resolved plan."""
    doubts = [*_doubts(plan)]
    if doubts:
        return f"none: {' and '.join(doubts)}"
    if _always_one(plan):
        return "equal to the dense output"
    routed = "Σ gates" if plan.granularity == 1 else f"Σ gates / {plan.granularity}"
    if plan.scale == "he-down":
        routed = f"{scale_factor(plan):g} · {routed}"
        if not plan.shared_expert:
            return f"{routed} times the dense output, and equal to it under uniform probabilities"
    return f"{'1 + ' if plan.shared_expert else ''}{routed} times the dense output"


@torch.no_grad()
def check_block(dense: nn.Module, block: UpcycledMoE, plan: UpcyclePlan, layer: int) -> BlockCheck:
    """Compare a block with the dense FFN on random hidden states.

    Where theory knows the factor between the two for each token, the block is held to it; where the two are equal
    under uniform probabilities, to that as well.

    Raises:
        UpcycleError: finite weights give an output that is not.
    """
    weight = block.router.weight
    generator = torch.Generator().manual_seed(plan.seed)
    hidden_NH = torch.randn(PROBE_TOKENS, weight.shape[1], generator=generator)
    hidden_NH = hidden_NH.to(weight.device, weight.dtype)
    dense_NH, mixed_NH = dense(hidden_NH), block(hidden_NH)
    for name, output_NH in (("dense FFN", dense_NH), ("mixture", mixed_NH)):
        if not is_finite(output_NH):
            raise UpcycleError(
                f"layer {layer}",
                f"the output of the {name} on hidden states of unit variance overflows {_dtype_name(weight)}",
                _smaller(plan, weight.dtype, dense=output_NH is dense_NH),
            )
    errors = []
    if not any(_doubts(plan)):
        factor_N = _factor(block, hidden_NH, plan)
        errors.append(_relative(mixed_NH, dense_NH * factor_N[:, None]))
        if plan.scale == "he-down" and not plan.shared_expert:
            errors.append(_relative(_uniform(block, hidden_NH, plan), dense_NH))
    return BlockCheck(
        difference=float((mixed_NH - dense_NH).abs().max()),
        output=float(dense_NH.abs().max()),
        theory_error=max(errors, default=None),
        tolerance=TOLERANCE * torch.finfo(weight.dtype).eps,
        noise_share=_noise_share(dense, plan.noise) if plan.noise else None,
    )


def make_receipt(
    plan: UpcyclePlan, checks: Sequence[BlockCheck], before: int, after: int, inactive: int
) -> Receipt:
    """Sum the blocks up.

    Args:
        plan: resolved.
        checks: of the blocks.
        before: parameters of the dense model.
        after: parameters of the mixture.
        inactive: of those, how many one token does not use.
    """
    errors = [(check.theory_error, check.tolerance) for check in checks if check.theory_error is not None]
    return Receipt(
        layers=plan.routed,
        parameters_before=before,
        parameters_after=after,
        active_parameters=after - inactive,
        largest_difference=max((check.difference for check in checks), default=0.0),
        largest_output=max((check.output for check in checks), default=0.0),
        theory=theory_of(plan),
        theory_error=max((error for error, _ in errors), default=None),
        holds=all(error <= tolerance for error, tolerance in errors) if errors else None,
        noise_share=max((c.noise_share for c in checks if c.noise_share is not None), default=None),
    )


def _noise_share(dense: nn.Module, noise: float) -> float:
    weights = weights_of(dense)
    matrices = (weights.gate_FH, weights.up_FH, weights.down_HF)
    smallest = min(float(matrix.float().square().mean().sqrt()) for matrix in matrices)
    return noise / max(smallest, torch.finfo(torch.float32).tiny)


def _doubts(plan: UpcyclePlan) -> list[str]:
    """Why theory says nothing of the output."""
    reasons = {
        "values are drawn anew": plan.method == "drop",
        "experts come from different models": plan.method == "btx",
        "there is noise": bool(plan.noise),
        "scaling inside the activation is approximate": plan.scale == "he" and scale_factor(plan) != 1,
        "parts of FFNs are chosen one by one": plan.granularity > 1 and plan.router != "virtual-group",
    }
    return [reason for reason, applies in reasons.items() if applies]


def _always_one(plan: UpcyclePlan) -> bool:
    if plan.scale == "preserve":
        return True
    whole = plan.granularity == 1 or plan.scale == "he-down"
    return plan.renormalize and whole and not plan.shared_expert


def _factor(block: UpcycledMoE, hidden_NH: Tensor, plan: UpcyclePlan) -> Tensor:
    """What each token's output is multiplied by."""
    if plan.scale == "preserve":
        return torch.ones_like(hidden_NH[:, 0])
    gates_N: Tensor = block.router(hidden_NH)[1].sum(-1) / plan.granularity
    scale = scale_factor(plan) if plan.scale == "he-down" else 1.0
    return gates_N * scale + float(block.shared_expert is not None)


def _uniform(block: UpcycledMoE, hidden_NH: Tensor, plan: UpcyclePlan) -> Tensor:
    """The routed sum of the first k experts under uniform probabilities."""
    gate = 1 / (plan.top_k if plan.renormalize else plan.experts)
    total: Any = sum(expert(hidden_NH) * gate for expert in block.experts[: plan.top_k])
    routed_NH: Tensor = total
    return routed_NH


def _smaller(plan: UpcyclePlan, dtype: torch.dtype, *, dense: bool) -> str:
    """What brings an overflowing output back: where the dense one is finite, what upcycling multiplies and adds."""
    fixes = ["convert the dense model to bfloat16 or float32 first"] if dtype == torch.float16 else []
    if not dense:
        if plan.noise and plan.noise > SPARSE_NOISE:
            fixes.append(f"lower noise={plan.noise:g}")
        if plan.router in ("normal", "virtual-group") and plan.router_std > ROUTER_STD:
            fixes.append(f"lower router_std={plan.router_std:g}")
        if plan.scale is not None:
            fixes.append(f"leave out scale={plan.scale}")
    last = "check the weights of the dense model" if dense else "ask for scale=preserve"
    return ", or ".join(fixes) or last


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _relative(found: Tensor, expected: Tensor) -> float:
    error = (found.double() - expected.double()).square().mean().sqrt()
    return float(error / expected.double().square().mean().sqrt().clamp_min(torch.finfo(torch.float64).tiny))


def _ranges(numbers: Sequence[int]) -> str:
    """`0..3, 5`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)
