"""What regularizers do at one router, each time it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.regularizers.router_sums import RouterTokens, tokens_of
from dpsl.routers.found import FoundRouter
from dpsl.routers.output import chosen_experts
from dpsl.shaping.passes import ForwardPasses
from dpsl.shaping.reader import RouterReader
from dpsl.shaping.recompute import in_backward
from dpsl.transforms import refuse_transforms


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
        self._reader = RouterReader(self.router, self.router.top_k or 1)

    def __call__(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        """The output, with the terms' gradient attached to what the experts are combined with."""
        refuse_transforms(self.router.place)
        layer = self.router.layer
        raw_NK = self.raw_NK.pop(layer, None)
        if in_backward():
            reading = self._reader.read(output)
            known_NK = reading.logits_NK.detach() if raw_NK is None else raw_NK
            again = self.passes.recomputed(layer, known_NK)
            return output if again is None else self._reader.with_gradient(output, reading, again)
        step = self.passes.first(layer, self.router.place)
        if step is None and module.training:
            raise AttachError(
                self.router.place,
                "a training step without a description of its tokens",
                "run the model inside `with regularizers.tokens(mask=…):`, or detach the regularizers",
            )
        if step is None or not step.shapes:
            return output
        reading = self._reader.read(output)
        fixed_NK = reading.logits_NK.detach().clone()  # models change theirs in place
        layout = self._reader.layout(arguments, output, step.given.layout)
        counted_N = step.classes.of_tokens(len(fixed_NK), fixed_NK.device, layout) >= 0
        indices_Nk = chosen_experts(reading.output, self.router.top_k or 1)
        known_NK = fixed_NK if raw_NK is None else raw_NK
        step.see(SeenRouter(layer, known_NK, tokens_of(fixed_NK, indices_Nk, counted_N)))
        return self._reader.with_gradient(output, reading, step)
