"""The live link between regularizers and a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.regularizers.hook import RegularizerHook
from dpsl.regularizers.router_sums import RouterTokens
from dpsl.regularizers.terms import Term
from dpsl.regularizers.whole_pass import StepCounts, losses_of_pass
from dpsl.routers.found import FoundRouter
from dpsl.shaping.micro_step import MicroStep
from dpsl.shaping.passes import ForwardPasses
from dpsl.shaping.token_classes import Codes, token_classes

_FORGOTTEN = 1024
"""Forward passes in one optimizer step, beyond which nobody ever said that it ended."""


@dataclass(eq=False)
class _Pending:
    """A forward pass that has begun: what its routers gave so far."""

    step: MicroStep
    layers: dict[int, RouterTokens] = field(default_factory=dict)
    logits_NK: dict[int, Tensor] = field(default_factory=dict)


class Regularizers:
    """The live link between regularizers and a model; made by `attach_regularizers`.

    It is told about tokens and losses as a `dpsl.Shaper` is. A term adds coefficient · Σ over its layers of the loss
    to each micro-batch's loss; all are worked out together at the end of the forward pass.

    Attributes:
        terms: the losses, with the names of their metrics.
    """

    def __init__(self, model: nn.Module, routers: Sequence[FoundRouter], terms: tuple[Term, ...]) -> None:
        self.terms = terms
        self._passes = ForwardPasses(shaping=True)
        self._pending: _Pending | None = None
        self._sequences: int | None = None
        self._progress: tuple[int, int] | None = None
        self._counts = StepCounts()
        self._passes_in_step = 0
        self._values: dict[str, list[Tensor]] = {}
        self._norms: dict[int, dict[str, Tensor]] = {}
        # Before the passes' own hook, which ends the pass.
        self._handles: list[Any] = [model.register_forward_hook(self._end)]
        self._handles += self._passes.watch(model)
        for router in routers:
            if any(term.covers(router.layer) for term in terms):
                hook = RegularizerHook(router, self._passes, self._collect)
                self._handles.append(router.module.register_forward_hook(hook))

    @contextmanager
    def tokens(self, mask: Tensor | None = None, **_: Codes) -> Iterator[None]:
        """Describe the tokens of the forward passes within; padding counts nowhere.

        Args:
            mask: [B, S], 0 for padding; None: every token counts.
        """
        outer = self._sequences
        self._pending, self._sequences = None, None if mask is None else len(mask)
        try:
            with self._passes.describing(token_classes((), {}, mask)):
                yield
                self._finish()
        finally:
            self._pending, self._sequences = None, outer

    def set_progress(self, step: int, total: int) -> None:
        """Say how many optimizer steps are done, of how many: this drives the schedules."""
        self._progress = (step, total)

    def end_step(self) -> None:
        """Say that an optimizer step is done: counts of the global scope begin anew."""
        self._counts = StepCounts()
        self._passes_in_step = 0

    def scale_with(self, loss: Tensor, factor: float = 1.0) -> None:
        """Scale the gradients by the one that will arrive at `loss`, times `factor`."""
        self._passes.bind(loss, factor)

    def metrics(self, *, across_ranks: bool = False) -> dict[str, float]:
        """Each term before its coefficient, a mean over layers and passes since the last call."""
        values, self._values = self._values, {}
        sums = torch.zeros(2, len(self.terms), dtype=torch.float64)
        for place, term in enumerate(self.terms):
            if seen := values.get(term.name):
                sums[:, place] = torch.tensor([float(torch.stack(seen).double().sum()), len(seen)])
        if across_ranks and dist.is_initialized() and dist.get_world_size() > 1:
            sums = sums.to("cuda" if dist.get_backend() == "nccl" else "cpu")
            dist.all_reduce(sums)
        rows = zip(self.terms, *sums.tolist(), strict=True)
        return {term.name: total / passes for term, total, passes in rows if passes}

    def arrivals(self) -> dict[int, dict[str, float]]:
        """For each layer and term, the norm of the gradient that the latest forward pass handed to its router."""
        step = self._passes.latest
        scale = float(step.scale) if step is not None and step.scale is not None else 0.0
        return {
            layer: {name: float(norm) * scale for name, norm in norms.items()}
            for layer, norms in self._norms.items()
        }

    def detach(self) -> None:
        """Remove every hook."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _collect(self, step: MicroStep, layer: int, logits_NK: Tensor, tokens: RouterTokens) -> None:
        """A router of a forward pass that begins or goes on."""
        if self._pending is not None and self._pending.step is not step:
            self._finish()
        if self._pending is None:
            self._pending = _Pending(step)
        self._pending.layers[layer] = tokens
        self._pending.logits_NK[layer] = logits_NK

    def _end(self, _model: nn.Module, _args: Any, _output: Any) -> None:
        self._finish()

    def _finish(self) -> None:
        """Work out the losses of the forward pass that ends; before its backward pass, where no rank may wait."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        losses = losses_of_pass(pending.layers, self.terms, self._now(), self._sequences, self._counts)
        for layer, gradient_NK in losses.gradient_NK.items():
            pending.step.keep(layer, pending.logits_NK[layer], gradient_NK)
        self._norms = losses.norm
        for name, value in losses.value.items():
            self._values.setdefault(name, []).append(value)
        self._passes_in_step += 1
        if self._passes_in_step > _FORGOTTEN and any(term.plan.scope == "global" for term in self.terms):
            raise AttachError(
                "regularizers",
                f"{self._passes_in_step:,} forward passes, and no optimizer step has ended",
                "call regularizers.end_step() after each, as counts of the global scope are of one step",
            )

    def _now(self) -> tuple[int, int]:
        if self._progress is None and any(term.plan.schedule for term in self.terms):
            raise AttachError(
                "schedule",
                "a regularizer has one, and training has not said where in it it is",
                "call regularizers.set_progress",
            )
        return self._progress or (0, 0)
