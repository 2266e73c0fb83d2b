"""What happens at one router, each time it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.arguments import warn_if_all_equal
from dpsl.errors import AttachError
from dpsl.routers.found import FoundRouter, Scoring
from dpsl.routers.output import (
    RouterOutput,
    chosen_experts,
    effective_logits,
    infer_scoring,
    read_output,
    with_combined,
)
from dpsl.shaping.accumulator import RoutingAccumulator, log_scores
from dpsl.shaping.attachment import attach_gradient
from dpsl.shaping.cdf_memory import CdfMemory
from dpsl.shaping.layout import LayerLayout
from dpsl.shaping.matching import check_count
from dpsl.shaping.metrics import RoutingMetrics, ShapingValue
from dpsl.shaping.micro_step import MicroStep
from dpsl.shaping.passes import ForwardPasses
from dpsl.shaping.prior_loss import PriorLoss
from dpsl.shaping.recompute import in_backward
from dpsl.shaping.token_classes import TokenClasses


@dataclass(eq=False)
class RouterHook:
    """A forward hook: watch the router, and attach its gradient.

    Attributes:
        router: whose output comes in.
        position: its layer's place among the routed.
        layout: its layer in the table.
        loss: how logits are compared with priors.
        passes: which forward pass this is.
        memory: the tokens of other passes.
        accumulator: statistics to add to.
        metrics: metrics to add to.
        factor: the schedule's factor now.
    """

    router: FoundRouter
    position: int
    layout: LayerLayout
    loss: PriorLoss
    passes: ForwardPasses
    memory: CdfMemory
    accumulator: RoutingAccumulator
    metrics: RoutingMetrics
    factor: Callable[[], float]

    def __post_init__(self) -> None:
        self._scoring = self.router.scoring
        self._counted = False
        self._checked = False

    def __call__(self, module: nn.Module, _args: Any, output: Any) -> Any:
        """The output, with the gradient attached to what the experts are combined with."""
        if in_backward():
            return self._again(output)
        if self.memory.looking_ahead:
            return self._foresee(output)
        step = self.passes.first(self.layout.layer)
        if step is not None:
            return self._first(step, output)
        if module.training:
            raise AttachError(
                self.router.place,
                "a training step without a description of its tokens",
                "run the model inside `with shaper.tokens(mask=…, …):`, or detach the shaper",
            )
        return output

    def _first(self, step: MicroStep, output: Any) -> Any:
        read, logits_NK = self._read(output)
        fixed_NK = logits_NK.detach()
        class_N, group_N = self._placed(step.classes, fixed_NK)
        factor = self.factor() if step.shapes and self.layout.populations else 0.0
        shaping: ShapingValue | None = None
        if factor:
            self._warn_once(fixed_NK[class_N >= 0])
            carried = self.memory.carried(self.layout.layer, self.router.place)
            result = self.loss.of_layer(self.layout, fixed_NK, class_N.clamp(min=0), group_N, factor, carried)
            self.memory.keep(self.layout.layer, result.histogram)
            step.keep(self.layout.layer, fixed_NK, result.gradient_NK)
            shaping = ShapingValue(result.value, self.loss.floor(self.layout, result, factor))
        self._watch(read, fixed_NK, class_N, shaping)
        return self._attached(step, output, read, logits_NK) if factor else output

    def _warn_once(self, logits_NK: Tensor) -> None:
        if not self._checked and len(logits_NK):
            self._checked = True
            warn_if_all_equal(logits_NK, self.router.place)

    def _placed(self, classes: TokenClasses, logits_NK: Tensor) -> tuple[Tensor, Tensor]:
        """The class and the group of each token, -1 where it does not count."""
        class_N = classes.of_tokens(len(logits_NK), logits_NK.device)
        self.layout = self.layout.on(logits_NK.device)
        return class_N, torch.where(class_N < 0, -1, self.layout.group_C[class_N.clamp(min=0)])

    def _foresee(self, output: Any) -> Any:
        """A pass that looks ahead: its tokens count for the passes to come, and nowhere else."""
        classes = self.passes.described
        if classes is not None and self.layout.populations:
            _, logits_NK = self._read(output)
            _, group_N = self._placed(classes, logits_NK)
            self.memory.foresee(self.layout.layer, self.loss.observe(self.layout, logits_NK, group_N))
        return output

    def _again(self, output: Any) -> Any:
        """A recomputation: counted already, and its gradient is known."""
        read, logits_NK = self._read(output)
        step = self.passes.recomputed(self.layout.layer, logits_NK.detach())
        return output if step is None else self._attached(step, output, read, logits_NK)

    def _attached(self, step: MicroStep, output: Any, read: RouterOutput, logits_NK: Tensor) -> Any:
        combined = attach_gradient(read.combined, logits_NK, step, self.layout.layer, self.router.place)
        return with_combined(output, read, combined)

    @torch.no_grad()
    def _watch(
        self, read: RouterOutput, logits_NK: Tensor, class_N: Tensor, shaping: ShapingValue | None
    ) -> None:
        indices_Nk = chosen_experts(read, self.loss.table.header.top_k)
        # Padding may hold anything, and NaN times 0 is NaN.
        log_p_NK, ell_NK = log_scores(logits_NK.masked_fill((class_N < 0)[:, None], 0.0))
        load_K = self.accumulator.add(self.position, log_p_NK, ell_NK, indices_Nk, class_N)
        self.metrics.add(self.position, log_p_NK, load_K, (class_N >= 0).double(), shaping)

    def _read(self, output: Any) -> tuple[RouterOutput, Tensor]:
        header = self.loss.table.header
        read = read_output(self.router, output)
        if not self._counted:
            check_count(self.router, "experts", read.recorded_NK.shape[-1], header.experts)
            self._counted = True
        if self._scoring is None:
            self._scoring = infer_scoring(read, header.top_k)
        return read, effective_logits(read.recorded_NK, self._scoring or Scoring.SOFTMAX)
