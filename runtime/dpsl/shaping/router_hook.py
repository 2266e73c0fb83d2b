"""What happens at one router, each time it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.routers.found import FoundRouter, Scoring
from dpsl.routers.output import (
    RouterOutput,
    chosen_experts,
    effective_logits,
    infer_scoring,
    read_output,
    with_carrier,
)
from dpsl.shaping.attachment import attach_gradient
from dpsl.shaping.matching import check_count
from dpsl.shaping.micro_step import MicroStep
from dpsl.shaping.passes import ForwardPasses
from dpsl.shaping.recompute import in_backward
from dpsl.shaping.routed_tokens import SeenLayer
from priorlang.table.prior_table import TableHeader


@dataclass(eq=False)
class RouterHook:
    """A forward hook: show what the router saw, and attach its gradient.

    Attributes:
        router: whose output comes in.
        place: its layer's place among the routed.
        header: of the table.
        passes: which forward pass this is.
        shapes_now: whether the prior has anything to say about this layer now.
    """

    router: FoundRouter
    place: int
    header: TableHeader
    passes: ForwardPasses
    shapes_now: Callable[[], bool]

    def __post_init__(self) -> None:
        self._scoring = self.router.scoring
        self._counted = False

    def __call__(self, module: nn.Module, _args: Any, output: Any) -> Any:
        """The output, with the gradient attached to what the experts are combined with."""
        if in_backward():
            return self._again(output)
        step = self.passes.first(self.router.layer)
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
        class_N = step.classes.of_tokens(len(logits_NK), logits_NK.device)
        indices_Nk = chosen_experts(read, self.header.top_k)
        step.see(SeenLayer(self.place, logits_NK.detach().clone(), indices_Nk, class_N))
        attaches = step.shapes and self.shapes_now()
        return self._attached(step, output, read, logits_NK) if attaches else output

    def _again(self, output: Any) -> Any:
        """A recomputation: counted already, and its gradient is known."""
        read, logits_NK = self._read(output)
        step = self.passes.recomputed(self.router.layer, logits_NK.detach())
        return output if step is None else self._attached(step, output, read, logits_NK)

    def _attached(self, step: MicroStep, output: Any, read: RouterOutput, logits_NK: Tensor) -> Any:
        carrier = attach_gradient(read.carrier, logits_NK, step, self.router.layer, self.router.place)
        return with_carrier(output, read, carrier)

    def _read(self, output: Any) -> tuple[RouterOutput, Tensor]:
        read = read_output(self.router, output)
        if not self._counted:
            check_count(self.router, "experts", read.recorded_NK.shape[-1], self.header.experts)
            self._counted = True
        if self._scoring is None:
            self._scoring = infer_scoring(read, self.header.top_k)
        return read, effective_logits(read.recorded_NK, self._scoring or Scoring.SOFTMAX)
