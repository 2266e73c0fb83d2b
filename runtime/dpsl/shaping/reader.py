"""A router's output, as logits whose softmax is its distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from dpsl.routers.found import FoundRouter, Scoring
from dpsl.routers.output import (
    RouterOutput,
    effective_logits,
    infer_scoring,
    read_output,
    recorded_logits,
    with_carrier,
)
from dpsl.shaping.attachment import attach_gradient
from dpsl.shaping.given import Layout, layout_of
from dpsl.shaping.matching import check_count
from dpsl.shaping.micro_step import MicroStep


class Reading(NamedTuple):
    """One run of a router.

    Attributes:
        output: taken apart.
        logits_NK: with their graph.
    """

    output: RouterOutput
    logits_NK: Tensor


@dataclass(eq=False)
class RouterReader:
    """Reads one router's runs, and hands them their gradient. How it scores is told once, from what it returns.

    Attributes:
        router: which.
        top_k: experts per token.
        experts: as many as the prior is written for; None: any number.
    """

    router: FoundRouter
    top_k: int
    experts: int | None = None

    def __post_init__(self) -> None:
        self._scoring = self.router.scoring

    def read(self, output: Any) -> Reading:
        """What the router returned.

        Raises:
            AttachError: no logits, or of another number of experts.
        """
        read = read_output(self.router, output)
        if self.experts is not None:
            check_count(self.router, "experts", read.recorded_NK.shape[-1], self.experts)
        if self._scoring is None:
            self._scoring = infer_scoring(read, self.top_k)
        return Reading(read, effective_logits(read.recorded_NK, self._scoring or Scoring.SOFTMAX))

    def layout(self, arguments: Sequence[Any], output: Any, given: Layout) -> Layout:
        """[B, S] of the tokens in the router's own order, where it still has both; else what the model was given."""
        for value in (*arguments[:1], recorded_logits(self.router, output)):
            own = layout_of(value)
            if own is not None and 1 not in own:
                return own
        return given

    def with_gradient(self, output: Any, reading: Reading, step: MicroStep) -> Any:
        """The output, with the step's gradient attached to what the experts are combined with."""
        carrier = attach_gradient(
            reading.output.carrier, reading.logits_NK, step, self.router.layer, self.router.place
        )
        return with_carrier(output, reading.output, carrier)
