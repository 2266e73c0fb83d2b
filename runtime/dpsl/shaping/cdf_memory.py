"""Which tokens beside its own make up the empirical CDFs of a forward pass.

Under gradient accumulation the CDF of the paper is that of all micro-batches of an optimizer step, of which a
forward pass sees one. Two ways lead there:

- looking back: a pass is ranked among its own tokens and those of the passes before, a window of fixed length.
  It costs nothing; tokens of the step before were routed by the router as it was then.
- looking ahead: all passes of a step are run once without gradient, which only counts them; then each is ranked
  among all. Exact, for a third more compute.

Histograms add exactly, so a pass weighs as much as if the whole had been one batch: its loss is times the passes
in the window, as accumulation divides by them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from dpsl.errors import AttachError
from dpsl.histogram import CarriedHistogram
from dpsl.lattice import Lattice


class Carried(NamedTuple):
    """Tokens of other passes."""

    histogram: CarriedHistogram | None
    """Theirs; None: there are no others."""
    passes: int
    """Passes in the whole, this one included."""


class CdfMemory:
    """The histograms of the passes before, or of those to come, all layers in one.

    Args:
        window: passes in the whole when looking back; 1: each stands alone.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.looking_ahead = False
        self._behind: deque[CarriedHistogram] = deque(maxlen=window - 1)
        self._ahead: list[CarriedHistogram] = []
        self._taken = 0

    @contextmanager
    def look_ahead(self) -> Iterator[None]:
        """Passes within are only counted; those after are ranked among all of them."""
        self._ahead, self._taken = [], 0
        self.looking_ahead = True
        try:
            with torch.no_grad():
                yield
        finally:
            self.looking_ahead = False

    def foresee(self, histogram: CarriedHistogram) -> None:
        """Keep what was counted in a pass that looks ahead."""
        self._ahead.append(histogram)

    def carried(self) -> Carried:
        """What the next pass is ranked among, beside its own tokens.

        Raises:
            AttachError: looking ahead saw fewer passes than there are.
        """
        if not self._ahead:
            return Carried(_merged(list(self._behind)), 1 + len(self._behind))
        if self._taken >= len(self._ahead):
            raise AttachError(
                "shaper.look_ahead()",
                f"it saw {len(self._ahead)} forward passes, and this is one more",
                "run every micro-batch of the step inside `with shaper.look_ahead():`, before each step",
            )
        self._taken += 1
        return Carried(_merged(self._ahead[: self._taken - 1] + self._ahead[self._taken :]), len(self._ahead))

    def keep(self, histogram: CarriedHistogram | None) -> None:
        """Keep what was counted in a pass, for the passes after it."""
        if histogram is not None and not self._ahead:
            self._behind.append(histogram)

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed run needs to go on as if it had not stopped; equal on every rank."""
        return {
            f"{place}.{name}": values.cpu().contiguous()
            for place, histogram in enumerate(self._behind)
            for name, values in (("ends", histogram.ends_2KQ), ("counts", histogram.counts_KQB))
        }

    def load_state_dict(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on from a `state_dict`."""
        self._behind.clear()
        for place in sorted({int(key.split(".")[0]) for key in state}):
            ends_2KQ, counts_KQB = (state[f"{place}.{name}"].to(device) for name in ("ends", "counts"))
            tokens_Q = counts_KQB[0].sum(-1)
            self.keep(CarriedHistogram(ends_2KQ, Lattice.spanning(ends_2KQ), counts_KQB, tokens_Q))


def _merged(histograms: list[CarriedHistogram]) -> CarriedHistogram | None:
    return reduce(CarriedHistogram.merged, histograms) if histograms else None
