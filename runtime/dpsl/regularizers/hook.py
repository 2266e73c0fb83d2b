"""What regularizers do at one router, each time it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.regularizers.router_sums import RouterTokens, tokens_of
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
from dpsl.shaping.micro_step import MicroStep
from dpsl.shaping.passes import ForwardPasses
from dpsl.shaping.recompute import in_backward


class SeenRouter(NamedTuple):
    """One router's tokens in one forward pass.

    Attributes:
        layer: decoder-layer index.
        known_NK: the logits that a recomputation is known by: as they were before experts were barred.
        tokens: what the losses need to know.
    """

    layer: int
    known_NK: Tensor
    tokens: RouterTokens


@dataclass(eq=False)
class RegularizerHook:
    """A forward hook: show the router's tokens, and attach the gradient that will have come of them.

    Attributes:
        router: whose output comes in.
        passes: which forward pass this is.
        raw_NK: logits as they were before experts were barred, of layers where they are; a run is known by these.
    """

    router: FoundRouter
    passes: ForwardPasses
    raw_NK: dict[int, Tensor]

    def __post_init__(self) -> None:
        self._scoring = self.router.scoring

    def __call__(self, module: nn.Module, _args: Any, output: Any) -> Any:
        """The output, with the terms' gradient attached to what the experts are combined with."""
        layer = self.router.layer
        raw_NK = self.raw_NK.pop(layer, None)
        if in_backward():
            read, logits_NK = self._read(output)
            again = self.passes.recomputed(layer, logits_NK.detach() if raw_NK is None else raw_NK)
            return output if again is None else self._attached(again, output, read, logits_NK)
        step = self.passes.first(layer)
        if step is None and module.training:
            raise AttachError(
                self.router.place,
                "a training step without a description of its tokens",
                "run the model inside `with regularizers.tokens(mask=…):`, or detach the regularizers",
            )
        if step is None or not step.shapes:
            return output
        read, logits_NK = self._read(output)
        fixed_NK = logits_NK.detach().clone()  # models change theirs in place
        counted_N = step.classes.of_tokens(len(fixed_NK), fixed_NK.device) >= 0
        indices_Nk = chosen_experts(read, self.router.top_k or 1)
        known_NK = fixed_NK if raw_NK is None else raw_NK
        step.see(SeenRouter(layer, known_NK, tokens_of(fixed_NK, indices_Nk, counted_N)))
        return self._attached(step, output, read, logits_NK)

    def _attached(self, step: MicroStep, output: Any, read: RouterOutput, logits_NK: Tensor) -> Any:
        carrier = attach_gradient(read.carrier, logits_NK, step, self.router.layer, self.router.place)
        return with_carrier(output, read, carrier)

    def _read(self, output: Any) -> tuple[RouterOutput, Tensor]:
        read = read_output(self.router, output)
        if self._scoring is None:
            self._scoring = infer_scoring(read, self.router.top_k or 1)
        return read, effective_logits(read.recorded_NK, self._scoring or Scoring.SOFTMAX)
