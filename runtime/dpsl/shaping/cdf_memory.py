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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from dpsl.errors import AttachError
from dpsl.histogram import CarriedHistogram
from dpsl.shaping.sight import Sight
from dpsl.shaping.window_state import PLACE


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
        self._sights: list[Sight] = []
        self._taken = 0
        self._strayed: Tensor | None = None
        """Whether any pass since looking ahead was not the one expected; waits for the device where that is no CPU."""

    @contextmanager
    def look_ahead(self) -> Iterator[None]:
        """Passes within are only counted; those after are ranked among all of them.

        Raises:
            AttachError: the passes of the step before were not those looked ahead over.
        """
        taken, foreseen, strayed = self._taken, len(self._ahead), self._strayed
        self._ahead, self._sights, self._taken, self._strayed = [], [], 0, None
        if strayed is not None and bool(strayed):
            raise _out_of_order("a forward pass of the step before")
        if 0 < taken < foreseen:
            raise AttachError(
                "shaper.look_ahead()",
                f"it saw {foreseen} forward passes, and only {taken} of them followed",
                "run the micro-batches that the step trains on inside `with shaper.look_ahead():`, and no others",
            )
        self.looking_ahead = True
        try:
            with torch.no_grad():
                yield
        finally:
            self.looking_ahead = False

    def foresee(self, histogram: CarriedHistogram, sight: Sight) -> None:
        """Keep what was counted in a pass that looks ahead."""
        self._ahead.append(histogram)
        self._sights.append(sight.kept())

    def carried(self, sight: Sight) -> Carried:
        """What the next pass is ranked among, beside its own tokens.

        Raises:
            AttachError: looking ahead saw fewer passes than there are, or another one in this place.
        """
        if not self._ahead:
            return Carried(_merged(list(self._behind)), 1 + len(self._behind))
        if self._taken >= len(self._ahead):
            raise AttachError(
                "shaper.look_ahead()",
                f"it saw {len(self._ahead)} forward passes, and this is one more",
                "run every micro-batch of the step inside `with shaper.look_ahead():`, before each step",
            )
        self._check_order(sight)
        self._taken += 1
        return Carried(_merged(self._ahead[: self._taken - 1] + self._ahead[self._taken :]), len(self._ahead))

    def keep(self, histogram: CarriedHistogram | None) -> None:
        """Keep what was counted in a pass, for the passes after it."""
        if histogram is not None and not self._ahead:
            self._behind.append(histogram)

    def remembered(self) -> tuple[CarriedHistogram, ...]:
        """The passes of the window, oldest first: what a resumed run needs to go on as if it had not stopped."""
        return tuple(self._behind)

    def remember(self, passes: Sequence[CarriedHistogram]) -> None:
        """Go on from remembered passes.

        Raises:
            AttachError: there are more than the window has room for.
        """
        if len(passes) > self.window - 1:
            raise AttachError(
                PLACE,
                f"it remembers {len(passes)} forward passes, and a window of {self.window} has room for "
                f"{self.window - 1} beside the running one",
                f"attach with window={len(passes) + 1}, or begin with an empty window",
            )
        self._behind.clear()
        self._behind.extend(passes)

    def _check_order(self, sight: Sight) -> None:
        strayed = sight.differs(self._sights[self._taken])
        if strayed.device.type != "cpu":
            self._strayed = strayed if self._strayed is None else strayed | self._strayed.to(strayed.device)
        elif bool(strayed):
            raise _out_of_order(f"forward pass {self._taken + 1} of the step")


def _out_of_order(which: str) -> AttachError:
    return AttachError(
        "shaper.look_ahead()",
        f"{which} has other tokens than the one in its place that was looked ahead over",
        "run the same micro-batches in the same order inside `with shaper.look_ahead():` and after it",
    )


def _merged(histograms: list[CarriedHistogram]) -> CarriedHistogram | None:
    return reduce(CarriedHistogram.merged, histograms) if histograms else None
