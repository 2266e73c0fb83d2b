"""Notice that an optimizer step was taken and nobody said so: weights have moved between two forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.routers.found import FoundRouter


class StepWatch:
    """Watches one weight that learns, through the training passes of an optimizer step.

    Optimizers write weights in place, which torch counts, so that asking is free. Engines that write past it (DeepSpeed)
    show in the values alone. Comparing these waits for the device: so it is done at passes 2, 4, 8, …, and no more once
    `end_step` was called, which then is no longer forgotten.

    Args:
        model: the model.
        routers: its routers, whose weights are looked at before others.
    """

    def __init__(self, model: nn.Module, routers: Sequence[FoundRouter]) -> None:
        self._model = model
        self._routers = tuple(routers)
        self._ended_once = False
        self._weight: nn.Parameter | None = None
        self._version = 0
        self._values: Tensor | None = None
        self._passes = 0

    def end(self) -> None:
        """The optimizer step is over, and was said to be."""
        self._ended_once = True
        self._weight, self._values, self._passes = None, None, 0

    def passed(self) -> None:
        """One more training pass of the step.

        Raises:
            AttachError: weights have moved since the first one.
        """
        self._passes += 1
        if self._weight is None:
            self._begin()
        elif self._moved(self._weight):
            self._weight, self._values, self._passes = None, None, 0
            raise AttachError(
                "regularizers",
                "weights have moved since the last forward pass, and nobody said that an optimizer step was done",
                "call regularizers.end_step() after each optimizer.step(): biases and counts of the global scope follow it",
            )

    def _begin(self) -> None:
        self._weight = next(
            (
                parameter
                for module in (*(router.module for router in self._routers), self._model)
                for parameter in module.parameters()
                if parameter.requires_grad
            ),
            None,
        )
        if self._weight is not None:
            self._version = self._weight._version
            if not self._ended_once:
                self._values = _stored(self._weight).detach().clone()

    def _moved(self, weight: nn.Parameter) -> bool:
        if weight._version != self._version:
            return True
        before, now = self._values, _stored(weight).detach()
        if before is None or self._passes & (self._passes - 1):
            return False
        # A model that is moved or cast between two passes has taken no step.
        alike = (before.dtype, before.device, before.shape) == (now.dtype, now.device, now.shape)
        return alike and not torch.equal(before, now)


def _stored(weight: Any) -> Tensor:
    """Of a weight that ZeRO-3 shares out the part that this rank has, else all of it."""
    stored: Tensor = getattr(weight, "ds_tensor", weight)
    return stored
