"""The live link between regularizers and a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.live_hooks import LiveLink
from dpsl.ranks import summed
from dpsl.regularizers.hook import RegularizerHook, SeenRouter
from dpsl.regularizers.live_selection import LiveSelection
from dpsl.regularizers.step_watch import StepWatch
from dpsl.regularizers.terms import Term
from dpsl.regularizers.whole_pass import StepCounts, losses_of_pass
from dpsl.routers.claims import Claims
from dpsl.routers.found import FoundRouter
from dpsl.shaping.micro_step import MicroStep
from dpsl.shaping.passes import ForwardPasses
from dpsl.shaping.progress import checked_progress
from dpsl.shaping.token_classes import Codes
from priorlang.table.prior_table import TableAttribute
from priorlang.training.regularizers import Loss, Scheduled

REGULARIZED = Claims(
    "other regularizers are attached to this router already: together they would count twice",
    "give all terms to one attach_regularizers(…), or call detach() on the others first",
)


class Regularizers(LiveLink):
    """The live link between regularizers and a model; made by `attach_regularizers`.

    It is told about tokens and losses as a `dpsl.Shaper` is. A term adds coefficient · Σ over its layers of the loss
    to each micro-batch's loss; all are worked out together at the end of the forward pass.

    Attributes:
        terms: the losses, with the names of their metrics.
        routers: the model's routers.
    """

    def __init__(
        self,
        model: nn.Module,
        routers: Sequence[FoundRouter],
        terms: tuple[Term, ...],
        attributes: Sequence[TableAttribute] = (),
    ) -> None:
        self.terms = tuple(term for term in terms if isinstance(term.plan, Loss))
        self.routers = tuple(routers)
        self._passes = ForwardPasses("regularizers", shaping=True, on_end=self._ended)
        self._selection = LiveSelection(model, routers, terms, self._passes, attributes)
        self._scheduled = any(isinstance(term.plan, Scheduled) and term.plan.schedule for term in terms)
        self._steps_matter = self._selection.counts or any(term.plan.scope == "global" for term in self.terms)
        self._sequences: int | None = None
        self._progress: tuple[int, int] | None = None
        self._counts = StepCounts()
        self._watch = StepWatch(model, routers)
        self._values: dict[str, list[Tensor]] = {}
        self._norms: dict[int, dict[str, Tensor]] = {}
        self._handles: list[Any] = self._passes.watch(model)
        self._hooked = tuple(r for r in routers if any(term.covers(r.layer) for term in terms))
        for router in self._hooked:
            hook = RegularizerHook(router, self._passes, self._selection.raw_NK)
            self._handles.append(router.register_forward_hook(hook))
        REGULARIZED.take(self._hooked)

    @property
    def bars_experts(self) -> bool:
        """Whether tokens must be described in evaluation too, as experts are barred by what they are."""
        return self._selection.bars

    @contextmanager
    def tokens(self, mask: Tensor | None = None, **attributes: Codes) -> Iterator[None]:
        """Describe the tokens of the forward passes within; padding counts nowhere.

        Args:
            mask: [B, S], 0 for padding; None: every token counts.
            attributes: as of `Shaper.tokens`; only those that bar experts matter.
        """
        classes = self._selection.classes(attributes, mask)
        outer, self._sequences = self._sequences, None if mask is None else len(mask)
        try:
            with self._passes.describing(classes):
                yield
        finally:
            self._sequences = outer

    def set_progress(self, step: int, total: int) -> None:
        """Say how many optimizer steps are done, of how many: this drives the schedules.

        Raises:
            AttachError: they are no numbers of steps, or more are done than there are.
        """
        self._progress = checked_progress("regularizers", step, total)

    def end_step(self) -> None:
        """Say that an optimizer step is done: biases move, and counts begin anew. Every rank must call it."""
        self._selection.end_step(self._now())
        self._counts = StepCounts()
        self._watch.end()

    def scale_with(self, loss: Tensor, factor: float = 1.0) -> None:
        """Scale the gradients by the one that will arrive at `loss`, times `factor`.

        Raises:
            AttachError: the loss is no differentiable scalar.
        """
        self._passes.bind(loss, factor)

    def metrics(self, *, across_ranks: bool = False) -> dict[str, float]:
        """Each loss before its coefficient, a mean over layers and passes since the last call, and ranges of biases."""
        values, self._values = self._values, {}
        sums = torch.zeros(2, len(self.terms), dtype=torch.float64)
        for place, term in enumerate(self.terms):
            if seen := values.get(term.name):
                sums[:, place] = torch.tensor([float(torch.stack(seen).double().sum()), len(seen)])
        rows = zip(self.terms, *(summed(sums) if across_ranks else sums).tolist(), strict=True)
        losses = {term.name: total / passes for term, total, passes in rows if passes}
        return losses | self._selection.metrics()

    def arrivals(self) -> dict[int, dict[str, float]]:
        """For each layer and term, the norm of the gradient that the latest forward pass handed to its router."""
        scale = self.scale() or 0.0
        return {
            layer: {name: float(norm) * scale for name, norm in norms.items()}
            for layer, norms in self._norms.items()
        }

    def arrived_gradients(self) -> dict[int, Tensor]:
        """By layer, the gradient [N, K] of all terms that the latest forward pass handed to its router."""
        return self._passes.arrived_gradients()

    def active(self) -> tuple[str, ...]:
        """Names of the losses whose schedule lets them weigh anything now."""
        progress = self._now()
        return tuple(term.name for term in self.terms if term.plan.coefficient * term.factor(progress))

    def scale(self) -> float | None:
        """The gradient that arrived at the latest loss, times the caller's factor; None: none came."""
        return self._passes.arrived_scale()

    def detach(self) -> None:
        """Remove every hook. Biases of the choice stay in force, as part of what the model has learned."""
        if self._handles:
            REGULARIZED.release(self._hooked)
        self._selection.detach()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._passes.close()

    def _ended(self, step: MicroStep, layers: Sequence[SeenRouter]) -> None:
        """Work out the losses of the forward pass that ends; before its backward pass, where no rank may wait."""
        if self._steps_matter:
            self._watch.passed()
        tokens = {seen.layer: seen.tokens for seen in layers}
        losses = losses_of_pass(tokens, self.terms, self._now(), self._sequences, self._counts)
        for layer, known_NK, _ in layers:
            gradient_NK = losses.gradient_NK.get(layer)
            step.keep(layer, known_NK, torch.zeros_like(known_NK) if gradient_NK is None else gradient_NK)
        self._selection.count(losses.slots_K)
        self._norms = losses.norm
        for name, value in losses.value.items():
            self._values.setdefault(name, []).append(value)

    def _now(self) -> tuple[int, int]:
        if self._progress is None and self._scheduled:
            raise AttachError(
                "schedule",
                "a regularizer has one, and training has not said where in it it is",
                "call regularizers.set_progress",
            )
        return self._progress or (0, 0)
