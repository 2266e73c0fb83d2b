"""All losses of all layers of one forward pass, in one go at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dpsl.errors import AttachError
from dpsl.ranks import all_ranks, summed, world_size
from dpsl.regularizers.batch_shaping import batch_shaping
from dpsl.regularizers.router_sums import RouterSums, RouterTokens, stacked
from dpsl.regularizers.terms import LOSSES, Term
from priorlang.training.regularizers import BatchShaping

Progress = tuple[int, int]
_DIFFERENTIABLE = ("probability_LGK", "square_LG", "entropy_LG")
_COUNTS = ("slots_LGK", "first_LGK", "counted_LG")


@dataclass(frozen=True, eq=False)
class PassLosses:
    """What the losses of one forward pass gave.

    Attributes:
        value: of each term, the mean over its layers, before the coefficient.
        gradient_NK: of each layer, of Σ coefficient · loss by its logits.
        norm: of each layer and term, the norm of its part of that.
        slots_K: of each layer, top-k slots that each expert took on this rank.
    """

    value: dict[str, Tensor]
    gradient_NK: dict[int, Tensor]
    norm: dict[int, dict[str, Tensor]]
    slots_K: dict[int, Tensor]


@dataclass(eq=False)
class StepCounts:
    """What every rank counted in the forward passes of this optimizer step, for losses of the global scope."""

    of_layer: dict[int, RouterSums] = field(default_factory=dict)

    def add(self, layer: int, sums: RouterSums) -> RouterSums:
        """One more pass; the sums with the counts of the whole step so far."""
        before = self.of_layer.get(layer)
        if before is not None:
            counts = {name: getattr(before, name) + getattr(sums, name) for name in _COUNTS}
            sums = RouterSums(**{**vars(sums), **counts})
        self.of_layer[layer] = sums
        return sums


def losses_of_pass(
    layers: Mapping[int, RouterTokens],
    terms: Sequence[Term],
    progress: Progress,
    sequences: int | None,
    counts: StepCounts,
) -> PassLosses:
    """Every term's value and gradient. With several ranks and a term of the global scope each must call it alike.

    Args:
        layers: the tokens of each layer that routed.
        terms: the losses.
        progress: optimizer steps done, of how many.
        sequences: in the batch; None: not known.
        counts: those of the step so far; added to.
    """
    own = {layer: tokens.sums() for layer, tokens in layers.items()}
    slots_K = {layer: sums.slots_LGK[0, 0] for layer, sums in own.items()}
    losses = PassLosses({}, {}, {layer: {} for layer in layers}, slots_K)
    whole = _of_all_ranks(own, counts) if any(_sums_ranks(term) for term in terms) else own
    for term in terms:
        covered = [layer for layer in layers if term.covers(layer)]
        if not covered:
            continue
        if isinstance(term.plan, BatchShaping):
            _add_batch_shaping(losses, term, covered, layers, progress)
            continue
        here = own
        if term.plan.scope == "seq":
            here = {layer: layers[layer].sums(_groups(term, sequences)) for layer in covered}
        _add_term(losses, term, covered, here, whole, layers, progress)
    return losses


def _add_term(
    losses: PassLosses,
    term: Term,
    covered: Sequence[int],
    own: Mapping[int, RouterSums],
    whole: Mapping[int, RouterSums],
    layers: Mapping[int, RouterTokens],
    progress: Progress,
) -> None:
    """One term: its value from the sums, its gradient by them, and from there by the logits."""
    _refuse_unlike(term, covered, own)
    sums = stacked([own[layer] for layer in covered])
    leaves = {name: getattr(sums, name).detach().requires_grad_() for name in _DIFFERENTIABLE}
    ranks = 1
    with torch.enable_grad():
        if term.plan.scope == "global":
            ranks = world_size()
            total = stacked([whole[layer] for layer in covered])
            of_others = {name: getattr(total, name) - getattr(sums, name) for name in _DIFFERENTIABLE}
            inputs = {**vars(total), **{name: leaves[name] + of_others[name] for name in _DIFFERENTIABLE}}
        else:
            inputs = {**vars(sums), **leaves}
        value_L = LOSSES[type(term.plan)](RouterSums(**inputs), term.plan)
        # Data parallelism averages the ranks' gradients.
        weight = term.plan.coefficient * term.factor(progress) * ranks
        gradients = torch.autograd.grad(weight * value_L.sum(), list(leaves.values()), allow_unused=True)
    losses.value[term.name] = value_L.detach().mean()
    for place, layer in enumerate(covered):
        of_layer = [None if gradient is None else gradient[place] for gradient in gradients]
        _add_gradient(losses, term, layer, layers[layer].gradient(*of_layer))


def _add_batch_shaping(
    losses: PassLosses,
    term: Term,
    covered: Sequence[int],
    layers: Mapping[int, RouterTokens],
    progress: Progress,
) -> None:
    """Batch shaping ranks tokens, so that it is no function of sums."""
    plan: BatchShaping = term.plan
    group = all_ranks() if plan.scope == "global" else None
    values: list[Tensor] = []
    for layer in covered:
        tokens = layers[layer]
        value, gradient_NK = batch_shaping(tokens.log_p_NK, tokens.counted_N, plan.a, plan.b, group)
        values.append(value)
        _add_gradient(losses, term, layer, gradient_NK * (plan.coefficient * term.factor(progress)))
    losses.value[term.name] = torch.stack(values).mean()


def _add_gradient(losses: PassLosses, term: Term, layer: int, gradient_NK: Tensor) -> None:
    losses.norm[layer][term.name] = gradient_NK.norm()
    before = losses.gradient_NK.get(layer)
    losses.gradient_NK[layer] = gradient_NK if before is None else before + gradient_NK


def _sums_ranks(term: Term) -> bool:
    return term.plan.scope == "global" and type(term.plan) in LOSSES


def _of_all_ranks(own: Mapping[int, RouterSums], counts: StepCounts) -> dict[int, RouterSums]:
    """The sums of every rank's tokens, the counts those of the optimizer step, in one all-reduce."""
    whole = dict(own)
    if world_size() > 1:
        names = [name for name in vars(next(iter(own.values()))) if name != "top_k"]
        parts = [getattr(sums, name) for sums in own.values() for name in names]
        flat = summed(torch.cat([part.reshape(-1).double() for part in parts]))
        pieces = iter(torch.split(flat, [part.numel() for part in parts]))
        for layer, sums in own.items():
            reduced = {name: next(pieces).view_as(getattr(sums, name)) for name in names}
            alike = {name: value.to(getattr(sums, name).dtype) for name, value in reduced.items()}
            whole[layer] = RouterSums(**alike, top_k=sums.top_k)
    return {layer: counts.add(layer, sums) for layer, sums in whole.items()}


def _groups(term: Term, sequences: int | None) -> int:
    if sequences is None:
        raise AttachError(
            f"regularizers: {term.name}: scope seq",
            "nobody has said which tokens are one sequence",
            "describe them as [B, S]: `with regularizers.tokens(mask=attention_mask):`",
        )
    return sequences


def _refuse_unlike(term: Term, covered: Sequence[int], sums: Mapping[int, RouterSums]) -> None:
    first = sums[covered[0]]
    for layer in covered:
        if (sums[layer].experts, sums[layer].top_k) != (first.experts, first.top_k):
            raise AttachError(
                f"regularizers: {term.name}",
                f"layer {covered[0]} has {first.experts} experts, {first.top_k} a token, layer {layer} has "
                f"{sums[layer].experts}, {sums[layer].top_k} a token",
                "give the layers of each kind a regularizer of their own, with `layers:`",
            )
