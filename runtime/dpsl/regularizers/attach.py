"""Put regularizers on the routers of a live model, from outside."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from dpsl.errors import AttachError
from dpsl.regularizers.live import REGULARIZED, Regularizers
from dpsl.regularizers.terms import Term, named_terms
from dpsl.routers.find import find_routers
from dpsl.routers.found import FoundRouter
from priorlang.diagnostics.suggest import listing
from priorlang.table.prior_table import TableAttribute
from priorlang.training.regularizers import DeepseekBias, LoadBalance, Regularizer


def attach_regularizers(
    model: nn.Module, terms: Sequence[Regularizer], *, attributes: Sequence[TableAttribute] = ()
) -> Regularizers:
    """Put regularizers on a model's routers.

    Args:
        model: the model whose loss is differentiated.
        terms: options as a training file has them: `[ZLoss(coefficient=0.001), LoadBalance(coefficient=0.01,
            reference="hf", layers=(0, 1))]`, from `dpsl.regularizers`.
        attributes: `table.header.attributes` of the prior that `ManualModality` names one of.

    Raises:
        AttachError: the model has no routers, a term does not fit them, or they have regularizers already.
    """
    routers = find_routers(model)
    named = named_terms(terms)
    for term in named:
        _check_layers(term, routers)
        _check_reference(term, routers)
    _check_biases(named, routers)
    REGULARIZED.refuse_taken(r for r in routers if any(term.covers(r.layer) for term in named))
    return Regularizers(model, routers, named, attributes)


def _check_layers(term: Term, routers: Sequence[FoundRouter]) -> None:
    routed = {router.layer for router in routers}
    unknown = sorted(set(term.plan.layers) - routed) if term.plan.layers != "all" else []
    if unknown:
        raise AttachError(
            f"regularizers: {term.name}: layers",
            f"layer {unknown[0]} does not route",
            f"choose from {listing(map(str, sorted(routed)))}",
        )


def _check_reference(term: Term, routers: Sequence[FoundRouter]) -> None:
    if not isinstance(term.plan, LoadBalance) or term.plan.reference != "switch":
        return
    for router in routers:
        if term.covers(router.layer) and router.top_k not in (None, 1):
            raise AttachError(
                f"regularizers: {term.name}: reference: switch",
                f"it is defined for one expert a token, and {router.place} has {router.top_k}",
                "leave the reference out: the normalised loss is the same for one, and defined for more",
            )


def _check_biases(terms: Sequence[Term], routers: Sequence[FoundRouter]) -> None:
    biased = [term for term in terms if isinstance(term.plan, DeepseekBias)]
    for router in routers:
        if sum(term.covers(router.layer) for term in biased) > 1:
            raise AttachError(
                f"regularizers: {biased[-1].name}: layers",
                f"{router.place} has another `deepseek_bias` already",
                "give each layer one",
            )
