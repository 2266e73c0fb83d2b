"""What happens at one router, each time it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from dpsl.errors import AttachError
from dpsl.routers.found import FoundRouter
from dpsl.routers.output import chosen_experts
from dpsl.shaping.micro_step import MicroStep
from dpsl.shaping.passes import ForwardPasses
from dpsl.shaping.reader import RouterReader
from dpsl.shaping.recompute import in_backward
from dpsl.shaping.routed_tokens import SeenLayer
from dpsl.transforms import refuse_transforms
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
        self._reader = RouterReader(self.router, self.header.top_k, self.header.experts)

    def __call__(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        """The output, with the gradient attached to what the experts are combined with."""
        refuse_transforms(self.router.place)
        if in_backward():
            return self._again(output)
        step = self.passes.first(self.router.layer, self.router.place)
        if step is not None:
            return self._first(step, arguments, output)
        if module.training:
            raise AttachError(
                self.router.place,
                "a training step without a description of its tokens",
                "run the model inside `with shaper.tokens(mask=…, …):`, or detach the shaper",
            )
        return output

    def _first(self, step: MicroStep, arguments: Any, output: Any) -> Any:
        reading = self._reader.read(output)
        logits_NK = reading.logits_NK
        layout = self._reader.layout(arguments, output, step.given.layout)
        class_N = step.classes.of_tokens(len(logits_NK), logits_NK.device, layout)
        indices_Nk = chosen_experts(reading.output, self.header.top_k)
        step.see(SeenLayer(self.place, logits_NK.detach().clone(), indices_Nk, class_N))
        attaches = step.shapes and self.shapes_now()
        return self._reader.with_gradient(output, reading, step) if attaches else output

    def _again(self, output: Any) -> Any:
        """A recomputation: counted already, and its gradient is known."""
        reading = self._reader.read(output)
        step = self.passes.recomputed(self.router.layer, reading.logits_NK.detach())
        return output if step is None else self._reader.with_gradient(output, reading, step)
