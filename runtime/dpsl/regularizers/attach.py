"""Regularizers on the routers of a live model, from outside; scaled and delivered as the prior's gradient is.

A term adds Σ over layers of coefficient · loss to each micro-batch's loss, over the tokens of this rank: data
parallelism averages ranks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from dpsl.errors import AttachError
from dpsl.regularizers.terms import Term
from dpsl.routers.find import find_routers
from dpsl.routers.found import FoundRouter, Scoring
from dpsl.routers.output import (
    RouterOutput,
    chosen_experts,
    effective_logits,
    infer_scoring,
    read_output,
    with_combined,
)
from dpsl.shaping.attachment import attach_gradient
from dpsl.shaping.micro_step import MicroStep
from dpsl.shaping.passes import ForwardPasses
from dpsl.shaping.recompute import in_backward
from dpsl.shaping.token_classes import Codes, token_classes
from priorlang.diagnostics.suggest import listing


def attach_regularizers(model: nn.Module, terms: Sequence[Term]) -> Regularizers:
    """Put regularizers on a model's routers.

    Raises:
        AttachError: the model has no routers, or a term names a layer that does not route.
    """
    routers = find_routers(model)
    routed = {router.layer for router in routers}
    for term in terms:
        unknown = sorted((term.layers or frozenset()) - routed)
        if unknown:
            raise AttachError(
                f"regularizers: {term.name}: layers",
                f"layer {unknown[0]} does not route",
                f"choose from {listing(map(str, sorted(routed)))}",
            )
    return Regularizers(model, routers, tuple(terms))


class Regularizers:
    """The live link between regularizers and a model; made by `attach_regularizers`.

    It is told about tokens and losses as a `dpsl.Shaper` is.
    """

    def __init__(self, model: nn.Module, routers: Sequence[FoundRouter], terms: tuple[Term, ...]) -> None:
        self.terms = terms
        self._passes = ForwardPasses(shaping=True)
        self._record = _Record()
        self._handles = self._passes.watch(model)
        for router in routers:
            own = tuple(term for term in terms if term.covers(router.layer))
            if own:
                hook = _Hook(router, own, self._passes, self._record)
                self._handles.append(router.register_forward_hook(hook))

    def tokens(self, mask: Tensor | None = None, **_: Codes) -> AbstractContextManager[None]:
        """Describe the tokens of the forward passes within; only padding matters here."""
        return self._passes.describing(token_classes((), {}, mask))

    def scale_with(self, loss: Tensor, factor: float = 1.0) -> None:
        """Scale the gradients by the one that will arrive at `loss`, times `factor`."""
        self._passes.bind(loss, factor)

    def metrics(self, *, across_ranks: bool = False) -> dict[str, float]:
        """Each term before its coefficient, a mean over layers and passes since the last call."""
        sums, self._record.sums = self._record.sums, defaultdict(lambda: [0.0, 0])
        metrics = {}
        for term in self.terms:
            pair = torch.tensor([float(number) for number in sums[term.name]], dtype=torch.float64)
            if across_ranks and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
                pair = pair.to("cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
                torch.distributed.all_reduce(pair)
            if float(pair[1]):
                metrics[term.name] = float(pair[0] / pair[1])
        return metrics

    def arrivals(self) -> dict[int, dict[str, float]]:
        """For each layer and term, the norm of the gradient that the latest forward pass handed to its router."""
        step = self._passes.latest
        scale = float(step.scale) if step is not None and step.scale is not None else 0.0
        return {
            layer: {name: norm * scale for name, norm in norms.items()}
            for layer, norms in self._record.norms.items()
        }

    def detach(self) -> None:
        """Remove every hook."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def _as_it_is(tensor: Tensor) -> Tensor:
    """Hooks that hide those of activation checkpointing, which would count these tensors among the model's."""
    return tensor


@dataclass
class _Record:
    """What the latest passes gave."""

    sums: defaultdict[str, list[Any]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0]))
    norms: dict[int, dict[str, float]] = field(default_factory=dict)


@dataclass(eq=False)
class _Hook:
    """A forward hook on one router."""

    router: FoundRouter
    terms: tuple[Term, ...]
    passes: ForwardPasses
    record: _Record

    def __post_init__(self) -> None:
        self._scoring = self.router.scoring

    def __call__(self, module: nn.Module, _args: Any, output: Any) -> Any:
        """The output, with the terms' gradient attached to what the experts are combined with."""
        layer = self.router.layer
        read, logits_NK = self._read(output)
        if in_backward():
            again = self.passes.recomputed(layer, logits_NK.detach())
            return output if again is None else self._attached(again, output, read, logits_NK)
        step = self.passes.first(layer)
        if step is None or not step.shapes:
            return output
        fixed_NK = logits_NK.detach()
        step.keep(layer, fixed_NK, self._gradient(step, read, fixed_NK))
        return self._attached(step, output, read, logits_NK)

    def _gradient(self, step: MicroStep, read: RouterOutput, fixed_NK: Tensor) -> Tensor:
        counted_N = step.classes.of_tokens(len(fixed_NK), fixed_NK.device) >= 0
        indices_Nk = chosen_experts(read, self.router.top_k or 1)
        total_NK = torch.zeros_like(fixed_NK)
        norms = self.record.norms.setdefault(self.router.layer, {})
        for term in self.terms:
            with torch.enable_grad(), saved_tensors_hooks(_as_it_is, _as_it_is):
                leaf_NK = fixed_NK.clone().requires_grad_()
                value = term.value(leaf_NK, indices_Nk, counted_N)
                (gradient_NK,) = torch.autograd.grad(term.coefficient * value, leaf_NK)
            total_NK += gradient_NK
            norms[term.name] = float(gradient_NK.norm())
            self.record.sums[term.name][0] += float(value.detach())
            self.record.sums[term.name][1] += 1
        return total_NK

    def _attached(self, step: MicroStep, output: Any, read: RouterOutput, logits_NK: Tensor) -> Any:
        combined = attach_gradient(read.combined, logits_NK, step, self.router.layer, self.router.place)
        return with_combined(output, read, combined)

    def _read(self, output: Any) -> tuple[RouterOutput, Tensor]:
        read = read_output(self.router, output)
        if self._scoring is None:
            self._scoring = infer_scoring(read, self.router.top_k or 1)
        return read, effective_logits(read.recorded_NK, self._scoring or Scoring.SOFTMAX)
